"""What is sent again to whom, and what is not: NACK storms, replays, viewers that skipped."""

from __future__ import annotations

import pytest

from appliance.errors import PeerError
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.history import (
    FIRST_CREDIT_BYTES,
    MAX_PACKETS,
    SHARE,
    Answer,
    Retransmission,
    SendHistory,
)
from appliance.wire.rtp.outgoing import RtpChunk, frame_payloads
from appliance.wire.rtp.packet import RtpPacket
from appliance.wire.rtp.rtx import RtxNumbering, unwrap_rtx
from appliance.wire.rtp.viewer_packets import ViewerPackets

ROUND_TRIP_US = 50_000
SIZE = 1000


class Track:
    def __init__(self, first: int = 65_500, offset: int = 100) -> None:
        self.history = SendHistory()
        self.viewer = Retransmission(self.history, offset)
        self.next = first

    def send(self, packets: int, size: int = SIZE, *, to_viewer: bool = True) -> None:
        payloads = [
            Payload((self.next + step & 0xFFFF).to_bytes(2, "big") * (size // 2), False)
            for step in range(packets)
        ]
        data, places = frame_payloads(payloads, 96, self.next, 0)
        self.next = self.next + packets & 0xFFFF
        made = ViewerPackets(RtpChunk(data, 0, 0, True, places=places))
        self.history.add(made)
        if to_viewer:
            self.viewer.note_sent(made)


def numbers(answers: list[Answer]) -> list[int]:
    """As the payloads tell them: the track's own."""
    return [int.from_bytes(answer.packet.payload[:2], "big") for answer in answers]


def test_lost_packets_are_found_by_the_viewers_numbers_over_the_wrap() -> None:
    track = Track()
    track.send(60)
    answers = track.viewer.answer([65_535 + 100 & 0xFFFF, 0 + 100, 23 + 100], ROUND_TRIP_US, 0)
    assert numbers(answers) == [65_535, 0, 23]
    assert [answer.sequence for answer in answers] == [99, 100, 123]


def test_packets_not_sent_yet_or_too_old_are_refused() -> None:
    track = Track(first=0, offset=0)
    track.send(MAX_PACKETS + 10, size=20)
    assert track.viewer.answer([9, MAX_PACKETS + 10, 40_000], ROUND_TRIP_US, 0) == []
    assert numbers(track.viewer.answer([10, MAX_PACKETS + 9], ROUND_TRIP_US, 0)) == [10, 521]
    assert track.viewer.refused == 3


def test_packets_of_before_the_viewer_came_are_refused() -> None:
    track = Track(first=0, offset=0)
    track.send(10, to_viewer=False)
    track.send(5)
    assert numbers(track.viewer.answer(range(15), ROUND_TRIP_US, 0)) == [10, 11, 12, 13, 14]


def test_packets_in_the_track_that_the_viewer_has_not_had_yet_are_refused() -> None:
    track = Track(first=0, offset=0)
    track.send(5)
    track.send(5, to_viewer=False)
    assert numbers(track.viewer.answer(range(10), ROUND_TRIP_US, 0)) == [0, 1, 2, 3, 4]


def test_viewer_that_skipped_is_sent_nothing_under_a_wrong_number() -> None:
    track = Track(first=0, offset=0)
    track.send(10)
    track.send(20, to_viewer=False)
    track.viewer.renumber(-20)
    track.send(5)
    answers = track.viewer.answer(range(15), ROUND_TRIP_US, 0)
    assert numbers(answers) == [30, 31, 32, 33, 34]
    assert [answer.sequence for answer in answers] == [10, 11, 12, 13, 14]


def test_packet_is_sent_again_once_in_a_round_trip() -> None:
    track = Track(first=0, offset=0)
    track.send(5)
    assert numbers(track.viewer.answer([1, 1, 1], ROUND_TRIP_US, 0)) == [1]
    assert track.viewer.answer([1], ROUND_TRIP_US, ROUND_TRIP_US - 1) == []
    assert numbers(track.viewer.answer([1], ROUND_TRIP_US, ROUND_TRIP_US)) == [1]
    assert track.viewer.answer([1], 0, ROUND_TRIP_US + 19_999) == []


def test_storm_of_requests_is_answered_with_a_share_of_the_media() -> None:
    """One NACK of 1 400 octets names 5 899 packets."""
    track = Track(first=0, offset=0)
    sent_bytes = now_us = answered_bytes = 0
    for _ in range(40):
        track.send(10)
        sent_bytes += 10 * SIZE
        now_us += 100_000
        answers = track.viewer.answer(range(2000), 0, now_us)
        answered_bytes += sum(len(answer.packet.payload) for answer in answers)
    assert answered_bytes <= FIRST_CREDIT_BYTES + sent_bytes // SHARE
    assert answered_bytes > sent_bytes // SHARE // 2


def test_memory_of_a_track_is_bounded() -> None:
    track = Track()
    for _ in range(40):
        track.send(100)
        track.viewer.answer(range(4000), 0, 0)
    kept = [number for number in range(65_536) if track.history.find(number) is not None]
    assert len(kept) == MAX_PACKETS
    assert len(track.viewer._again_us) <= MAX_PACKETS


def test_rtx_packets_carry_the_lost_number_and_count_by_themselves() -> None:
    track, rtx = Track(first=0, offset=100), RtxNumbering(65_535)
    track.send(5)
    places, payloads = rtx.wrap(track.viewer.answer([102, 104], ROUND_TRIP_US, 0))
    assert [place.sequence for place in places] == [65_535, 0]
    assert [payload[:2] for payload in payloads] == [b"\0\x66", b"\0\x68"]
    assert [payload[2:4] for payload in payloads] == [b"\0\2", b"\0\4"]
    assert rtx.sequence == 1


@pytest.mark.parametrize("sequences", [[], [70_000, -5]])
def test_requests_for_nothing_get_nothing(sequences: list[int]) -> None:
    assert Track().viewer.answer(sequences, 0, 0) == []


def test_rtx_packets_are_undone() -> None:
    packet = RtpPacket(97, 5, 900, 22, True, b"\x12\x34payload")
    undone = unwrap_rtx(packet, 96, 11)
    assert undone == RtpPacket(96, 0x1234, 900, 11, True, b"payload")


def test_rtx_packets_that_only_probe_are_nothing() -> None:
    assert unwrap_rtx(RtpPacket(97, 5, 900, 22, True, b""), 96, 11) is None
    assert unwrap_rtx(RtpPacket(97, 5, 900, 22, True, b"\0\1"), 96, 11) is None
    with pytest.raises(PeerError):
        unwrap_rtx(RtpPacket(97, 5, 900, 22, True, b"\0"), 96, 11)
