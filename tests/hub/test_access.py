from __future__ import annotations

import asyncio
import dataclasses
import threading
from pathlib import Path

import pytest

from appliance.errors import AuthError, ConfigError, LimitExceeded
from appliance.hub import access as access_module
from appliance.hub.access import Access, Action, AuthSettings, Credentials, Policy
from appliance.hub.accounts import Account, Accounts, Scrypt, digest_key, make_key
from appliance.hub.addresses import parse_network
from appliance.hub.clock import Clock

FAR = "203.0.113.7"
NEAR = "192.168.1.20"


class FakeClock(Clock):
    now_us = 1_000_000_000

    def monotonic_us(self) -> int:
        return self.now_us


def quick(password: str) -> Scrypt:
    """A hash that costs next to nothing, as an old file with other parameters could hold."""
    blank = Scrypt(b"salt" * 4, b"", n=2, r=1, p=1)
    return dataclasses.replace(blank, digest=blank._hash(password))


def viewer(**changes: object) -> Account:
    account = Account("ann", frozenset({Action.PLAY}), password=quick("sesame"))
    return dataclasses.replace(account, **changes)  # type: ignore[arg-type]


ALL_KEY = AuthSettings(play=Policy.KEY, publish=Policy.KEY, api=Policy.KEY)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that is really hashed."""
    passwords: list[str] = []
    matches = Scrypt.matches

    def counting(self: Scrypt, password: str) -> bool:
        passwords.append(password)
        return matches(self, password)

    monkeypatch.setattr(Scrypt, "matches", counting)
    return passwords


def gate(
    tmp_path: Path, clock: Clock, *accounts: Account, settings: AuthSettings = ALL_KEY
) -> Access:
    Accounts(tmp_path).save(accounts)
    return Access(settings, tmp_path, clock)


async def refused(access: Access, *arguments: object, action: Action = Action.PLAY) -> AuthError:
    with pytest.raises(AuthError) as caught:
        await access.check(action, "live/camera", *arguments)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize(
    "peer", [FAR, NEAR, "::ffff:192.168.1.20", "fe80::1%eth0", "127.0.0.1", ""]
)
@pytest.mark.parametrize("action", Action)
async def test_access_anonymous_peer_enters_as_the_policy_says(
    policy: Policy, peer: str, action: Action
) -> None:
    access = Access(dataclasses.replace(ALL_KEY, **{action.value: policy}))
    free = policy is Policy.OPEN or (policy is Policy.LAN and peer not in {FAR, ""})
    if free:
        assert await access.check(action, "live/camera", peer) == ""
    else:
        assert (await refused(access, peer, action=action)).challenge


def test_access_defaults_need_a_key_for_all_but_playing_nearby() -> None:
    assert AuthSettings() == AuthSettings(play="lan", publish="key", api="key")  # type: ignore[arg-type]


async def test_access_on_loopback_is_not_trusted_with_the_api() -> None:
    access = Access()
    assert (await refused(access, "127.0.0.1", action=Action.API)).challenge
    assert (await refused(access, "::1", action=Action.PUBLISH)).challenge


async def test_access_owner_key_does_everything_from_anywhere(tmp_path: Path) -> None:
    access = Access(ALL_KEY, tmp_path)
    key = access.make_owner()
    assert key is not None and len(key) == 22
    for action in Action:
        assert await access.check(action, "live/camera", FAR, Credentials(key=key)) == "owner"
        as_password = Credentials(user="obs", password=key)
        assert await access.check(action, "live/camera", FAR, as_password) == "owner"


def test_access_owner_is_made_once_and_stored_as_a_hash_only(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    key = Access(ALL_KEY, directory).make_owner()
    assert key is not None
    assert Access(ALL_KEY, directory).make_owner() is None
    path = directory / "accounts.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o077 == 0
    assert key not in path.read_text()
    assert digest_key(key) in path.read_text()
    assert [item.name for item in directory.iterdir()] == ["accounts.json"]


async def test_access_password_of_a_user_is_checked(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock, viewer())
    assert (
        await access.check(Action.PLAY, "live/camera", FAR, Credentials("ann", "sesame")) == "ann"
    )
    for wrong in (
        Credentials("ann", "Sesame"),
        Credentials("bob", "sesame"),
        Credentials(key="sesame"),
    ):
        assert (await refused(access, FAR, wrong)).challenge


async def test_access_account_is_held_to_actions_patterns_and_addresses(
    tmp_path: Path, clock: FakeClock
) -> None:
    account = viewer(streams=("live/c*",), ips=(parse_network("10.0.0.0/8"),))
    access = gate(tmp_path, clock, account)
    right = Credentials("ann", "sesame")
    assert await access.check(Action.PLAY, "live/camera", "::ffff:10.1.2.3", right) == "ann"
    for action, stream, peer in (
        (Action.PUBLISH, "live/camera", "10.1.2.3"),
        (Action.PLAY, "live/door", "10.1.2.3"),
        (Action.PLAY, "xlive/camera", "10.1.2.3"),
        (Action.PLAY, "live/camera", FAR),
        (Action.PLAY, "live/camera", "not an address"),
    ):
        with pytest.raises(AuthError) as caught:
            await access.check(action, stream, peer, right)
        assert not caught.value.challenge


async def test_access_thousand_viewers_with_one_password_hash_it_once(
    tmp_path: Path, clock: FakeClock, hashed: list[str]
) -> None:
    access = gate(tmp_path, clock, viewer())
    right = Credentials("ann", "sesame")
    async with asyncio.TaskGroup() as group:
        for _ in range(1000):
            group.create_task(access.check(Action.PLAY, "live/camera", FAR, right))
    await access.check(Action.PLAY, "live/camera", NEAR, right)
    assert hashed == ["sesame"]


async def test_access_remembered_password_is_forgotten_in_time(
    tmp_path: Path, clock: FakeClock, hashed: list[str]
) -> None:
    access = gate(tmp_path, clock, viewer())
    right = Credentials("ann", "sesame")
    await access.check(Action.PLAY, "live/camera", FAR, right)
    clock.now_us += access_module.REMEMBER_US
    await access.check(Action.PLAY, "live/camera", FAR, right)
    assert len(hashed) == 2


async def test_access_memory_of_passwords_is_bounded(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"u{number}" for number in range(20)]
    access = gate(tmp_path, clock, *(viewer(name=name) for name in names))
    monkeypatch.setattr(access_module, "MAX_REMEMBERED", 10)
    for name in names:
        await access.check(Action.PLAY, "live/camera", FAR, Credentials(name, "sesame"))
    assert len(access._remembered) == 10


async def test_access_unknown_user_costs_a_hash_too(
    tmp_path: Path, clock: FakeClock, hashed: list[str]
) -> None:
    access = gate(tmp_path, clock, viewer())
    await refused(access, FAR, Credentials("nobody", "guess"))
    assert hashed == ["guess"]


async def test_access_sixth_guess_waits_even_if_right_and_then_passes(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    right = Credentials("ann", "sesame")
    for number in range(5):
        assert (await refused(access, FAR, Credentials("ann", f"guess{number}"))).challenge
    error = await refused(access, FAR, right)
    assert not error.challenge and "wait 1 s" in str(error)
    assert await access.check(Action.PLAY, "live/camera", NEAR, right) == "ann"
    clock.now_us += 1_000_000
    assert await access.check(Action.PLAY, "live/camera", FAR, right) == "ann"


async def test_access_wait_doubles_up_to_a_minute_and_no_further(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    waits = []
    for number in range(16):
        await refused(access, "127.0.0.1", Credentials("ann", f"guess{number}"))
        waits.append(access.attempts.wait_us("password 127.0.0.1") // 1_000_000)
        for _ in range(50):  # tries while blocked cost nothing and prolong nothing
            if waits[-1]:
                await refused(access, "127.0.0.1", Credentials("ann", "again"))
        clock.now_us += waits[-1] * 1_000_000
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    right = Credentials("ann", "sesame")
    assert await access.check(Action.PLAY, "live/camera", "127.0.0.1", right) == "ann"


async def test_access_right_key_passes_while_its_source_is_slowed(tmp_path: Path) -> None:
    access = Access(ALL_KEY, tmp_path)
    key = access.make_owner()
    assert key is not None
    for number in range(9):
        await refused(access, "127.0.0.1", Credentials(key=f"guess{number}"))
    assert await access.check(Action.API, "", "127.0.0.1", Credentials(key=key)) == "owner"


async def test_access_own_account_does_not_buy_guesses_at_another(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer(), viewer(name="boss", password=quick("secret")))
    for number in range(4):
        await refused(access, FAR, Credentials("boss", f"guess{number}"))
        await access.check(Action.PLAY, "live/camera", FAR, Credentials("ann", "sesame"))
    await refused(access, FAR, Credentials("boss", "guess4"))
    assert access.attempts.wait_us(f"password {FAR}") > 0


async def test_access_guesses_side_by_side_are_all_counted_and_bounded(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    outcomes = await asyncio.gather(
        *(
            access.check(Action.PLAY, "live/camera", FAR, Credentials("ann", f"guess{number}"))
            for number in range(100)
        ),
        return_exceptions=True,
    )
    assert all(isinstance(outcome, AuthError) for outcome in outcomes)
    assert sum(outcome.challenge for outcome in outcomes if isinstance(outcome, AuthError)) == 5


async def test_access_many_sources_at_once_hash_a_bounded_number(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    outcomes = await asyncio.gather(
        *(
            access.check(
                Action.PLAY, "live/camera", f"203.0.113.{number}", Credentials("ann", f"g{number}")
            )
            for number in range(100)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, LimitExceeded) for outcome in outcomes) == 92


async def test_access_table_of_sources_is_bounded(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock, viewer())
    for number in range(1500):
        peer = f"198.51.{number // 256}.{number % 256}"
        await refused(access, peer, Credentials(key="x"))
    assert len(access.attempts._records) == 1024


async def test_access_ipv6_neighbours_share_one_count(tmp_path: Path, clock: FakeClock) -> None:
    access = gate(tmp_path, clock, viewer())
    for number in range(5):
        await refused(access, f"2001:db8::{number:x}", Credentials(key="x"))
    assert "wait" in str(await refused(access, "2001:db8::ffff", Credentials(key="x")))
    assert "wait" not in str(await refused(access, "2001:db8:0:1::1", Credentials(key="x")))


async def test_access_password_does_not_wait_for_a_resolver_that_hangs(
    tmp_path: Path, clock: FakeClock
) -> None:
    """A device whose uplink is gone looks up names in all of asyncio's threads, in vain."""
    access = gate(tmp_path, clock, viewer())
    over = threading.Event()
    loop = asyncio.get_running_loop()
    hanging = [loop.run_in_executor(None, over.wait) for _ in range(64)]
    try:
        async with asyncio.timeout(10):
            await access.check(Action.PLAY, "live/cam", FAR, Credentials("ann", "sesame"))
    finally:
        over.set()
        await asyncio.gather(*hanging)


