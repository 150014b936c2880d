"""Transport-wide feedback: bytes by hand, both directions joined, damage, and what was sent."""

from __future__ import annotations

import random

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.sent_packets import MAX_SENDS, SendResult, SentPackets
from appliance.wire.rtp.twcc import (
    INTERVAL_US,
    MAX_PENDING,
    ArrivalRecorder,
    Feedback,
    pack_feedback,
    parse_feedback,
    read_feedback,
)

HEAD = bytes.fromhex("00000001 00000002")  # who tells it, and of which stream


def read(packets: list[bytes]) -> list[Feedback]:
    found: list[Feedback] = []
    for packet in packets:
        for part in rtcp.parse(packet):
            assert isinstance(part, rtcp.Unknown)
            feedback = read_feedback(part)
            assert feedback is not None
            found.append(feedback)
    return found


def told(packets: list[bytes]) -> dict[int, int | None]:
    """Arrivals by sequence number."""
    found: dict[int, int | None] = {}
    for feedback in read(packets):
        for step, arrival_us in enumerate(feedback.arrivals_us):
            found[feedback.base_sequence + step & 0xFFFF] = arrival_us
    return found


@pytest.mark.parametrize(
    ("body", "arrivals_us"),
    [
        # base 5, 3 packets, reference 2 x 64 ms, a run of three small steps
        ("0005 0003 000002 07 2003 040008", [129_000, 129_000, 131_000]),
        # a vector of 14 one-bit symbols, of which four count: 1011
        ("0005 0004 000000 07 ac00 010101", [250, None, 500, 750]),
        # a vector of 7 two-bit symbols: small, large (-1), none
        ("0005 0003 000000 07 d800 04 ffff", [1000, 750, None]),
        # a run of lost ones, then a small step
        ("fffe 0004 000000 07 0003 2001 01", [None, None, None, 250]),
        # a run that is longer than the count
        ("0000 0002 000000 07 3fff 0101", [250, 500]),
    ],
    ids=["run", "one-bit vector", "two-bit vector", "lost run", "run too long"],
)
def test_feedback_is_read_as_the_draft_has_it(body: str, arrivals_us: list[int | None]) -> None:
    feedback = parse_feedback(HEAD + bytes.fromhex(body))
    assert feedback.arrivals_us == arrivals_us
    assert feedback.number == 7
    assert feedback.base_sequence == int(body[:4], 16)


def test_feedback_is_written_as_the_draft_has_it() -> None:
    """A vector of one-bit symbols, 101."""
    packet = pack_feedback(1, 2, 5, 7, [129_000, None, 131_000])
    assert packet == bytes.fromhex("8fcd0005 00000001 00000002 0005 0003 000002 07 a800 0408")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "0000 0001 000000",
        "0000 0001 000000 00",
        "0000 0001 000000 00 2001",
        "0000 0001 000000 00 4001 00",
        "0000 0001 000000 00 6001 00",
        "0000 0002 000000 00 0000 0000",
        "0000 ffff 000000 00 1fff 1fff 1fff 1fff",
        "0000 2000 000000 00 1fff",
    ],
    ids=[
        "nothing",
        "no reference",
        "no chunk",
        "no delta",
        "half a delta",
        "reserved",
        "empty runs",
        "65 535 packets",
        "chunks missing",
    ],
)
def test_feedback_that_is_damaged_is_refused(body: str) -> None:
    with pytest.raises(PeerError):
        parse_feedback(HEAD + bytes.fromhex(body))


def test_feedback_with_seeded_damage_raises_nothing_but_peer_error() -> None:
    rng = random.Random(1)
    seeds = []
    for _ in range(8):
        recorder = ArrivalRecorder()
        for number in range(100):
            if rng.random() < 0.7:
                recorder.note(number, number * rng.randrange(200, 90_000))
        seeds += [packet[4:] for packet in recorder.feedback(1, 2)]
    assert_only_peer_error(parse_feedback, seeds, 4000)


def test_rtcp_of_another_kind_is_no_feedback() -> None:
    assert read_feedback(rtcp.Unknown(205, 14, b"")) is None
    assert read_feedback(rtcp.Unknown(206, 15, b"")) is None


@pytest.mark.parametrize("seed", range(20))
def test_arrivals_recorded_are_read_again(seed: int) -> None:
    """With loss, reordering, bursts and pauses, over the wrap, in several feedbacks."""
    rng = random.Random(seed)
    recorder, now_us, packets = ArrivalRecorder(), 10_000_000, list[bytes]()
    arrived: dict[int, int] = {}
    loss = rng.choice((0.0, 0.02, 0.5, 0.95))
    for start in range(65_300, 65_900, 100):
        order = [number for number in range(start, start + 100) if rng.random() >= loss]
        order.sort(key=lambda number: number + rng.choice((0, 0, 0, 3)))
        for number in order:
            now_us += rng.choice((0, 100, 5_000, 70_000, 9_000_000 if seed % 4 == 0 else 0))
            recorder.note(number & 0xFFFF, now_us)
            arrived[number & 0xFFFF] = now_us
        packets += recorder.feedback(1, 2)
    found = told(packets)
    assert {number: us for number, us in found.items() if us is not None}.keys() == arrived.keys()
    wrap_us = 64_000 << 24
    for number, us in arrived.items():
        said_us = found[number]
        assert said_us is not None
        assert 0 <= (us - said_us) % wrap_us < 250


