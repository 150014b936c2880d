"""Order restored, gaps declared in time, and sequences that start anew."""

from __future__ import annotations

import random

import pytest

from appliance.wire.rtp.packet import RtpPacket
from appliance.wire.rtp.reorder import MAX_DROPOUT_PACKETS, MAX_HEAD_START_PACKETS, Lost, Reorder

PATIENCE_US = 1000


def packet(sequence: int, ssrc: int = 1) -> RtpPacket:
    return RtpPacket(96, sequence & 0xFFFF, 0, ssrc, False, b"")


def run(reorder: Reorder, *sequences: int, now_us: int = 0, ssrc: int = 1) -> list[int | Lost]:
    """Sequence numbers and gaps that come out."""
    for sequence in sequences:
        reorder.push(packet(sequence, ssrc), now_us)
    return [found if isinstance(found, Lost) else found.sequence for found in reorder.take(now_us)]


def test_packets_in_order_go_straight_through_across_the_wrap() -> None:
    reorder = Reorder(PATIENCE_US)
    assert run(reorder, 65534, 65535, 0, 1) == [65534, 65535, 0, 1]
    assert reorder.due_us is None


def test_packets_out_of_order_wait_for_the_missing_one() -> None:
    reorder = Reorder(PATIENCE_US)
    assert run(reorder, 65534, 0, 1) == [65534]
    assert reorder.due_us == PATIENCE_US
    assert run(reorder, 65535, now_us=PATIENCE_US - 1) == [65535, 0, 1]
    assert reorder.due_us is None
    assert reorder.lost == 0


def test_gap_is_lost_when_patience_ends() -> None:
    reorder = Reorder(PATIENCE_US)
    assert run(reorder, 1) == [1]
    assert run(reorder, 4, now_us=100) == []
    assert run(reorder, 6, now_us=600) == []
    assert run(reorder, now_us=PATIENCE_US + 99) == []
    assert run(reorder, now_us=PATIENCE_US + 100) == [Lost(2), 4]
    assert reorder.due_us == PATIENCE_US + 600
    assert run(reorder, now_us=PATIENCE_US + 600) == [Lost(1), 6]
    assert reorder.lost == 3


def test_packet_after_its_gap_was_declared_is_late() -> None:
    reorder = Reorder(PATIENCE_US)
    run(reorder, 1, 3)
    assert run(reorder, now_us=PATIENCE_US) == [Lost(1), 3]
    assert run(reorder, 2, 4, now_us=PATIENCE_US) == [4]
    assert reorder.late == 1


def test_duplicates_are_dropped_whether_waiting_or_past() -> None:
    reorder = Reorder(PATIENCE_US)
    assert run(reorder, 1, 2, 2, 4, 4, 3) == [1, 2, 3, 4]
    assert (reorder.late, reorder.duplicates) == (1, 1)


def test_without_patience_a_gap_shows_at_once() -> None:
    reorder = Reorder(0)
    assert run(reorder, 1, 3, 4, 9) == [1, Lost(1), 3, 4, Lost(4), 9]
    assert reorder.due_us is None


def test_depth_bounds_what_waits() -> None:
    reorder = Reorder(PATIENCE_US, depth_packets=10)
    assert run(reorder, 0, *range(2, 12)) == [0]
    assert run(reorder, 12) == [Lost(1), *range(2, 13)]


def test_packets_that_all_leave_gaps_stay_bounded() -> None:
    reorder = Reorder(PATIENCE_US)
    for sequence in range(0, 4000, 2):
        reorder.push(packet(sequence), 0)
        assert len(reorder._waiting) <= 512


def test_announced_first_packet_is_waited_for() -> None:
    reorder = Reorder(PATIENCE_US)
    reorder.expect(65_535)
    assert run(reorder, 1, 0) == []
    assert run(reorder, 65_535, 2) == [65_535, 0, 1, 2]


@pytest.mark.parametrize("announced", [5, 1000 - MAX_HEAD_START_PACKETS - 1, 1001, 40_000])
def test_announced_nonsense_is_not_believed(announced: int) -> None:
    reorder = Reorder(PATIENCE_US)
    reorder.expect(announced)
    assert run(reorder, 1000, 1001) == [1000, 1001]


def test_announced_first_packet_that_never_comes_is_lost_in_time() -> None:
    reorder = Reorder(PATIENCE_US)
    reorder.expect(1000 - MAX_HEAD_START_PACKETS)
    assert run(reorder, 1000) == []
    assert run(reorder, now_us=PATIENCE_US) == [Lost(MAX_HEAD_START_PACKETS), 1000]


@pytest.mark.parametrize("patience_us", [0, PATIENCE_US])
def test_another_ssrc_is_believed_from_its_second_packet(patience_us: int) -> None:
    reorder = Reorder(patience_us)
    run(reorder, 10)
    assert run(reorder, 500, ssrc=2) == []
    assert run(reorder, 501, ssrc=2) == [Lost(0, restarted=True), 500, 501]
    assert run(reorder, 502, ssrc=2) == [502]
    assert reorder.restarts == 1


def test_strays_between_packets_are_not_believed() -> None:
    reorder = Reorder(PATIENCE_US)
    assert run(reorder, 10) == [10]
    for number in range(100):
        assert run(reorder, number, ssrc=1000 + number) == []
        assert run(reorder, 30_000 + number) == []
        assert run(reorder, 11 + number) == [11 + number]
    assert reorder.restarts == 0


def test_two_sources_packet_by_packet_leave_the_first_one() -> None:
    reorder = Reorder(PATIENCE_US)
    found = []
    for sequence in range(50):
        found += run(reorder, sequence)
        found += run(reorder, 9000 + sequence, ssrc=2)
    assert found == list(range(50))


def test_a_jump_is_believed_from_its_second_packet_and_what_waited_comes_first() -> None:
    reorder = Reorder(PATIENCE_US)
    assert run(reorder, 1, 3) == [1]
    jump = 4 + MAX_DROPOUT_PACKETS
    assert run(reorder, jump, jump + 1) == [
        Lost(1),
        3,
        Lost(0, restarted=True),
        jump,
        jump + 1,
    ]


def test_over_tcp_a_small_step_back_is_a_restart() -> None:
    reorder = Reorder(0)
    run(reorder, *range(100))
    assert run(reorder, 5, 6, 7) == [Lost(0, restarted=True), 5, 6, 7]


def test_loss_below_the_dropout_limit_is_counted() -> None:
    reorder = Reorder(0)
    assert run(reorder, 0, MAX_DROPOUT_PACKETS + 1) == [
        0,
        Lost(MAX_DROPOUT_PACKETS),
        MAX_DROPOUT_PACKETS + 1,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_and_lossy_stream_comes_out_in_order_with_every_gap_told(seed: int) -> None:
    rng = random.Random(seed)
    reorder = Reorder(50 * PATIENCE_US)
    arrivals = sorted((sent * 1000 + rng.randrange(20_000), sent) for sent in range(70_000, 72_000))
    arrivals = [(at, sent) for at, sent in arrivals if rng.random() > 0.05 or sent == 70_000]
    first = arrivals[0][1]
    position, lost = first - 1, 0
    for at_us, sent in [*arrivals, (arrivals[-1][0] + 10**9, None)]:
        if sent is not None:
            reorder.push(packet(sent), at_us)
        for found in reorder.take(at_us):
            if isinstance(found, Lost):
                position += found.packets
                lost += found.packets
            else:
                position += 1
                assert found.sequence == position & 0xFFFF
    received = {sent for _, sent in arrivals if sent >= first}
    assert position == max(received)
    assert lost == position - first + 1 - len(received)
