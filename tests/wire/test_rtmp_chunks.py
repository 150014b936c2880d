"""RTMP's chunk stream: messages in any pieces, and what hostile peers make of it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.rtmp.chunks import MAX_LANES, MAX_OPEN, ChunkReader, ChunkWriter
from appliance.wire.rtmp.message import Message, MessageType, set_chunk_size

AUDIO, VIDEO, DATA, COMMAND = 8, 9, 18, 20
CSIDS = {AUDIO: 4, VIDEO: 6, DATA: 5, COMMAND: 3}


def conversation(start_ms: int, chunk_bytes: int, seed: int = 1) -> tuple[list[Message], bytes]:
    """Messages of all sizes around the chunk's, and their bytes."""
    chance = random.Random(seed)
    writer = ChunkWriter()
    messages = [set_chunk_size(chunk_bytes)]
    data = writer.write(messages[0], 2)
    stamp_ms = start_ms
    for _ in range(60):
        kind = chance.choice((AUDIO, VIDEO, VIDEO, DATA, COMMAND))
        size = chance.choice((0, 1, chunk_bytes - 1, chunk_bytes, chunk_bytes + 1, 3000))
        message = Message(kind, int(kind <= 9), stamp_ms & 0xFFFF_FFFF, chance.randbytes(size))
        messages.append(message)
        data += writer.write(message, CSIDS[kind])
        stamp_ms += chance.choice((0, 10, 33, 40))
    return messages, data


@pytest.mark.parametrize("start_ms", [0, 0xFF_FFF0, 0xFFFF_FE00])
@pytest.mark.parametrize("chunk_bytes", [128, 4096])
@pytest.mark.parametrize("piece_bytes", [1, 97, 1 << 20])
def test_messages_in_any_pieces_come_out_whole(
    start_ms: int, chunk_bytes: int, piece_bytes: int
) -> None:
    """Stamps cross the 24-bit edge (extended) and the 32-bit wrap."""
    messages, data = conversation(start_ms, chunk_bytes)
    reader = ChunkReader()
    found: list[Message] = []
    for start in range(0, len(data), piece_bytes):
        found += reader.receive(data[start : start + piece_bytes])
    assert found == messages
    assert reader.pending_bytes == 0
    assert reader.received_bytes == len(data)


def test_message_header_is_as_documented() -> None:
    writer = ChunkWriter()
    first = writer.write(Message(VIDEO, 1, 0x010203, b"ab"), 6)
    second = writer.write(Message(VIDEO, 1, 0x010203 + 40, b"c"), 6)
    assert first == bytes.fromhex("06 010203 000002 09 01000000") + b"ab"
    assert second == bytes.fromhex("46 000028 000001 09") + b"c"


def test_audio_between_the_chunks_of_a_picture_is_told_apart() -> None:
    picture, sound = bytes(range(256)) + b"x" * 44, b"s" * 50
    data = (
        bytes.fromhex("06 000010 00012c 09 01000000") + picture[:128]
        + bytes.fromhex("04 000011 000032 08 01000000") + sound
        + b"\xc6" + picture[128:256]
        + b"\xc6" + picture[256:]
    )  # fmt: skip
    assert ChunkReader().receive(data) == [
        Message(AUDIO, 1, 0x11, sound),
        Message(VIDEO, 1, 0x10, picture),
    ]


@pytest.mark.parametrize("repeated", [True, False])
def test_extended_stamp_may_be_repeated_or_not(repeated: bool) -> None:
    stamp, picture = (0x0123_4567).to_bytes(4, "big"), bytes(range(200))
    data = bytes.fromhex("06 ffffff 0000c8 09 01000000") + stamp + picture[:128]
    data += b"\xc6" + (stamp if repeated else b"") + picture[128:]
    assert ChunkReader().receive(data) == [Message(VIDEO, 1, 0x0123_4567, picture)]


