"""RTP headers: every form there is, and the damaged ones of the field."""

from __future__ import annotations

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.rtp.packet import RtpPacket, header, is_rtcp, parse

PLAIN = bytes.fromhex("80e0 1234 89abcdef 01020304") + b"payload"
SOURCES = bytes.fromhex("8260 0001 00000002 00000003 0000000a 0000000b") + b"payload"
EXTENSION = bytes.fromhex("9060 0001 00000002 00000003 bede 0001 10ff0000") + b"payload"
PADDED = bytes.fromhex("a060 0001 00000002 00000003") + b"payload" + b"\0\0\3"


@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_parse_plain_packet_gives_every_field(wrap: type) -> None:
    packet = parse(wrap(PLAIN))
    assert packet == RtpPacket(96, 0x1234, 0x89ABCDEF, 0x01020304, True, b"payload")
    assert type(packet.payload) is wrap


@pytest.mark.parametrize(
    ("data", "extension"),
    [(SOURCES, None), (EXTENSION, (0xBEDE, b"\x10\xff\0\0")), (PADDED, None)],
    ids=["sources", "extension", "padding"],
)
def test_parse_finds_the_payload_behind_whatever_precedes_it(
    data: bytes, extension: tuple[int, bytes] | None
) -> None:
    packet = parse(data)
    assert (packet.payload, packet.extension, packet.marker) == (b"payload", extension, False)


def test_parse_empty_payload_is_a_packet() -> None:
    assert parse(PLAIN[:12]).payload == b""
    assert parse(PADDED[:12] + b"\0\2").payload == b""


@pytest.mark.parametrize(
    "data",
    [
        "a060 0001 00000000 00000001 ff",
        "a060 0001 00000000 00000001 00",
        "a060 0001 00000000 00000001",
        "9060 0001 00000000 00000001 bede ffff",
        "9060 0001 00000000 00000001 bede",
        "8f60 0001 00000000 00000001",
        "0060 0001 00000000 00000001 00",
        "4060 0001 00000000 00000001 00",
        "c060 0001 00000000 00000001 00",
        "80",
        "",
    ],
)
def test_parse_damaged_header_is_the_peers_error(data: str) -> None:
    with pytest.raises(PeerError):
        parse(bytes.fromhex(data))


def test_parse_mutants_raise_nothing_else() -> None:
    assert_only_peer_error(parse, [PLAIN, SOURCES, EXTENSION, PADDED], 3000)


def test_header_is_what_parse_reads() -> None:
    data = header(96, 0x11234, 0x1_89ABCDEF, 0x01020304, True)
    assert data + b"payload" == PLAIN
    assert not parse(header(96, 0, 0, 0, False)).marker


@pytest.mark.parametrize(
    ("second", "answer"), [(191, False), (192, True), (200, True), (223, True), (224, False)]
)
def test_is_rtcp_by_the_second_byte(second: int, answer: bool) -> None:
    assert is_rtcp(bytes((0x80, second))) is answer
    assert not is_rtcp(b"\x80")
