"""Handshakes without end, lies about lengths, seeded damage: bounded, and only PeerError."""

from __future__ import annotations

import contextlib
from functools import cache

import pytest
from dtls_peer import Client, certificate, make_server
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.dtls.server import (
    MAX_HANDSHAKE_BYTES,
    MAX_HANDSHAKE_DATAGRAMS,
    DtlsState,
)

ME = certificate("client")


def hello_fragment(length: int, offset: int, body: bytes, *, number: int, said: int = -1) -> bytes:
    """A record with one piece of a ClientHello. said: the piece's size, if it lies."""
    size = len(body) if said < 0 else said
    handshake = b"\x01" + length.to_bytes(3, "big") + b"\0\0"
    handshake += offset.to_bytes(3, "big") + size.to_bytes(3, "big") + body
    record = bytes.fromhex("16 fefd 0000") + number.to_bytes(6, "big")
    return record + len(handshake).to_bytes(2, "big") + handshake


def test_first_fragments_without_end_are_cut_off() -> None:
    server = make_server(ME)
    with pytest.raises(PeerError, match="without end"):
        for number in range(10_000):
            server.receive(hello_fragment(1400, 0, bytes(100), number=number), 0)
    assert number == MAX_HANDSHAKE_DATAGRAMS
    assert server.state is DtlsState.CLOSED


def test_fragments_of_many_bytes_are_cut_off() -> None:
    server = make_server(ME)
    with pytest.raises(PeerError, match="without end"):
        for number in range(10_000):
            server.receive(hello_fragment(9000, 0, bytes(3900), number=number), 0)
    assert number <= MAX_HANDSHAKE_BYTES // 3900


@pytest.mark.parametrize(
    ("length", "offset", "said"),
    [(10, 8, 40), (0xFFFFFF, 0, 100), (0xFFFFFF, 0xFFFFF0, 100), (200, 0, 200), (0, 0, 0)],
    ids=["past the end", "endless", "far away", "longer than its record", "nothing"],
)
def test_fragment_with_lying_lengths_is_refused_or_dropped(
    length: int, offset: int, said: int
) -> None:
    server = make_server(ME)
    with contextlib.suppress(PeerError):
        server.receive(hello_fragment(length, offset, bytes(100), number=0, said=said), 0)
    assert server.keys is None
    assert sum(map(len, server.take_datagrams())) <= 100  # an alert at most


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x16", b"\x16" * 12, bytes(100), b"\x80" * 100, b"\x40" * 100, b"\x16" * 4097],
    ids=["empty", "one byte", "no header", "STUN", "RTP", "TURN", "giant"],
)
def test_datagram_that_is_no_dtls_is_dropped(datagram: bytes) -> None:
    server = make_server(ME)
    server.receive(datagram, 0)
    assert server.dropped_datagrams == 1
    assert server.state is DtlsState.HANDSHAKE


def test_nothing_is_heard_after_the_end() -> None:
    server = make_server(ME)
    server.close(0)
    for datagram in Client(own=ME).start():
        server.receive(datagram, 0)
    assert server.take_datagrams() == []


@cache
def session_datagrams() -> tuple[bytes, ...]:
    """All that a client says in a handshake and after it."""
    server, client = make_server(ME), Client(own=ME)
    said = client.start()
    heard: list[bytes] = []
    for _ in range(4):
        for datagram in said:
            server.receive(datagram, 0)
        heard += said
        for datagram in server.take_datagrams():
            client.receive(datagram)
        said = client.output()
    client.connection.send(b"data")
    return (*heard, *client.output())


def test_damaged_datagrams_raise_nothing_but_peer_error() -> None:
    """Each seed is what a client says first in the handshake; the damage is new each time."""
    hello = session_datagrams()[0]

    def receive(datagram: bytes) -> None:
        server = make_server(ME)
        server.receive(datagram, 0)
        server.receive(hello, 0)
        server.take_datagrams()

    assert_only_peer_error(receive, list(session_datagrams()), 400)


def test_damaged_datagrams_to_a_connected_session_never_end_it() -> None:
    """Nothing that lacks the keys may: records of the handshake's epoch are not even read."""
    server, client = make_server(ME), Client(own=ME)
    said = client.start()
    while server.state is DtlsState.HANDSHAKE:
        for datagram in said:
            server.receive(datagram, 0)
        for datagram in server.take_datagrams():
            client.receive(datagram)
        said = client.output()
    now_us = 0

    def receive(datagram: bytes) -> None:
        nonlocal now_us
        now_us += 1_000_000
        server.receive(datagram, now_us)

    assert_only_peer_error(receive, list(session_datagrams()), 400)
    assert server.state is DtlsState.CONNECTED
