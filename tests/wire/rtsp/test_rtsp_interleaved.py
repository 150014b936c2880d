"""Frames and messages on one connection, in pieces of any size."""

from __future__ import annotations

import pytest

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtsp.interleaved import (
    MAX_FRAMES,
    MAX_GARBAGE_BYTES,
    MAX_MESSAGES,
    Frames,
    InterleavedReader,
    Item,
    format_frame,
    format_frames,
)
from appliance.wire.rtsp.message import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    Request,
    Response,
    format_request,
    format_response,
)

OPTIONS = format_request("OPTIONS", "rtsp://h/a", [("CSeq", "1")])
ANSWER = format_response(200, [("CSeq", "1")], b"v=0\r\n")


def flatten(items: list[Item]) -> list[object]:
    """Batches may differ by the pieces; their frames may not."""
    found: list[object] = []
    for item in items:
        match item:
            case Frames(frames):
                found += frames
            case Request(method=method, body=body):
                found.append((method, body))
            case Response(code=code, body=body):
                found.append((code, body))
    return found


def read_all(reader: InterleavedReader, data: bytes, piece_bytes: int) -> list[object]:
    items: list[Item] = []
    for at in range(0, len(data), piece_bytes):
        items += reader.receive(data[at : at + piece_bytes])
    return flatten(items)


def test_frames_and_messages_are_the_same_split_at_every_byte() -> None:
    frames = [(0, b"a" * 300), (1, b""), (255, b"$" * 5)]
    data = OPTIONS + format_frames(frames) + ANSWER + b"\r\n" + format_frame(2, OPTIONS) + OPTIONS
    whole = read_all(InterleavedReader(is_tolerant=False), data, len(data))
    assert whole == [
        ("OPTIONS", b""),
        *frames,
        (200, b"v=0\r\n"),
        (2, OPTIONS),
        ("OPTIONS", b""),
    ]
    for cut in range(1, len(data)):
        reader = InterleavedReader(is_tolerant=False)
        assert flatten(reader.receive(data[:cut]) + reader.receive(data[cut:])) == whole
        assert reader.pending_bytes == 0
    for size in (1, 2, 3, 5, 64):
        for is_tolerant in (False, True):
            assert read_all(InterleavedReader(is_tolerant=is_tolerant), data, size) == whole


def test_many_frames_of_a_read_come_as_one_batch() -> None:
    frames = [(n & 3, bytes([n & 255]) * 100) for n in range(1000)]
    assert InterleavedReader(is_tolerant=False).receive(format_frames(frames)) == [Frames(frames)]


def test_frame_that_dribbles_in_is_held_once() -> None:
    reader = InterleavedReader(is_tolerant=False)
    data = format_frame(0, bytes(0xFFFF))
    for at in range(len(data) - 1):
        assert reader.receive(data[at : at + 1]) == []
    assert reader.pending_bytes == len(data) - 1
    assert reader.receive(data[-1:]) == [Frames([(0, bytes(0xFFFF))])]


def test_head_without_end_is_refused_at_its_limit() -> None:
    for line in (b"OPTIONS rtsp://h/" + b"a" * (64 << 10), OPTIONS[:-2] + b"A: b\r\n" * 10_000):
        reader = InterleavedReader(is_tolerant=False)
        with pytest.raises(PeerError):
            for at in range(0, len(line), 100):
                assert reader.receive(line[at : at + 100]) == []
        assert reader.pending_bytes <= MAX_HEAD_BYTES + 200


def test_head_of_the_limit_is_read() -> None:
    start = b"OPTIONS rtsp://h/"
    head = start + b"a" * (MAX_HEAD_BYTES - len(start) - 9) + b" RTSP/1.0"
    assert len(head) == MAX_HEAD_BYTES
    assert len(InterleavedReader(is_tolerant=False).receive(head + b"\r\n\r\n")) == 1
    with pytest.raises(PeerError):
        longer = head.replace(b"/a", b"/aa") + b"\r\n\r\n"
        InterleavedReader(is_tolerant=False).receive(longer)


def test_body_of_the_limit_is_read_and_a_longer_one_is_not_waited_for() -> None:
    body = bytes(MAX_BODY_BYTES)
    data = format_request("ANNOUNCE", "rtsp://h/a", [], body)
    assert read_all(InterleavedReader(is_tolerant=False), data, 4096) == [("ANNOUNCE", body)]
    head = b"ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: %d\r\n\r\n"
    with pytest.raises(PeerError):
        InterleavedReader(is_tolerant=False).receive(head % (1 << 20))