async def test_access_account_made_or_removed_elsewhere_takes_effect_in_a_second(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock)
    key = make_key()
    await refused(access, FAR, Credentials(key=key))
    Accounts(tmp_path).add(Account("new", frozenset(Action), key_digest=digest_key(key)))
    clock.now_us += 1_000_000
    assert await access.check(Action.API, "", FAR, Credentials(key=key)) == "new"
    Accounts(tmp_path).remove("new")
    clock.now_us += 1_000_000
    await refused(access, FAR, Credentials(key=key))


async def test_access_changed_password_ends_the_remembered_one(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    old = Credentials("ann", "sesame")
    await access.check(Action.PLAY, "live/camera", FAR, old)
    Accounts(tmp_path).save((viewer(password=quick("other")),))
    clock.now_us += 1_000_000
    await refused(access, FAR, old)


async def test_access_damaged_file_leaves_the_accounts_as_they_were(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    access = gate(tmp_path, clock, viewer())
    Accounts(tmp_path).path.write_text("{")
    for _ in range(3):
        clock.now_us += 1_000_000
        right = Credentials("ann", "sesame")
        assert await access.check(Action.PLAY, "live/camera", FAR, right) == "ann"
    assert len(caplog.records) == 1
    with pytest.raises(ConfigError, match="damaged"):
        Access(ALL_KEY, tmp_path)


@pytest.mark.parametrize(
    "password", ["", "x" * 257, "x" * 65_000, "\0", "\udcff", "１２", "\u202e", "a" * 22]
)
async def test_access_strange_secrets_are_refused_quietly(
    tmp_path: Path, clock: FakeClock, password: str
) -> None:
    access = gate(tmp_path, clock, viewer())
    for credentials in (
        Credentials("ann", password),
        Credentials(password, password),
        Credentials(key=password),
    ):
        assert (await refused(access, FAR, credentials)).challenge


async def test_access_caller_that_leaves_early_disturbs_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    right = Credentials("ann", "sesame")
    first = asyncio.create_task(access.check(Action.PLAY, "live/camera", FAR, right))
    second = asyncio.create_task(access.check(Action.PLAY, "live/camera", FAR, right))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "ann"
    assert access.attempts.wait_us(f"password {FAR}") == 0
    assert not access._hashing


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("ann", "sesame", "k3y"))
    assert "ann" in shown and "sesame" not in shown and "k3y" not in shown
    account = viewer(key_digest="beef")
    assert "beef" not in repr(account) and quick("sesame").digest.hex() not in repr(account)


async def test_access_wrong_credentials_are_told_to_who_counts(
    tmp_path: Path, clock: FakeClock
) -> None:
    access = gate(tmp_path, clock, viewer())
    told: list[tuple[str, str]] = []
    access.on_refusal = lambda reason, peer_ip: told.append((reason, peer_ip))
    for credentials in (Credentials(key="wrong"), Credentials("ann", "wrong"), Credentials()):
        with pytest.raises(AuthError):
            await access.check(Action.PLAY, "live/camera", FAR, credentials)
    assert told == [("wrong key", FAR), ("wrong password", FAR)]
