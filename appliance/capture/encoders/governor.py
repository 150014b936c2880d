"""Keeps software encoding within real time: fewer pictures, then smaller ones, and back again.

Theory of operation: every picture's work (preparing and encoding, by the wall clock) is noted.
Each second the mean of the last five is compared with the time there is for a picture. Too slow:
one step down the ladder, and five new seconds are waited for. Going up is predicted: the work the
step above would take, by its pixels, must have fitted with a margin for `PATIENCE_US`; a step up
that did not last doubles that patience. Knows no clock: time is what callers say it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

WINDOW_US = 5_000_000
LOOK_US = 1_000_000
FULL = 0.98  # of the time there is, from which on encoding does not keep up
MARGIN = 0.70  # of it, within which the step above would have to stay
PATIENCE_US, MAX_PATIENCE_US = 30_000_000, 30 * 60_000_000
LASTED_US = 300_000_000  # a step that was held for so long is no flapping
RETURN_US = 60_000_000  # a step up that was taken back within this time was a mistake
MAX_NOTES = 1024  # of pictures in the window: eight times what five seconds of 25 fps need
RATES = (30, 20, 15, 10)
SCALES = (Fraction(1), Fraction(3, 4), Fraction(1, 2))


@dataclass(frozen=True, slots=True)
class Step:
    """fps: pictures a second at most; scale: of both sides."""

    fps: int
    scale: Fraction

    @property
    def load(self) -> Fraction:
        """Of a picture, in proportion."""
        return self.scale * self.scale


@dataclass(frozen=True, slots=True)
class Move:
    """A step that was taken. reason: a clause for log and page. is_up: towards all of it."""

    step: Step
    reason: str
    is_up: bool = False


def make_ladder(fps: int, start: Step | None = None) -> tuple[Step, ...]:
    """Rates first, then sizes.

    start: what the board is known to manage, if that is less than everything: the second rung.
    """
    top = start or Step(fps, Fraction(1))
    rates = [top.fps, *(rate for rate in RATES if rate < top.fps)]
    steps = [Step(rate, top.scale) for rate in rates]
    steps += [Step(rates[-1], top.scale * scale) for scale in SCALES[1:]]
    return (Step(fps, Fraction(1)), *steps) if start else tuple(steps)


class Governor:
    """`note` each picture; what it returns has been taken as the new step.

    enabled: False only measures.
    """

    def __init__(self, fps: int, *, start: Step | None = None, enabled: bool = True) -> None:
        self._enabled = enabled
        self._notes: deque[tuple[int, int]] = deque(maxlen=MAX_NOTES)  # when, work
        self._patience_us = PATIENCE_US
        self._raised_us: int | None = None
        self.reason = ""
        self._start = start
        self._ladder = make_ladder(fps, start)
        self.position = 1 if start else 0
        self._begin_us: int | None = None
        self._look_us = 0
        self._fits_since_us: int | None = None

    @property
    def step(self) -> Step:
        return self._ladder[self.position]

    @property
    def last_position(self) -> int:
        return len(self._ladder) - 1

    def set_fps(self, fps: int) -> None:
        """Another rate is wanted: the ladder is built anew, and begun where its load was."""
        step = self.step
        start = self._start and Step(min(self._start.fps, fps), self._start.scale)
        if start == Step(fps, Fraction(1)):
            start = None
        self._ladder = make_ladder(fps, start)
        self.position = next(
            (n for n, s in enumerate(self._ladder) if s.fps <= step.fps and s.scale <= step.scale),
            self.last_position,
        ) if self.position else 0  # fmt: skip
        self.forget()

    def forget(self) -> None:
        """What was measured does not hold any more: the encoder was opened anew."""
        self._notes.clear()
        self._begin_us = None
        self._fits_since_us = None

    def p95_us(self) -> int:
        """Of the work per picture, over the window; 0 if there was none."""
        work = sorted(work_us for _, work_us in self._notes)
        return work[len(work) * 95 // 100] if work else 0

    def note(self, now_us: int, work_us: int) -> Move | None:
        """One picture was made. A step, if it is time for one."""
        self._notes.append((now_us, work_us))
        if self._begin_us is None:
            self._begin_us = now_us
            self._look_us = now_us + LOOK_US
        if now_us < self._look_us:
            return None
        self._look_us = now_us + LOOK_US
        while self._notes[0][0] < now_us - WINDOW_US:
            self._notes.popleft()
        if not self._enabled or now_us - self._begin_us < WINDOW_US:
            return None
        return self._judge(now_us, sum(work for _, work in self._notes) / len(self._notes))

    def _judge(self, now_us: int, mean_us: float) -> Move | None:
        if mean_us > FULL * 1_000_000 / self.step.fps:
            self._fits_since_us = None
            return self._go_down(now_us, mean_us)
        if self._raised_us is not None and now_us - self._raised_us > LASTED_US:
            self._raised_us, self._patience_us = None, PATIENCE_US
        if not self.position or self._would_be_us(mean_us) > self._room_us():
            self._fits_since_us = None
            return None
        if self._fits_since_us is None:
            self._fits_since_us = now_us
        if now_us - self._fits_since_us < self._patience_us:
            return None
        return self._go_up(now_us, mean_us)

    def _would_be_us(self, mean_us: float) -> float:
        """The work of a picture one step up."""
        above = self._ladder[self.position - 1]
        return mean_us * float(above.load / self.step.load)

    def _room_us(self) -> float:
        return MARGIN * 1_000_000 / self._ladder[self.position - 1].fps

    def _go_down(self, now_us: int, mean_us: float) -> Move | None:
        if self.position == self.last_position:
            return None
        if self._raised_us is not None and now_us - self._raised_us < RETURN_US:
            self._patience_us = min(MAX_PATIENCE_US, 2 * self._patience_us)
        self._raised_us = None
        room_ms = 1000 / self.step.fps
        return self._move(
            self.position + 1,
            f"a picture took {mean_us / 1000:.1f} ms for 5 s, {room_ms:.1f} ms are there for it",
        )

    def _go_up(self, now_us: int, mean_us: float) -> Move:
        self._raised_us = now_us
        needs_ms = self._would_be_us(mean_us) / 1000
        seconds = self._patience_us // 1_000_000
        return self._move(
            self.position - 1, f"a picture would have taken {needs_ms:.1f} ms for {seconds} s"
        )

    def _move(self, position: int, reason: str) -> Move:
        is_up = position < self.position
        self.position = position
        self.reason = reason if position else ""
        self.forget()
        return Move(self.step, reason, is_up)
