"""Who is let in by what, as our own client answers what it is asked for."""

from __future__ import annotations

import base64
import dataclasses
from pathlib import Path

import pytest

from appliance.errors import AuthError
from appliance.hub.access import Access, Action, AuthSettings, Policy
from appliance.hub.accounts import Account, Accounts, Scrypt, digest_key, make_key
from appliance.hub.clock import Clock
from appliance.hub.digest import make_ha1s
from appliance.services.rtsp.admission import Admission, Challenged
from appliance.wire.rtsp.auth import NONCE_LIFE_US
from appliance.wire.rtsp.credentials import ClientAuth
from appliance.wire.rtsp.events import Asked
from appliance.wire.rtsp.target import resolve

PEER = "203.0.113.7"
NAME = "live/camera"
URL = f"rtsp://device:8554/{NAME}"
ALL_KEY = AuthSettings(play=Policy.KEY, publish=Policy.KEY)
KEY = make_key()
PLAY = frozenset({Action.PLAY})


def quick(password: str) -> Scrypt:
    blank = Scrypt(b"salt" * 4, b"", n=2, r=1, p=1)
    return dataclasses.replace(blank, digest=blank._hash(password))


NVR = Account("nvr", PLAY, key_digest=digest_key(KEY), ha1s=make_ha1s("nvr", KEY))
ANN = Account("ann", PLAY, password=quick("sesame"), ha1s=make_ha1s("ann", "sesame"))
BOB = Account("bob", PLAY, password=quick("sesame"))


class FakeClock(Clock):
    now_us = 1_000_000_000

    def monotonic_us(self) -> int:
        return self.now_us


@dataclasses.dataclass(slots=True)
class Door:
    """An admission, and a player in front of it who answers challenges."""

    admission: Admission
    access: Access
    clock: FakeClock

    async def ask(
        self,
        authorization: str = "",
        *,
        action: Action = Action.PLAY,
        url: str = URL,
        basic: bool = False,
        peer_ip: str = PEER,
    ) -> list[str] | None:
        """What is asked for; None when the player is let in. Raises: AuthError."""
        asked = Asked("DESCRIBE", url, resolve(url), authorization)
        try:
            await self.admission.check(action, NAME, asked, peer_ip, self.clock.now_us, basic=basic)
        except Challenged as challenged:
            is_stale = any("stale" in line for line in challenged.lines)
            was_shown = authorization != "" or "key=" in url
            assert bool(challenged.why) is (was_shown and not is_stale)
            return challenged.lines
        return None

    async def enter(self, user: str, password: str, only: str = "", *, basic: bool = False) -> bool:
        """As players do: once without anything, then with what the challenge asks for."""
        lines = await self.ask(basic=basic)
        assert lines
        client = ClientAuth(user, password, b"noise" * 4)
        assert client.challenge([line for line in lines if only in line])
        return await self.ask(client.header("DESCRIBE", URL), basic=basic) is None


@pytest.fixture
def door(tmp_path: Path) -> Door:
    clock = FakeClock()
    Accounts(tmp_path).save((NVR, ANN, BOB))
    access = Access(ALL_KEY, tmp_path, clock)
    return Door(Admission(access), access, clock)


@pytest.mark.parametrize("only", ["SHA-256", "MD5"])
async def test_admission_by_digest_of_who_has_something_for_it(door: Door, only: str) -> None:
    assert await door.enter("nvr", KEY, only)
    assert await door.enter("ann", "sesame", only)
    for user, password in (("bob", "sesame"), ("nobody", "sesame"), ("ann", "Sesame")):
        assert not await door.enter(user, password, only)


async def test_admission_without_tls_never_asks_for_basic_nor_takes_it(door: Door) -> None:
    lines = await door.ask()
    assert lines is not None and all(line.startswith("Digest ") for line in lines)
    for pair in (f"nvr:{KEY}", "ann:sesame", "bob:sesame"):
        header = f"Basic {base64.b64encode(pair.encode()).decode()}"
        assert await door.ask(header)
        assert await door.ask(header, basic=True) is None


async def test_admission_where_basic_may_be_used_lets_every_account_in(door: Door) -> None:
    assert await door.ask(basic=True) == ['Basic realm="porthole"']
    for user, password in (("bob", "sesame"), ("ann", "sesame"), ("any", KEY)):
        assert await door.enter(user, password, basic=True)
    assert not await door.enter("bob", "Sesame", basic=True)