@pytest.mark.parametrize("size", [129, 130, 131, 132, 133, 256, 257, 300])
@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("form", [0, 1, 2])
def test_message_with_an_extended_stamp_is_complete_with_its_last_byte(
    size: int, repeated: bool, form: int
) -> None:
    """R22: also if there is less left than a stamp would take; byte by byte and at once."""
    stamp, picture = bytes.fromhex("01020304"), bytes(range(5, 255)) * 2
    picture = picture[:size]
    head = bytes.fromhex(("06 ffffff {} 09 01000000", "46 ffffff {} 09", "86 ffffff")[form].format(
        size.to_bytes(3, "big").hex()
    ))  # fmt: skip
    data = head + stamp + picture[:128]
    for start in range(128, size, 128):
        data += b"\xc6" + (stamp if repeated else b"") + picture[start : start + 128]
    before = bytes.fromhex("06 000010") + size.to_bytes(3, "big") + bytes.fromhex("09 01000000")
    before += b"\xc6".join(bytes(128)[: size - start] for start in range(0, size, 128))
    for step in (1, len(data)):
        reader, found = ChunkReader(), list[Message]()
        assert len(reader.receive(before)) == 1
        for start in range(0, len(data), step):
            found += reader.receive(data[start : start + step])
        (message,) = found
        assert message == Message(VIDEO, 1, 0x0102_0304 + (0x10 if form else 0), picture)
        assert reader.pending_bytes == 0


@pytest.mark.parametrize(
    ("first", "field", "expected"),
    [
        (0, "fffffe", 0xFF_FFFE),
        (0, "ffffff 00ffffff", 0xFF_FFFF),
        (0, "ffffff 01000000", 0x100_0000),
        (0xFFFF_FFF0, "000020", 0x10),
        (0xFFFF_FFF0, "ffffff ffffffff", 0xFFFF_FFEF),
        (1000, "ffffff ffffffd8", 960),
        (1000, "ffffff 80000000", 0x8000_03E8),
        (1000, "000000", 1000),
    ],
)
@pytest.mark.parametrize("form", [1, 2])
def test_delta_of_any_size_moves_the_stamp_within_32_bits(
    first: int, field: str, expected: int, form: int
) -> None:
    """R22: the edge of 24 bits, wraps, steps back; what they mean is for who unrolls them."""
    reader = ChunkReader()
    absolute = first.to_bytes(4, "big")
    head = absolute[1:] if first < 0xFF_FFFF else b"\xff\xff\xff"
    extended = b"" if first < 0xFF_FFFF else absolute
    reader.receive(b"\4" + head + bytes.fromhex("000001 08 01000000") + extended + b"a")
    stamp, extended = bytes.fromhex(field)[:3], bytes.fromhex(field)[3:]
    rest = bytes.fromhex("000001 08") if form == 1 else b""
    (message,) = reader.receive(bytes((form << 6 | 4,)) + stamp + rest + extended + b"b")
    assert message.timestamp_ms == expected


def test_format_3_begins_a_message_with_the_delta_before() -> None:
    data = bytes.fromhex("04 00000a 000001 08 01000000 61 44 000005 000001 08 62 c4 63")
    assert [message.timestamp_ms for message in ChunkReader().receive(data)] == [10, 15, 20]


@pytest.mark.parametrize("csid", [63, 64, 319, 320, 65_599])
def test_chunk_stream_of_any_number_is_read(csid: int) -> None:
    if csid < 64:
        basic = bytes((csid,))
    elif csid < 320:
        basic = bytes((0, csid - 64))
    else:
        basic = b"\x01" + (csid - 64).to_bytes(2, "little")
    body = bytes(200)
    follow = bytes((basic[0] | 0xC0,)) + basic[1:]
    data = basic + bytes.fromhex("000000 0000c8 09 01000000") + body[:128] + follow + body[128:]
    assert ChunkReader().receive(data) == [Message(VIDEO, 1, 0, body)]


