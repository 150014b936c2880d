"""When to do what about a camera whose pictures, or whose keyframes, stay away; sans-IO.

Theory of operation: two silences are watched. A *picture* silence is time without any picture; a
*keyframe* silence is time in which pictures came but none that a viewer can join at (it grows with
pictures only, so that one silence is not counted as two). Each climbs the same steps, every step
once, in order, until what was missing is there again. A silence is measured against its bounds
plus the patience that the source deserves: a camera of one picture in five seconds, or one that
makes a keyframe a minute, is not sick for it. A source that passes its units through cannot make
keyframes when asked: it is only held to an interval that it has shown itself.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

UNKNOWN_KEY_US = 30_000_000  # of a source that has shown no interval yet: then it is asked once
KEPT_INTERVALS = 8


class Step(StrEnum):
    """What can be done, the mildest first."""

    KEYFRAME = "keyframe"
    ENCODER = "encoder"
    CAMERA = "camera"
    KILL = "kill"
    WATCHDOG = "watchdog"  # not the ladder's: what `Recovery` does after so many kills


ACTIONS = {
    Step.KEYFRAME: "asking for a keyframe",
    Step.ENCODER: "restarting the encoder",
    Step.CAMERA: "closing the camera and opening it again",
    Step.KILL: "killing its worker",
    Step.WATCHDOG: "leaving it to the service's watchdog",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long something may be missing before each step is taken."""

    keyframe_us: int = 2_000_000
    encoder_us: int = 4_000_000
    camera_us: int = 7_000_000
    kill_us: int = 10_000_000

    def steps(self) -> list[tuple[int, Step]]:
        """In order; a step that would come after the kill is none."""
        before = [
            (self.keyframe_us, Step.KEYFRAME),
            (self.encoder_us, Step.ENCODER),
            (self.camera_us, Step.CAMERA),
        ]
        kept = sorted((bound for bound in before if bound[0] < self.kill_us), key=lambda b: b[0])
        return [*kept, (self.kill_us, Step.KILL)]


@dataclass(slots=True)
class Ladder:
    """Feed it pictures with `see`, ask it with `next`; `missing` names what it waits for.

    slack_us: the patience that slow pictures need, beyond the bounds.
    key_interval_us: what the source's encoder is set to; None if the source passes its units
        through, and only what it has shown counts.
    """

    bounds: Bounds
    newest_us: int
    missing: str = "picture"
    slack_us: int = 0
    key_interval_us: int | None = None
    newest_key_us: int | None = None
    _keyless_us: int = 0
    _steps: list[tuple[int, Step]] = field(init=False)
    _picture_taken: int = 0
    _key_taken: int = 0
    _intervals_us: deque[int] = field(default_factory=lambda: deque(maxlen=KEPT_INTERVALS))

    def __post_init__(self) -> None:
        self._steps = self.bounds.steps()

    # -- what comes ----------------------------------------------------------------------------

    def see(self, now_us: int, *, key: bool) -> str:
        """A picture came. The good news to tell, if steps had been taken for want of it."""
        gap_us = max(0, now_us - self.newest_us)
        news = ""
        if self._picture_taken:
            news = f"{self.missing} is back after {_seconds(gap_us)}"
            self._picture_taken = 0
        else:
            self._keyless_us += min(gap_us, self.bounds.keyframe_us + self.slack_us)
        self.newest_us = now_us
        if not key:
            return news
        if self._key_taken and not news:
            news = f"a keyframe is back after {_seconds(self._keyless_us)}"
        if self.newest_key_us is not None:
            self._intervals_us.append(self._keyless_us)
        self.newest_key_us, self._keyless_us, self._key_taken = now_us, 0, 0
        return news

    def forgive(self, late_us: int) -> None:
        """It was us who stood still for this long."""
        self.newest_us += late_us
        if self.newest_key_us is not None:
            self.newest_key_us += late_us

    # -- what to do ----------------------------------------------------------------------------

    def next(self, now_us: int) -> tuple[Step, str] | None:
        """The step that is due, with what was seen; ask again until there is none."""
        age_us = now_us - self.newest_us
        step = self._due(self._picture_taken, age_us, self.slack_us)
        if step is not None:
            self._picture_taken += 1
            return step, f"no {self.missing} for {_seconds(age_us)}{self._key_note(now_us)}"
        patience_us, is_only_asked = self._key_patience()
        if is_only_asked and self._key_taken:
            return None
        step = self._due(self._key_taken, self._keyless_us, patience_us)
        if step is not None:
            self._key_taken += 1
            return step, f"no keyframe for {_seconds(self._keyless_us)}, though pictures come"
        return None

    def deadline_us(self) -> int:
        """When `next` must be asked again if no picture comes."""
        taken = min(self._picture_taken, len(self._steps) - 1)
        return self.newest_us + self.slack_us + self._steps[taken][0]

    @property
    def is_silent(self) -> bool:
        """Whether steps were taken for want of pictures that have not come yet."""
        return bool(self._picture_taken)

    @property
    def is_climbing(self) -> bool:
        return bool(self._picture_taken or self._key_taken)

    def _due(self, taken: int, age_us: int, patience_us: int) -> Step | None:
        """The step after so many, if something has been missing long enough for it."""
        if taken >= len(self._steps):
            return None
        bound_us, step = self._steps[taken]
        return step if age_us >= bound_us + patience_us else None

    def _key_patience(self) -> tuple[int, bool]:
        """What the keyframes' interval adds to the bounds, and whether asking is all there is."""
        if self.key_interval_us is not None:
            return max(0, 2 * self.key_interval_us - self.bounds.keyframe_us), False
        if not self._intervals_us:
            return UNKNOWN_KEY_US, True
        return max(0, 3 * max(self._intervals_us) - self.bounds.keyframe_us), False

    def _key_note(self, now_us: int) -> str:
        if self.newest_key_us is None or self.missing != "picture":
            return ""
        return f" (last keyframe {_seconds(now_us - self.newest_key_us)} ago)"


def _seconds(value_us: int) -> str:
    return f"{value_us / 1_000_000:.1f} s"