async def test_admission_by_a_key_in_the_address_is_asked_for_nothing(door: Door) -> None:
    assert await door.ask(url=f"{URL}?key={KEY}") is None
    assert await door.ask(url=f"{URL}?user=bob&pass=sesame") is None
    assert await door.ask(url=f"{URL}?key=wrong")


async def test_admission_of_an_older_key_by_digest_once_it_was_shown(tmp_path: Path) -> None:
    clock = FakeClock()
    Accounts(tmp_path).save((dataclasses.replace(NVR, ha1s={}),))
    access = Access(ALL_KEY, tmp_path, clock)
    door = Door(Admission(access), access, clock)
    assert not await door.enter("nvr", KEY)
    assert await door.ask(url=f"{URL}?key={KEY}") is None
    assert await door.enter("nvr", KEY)


async def test_admission_renews_a_nonce_and_the_player_enters_by_the_next(door: Door) -> None:
    client = ClientAuth("nvr", KEY, b"noise" * 4)
    assert client.challenge(await door.ask() or [])
    assert await door.ask(client.header("DESCRIBE", URL)) is None
    old = client.nonce
    door.clock.now_us += NONCE_LIFE_US + 1_000_000
    lines = await door.ask(client.header("DESCRIBE", URL))
    assert lines is not None and all('stale="true"' in line for line in lines)
    assert client.challenge(lines) and client.nonce != old
    assert await door.ask(client.header("DESCRIBE", URL)) is None


async def test_admission_guesses_by_old_or_forged_nonces_count_too(door: Door) -> None:
    """`stale` would tell that they are right."""
    client = ClientAuth("ann", "guess", b"noise" * 4)
    assert client.challenge(['Digest realm="porthole", nonce="forged", algorithm=MD5'])
    for _ in range(5):
        lines = await door.ask(client.header("DESCRIBE", URL))
        assert lines is not None and not any("stale" in line for line in lines)
    right = ClientAuth("ann", "sesame", b"noise" * 4)
    assert right.challenge(['Digest realm="porthole", nonce="forged", algorithm=MD5'])
    with pytest.raises(AuthError, match="wait"):
        await door.ask(right.header("DESCRIBE", URL))


async def test_admission_of_a_right_digest_is_held_to_the_account(door: Door) -> None:
    client = ClientAuth("nvr", KEY, b"noise" * 4)
    assert client.challenge(await door.ask() or [])
    header = client.header("DESCRIBE", URL)
    with pytest.raises(AuthError, match="nvr may not publish"):
        await door.ask(header, action=Action.PUBLISH)
    lines = await door.ask(header, peer_ip="203.0.113.8")
    assert lines is not None and any("stale" in line for line in lines), "another's nonce"


async def test_admission_answers_unknown_users_as_known_ones(door: Door) -> None:
    shapes = set()
    for user in ("nvr", "ann", "bob", "nobody", "\udcff"):
        client = ClientAuth(user, "guess", b"noise" * 4)
        assert client.challenge(await door.ask() or [])
        lines = await door.ask(client.header("DESCRIBE", URL))
        assert lines
        shapes.add(tuple(line.partition("nonce=")[0] + line[-40:] for line in lines))
    assert len(shapes) == 1, shapes


async def test_admission_asks_nothing_where_nobody_needs_a_key(tmp_path: Path) -> None:
    clock = FakeClock()
    access = Access(AuthSettings(play=Policy.LAN), tmp_path, clock)
    door = Door(Admission(access), access, clock)
    assert await door.ask(peer_ip="192.168.1.20") is None
    client = ClientAuth("nobody", "guess", b"noise" * 4)
    assert client.challenge(await door.ask() or [])
    assert await door.ask(client.header("DESCRIBE", URL), peer_ip="192.168.1.20") is None


@pytest.mark.parametrize(
    "header",
    [
        "Digest",
        "Digest " + "x" * 5000,
        'Digest username="nvr", realm="porthole", nonce="", uri="/", response=""',
        'Digest username="nvr", realm="porthole", nonce="x", uri="/", response="é"',
        'Digest username="nvr", realm="x", nonce="x", uri="*", response="0", algorithm=SHA-512',
        "Basic",
        "Basic ****",
        "Negotiate x",
        "\x00",
    ],
)
@pytest.mark.parametrize("basic", [False, True])
async def test_admission_of_strange_headers_is_asked_for_credentials(
    door: Door, header: str, basic: bool
) -> None:
    assert await door.ask(header, basic=basic)
