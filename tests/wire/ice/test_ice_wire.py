"""Candidates as text, packets by their first octets, and packets on a TCP connection."""

from __future__ import annotations

import random

import pytest
from ice_peer import check
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.ice.candidate import Candidate, host_candidates, parse_candidate
from appliance.wire.ice.demux import PacketKind, packet_kind
from appliance.wire.ice.framing import (
    MAX_EMPTY_FRAMES,
    MAX_FRAME_BYTES,
    FrameReader,
    format_frame,
)

CHROMIUM = (
    "candidate:2113667326 1 udp 2113937151 5c9a1b7e-0000-4000-8000-0123456789ab.local 53705 "
    "typ host generation 0 ufrag aZ3/ network-cost 999"
)


def test_candidate_of_a_browser_is_read_and_its_name_is_nothing_to_resolve() -> None:
    found = parse_candidate(CHROMIUM)
    assert found.address == "5c9a1b7e-0000-4000-8000-0123456789ab.local"
    assert found.ip is None
    assert (found.protocol, found.port, found.kind) == ("udp", 53705, "host")


@pytest.mark.parametrize(
    "value",
    [
        "1 1 udp 2130706431 192.0.2.1 8000 typ host",
        "2 1 tcp 1518280447 2001:db8::1 8000 typ host tcptype passive",
    ],
)
def test_candidate_is_printed_as_it_was_read(value: str) -> None:
    found = parse_candidate(value)
    assert found.value() == value
    assert found.ip is not None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1 1 udp 1 192.0.2.1 8000 typ",
        "1 1 udp 1 192.0.2.1 65536 typ host",
        "1 1 udp -1 192.0.2.1 8000 typ host",
        "1 257 udp 1 192.0.2.1 8000 typ host",
        "1 1 udp \u0661 192.0.2.1 8000 typ host",
        "1 1 udp 1 192.0.2.1;rm 8000 typ host",
        "1 1 udp 1 192.0.2.1 8000 type host",
        "1 1 tcp 1 192.0.2.1 8000 typ host tcptype sideways",
        "1 1 udp 1 " + "a" * 600 + " 8000 typ host",
    ],
)
def test_malformed_candidate_is_refused(value: str) -> None:
    with pytest.raises(PeerError):
        parse_candidate(value)


def test_host_candidates_prefer_udp_and_the_first_address() -> None:
    made = host_candidates(["192.0.2.1", "2001:db8::1", "192.0.2.1"], 8000, 8001)
    assert [(c.protocol, c.address, c.port, c.tcp_type) for c in made] == [
        ("udp", "192.0.2.1", 8000, ""),
        ("udp", "2001:db8::1", 8000, ""),
        ("tcp", "192.0.2.1", 8001, "passive"),
        ("tcp", "2001:db8::1", 8001, "passive"),
    ]
    priorities = [c.priority for c in made]
    assert priorities == sorted(priorities, reverse=True)
    assert len({c.foundation for c in made}) == len(set(priorities)) == 4
    assert made[0].priority == 2130706431  # RFC 8445 §5.1.2.1 of a host with one address
    assert host_candidates(["192.0.2.1"], None, None) == []


def test_priorities_stay_in_range_with_very_many_addresses() -> None:
    made = host_candidates((f"10.0.{n >> 8}.{n & 255}" for n in range(9000)), 1, 1)
    assert all(0 < c.priority < 2**31 for c in made)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"\x00\x01", PacketKind.STUN),
        (b"\x03\x00", PacketKind.STUN),
        (b"\x04\x00", PacketKind.OTHER),
        (b"\x10\x00", PacketKind.OTHER),  # ZRTP
        (b"\x13\xfe", PacketKind.OTHER),
        (b"\x14\xfe", PacketKind.DTLS),
        (b"\x3f\xfe", PacketKind.DTLS),  # DTLS 1.3's unified header
        (b"\x40\x00", PacketKind.OTHER),  # TURN channel
        (b"\x7f\x00", PacketKind.OTHER),
        (b"\x80\x60", PacketKind.RTP),
        (b"\xbf\xe0", PacketKind.RTP),
        (b"\x80\xc8", PacketKind.RTCP),
        (b"\x81\xdf", PacketKind.RTCP),
        (b"\x80\xbf", PacketKind.RTP),
        (b"\xc0\x00", PacketKind.OTHER),  # QUIC
        (b"\xff\xff", PacketKind.OTHER),
    ],
)
def test_packet_is_known_by_its_first_octets(first: bytes, kind: PacketKind) -> None:
    assert packet_kind(first + bytes(18)) is kind
    assert packet_kind(memoryview(first + bytes(18))) is kind
    assert packet_kind(first) is PacketKind.OTHER


def test_every_first_octet_and_length_is_some_kind() -> None:
    for first in range(256):
        for size in range(21):
            packet_kind((bytes((first,)) + bytes(20))[:size])


def test_frames_are_the_same_however_they_are_torn() -> None:
    rng = random.Random(3)
    packets = [rng.randbytes(rng.choice((1, 20, 300, MAX_FRAME_BYTES))) for _ in range(50)]
    stream = b"".join(format_frame(packet) for packet in packets)
    for most in (1, 7, 1000, len(stream)):
        reader, found, position = FrameReader(), [], 0
        while position < len(stream):
            size = rng.randint(1, most)
            found += reader.receive(stream[position : position + size])
            position += size
        assert found == packets


def test_frame_longer_than_any_is_refused_before_it_is_there() -> None:
    with pytest.raises(PeerError):
        FrameReader().receive((MAX_FRAME_BYTES + 1).to_bytes(2, "big"))


def test_empty_frames_are_passed_over_but_not_for_ever() -> None:
    reader = FrameReader()
    assert reader.receive(bytes(2 * MAX_EMPTY_FRAMES) + format_frame(b"a")) == [b"a"]
    assert reader.receive(bytes(2 * MAX_EMPTY_FRAMES)) == []
    with pytest.raises(PeerError):
        reader.receive(bytes(2))


def test_http_on_the_port_is_no_frame() -> None:
    with pytest.raises(PeerError):
        FrameReader().receive(b"GET / HTTP/1.1\r\n\r\n")


def test_framing_and_candidates_survive_mutants() -> None:
    def read(data: bytes) -> None:
        reader = FrameReader()
        for at in range(0, len(data), 97):
            for packet in reader.receive(data[at : at + 97]):
                packet_kind(packet)

    assert_only_peer_error(read, [format_frame(check()) * 3], 2000)
    assert_only_peer_error(
        lambda data: parse_candidate(data.decode("utf-8", "replace")).value(),
        [CHROMIUM.encode(), Candidate("1", 1, "udp", 1, "192.0.2.1", 1).value().encode()],
        3000,
    )
