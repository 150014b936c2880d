"""What viewers say over WebSocket, whole, in pieces and wrong."""

from __future__ import annotations

import random

import pytest
from mutation import mutations

from appliance.errors import PeerError
from appliance.wire.websocket import (
    MAX_FRAME_BYTES,
    MAX_TALK_BYTES,
    CloseCode,
    Closed,
    Event,
    Opcode,
    Ping,
    ViewerFrames,
    accept_key,
    close_frame,
    first_protocol,
    frame,
)

MASK = b"\x37\xfa\x21\x3d"


def masked(opcode: int, payload: bytes = b"", *, first: int = 0x80) -> bytes:
    """As a client sends it (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        head = bytes((first | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


def events_of(data: bytes, step: int | None = None) -> list[Event]:
    frames = ViewerFrames()
    step = step or max(1, len(data))
    found: list[Event] = []
    for start in range(0, len(data), step):
        found += frames.receive(data[start : start + step], start * 1000)
    return found


TALK = b"".join(
    (
        masked(Opcode.PING, b"one"),
        masked(Opcode.TEXT, b"nobody reads this"),
        masked(Opcode.BINARY, bytes(300), first=0),
        masked(Opcode.PING),  # amid a message in parts, which is allowed
        masked(Opcode.CONTINUATION, bytes(MAX_FRAME_BYTES)),
        masked(Opcode.PONG, b"unasked"),
        masked(Opcode.PING, bytes(125)),
        masked(Opcode.CLOSE, b"\x03\xe8bye"),
        masked(Opcode.PING, b"after the end"),
    )
)
HEARD = [Ping(b"one"), Ping(b""), Ping(bytes(125)), Closed(CloseCode.NORMAL)]


@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_viewer_frames_are_heard_however_they_are_cut(step: int) -> None:
    assert events_of(TALK, step) == HEARD


def test_viewer_frames_of_pings_that_come_together_tell_the_newest() -> None:
    """RFC 6455 §5.5.3."""
    assert events_of(TALK) == HEARD[-2:]


def test_viewer_frames_of_pings_without_end_are_bounded_in_a_second() -> None:
    pings = masked(Opcode.PING) * 1000
    frames, said = ViewerFrames(), 0
    while events := frames.receive(pings, 7_000_000):
        said += len(pings)
        if isinstance(events[-1], Closed):
            break
        assert events == [Ping(b"")]
    assert MAX_TALK_BYTES - len(pings) < said - len(pings) <= MAX_TALK_BYTES
    assert events == [Closed(CloseCode.POLICY_VIOLATION, "a viewer that talks")]
    assert not frames.receive(pings, 9_000_000)
    patient = ViewerFrames()
    for second in range(3):
        assert patient.receive(pings, second * 1_000_000) == [Ping(b"")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes((0x89, 0)), "not masked"),
        (masked(Opcode.PING, first=0), "in parts"),
        (bytes((0x89, 0x80 | 126)), "not short"),
        (masked(Opcode.BINARY, first=0xC0), "reserved"),
        (masked(3), "opcode 3"),
        (masked(15), "opcode 15"),
        (masked(Opcode.BINARY, bytes(MAX_FRAME_BYTES + 1)), "too long"),
        (bytes((0x82, 0xFF)) + b"\xff" * 8 + MASK, "too long"),
        (b"GET / HTTP/1.1\r\n", "reserved"),
    ],
)
@pytest.mark.parametrize("step", [None, 1])
def test_viewer_frames_against_the_rules_end_it(data: bytes, words: str, step: int | None) -> None:
    (event,) = events_of(data + masked(Opcode.PING, b"late"), step)
    assert isinstance(event, Closed)
    assert event.code == CloseCode.PROTOCOL_ERROR
    assert words in event.reason


def test_viewer_frames_of_any_bytes_raise_nothing_and_hold_little() -> None:
    dice = random.Random(1)
    for data in mutations([TALK[:600], masked(Opcode.CLOSE, b"\x03\xe8")], 3000):
        frames = ViewerFrames()
        while data:
            step = dice.randrange(1, 40)
            for event in frames.receive(data[:step], 0):
                assert isinstance(event, Closed) or len(event.payload) <= 125
            data = data[step:]
            assert len(frames._held) <= 2 + 4 + 125


def test_accept_key_is_that_of_the_rfc() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "é" * 24, "A" * 4000])
def test_accept_key_of_garbage_is_refused(key: str) -> None:
    with pytest.raises(PeerError):
        accept_key(key)


@pytest.mark.parametrize(
    ("offered", "taken"),
    [
        ("", ""),
        ("binary", "binary"),
        ("flv, binary", "flv"),
        ("a b", ""),
        ("x" * 65, ""),
        ("é", ""),
    ],
)
def test_first_protocol_is_taken_if_it_is_a_token(offered: str, taken: str) -> None:
    assert first_protocol(offered) == taken


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65_535, b"\x82\x7e\xff\xff"),
        (65_536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frame_tells_its_length_in_the_shortest_way(size: int, head: bytes) -> None:
    assert frame(Opcode.BINARY, bytes(size)) == head + bytes(size)


def test_close_frame_holds_its_code() -> None:
    assert close_frame(CloseCode.GOING_AWAY) == b"\x88\x02\x03\xe9"
