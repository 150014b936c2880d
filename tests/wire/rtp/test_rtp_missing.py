"""What we ask for: missing packets again, and keyframes, neither too often."""

from __future__ import annotations

import random

from appliance.wire.rtp.keyframe_requests import INTERVAL_US, MAX_REQUESTERS, KeyframeRequests
from appliance.wire.rtp.missing import (
    MAX_MISSING,
    MAX_TRIES,
    MIN_AGAIN_US,
    PATIENCE_US,
    MissingPackets,
)
from appliance.wire.rtp.rtcp import FullIntra, Nack, PictureLoss, parse

GIVE_UP_US = 500_000
ROUND_TRIP_US = 60_000


def receive(missing: MissingPackets, *sequences: int, now_us: int = 0) -> None:
    for sequence in sequences:
        missing.note(sequence & 0xFFFF, now_us)


def test_gap_is_asked_for_after_a_moment_and_then_once_per_round_trip() -> None:
    missing = MissingPackets(GIVE_UP_US)
    receive(missing, 65_534, 65_537)
    assert missing.due_us == PATIENCE_US
    assert missing.take(ROUND_TRIP_US, PATIENCE_US - 1) == ()
    assert missing.take(ROUND_TRIP_US, PATIENCE_US) == (65_535, 0)
    assert missing.take(ROUND_TRIP_US, PATIENCE_US + 1) == ()
    assert missing.due_us == PATIENCE_US + ROUND_TRIP_US
    assert missing.take(ROUND_TRIP_US, PATIENCE_US + ROUND_TRIP_US) == (65_535, 0)


def test_gap_asked_for_fits_the_rtcp_packet() -> None:
    missing = MissingPackets(GIVE_UP_US)
    receive(missing, 65_500, 65_560)
    wanted = missing.take(0, PATIENCE_US)
    assert parse(Nack(1, 2, wanted).pack()) == [Nack(1, 2, wanted)]
    assert len(wanted) == 59


def test_packet_that_arrives_is_asked_for_no_more() -> None:
    missing = MissingPackets(GIVE_UP_US)
    receive(missing, 1, 4, 3)
    assert missing.take(0, PATIENCE_US) == (2,)
    receive(missing, 2, 2)
    assert missing.due_us is None
    assert missing.recovered == 2


def test_packet_out_of_order_is_never_asked_for() -> None:
    missing = MissingPackets(GIVE_UP_US)
    for first in range(0, 1000, 4):
        receive(missing, first, first + 2, first + 1, first + 3)
        assert missing.take(0, PATIENCE_US) == ()


def test_packet_is_given_up_after_its_time() -> None:
    missing = MissingPackets(GIVE_UP_US)
    receive(missing, 1, 3)
    assert missing.take(0, GIVE_UP_US) == ()
    assert (missing.given_up, missing.due_us) == (1, None)


def test_packet_is_given_up_after_its_tries() -> None:
    missing = MissingPackets(10**9)
    receive(missing, 1, 3)
    now_us, asked = PATIENCE_US, 0
    while missing.due_us is not None:
        asked += len(missing.take(0, now_us))
        now_us += MIN_AGAIN_US
    assert (asked, missing.given_up) == (MAX_TRIES, 1)


def test_gap_beyond_all_bounds_asks_for_a_keyframe_instead() -> None:
    missing = MissingPackets(GIVE_UP_US)
    receive(missing, 1, 3, 4 + MAX_MISSING)
    assert missing.overflowed
    assert missing.take(0, PATIENCE_US) == ()
    missing.overflowed = False
    receive(missing, 6 + MAX_MISSING)
    assert missing.take(0, PATIENCE_US) == (5 + MAX_MISSING,)


def test_numbers_at_random_fill_no_memory() -> None:
    missing, rng = MissingPackets(GIVE_UP_US), random.Random(1)
    for step in range(5000):
        receive(missing, rng.randrange(65_536), now_us=step * 1000)
        assert len(missing.take(0, step * 1000)) <= MAX_MISSING


# -- keyframes -------------------------------------------------------------------------------------


def test_keyframe_wishes_of_a_crowd_are_one_in_a_second() -> None:
    requests, told = KeyframeRequests(), 0
    for step in range(10_000):  # ten seconds of a hundred viewers with ten wishes each
        told += requests.receive(PictureLoss(step % 100, 1), step * 1000)
        told += requests.take(step * 1000)
    assert told == requests.told == 10
    assert requests.asked == 10_000


def test_keyframe_wish_within_the_second_waits_for_its_end() -> None:
    requests = KeyframeRequests()
    assert requests.ask(0)
    assert not requests.ask(10)
    assert requests.due_us == INTERVAL_US
    assert not requests.take(INTERVAL_US - 1)
    assert requests.take(INTERVAL_US)
    assert requests.due_us is None
    assert not requests.take(5 * INTERVAL_US)


def test_keyframe_that_came_ends_the_wishes_for_it() -> None:
    requests = KeyframeRequests()
    requests.ask(0)
    requests.ask(10)
    requests.keyframe()
    assert requests.due_us is None
    assert not requests.take(INTERVAL_US)
    assert requests.ask(INTERVAL_US)


def test_keyframe_wish_repeated_under_its_number_is_known() -> None:
    requests = KeyframeRequests()
    assert requests.receive(FullIntra(1, 2, 7), 0)
    assert not requests.receive(FullIntra(1, 2, 7), 2 * INTERVAL_US)
    assert requests.asked == 1
    assert requests.receive(FullIntra(1, 2, 8), 3 * INTERVAL_US)
    assert requests.receive(FullIntra(9, 2, 8), 5 * INTERVAL_US)


def test_keyframe_wishes_of_endless_viewers_fill_no_memory() -> None:
    requests = KeyframeRequests()
    for ssrc in range(3 * MAX_REQUESTERS):
        requests.receive(FullIntra(ssrc, 2, 0), ssrc)
    assert len(requests._fir_numbers) <= MAX_REQUESTERS
