"""Digest: who may what, by which accounts, and at what pace. The services compare the digests."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path

import pytest

from appliance.errors import AuthError, MisuseError
from appliance.hub.access import Access, Action, AuthSettings, Credentials, Policy
from appliance.hub.accounts import Account, Accounts, Scrypt, digest_key, make_key
from appliance.hub.addresses import parse_network
from appliance.hub.clock import Clock
from appliance.hub.digest import make_ha1s

FAR = "203.0.113.7"
ALL_KEY = AuthSettings(play=Policy.KEY, publish=Policy.KEY, api=Policy.KEY)
KEY = make_key()
WRONG = "wrong user, password or key"


class FakeClock(Clock):
    now_us = 1_000_000_000

    def monotonic_us(self) -> int:
        return self.now_us


def quick(password: str) -> Scrypt:
    blank = Scrypt(b"salt" * 4, b"", n=2, r=1, p=1)
    return dataclasses.replace(blank, digest=blank._hash(password))


PLAY = frozenset({Action.PLAY})
NVR = Account("nvr", PLAY, key_digest=digest_key(KEY), ha1s=make_ha1s("nvr", KEY))
OLD = Account("old", PLAY, key_digest=digest_key(KEY))
ANN = Account("ann", PLAY, password=quick("sesame"), ha1s=make_ha1s("ann", "sesame"))
BOB = Account("bob", PLAY, password=quick("sesame"))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def gate(
    tmp_path: Path, clock: Clock, *accounts: Account, settings: AuthSettings = ALL_KEY
) -> Access:
    Accounts(tmp_path).save(accounts)
    return Access(settings, tmp_path, clock)


def check(access: Access, user: str, *, is_right: bool = True, peer_ip: str = FAR) -> str:
    return access.check_digest(Action.PLAY, "live/camera", peer_ip, user, is_right=is_right)


def refused(access: Access, user: str, *, is_right: bool = False) -> AuthError:
    with pytest.raises(AuthError) as caught:
        check(access, user, is_right=is_right)
    return caught.value


def test_digest_of_a_key_and_of_a_password_that_was_made_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, NVR, ANN, BOB)
    assert access.secret_of("nvr") == make_ha1s("nvr", KEY)
    assert access.secret_of("ann") == make_ha1s("ann", "sesame")
    assert not access.secret_of("bob")
    assert not access.secret_of("nobody")
    assert [check(access, name) for name in ("nvr", "ann")] == ["nvr", "ann"]


def test_digest_of_the_owner_works_from_the_first_start(tmp_path: Path) -> None:
    access = Access(ALL_KEY, tmp_path)
    key = access.make_owner()
    assert key is not None
    assert access.secret_of("owner") == make_ha1s("owner", key)


def test_digest_without_accounts_has_no_secrets() -> None:
    assert Access(ALL_KEY).secret_of("owner") is None
    assert refused(Access(ALL_KEY), "owner").challenge


async def test_digest_of_an_older_key_is_learnt_when_it_is_shown(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A file from before there was Digest; it stays as it is."""
    access = gate(tmp_path, clock, OLD)
    record = json.loads(Accounts(tmp_path).path.read_text())["accounts"][0]
    assert "digest" not in record
    assert not access.secret_of("old")
    await access.check(Action.PLAY, "live/camera", FAR, Credentials("any", KEY))
    assert access.secret_of("old") == make_ha1s("old", KEY)
    Accounts(tmp_path).add(BOB)
    clock.now_us += 1_000_000
    assert access.secret_of("old") == make_ha1s("old", KEY), "other accounts changed, not this one"
    Accounts(tmp_path).remove("old")
    Accounts(tmp_path).add(dataclasses.replace(OLD, key_digest=digest_key("another")))
    clock.now_us += 1_000_000
    assert not access.secret_of("old")
    assert not access._learned


def test_digest_of_who_was_removed_elsewhere_ends_in_a_second(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, NVR)
    Accounts(tmp_path).remove("nvr")
    clock.now_us += 1_000_000
    assert access.secret_of("nvr") is None
    assert str(refused(access, "nvr", is_right=True)) == WRONG


