"""The ladder on a clock of its own: what is due when, for every kind of silence and of source."""

from __future__ import annotations

import pytest

from appliance.services.camera.ladder import UNKNOWN_KEY_US, Bounds, Ladder, Step

S = 1_000_000
FRAME_US = 40_000
ALL = [Step.KEYFRAME, Step.ENCODER, Step.CAMERA, Step.KILL]


class Film:
    """A source on a simulated clock; everything the ladder says is kept with its time."""

    def __init__(self, ladder: Ladder | None = None, *, step_us: int = FRAME_US) -> None:
        self.ladder = ladder or Ladder(Bounds(), 0, key_interval_us=2 * S)
        self.now_us = 0
        self.step_us = step_us
        self.told: list[tuple[int, Step, str]] = []
        self.news: list[str] = []

    @property
    def steps(self) -> list[Step]:
        return [step for _, step, _ in self.told]

    def play(self, duration_us: int, *, every_us: int | None = 2 * S) -> None:
        """Pictures, a key among them every so often or never."""
        for _ in range(duration_us // self.step_us):
            self.now_us += self.step_us
            key = every_us is not None and self.now_us % every_us < self.step_us
            if news := self.ladder.see(self.now_us, key=key):
                self.news.append(news)
            self.look()

    def wait(self, duration_us: int, *, look_us: int = 20_000) -> None:
        for _ in range(duration_us // look_us):
            self.now_us += look_us
            self.look()

    def look(self) -> None:
        while (due := self.ladder.next(self.now_us)) is not None:
            self.told.append((self.now_us, *due))


def test_ladder_of_a_healthy_camera_does_nothing() -> None:
    film = Film()
    film.play(120 * S)
    assert film.told == [] and film.news == []


def test_ladder_is_climbed_once_in_order_at_its_bounds() -> None:
    film = Film()
    film.play(4 * S)
    film.wait(60 * S)
    assert film.steps == ALL
    times = [at_us - 4 * S for at_us, _, _ in film.told]
    assert times == pytest.approx([2 * S, 4 * S, 7 * S, 10 * S], abs=20_000)


def test_ladder_says_what_was_seen() -> None:
    film = Film()
    film.play(5 * S)
    film.wait(4 * S)
    assert film.told[1][2] == "no picture for 4.0 s (last keyframe 5.0 s ago)"


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_ladder_begins_anew_when_pictures_are_back(steps: int) -> None:
    film = Film()
    film.play(4 * S)
    film.wait([2 * S, 4 * S, 7 * S][steps - 1] + 100_000)
    assert film.steps == ALL[:steps]
    film.play(10 * S)
    assert film.steps == ALL[:steps]
    (news,) = film.news
    assert news.startswith("picture is back after")
    film.wait(11 * S)
    assert film.steps == ALL[:steps] + ALL


def test_ladder_deadline_is_when_the_next_step_is_due() -> None:
    film = Film()
    film.play(4 * S)
    for bound_us in (2 * S, 4 * S, 7 * S, 10 * S):
        assert film.ladder.deadline_us() == 4 * S + bound_us
        assert film.ladder.next(film.ladder.deadline_us() - 1) is None
        assert film.ladder.next(film.ladder.deadline_us()) is not None


def test_ladder_whose_kill_comes_first_only_kills() -> None:
    film = Film(Ladder(Bounds(kill_us=S), 0, key_interval_us=2 * S))
    film.play(4 * S)
    film.wait(20 * S)
    assert film.steps == [Step.KILL]


def test_ladder_forgives_the_time_in_which_we_stood_still() -> None:
    film = Film()
    film.play(4 * S)
    film.now_us += 3600 * S
    film.ladder.forgive(3600 * S)
    film.look()
    assert film.told == []


def test_ladder_of_slow_pictures_is_patient() -> None:
    """One picture in five seconds, as its track says (three of them are waited for)."""
    ladder = Ladder(Bounds(), 0, slack_us=13 * S, key_interval_us=5 * S)
    film = Film(ladder, step_us=5 * S)
    film.play(120 * S, every_us=5 * S)
    assert film.told == []
    film.wait(30 * S)
    assert film.steps == ALL
    assert film.told[0][0] - 120 * S == pytest.approx(15 * S, abs=20_000)


def test_ladder_names_sound_if_that_is_all_there_is() -> None:
    film = Film(Ladder(Bounds(), 0, "sound"))
    film.play(S, every_us=FRAME_US)
    film.wait(2 * S)
    assert film.told[0][2] == "no sound for 2.0 s"


# -- keyframes ---------------------------------------------------------------------------------


def test_ladder_of_an_encoder_without_keyframes_is_climbed() -> None:
    """Twice its interval of 2 s, and from there on as for pictures."""
    film = Film()
    film.play(4 * S)
    film.play(60 * S, every_us=None)
    assert film.steps == ALL
    times = [at_us - 4 * S for at_us, _, _ in film.told]
    assert times == pytest.approx([4 * S, 6 * S, 9 * S, 12 * S], abs=2 * FRAME_US)
    assert film.told[0][2] == "no keyframe for 4.0 s, though pictures come"


def test_ladder_of_an_encoder_of_rare_keyframes_waits_for_them() -> None:
    film = Film(Ladder(Bounds(), 0, key_interval_us=60 * S))
    film.play(600 * S, every_us=60 * S)
    assert film.told == []


def test_ladder_is_told_when_a_keyframe_is_back() -> None:
    film = Film()
    film.play(4 * S)
    film.play(7 * S, every_us=None)
    assert film.steps == [Step.KEYFRAME, Step.ENCODER]
    film.play(4 * S)
    assert film.news[0].startswith("a keyframe is back after")
    assert film.steps == [Step.KEYFRAME, Step.ENCODER]


def test_ladder_counts_one_silence_once() -> None:
    """After ten seconds without pictures the keyframe is old too, which is nobody's fault."""
    film = Film(Ladder(Bounds(kill_us=100 * S), 0, key_interval_us=2 * S))
    film.play(5 * S)
    film.wait(60 * S)
    assert film.steps == ALL[:3]
    film.play(2 * S, every_us=None)
    film.play(10 * S)
    assert film.steps == ALL[:3]


def test_ladder_of_a_source_that_passes_through_is_held_to_what_it_showed() -> None:
    film = Film(Ladder(Bounds(), 0))
    film.play(60 * S, every_us=12 * S)
    assert film.told == []
    film.play(120 * S, every_us=None)
    assert film.steps == ALL
    assert film.told[0][0] - 60 * S == pytest.approx(36 * S, abs=2 * FRAME_US)


def test_ladder_of_a_source_without_any_keyframes_is_only_asked_once() -> None:
    """Intra refresh, or a group of pictures as long as the day: nothing here may kill it."""
    film = Film(Ladder(Bounds(), 0))
    film.ladder.see(0, key=True)
    film.play(4 * 3600 * S, every_us=None)
    assert film.steps == [Step.KEYFRAME]
    assert film.told[0][0] == pytest.approx(UNKNOWN_KEY_US + 2 * S, abs=2 * FRAME_US)


def test_ladder_of_a_source_without_keyframes_still_misses_pictures() -> None:
    film = Film(Ladder(Bounds(), 0))
    film.ladder.see(0, key=True)
    film.play(60 * S, every_us=None)
    film.wait(11 * S)
    assert film.steps == [Step.KEYFRAME, *ALL]


def test_ladder_becomes_stricter_when_the_interval_becomes_known() -> None:
    film = Film(Ladder(Bounds(), 0))
    film.play(S, every_us=None)
    film.ladder.key_interval_us = S  # the worker says that it encodes after all
    film.play(20 * S, every_us=None)
    assert film.steps == ALL
