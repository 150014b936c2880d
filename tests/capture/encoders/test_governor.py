"""The governor in simulated time, with machines of every speed."""

from __future__ import annotations

from fractions import Fraction

import pytest

from appliance.capture.encoders.governor import Governor, Move, Step, make_ladder

SECOND_US = 1_000_000
FULL = Step(30, Fraction(1))


class Machine:
    """Takes `full_ms` for a picture of the full size, and loses those it has no time for."""

    def __init__(self, governor: Governor, full_ms: float) -> None:
        self.governor = governor
        self.full_ms = full_ms
        self.now_us = 7_000_000_000
        self.moves: list[tuple[float, Move]] = []

    def run(self, seconds: float) -> list[Move]:
        """The moves of these seconds."""
        begin_us, count = self.now_us, len(self.moves)
        while self.now_us < begin_us + seconds * SECOND_US:
            step = self.governor.step
            work_us = int(self.full_ms * 1000 * step.load)
            self.now_us += max(work_us, SECOND_US // step.fps)
            move = self.governor.note(self.now_us, work_us)
            if move is not None:
                self.moves.append(((self.now_us - begin_us) / SECOND_US, move))
        return [move for _, move in self.moves[count:]]


def test_ladder_takes_rates_first_and_then_sizes() -> None:
    assert [(step.fps, step.scale) for step in make_ladder(30)] == [
        (30, 1), (20, 1), (15, 1), (10, 1), (10, Fraction(3, 4)), (10, Fraction(1, 2)),
    ]  # fmt: skip
    assert [step.fps for step in make_ladder(60)] == [60, 30, 20, 15, 10, 10, 10]
    assert [step.fps for step in make_ladder(5)] == [5, 5, 5]


def test_ladder_of_a_known_board_has_its_profile_below_the_wish() -> None:
    start = Step(15, Fraction(2, 3))
    ladder = make_ladder(30, start)
    assert ladder[:3] == (FULL, start, Step(10, Fraction(2, 3)))
    assert ladder[-1] == Step(10, Fraction(1, 3))
    assert Governor(30, start=start).step == start


def test_governor_of_a_fast_machine_does_nothing() -> None:
    machine = Machine(Governor(30), full_ms=25)
    assert machine.run(120) == []
    assert machine.governor.position == 0


@pytest.mark.parametrize(
    ("full_ms", "expected"),
    [
        (36, Step(20, Fraction(1))),
        (60, Step(15, Fraction(1))),
        (90, Step(10, Fraction(1))),
        (150, Step(10, Fraction(3, 4))),
        (300, Step(10, Fraction(1, 2))),
        (4000, Step(10, Fraction(1, 2))),
    ],
)
def test_governor_goes_down_until_the_machine_keeps_up(full_ms: float, expected: Step) -> None:
    machine = Machine(Governor(30), full_ms)
    machine.run(60)
    assert machine.governor.step == expected
    assert machine.governor.reason
    positions = [make_ladder(30).index(move.step) for _, move in machine.moves]
    assert positions == list(range(1, len(positions) + 1))  # a step at a time


def test_governor_waits_five_seconds_before_each_step() -> None:
    machine = Machine(Governor(30), full_ms=60)
    machine.run(30)
    times_s = [at_s for at_s, _ in machine.moves]
    assert times_s[0] >= 5
    assert times_s[1] - times_s[0] >= 5
    assert times_s[1] < 14


def test_governor_overlooks_a_short_burst() -> None:
    machine = Machine(Governor(30), full_ms=10)
    machine.run(20)
    machine.full_ms = 60
    machine.run(2)
    machine.full_ms = 10
    assert machine.run(20) == []


def test_governor_of_a_recovered_machine_goes_up_again_step_by_step() -> None:
    machine = Machine(Governor(30), full_ms=90)
    machine.run(30)
    assert machine.governor.step.fps == 10
    machine.full_ms = 10
    machine.run(29)
    assert machine.governor.step.fps == 10  # it must have held for half a minute
    machine.run(120)
    assert machine.governor.step == FULL
    assert machine.governor.reason == ""
    assert [move.step.fps for _, move in machine.moves] == [20, 15, 10, 15, 20, 30]


def test_governor_does_not_go_up_without_a_margin() -> None:
    """At 45 ms a picture, 20 a second just fit: back at 30 they would not."""
    machine = Machine(Governor(30), full_ms=45)
    machine.run(600)
    assert [move.step.fps for _, move in machine.moves] == [20]


def test_governor_that_was_wrong_about_going_up_waits_longer_each_time() -> None:
    """A machine that is only fast while little is asked of it."""
    governor = Governor(30)
    machine = Machine(governor, full_ms=40)
    ups: list[float] = []
    for _ in range(3600):
        machine.full_ms = 40 if governor.position == 0 else 15
        if any(move.step == FULL for move in machine.run(1)):
            ups.append(machine.now_us / SECOND_US)
    gaps = [after - before for before, after in zip(ups, ups[1:], strict=False)]
    assert len(gaps) >= 4
    assert all(after > before * 1.5 for before, after in zip(gaps, gaps[1:], strict=False))
    assert max(gaps) < 31 * 60


def test_governor_that_is_off_only_measures() -> None:
    machine = Machine(Governor(30, enabled=False), full_ms=200)
    assert machine.run(60) == []
    assert machine.governor.p95_us() == 200_000


def test_governor_p95_is_of_the_last_seconds() -> None:
    machine = Machine(Governor(30), full_ms=20)
    machine.run(10)
    machine.full_ms = 8
    machine.run(10)
    assert machine.governor.p95_us() == 8000


def test_governor_without_pictures_does_not_move() -> None:
    governor = Governor(30)
    assert governor.note(0, 20_000) is None
    assert governor.note(600 * SECOND_US, 20_000) is None
    assert governor.p95_us() == 20_000


def test_governor_of_another_rate_keeps_the_load_it_had() -> None:
    governor = Governor(30)
    machine = Machine(governor, full_ms=90)
    machine.run(30)
    governor.set_fps(25)
    assert governor.step == Step(10, Fraction(1))
    assert governor.last_position == len(make_ladder(25)) - 1
    governor.set_fps(5)
    assert governor.step.fps == 5


def test_governor_of_a_known_board_keeps_its_size_at_a_lower_rate() -> None:
    governor = Governor(30, start=Step(15, Fraction(2, 3)))
    governor.set_fps(10)
    assert governor.step == Step(10, Fraction(2, 3))
    governor.set_fps(30)
    assert governor.step == Step(10, Fraction(2, 3))  # and climbs from there as it can