def test_digest_is_held_to_actions_patterns_and_addresses(tmp_path: Path, clock: FakeClock) -> None:
    networks = (parse_network("10.0.0.0/8"),)
    access = gate(tmp_path, clock, dataclasses.replace(NVR, streams=("live/c*",), ips=networks))
    near = "::ffff:10.1.2.3"
    assert access.check_digest(Action.PLAY, "live/camera", near, "nvr", is_right=True) == "nvr"
    for action, stream, peer in (
        (Action.PUBLISH, "live/camera", near),
        (Action.PLAY, "live/door", near),
        (Action.PLAY, "live/camera", FAR),
    ):
        with pytest.raises(AuthError) as caught:
            access.check_digest(action, stream, peer, "nvr", is_right=True)
        assert not caught.value.challenge


def test_digest_is_not_for_the_api(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock, dataclasses.replace(NVR, allow=frozenset(Action)))
    with pytest.raises(MisuseError):
        access.check_digest(Action.API, "", FAR, "nvr", is_right=True)


def test_digest_is_not_looked_at_where_nobody_needs_one(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock, settings=AuthSettings(play=Policy.LAN))
    assert check(access, "nobody", is_right=False, peer_ip="192.168.1.20") == ""
    assert refused(access, "nobody").challenge


def test_digest_of_who_is_unknown_is_refused_as_a_wrong_one_is(
    tmp_path: Path, clock: FakeClock
) -> None:
    for name in ("nobody", "bob", "ann", "nvr", "", "x" * 9000, "\udcff\0\n", "live/camera"):
        access = gate(tmp_path, clock, NVR, ANN, BOB)
        errors = [refused(access, name) for _ in range(5)]
        assert {(str(error), error.challenge) for error in errors} == {(WRONG, True)}
        waiting = refused(access, name)
        assert (str(waiting), waiting.challenge) == ("too many wrong attempts, wait 1 s", False)


def test_digest_guesses_slow_passwords_down_and_keys_never(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, NVR, ANN)
    for _ in range(5):
        refused(access, "nobody")
    assert not refused(access, "ann", is_right=True).challenge, "nobody learns that it was right"
    assert check(access, "nvr") == "nvr"
    assert check(access, "ann", peer_ip="203.0.113.8") == "ann"
    clock.now_us += 1_000_000
    assert check(access, "ann") == "ann"
    refused(access, "nobody")
    assert access.attempts.wait_us(f"digest {FAR}") == 2_000_000, "what was right bought no guesses"


async def test_digest_of_an_outdated_player_does_not_slow_a_password_down(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, ANN)
    for _ in range(9):
        refused(access, "nvr")
    name = await access.check(Action.PLAY, "live/camera", FAR, Credentials("ann", "sesame"))
    assert name == "ann"


def test_digest_table_of_sources_is_bounded(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock)
    for number in range(1500):
        peer = f"198.51.{number // 256}.{number % 256}"
        with pytest.raises(AuthError):
            check(access, "nobody", is_right=False, peer_ip=peer)
    assert len(access.attempts._records) == 1024


async def test_digest_user_has_a_mark_as_others_do(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock, NVR)
    mark = access.mark_of(check(access, "nvr"))
    assert access.honours(mark, Action.PLAY, "live/camera", FAR)


async def test_digest_account_with_a_key_has_no_password(tmp_path: Path, clock: FakeClock) -> None:
    """Its HA1 in particular is none."""
    access = gate(tmp_path, clock, NVR)
    for word in (*NVR.ha1s.values(), NVR.key_digest, "x"):
        for credentials in (Credentials("nvr", word), Credentials(key=word)):
            with pytest.raises(AuthError):
                await access.check(Action.PLAY, "live/camera", FAR, credentials)
        clock.now_us += 60_000_000


def test_digest_secrets_are_shown_nowhere(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    access = gate(tmp_path, clock, NVR, ANN)
    told: list[tuple[str, str]] = []
    access.on_refusal = lambda reason, peer_ip: told.append((reason, peer_ip))
    errors = [refused(access, "ann"), refused(access, "ann\nsesame")]
    assert told == [("wrong digest", FAR)] * 2
    shown = f"{NVR} {ANN} {errors} {told} {caplog.text}"
    assert not [ha1 for user in (NVR, ANN) for ha1 in user.ha1s.values() if ha1 in shown]
    assert "sesame" not in shown