def test_feedbacks_are_numbered_and_due() -> None:
    recorder = ArrivalRecorder()
    assert recorder.due_us is None
    recorder.note(1, 5)
    recorder.note(2, 50)
    assert recorder.due_us == 5 + INTERVAL_US
    first = read(recorder.feedback(1, 2))
    assert recorder.due_us is None
    assert recorder.feedback(1, 2) == []
    recorder.note(3, 100)
    assert [part.number for part in first + read(recorder.feedback(1, 2))] == [0, 1]


def test_packets_missing_between_two_feedbacks_are_told() -> None:
    recorder = ArrivalRecorder()
    recorder.note(10, 0)
    recorder.feedback(1, 2)
    recorder.note(13, 1000)
    assert told(recorder.feedback(1, 2)) == {11: None, 12: None, 13: 1000}


def test_numbers_that_jump_fill_no_memory() -> None:
    recorder, rng = ArrivalRecorder(), random.Random(1)
    for step in range(20_000):
        recorder.note(rng.randrange(65_536), step * 10)
        if step % 500 == 0:
            assert sum(map(len, recorder.feedback(1, 2))) < 8 * MAX_PENDING
    assert sum(map(len, recorder.feedback(1, 2))) < 8 * MAX_PENDING


# -- what was sent ---------------------------------------------------------------------------------


def test_feedback_finds_what_was_sent() -> None:
    sent = SentPackets()
    assert sent.add([100, 200], 1000) == 0
    assert sent.add([300], 2000) == 2
    results = sent.resolve(Feedback(0, 0, [5000, None, 6000]))
    assert results == [SendResult(1000, 5000, 100, 2, 1), SendResult(2000, 6000, 300, 1, 0)]
    assert sent.resolve(Feedback(0, 0, [5000, None, 6000])) == []


def test_feedback_over_the_wrap_finds_what_was_sent() -> None:
    sent = SentPackets()
    for number in range(0, 131_072 + 100, 10):
        assert sent.add([number + step for step in range(10)], number) == number & 0xFFFF
        results = sent.resolve(Feedback(number & 0xFFFF, 0, [1] * 10))
        assert results == [SendResult(number, 1, sum(range(number, number + 10)), 10, 0)]


def test_feedback_of_what_was_never_sent_is_passed_over() -> None:
    sent = SentPackets()
    sent.add([100] * 5, 0)
    assert sent.resolve(Feedback(5, 0, [1, 2, 3])) == []
    assert sent.resolve(Feedback(30_000, 0, [1, 2, 3])) == []
    assert sent.resolve(Feedback(60_000, 0, [1, 2, 3])) == []
    assert sent.resolve(Feedback(3, 0, [1] * 100)) == [SendResult(0, 1, 200, 2, 0)]


def test_feedback_for_parts_of_a_send_is_believed_once_for_each() -> None:
    sent = SentPackets()
    sent.add([1, 2, 4, 8], 0)
    assert sent.resolve(Feedback(0, 0, [10, 30, 20])) == [SendResult(0, 30, 7, 3, 0)]
    assert sent.resolve(Feedback(2, 1, [25, None])) == [SendResult(0, None, 0, 1, 1)]
    assert sent.resolve(Feedback(2, 2, [25, 50])) == []


@pytest.mark.parametrize("seed", range(20))
def test_feedback_at_random_never_tells_more_than_was_sent(seed: int) -> None:
    rng, sent, told_packets, told_bytes = random.Random(seed), SentPackets(), 0, 0
    for step in range(500):
        sent.add([100] * rng.randrange(1, 9), step)
        base = sent.next_sequence - rng.choice((1, 5, 20, 40_000, -3))
        arrivals_us = [rng.choice((None, 1, 2)) for _ in range(rng.randrange(40))]
        for result in sent.resolve(Feedback(base & 0xFFFF, 0, arrivals_us)):
            told_packets += result.packets
            told_bytes += result.arrived_bytes + 100 * result.lost_packets
    assert told_packets <= sent.next_sequence
    assert told_bytes == 100 * told_packets


def test_send_of_nothing_is_none() -> None:
    sent = SentPackets()
    assert [sent.add([], 0), sent.add([100], 1), sent.add([], 2)] == [0, 0, 1]
    assert sent.resolve(Feedback(0, 0, [7])) == [SendResult(1, 7, 100, 1, 0)]


def test_receiver_that_tells_nothing_fills_no_memory() -> None:
    sent = SentPackets()
    for number in range(10 * MAX_SENDS):
        sent.add([100], number)
    assert len(sent.resolve(Feedback(0, 0, [1] * 8000))) <= MAX_SENDS
