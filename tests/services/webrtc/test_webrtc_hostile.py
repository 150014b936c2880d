"""What strangers throw at the port, while somebody watches: counted, unanswered, without effect."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from ice_peer import check, request
from test_webrtc_playing import watched
from webrtc_site import WebRtcSite
from webrtc_viewer import Viewer, until

from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.stun import MAGIC_COOKIE, AttributeType, MessageClass, StunMessage

COOKIE = MAGIC_COOKIE.to_bytes(4, "big")
ID = bytes(12)
FLOOD = 20_000


def stun(body: bytes, kind: int = 1, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return kind.to_bytes(2, "big") + size.to_bytes(2, "big") + COOKIE + ID + body


def attribute(kind: int, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return kind.to_bytes(2, "big") + size.to_bytes(2, "big") + value


def spoilt(packet: bytes) -> bytes:
    return packet[:-1] + bytes((packet[-1] ^ 1,))


JUNK: dict[str, Callable[[Credentials], bytes]] = {
    "U1 cut priority": lambda _: stun(attribute(0x24, b"")),
    "U1 no UTF-8": lambda _: stun(attribute(6, b"\xff\xfe\xfd\xfc")),
    "U1 length beyond": lambda _: stun(attribute(6, b"abcd", 0xFFFF)),
    "U1 odd length": lambda _: stun(b"abc"),
    "U1 a byte": lambda _: b"\x00",
    "U1 a cut head": lambda _: stun(b"")[:19],
    "U1 empty attributes": lambda _: stun(attribute(6, b"") * 370),
    "U1 wrong fingerprint": lambda ours: spoilt(check(ours)),
    "U3 wrong integrity": lambda ours: check(Credentials(ours.ufrag, "w" * 22)),
    "U3 altered": lambda ours: check(ours).replace(b"theirs", b"thgirs"),
    "U5 an answer": lambda ours: StunMessage(MessageClass.SUCCESS, ID).pack(ours.key),
    "U5 an indication": lambda ours: StunMessage(MessageClass.INDICATION, ID).pack(ours.key),
    "U5 allocate": lambda ours: StunMessage(MessageClass.REQUEST, ID, method=3).pack(ours.key),
    "U5 both roles": lambda ours: request(
        f"{ours.ufrag}:theirs", role=AttributeType.ICE_CONTROLLED
    ).pack(b"wrong"),
    "U6 a hello": lambda _: b"\x16\xfe\xfd" + bytes(8) + b"\x00\x20" + bytes(32),
    "U8 plain RTP": lambda _: b"\x80\x60" + bytes(100),
    "U8 plain RTCP": lambda _: b"\x80\xc9\x00\x01" + bytes(40),
    "U9 padding": lambda _: bytes.fromhex("a060 0001 00000000 00000001 ff"),
    "U9 an extension": lambda _: bytes.fromhex("9060 0001 00000000 00000001 bede ffff"),
    "U9 sources": lambda _: bytes.fromhex("8f60 0001 00000000 00000001"),
    "a large one": lambda _: b"\x00" * 60_000,
    "a channel of TURN": lambda _: b"\x40\x00\x00\x04abcd",
}


async def still_watches(site: WebRtcSite, viewer: Viewer) -> None:
    """New pictures arrive, and the one session is there."""
    before = len(viewer.packets)
    site.films[0].write(5)
    await viewer.until(lambda: len(viewer.packets) > before + 4)
    assert len(site.exchange.by_token) == 1


async def test_junk_of_strangers_is_not_answered_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with watched() as (site, _, viewer):
        stranger = Viewer()
        stranger.port = viewer.port
        await stranger.open()
        try:
            lines = len(caplog.messages)
            port = site.service.port
            for make in JUNK.values():
                before = port.received_datagrams
                for _ in range(20):
                    stranger.send(make(viewer.local))
                await until(lambda seen=before: port.received_datagrams > seen)
            await still_watches(site, viewer)
            assert not stranger.checks
            assert len(caplog.messages) - lines < 5
        finally:
            stranger.close()


async def test_junk_of_the_viewer_itself_ends_nothing() -> None:
    async with watched() as (site, _, viewer):
        for make in JUNK.values():
            viewer.send(make(viewer.local))
        await still_watches(site, viewer)


async def test_flood_of_checks_for_nobody_is_counted_and_leaves_no_trace() -> None:
    async with watched() as (site, _, viewer):
        stranger = Viewer()
        stranger.port = viewer.port
        await stranger.open()
        try:
            counters = site.exchange.directory.counters
            sent = 0
            while counters.unknown < FLOOD:
                for _ in range(200):
                    name = Credentials(secrets.token_hex(4), "a" * 22)
                    stranger.send(request(f"{name.ufrag}:x").pack(name.key))
                    sent += 1
                site.films[0].write(1)
                before = counters.unknown
                await until(lambda seen=before: counters.unknown > seen)
            await still_watches(site, viewer)
            assert not stranger.checks
            assert len(site.exchange.directory) == 1
        finally:
            stranger.close()


async def test_check_from_elsewhere_that_names_no_path_moves_no_media() -> None:
    async with watched() as (site, film, viewer):
        other = Viewer()
        other.port = viewer.port
        await other.open()
        try:
            other.send(check(viewer.local))
            await other.until(lambda: other.checks)
            await still_watches(site, viewer)
            assert not other.packets
        finally:
            other.close()