@pytest.mark.parametrize("data", [b"\0" * 4096, b"\x80\x60\r\n\r\n", b"a=b\r\n\r\n", b" " * 10_000])
def test_garbage_is_an_offence_at_a_server(data: bytes) -> None:
    with pytest.raises(PeerError):
        reader = InterleavedReader(is_tolerant=False)
        reader.receive(data)
        reader.receive(b"\r\n" + bytes(MAX_HEAD_BYTES))


def test_frame_before_any_channel_is_an_offence_by_its_first_byte() -> None:
    reader = InterleavedReader(is_tolerant=False)
    reader.allow_frames = False
    with pytest.raises(PeerError):
        reader.receive(b"$")


def test_rtsp_amid_a_frame_is_the_frame_and_what_follows_is_garbage() -> None:
    """A peer that writes from two places: the frame has its length, whatever is in it."""
    frame = format_frame(0, b"x" * 400)
    torn = frame[:100] + ANSWER + frame[100:]
    with pytest.raises(PeerError):
        InterleavedReader(is_tolerant=False).receive(torn + bytes(MAX_HEAD_BYTES))
    reader = InterleavedReader(is_tolerant=True)
    data = torn + format_frame(1, b"next") + ANSWER
    for size in (1, 7, len(data)):
        reader = InterleavedReader(is_tolerant=True)
        found = read_all(reader, data, size)
        assert found[-2:] == [(1, b"next"), (200, b"v=0\r\n")]
        assert reader.garbage_bytes == len(ANSWER)


def test_camera_pads_and_its_answer_is_found() -> None:
    for size in (1, 3, 1000):
        reader = InterleavedReader(is_tolerant=True)
        data = b"\0\0\0\r\n" + format_frame(0, b"a") + b"\0\0junk RTSP!" + ANSWER
        assert read_all(reader, data, size) == [(0, b"a"), (200, b"v=0\r\n")]
        assert reader.garbage_bytes


def test_camera_that_sends_no_rtsp_is_given_up() -> None:
    reader = InterleavedReader(is_tolerant=True)
    with pytest.raises(PeerError):
        for _ in range(MAX_GARBAGE_BYTES // 1000 + 1):
            reader.receive(b"\x01" * 1000)
    assert reader.pending_bytes == 0


def test_empty_frames_excuse_no_garbage() -> None:
    reader = InterleavedReader(is_tolerant=True)
    with pytest.raises(PeerError):
        for _ in range(MAX_GARBAGE_BYTES // 1000 + 1):
            reader.receive(b"$\0\0\0a" * 1000)
    reader = InterleavedReader(is_tolerant=True)
    for _ in range(MAX_GARBAGE_BYTES // 1000 + 1):
        reader.receive((format_frame(0, b"media") + b"junk") * 250)


def test_heads_that_are_none_are_not_looked_at_without_end() -> None:
    """Each byte of such a head may begin another one, as long as the first."""
    reader = InterleavedReader(is_tolerant=True)
    heads = (b"RTSP/1." * 1000 + b"\r\n\r\n") * 2
    with pytest.raises(PeerError):
        reader.receive(heads)
    assert reader.garbage_bytes < 100


@pytest.mark.parametrize("is_tolerant", [False, True])
def test_messages_of_one_read_are_bounded(is_tolerant: bool) -> None:
    reader = InterleavedReader(is_tolerant=is_tolerant)
    assert len(reader.receive(ANSWER * MAX_MESSAGES)) == MAX_MESSAGES
    assert len(reader.receive(ANSWER * MAX_MESSAGES)) == MAX_MESSAGES
    with pytest.raises(PeerError):
        reader.receive(ANSWER * (MAX_MESSAGES + 2))


def test_many_frames_come_in_batches_of_bounded_size() -> None:
    reader = InterleavedReader(is_tolerant=False)
    items = reader.receive(b"$\0\0\0" * (2 * MAX_FRAMES + 1) + b"$\0\0\2a")
    assert [len(item.frames) for item in items if isinstance(item, Frames)] == [
        MAX_FRAMES,
        MAX_FRAMES,
        1,
    ]
    assert flatten(reader.receive(b"b")) == [(0, b"ab")]


def test_short_body_can_be_taken_as_it_is() -> None:
    reader = InterleavedReader(is_tolerant=True)
    assert reader.receive(b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nv=0\r\n") == []
    assert reader.has_open_body
    message = reader.take_short_body()
    assert message is not None
    assert message.body == b"v=0\r\n"
    assert read_all(reader, ANSWER, 1) == [(200, b"v=0\r\n")]


@pytest.mark.parametrize(("channel", "size"), [(-1, 1), (256, 1), (0, 0x10000)])
def test_frame_that_cannot_be_is_a_bug(channel: int, size: int) -> None:
    with pytest.raises(MisuseError):
        format_frame(channel, bytes(size))
