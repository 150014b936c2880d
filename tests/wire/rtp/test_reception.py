"""Receiver statistics as RFC 3550's appendix computes them."""

from __future__ import annotations

from appliance.wire.rtp.packet import RtpPacket
from appliance.wire.rtp.reception import Reception
from appliance.wire.rtp.rtcp import ReportBlock, SenderReport


def note(
    reception: Reception, *sequences: int, at_us: int = 0, timestamp: int = 0, ssrc: int = 9
) -> None:
    for sequence in sequences:
        packet = RtpPacket(96, sequence & 0xFFFF, timestamp, ssrc, False, b"")
        reception.note(packet, at_us)


def block(reception: Reception, now_us: int = 0) -> ReportBlock:
    found = reception.block(now_us)
    assert found is not None
    return found


def test_block_before_any_packet_is_none() -> None:
    assert Reception(90_000).block(0) is None
    assert Reception(90_000).lost_packets == 0


def test_block_counts_loss_since_the_last_one_and_in_all() -> None:
    reception = Reception(90_000)
    note(reception, 10, 11, 13, 15)
    assert block(reception) == ReportBlock(9, 2 * 256 // 6, 2, 15)
    note(reception, 16, 17)
    assert block(reception) == ReportBlock(9, 0, 2, 17)
    assert reception.lost_packets == 2


def test_block_counts_cycles_and_takes_late_packets_for_received() -> None:
    reception = Reception(90_000)
    note(reception, 65_534, 0, 65_535, 1)
    found = block(reception)
    assert (found.highest_sequence, found.lost_packets) == (0x1_0001, 0)


def test_block_with_duplicates_tells_a_negative_loss_and_no_fraction() -> None:
    reception = Reception(90_000)
    note(reception, 1, 1, 1, 2)
    found = block(reception)
    assert (found.lost_fraction, found.lost_packets) == (0, -2)


def test_jitter_of_an_even_stream_is_nothing() -> None:
    reception = Reception(90_000)
    for number in range(100):
        note(reception, number, at_us=number * 40_000, timestamp=number * 3600)
    assert reception.jitter_us == 0


def test_jitter_approaches_the_mean_deviation_across_the_stamps_wrap() -> None:
    reception = Reception(90_000)
    for number in range(400):
        late_us = 10_000 if number % 2 else 0
        stamp = (0xFFFFF000 + number * 3600) & 0xFFFFFFFF
        note(reception, number, at_us=number * 40_000 + late_us, timestamp=stamp)
    assert 9_000 < reception.jitter_us < 10_500


def test_jitter_survives_a_timestamp_that_jumps() -> None:
    reception = Reception(90_000)
    note(reception, 1, at_us=0, timestamp=0)
    note(reception, 2, at_us=40_000, timestamp=10**9)
    assert reception.jitter_us == 0


def test_another_source_starts_anew() -> None:
    reception = Reception(90_000)
    note(reception, 1, 5)
    note(reception, 40_000, 40_001, ssrc=10)
    assert block(reception) == ReportBlock(10, 0, 0, 40_001)


def test_block_answers_the_newest_sender_report() -> None:
    reception = Reception(90_000)
    note(reception, 1)
    reception.note_report(SenderReport(9, 0x1111_2222_3333_4444, 0, 0, 0), 1_000_000)
    found = block(reception, 3_500_000)
    assert (found.last_report, found.delay) == (0x2222_3333, int(2.5 * 65_536))