def test_abort_drops_what_has_come_and_the_rest_goes_on() -> None:
    begun = bytes.fromhex("06 000000 0000c8 09 01000000") + bytes(128)
    abort = bytes.fromhex("02 000000 000004 02 00000000 00000006")
    again = bytes.fromhex("06 000000 000001 09 01000000 61")
    kinds = [message.kind for message in ChunkReader().receive(begun + abort + again)]
    assert kinds == [MessageType.ABORT, VIDEO]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("R4 format 3 on an unknown chunk stream", "c5"),
        ("R4 format 1", "45 000000 000001 08"),
        ("R4 format 2", "85 000000"),
        ("R5 chunk size 0", "02 000000 000004 01 00000000 00000000"),
        ("R6 chunk size 1", "02 000000 000004 01 00000000 00000001"),
        ("R6 chunk size 127", "02 000000 000004 01 00000000 0000007f"),
        ("R7 chunk size with its first bit", "02 000000 000004 01 00000000 80000000"),
        ("R7 chunk size of ones", "02 000000 000004 01 00000000 ffffffff"),
        ("chunk size of two bytes", "02 000000 000002 01 00000000 0080"),
        ("R8 endless command", "03 000000 ffffff 14 00000000"),
        ("R8 endless metadata", "05 000000 040001 12 01000000"),
        ("R8 endless picture", "06 000000 ffffff 09 01000000"),
        ("endless control", "02 000000 000041 05 00000000"),
        ("R11 abort of three bytes", "02 000000 000003 02 00000000 000006"),
    ],
)
def test_hostile_chunk_is_refused(name: str, data: str) -> None:
    with pytest.raises(PeerError):
        ChunkReader().receive(bytes.fromhex(data))


def test_new_message_inside_another_of_its_chunk_stream_is_refused() -> None:
    """R10: never joined to what had come."""
    reader = ChunkReader()
    reader.receive(bytes.fromhex("06 000000 0000c8 09 01000000") + bytes(128))
    with pytest.raises(PeerError):
        reader.receive(bytes.fromhex("06 000000 000064 09 01000000") + bytes(100))


def test_chunk_size_of_the_greatest_allocates_nothing() -> None:
    """R7: whatever is announced, only what comes is held, and the message's own cap holds."""
    reader = ChunkReader()
    reader.receive(bytes.fromhex("02 000000 000004 01 00000000 7fffffff"))
    reader.receive(bytes.fromhex("06 000000 100000 09 01000000") + bytes(1000))
    assert reader.pending_bytes < 1100
    with pytest.raises(PeerError):
        reader.receive(bytes(0x100000 - 1000) + bytes.fromhex("03 000000 ffffff 14 00000000"))


def test_chunk_streams_without_end_are_bounded() -> None:
    """R9: a message begun on each of them."""
    reader = ChunkReader()
    with pytest.raises(PeerError):
        for number in range(MAX_OPEN + 1):
            head = bytes((0, number)) + bytes.fromhex("000000 00ffff 09 01000000")
            reader.receive(head + bytes(128))
    assert reader.pending_bytes < (MAX_OPEN + 2) * 256
    reader = ChunkReader()
    with pytest.raises(PeerError):
        for number in range(MAX_LANES + 1):
            head = b"\x01" + number.to_bytes(2, "little")
            reader.receive(head + bytes.fromhex("000000 000001 08 01000000 61"))


def test_incomplete_messages_are_bounded_in_bytes() -> None:
    reader = ChunkReader()
    reader.receive(bytes.fromhex("02 000000 000004 01 00000000 00100000"))
    with pytest.raises(PeerError):
        for csid in range(3, 3 + MAX_OPEN):
            head = bytes((csid,)) + bytes.fromhex("000000 400000 09 01000000")
            reader.receive(head + bytes(1 << 20))
    assert reader.pending_bytes <= (8 << 20) + 2 * ((1 << 20) + 12)


def test_stamps_of_a_stream_that_goes_back_are_absolute() -> None:
    writer, reader = ChunkWriter(), ChunkReader()
    stamps = [50, 10, 0xFFFF_FFF0, 5]
    data = b"".join(writer.write(Message(AUDIO, 1, stamp, b"a"), 4) for stamp in stamps)
    assert [message.timestamp_ms for message in reader.receive(data)] == stamps


def test_chunks_mutated_raise_only_peer_error() -> None:
    corpus = [conversation(0, 128, seed)[1][:3000] for seed in range(3)]

    def parse(data: bytes) -> None:
        reader = ChunkReader()
        for start, end in pairwise([*range(0, len(data), 300), len(data)]):
            reader.receive(data[start:end])

    assert_only_peer_error(parse, corpus)
