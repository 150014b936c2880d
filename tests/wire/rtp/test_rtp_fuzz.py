"""Damaged packet sequences through the whole way in: nothing escapes, and memory is bounded."""

from __future__ import annotations

import pytest
from framehash import clip_units
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.media.clock import Unroller, us_to_ticks
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled
from appliance.wire.rtp.formats.h264 import H264Depacketizer, H264Packetizer
from appliance.wire.rtp.formats.h265 import H265Depacketizer, H265Packetizer
from appliance.wire.rtp.packet import parse
from appliance.wire.rtp.reorder import Lost, Reorder
from appliance.wire.rtp.sender import RtpSender

UNITS_PER_FILE = 4
FILES = 4
CODECS = {"h264-b": H264Depacketizer, "h265-b": H265Depacketizer}


def sequences(kind: str) -> list[bytes]:
    """A clip's first packets, some to a file, each behind its length (RFC 4571)."""
    packetizer = H264Packetizer(400) if kind == "h264-b" else H265Packetizer(400)
    sender = RtpSender(96, 1, 65_530, 0xFFFF0000)
    files = [b""] * FILES
    for number, unit in enumerate(clip_units(kind)[1][: FILES * UNITS_PER_FILE]):
        stamp = us_to_ticks(unit.pts_us, 90_000)
        for data in sender.datagrams(packetizer.payloads(unit), stamp):
            files[number // UNITS_PER_FILE] += len(data).to_bytes(2, "big") + data
    return files


def receive(depacketizer: H264Depacketizer | H265Depacketizer, data: bytes) -> list[Assembled]:
    """All that a camera's packets go through."""
    reorder, unroller = Reorder(10_000), Unroller(32)
    found: list[Assembled] = []
    position = now_us = 0
    while position + 2 <= len(data):
        start, now_us = position + 2, now_us + 1000
        position = start + int.from_bytes(data[position:start], "big")
        try:
            reorder.push(parse(data[start:position]), now_us)
        except PeerError:
            continue
        for packet in reorder.take(now_us):
            if isinstance(packet, Lost):
                depacketizer.lost()
            else:
                found += depacketizer.push(packet, unroller.unroll(packet.timestamp))
    return found + depacketizer.flush()


@pytest.mark.parametrize("kind", CODECS)
def test_sequences_undamaged_give_their_units(kind: str) -> None:
    units = receive(CODECS[kind](), b"".join(sequences(kind)))
    sent = clip_units(kind)[1][: FILES * UNITS_PER_FILE]
    assert [unit.parts for unit in units] == [unit.parts for unit in sent]


@pytest.mark.parametrize("kind", CODECS)
def test_sequences_damaged_give_bounded_units_and_no_exception(kind: str) -> None:
    def feed(data: bytes) -> None:
        for unit in receive(CODECS[kind](), data):
            assert sum(map(len, unit.parts)) <= MAX_UNIT_BYTES
            assert all(unit.parts) and unit.parts

    assert_only_peer_error(feed, sequences(kind), 1200)


@pytest.mark.parametrize("kind", CODECS)
def test_payloads_damaged_do_not_escape_as_exceptions(kind: str) -> None:
    """The same without a header in the way, all of one stamp."""
    depacketizer = CODECS[kind]()
    packetizer = H264Packetizer(400) if kind == "h264-b" else H265Packetizer(400)
    payloads = [
        payload.data for unit in clip_units(kind)[1][:8] for payload in packetizer.payloads(unit)
    ]

    def feed(data: bytes) -> None:
        packet = parse(b"\x80\x60" + bytes(10) + data)
        depacketizer.push(packet, 0)
        for stamp in (1, 0):
            depacketizer.push(packet, stamp)

    assert_only_peer_error(feed, payloads, 3000)
