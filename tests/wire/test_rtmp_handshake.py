"""RTMP's handshake with both kinds of peers, and with who is none."""

from __future__ import annotations

import random

import pytest

from appliance.errors import PeerError
from appliance.wire.rtmp.handshake import (
    BLOCK_BYTES,
    PLAYER_NAME,
    SERVER_NAME,
    ClientHandshake,
    ServerHandshake,
    answer_to,
    find_digest,
    put_digest,
)

NOISE = random.Random(7).randbytes(BLOCK_BYTES)
OTHER = random.Random(8).randbytes(BLOCK_BYTES)


def test_plain_client_gets_its_bytes_back() -> None:
    server = ServerHandshake(NOISE)
    c1 = bytes(8) + OTHER[8:]
    answer = server.receive(b"\x03" + c1)
    assert answer[0] == 3
    assert answer[1:9] == bytes(8)
    assert answer[1 + BLOCK_BYTES :] == c1
    assert not server.done
    assert server.receive(bytes(BLOCK_BYTES) + b"rest") == b""  # R3: what C2 holds does not matter
    assert server.done
    assert server.rest == b"rest"


@pytest.mark.parametrize("scheme", [0, 1])
def test_client_with_a_digest_gets_one(scheme: int) -> None:
    c1 = put_digest(bytes(4) + bytes((9, 0, 124, 2)) + OTHER[8:], PLAYER_NAME, scheme)
    answer = ServerHandshake(NOISE).receive(b"\x03" + c1)
    s1, s2 = answer[1 : 1 + BLOCK_BYTES], answer[1 + BLOCK_BYTES :]
    found, mine = find_digest(s1, SERVER_NAME), find_digest(c1, PLAYER_NAME)
    assert found is not None
    assert found[0] == scheme
    assert mine is not None
    assert s2 == answer_to(mine[1], SERVER_NAME, s2)


def test_both_roles_agree_byte_by_byte() -> None:
    server, client = ServerHandshake(NOISE), ClientHandshake(OTHER)
    to_server, to_client = client.begin(), b""
    while not (server.done and client.done):
        for byte in to_server:
            to_client += server.receive(bytes((byte,)))
        to_server = b""
        for byte in to_client:
            to_server += client.receive(bytes((byte,)))
        to_client = b""
    assert server.rest == client.rest == b""


@pytest.mark.parametrize("first", [b"\x06", b"GET ", b"\x16\x03\x01", b"\x00"])
def test_stranger_is_refused_and_told_nothing(first: bytes) -> None:
    """R2."""
    server = ServerHandshake(NOISE)
    with pytest.raises(PeerError):
        server.receive(first)
    with pytest.raises(PeerError):
        ClientHandshake(NOISE).receive(first)
