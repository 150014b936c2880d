"""Everything a camera can be told, told to the test pattern in a real worker."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import av
import pytest
from worker_fixture import Worker, decode_video, luma

from appliance.capture.pattern.controls import CardControls
from appliance.capture.pattern.testcard import Caption, TestCard
from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import (
    Answer,
    Change,
    Picture,
    Recover,
    RequestPicture,
    Rung,
    State,
)

WIDTH, HEIGHT = 640, 360
SIZE: dict[str, Any] = {"width": WIDTH, "height": HEIGHT}
SUB: dict[str, Any] = {"width": 320, "height": 180, "fps": 25}
CARD = TestCard(WIDTH, HEIGHT, Caption("", "", ""))
STEP_US = 40_000


def every(worker: Worker, kind: type[Any]) -> list[Any]:
    return [event for event in worker.events if isinstance(event, kind)]


def change(worker: Worker, serial: int, **values: Any) -> str:
    worker.send(Change(serial, values))
    worker.read_until(lambda w: any(answer.serial == serial for answer in every(w, Answer)))
    return next(answer.error for answer in every(worker, Answer) if answer.serial == serial)


def state(worker: Worker) -> dict[str, Any]:
    """The next one."""
    known = len(every(worker, State))
    worker.read_until(lambda w: len(every(w, State)) > known)
    document: dict[str, Any] = every(worker, State)[-1].document
    return document


def of(worker: Worker, track_id: int) -> list[AccessUnit]:
    return [unit for unit in worker.units(Kind.VIDEO) if unit.track.id == track_id]


def more(worker: Worker, count: int, track_id: int = 1) -> list[AccessUnit]:
    """The next units from now on."""
    known = len(of(worker, track_id))
    worker.read_until(lambda w: len(of(w, track_id)) >= known + count)
    return of(worker, track_id)[known:]


def on_the_grid(units: list[AccessUnit]) -> bool:
    """A busy machine may leave pictures out; what is there is in its place."""
    gaps = [after.dts_us - before.dts_us for before, after in pairwise(units)]
    return all(gap > 0 and abs(gap - round(gap / STEP_US) * STEP_US) <= 1 for gap in gaps)


def test_pattern_controls_change_what_is_seen() -> None:
    with Worker("pattern:", **SIZE) as worker:
        before = decode_video(more(worker, 2))[-1]
        assert change(worker, 1, controls={"brightness": 48, "box": False}) == ""
        more(worker, 3)
        after = decode_video(of(worker, 1))[-1]
        document = state(worker)
        assert "-64 to 64 in steps of 8" in change(worker, 2, controls={"brightness": 65})
        assert "box, brightness and speed" in change(worker, 3, controls={"gain": 1})
    at = CARD.number_x - 6, CARD.line_y  # ground of the panel
    assert luma(after)(*at) == pytest.approx(luma(before)(*at) + 48, abs=4)
    y = CARD.box_y + CARD.box // 2
    assert max(luma(after)(x, y) for x in range(WIDTH)) < 120  # no box any more
    controls = document["controls"]
    assert controls["brightness"] == {
        "type": "int", "min": -64, "max": 64, "step": 8, "default": 0, "value": 48,
    }  # fmt: skip
    assert controls["box"]["value"] is False
    assert set(controls) == {"box", "brightness", "speed"}


def test_pattern_begins_with_the_controls_of_its_settings() -> None:
    with Worker("pattern:", **SIZE, controls={"box": False, "speed": 2}) as worker:
        document = state(worker)
        assert document["controls"]["speed"]["value"] == 2
        assert document["controls"]["box"]["value"] is False


def test_pattern_goes_on_without_the_controls_it_does_not_have() -> None:
    """A wrong word in the configuration must not cost the picture."""
    with Worker("pattern:", **SIZE, controls={"zoom": 2, "speed": 99, "box": False}) as worker:
        document = state(worker)
        assert "zoom" in document["why"]
        assert "speed" in document["why"]
        assert document["controls"]["speed"]["value"] == 1
        assert document["controls"]["box"]["value"] is False


def test_card_speed_moves_the_box_faster() -> None:
    def travelled(speed: float) -> int:
        controls = CardControls()
        controls.set({"speed": speed})
        card = TestCard(WIDTH, HEIGHT, Caption("", "", ""), controls)
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        from appliance.capture.picture.frames import canvas_of

        canvas = canvas_of(frame)
        card.paint(canvas)
        places = []
        for number in range(2):
            card.draw(canvas, number, number * 500_000)
            at, y = luma(frame), card.box_y + 4
            places.append(next(x for x in range(WIDTH) if at(x, y) > 120))
        return places[1] - places[0]

    assert travelled(2.0) == pytest.approx(2 * travelled(1.0), abs=4)


def test_pattern_changes_while_it_runs_lose_no_picture() -> None:
    with Worker("pattern:", sub=SUB, keyframe_us=60_000_000) as worker:
        worker.read_units(5)
        told = len(worker.descriptions)
        for serial, values in enumerate(
            ({"bitrate": 500_000}, {"text": "hello"}, {"overlay": True}, {"keyframe": 500_000},
             {"controls": {"speed": 2.0}}, {"fps": 12}, {"fps": 25}),
            start=1,
        ):  # fmt: skip
            assert change(worker, serial, **values) == ""
            more(worker, 4)
        units = of(worker, 1)
        assert on_the_grid(units)
        assert len(decode_video(units)) == len(units)
        assert len(worker.descriptions) == told
        document = state(worker)
    assert document["bitrate_bps"] == 500_000
    assert document["keyframe_us"] == 500_000
    assert document["overlay"] == {"shown": True, "text": "hello"}
    assert document["fps"] == 25
    assert document["encoder"] == "libx264"


def test_pattern_second_stream_comes_and_goes() -> None:
    with Worker("pattern:", **SIZE, sub=SUB) as worker:
        worker.read_units(3)
        assert not of(worker, 17)
        assert change(worker, 1, sub=True) == ""
        units = more(worker, 10, track_id=17)
        frames = decode_video(units)
        assert (frames[0].width, frames[0].height) == (320, 180)
        main = {unit.dts_us for unit in of(worker, 1)}
        assert {unit.dts_us for unit in units[:-1]} <= main
        ids = [[track.id for track in tracks] for tracks in worker.descriptions]
        assert ids == [[1, 2], [1, 2, 17]]
        assert change(worker, 2, sub=False) == ""
        known = len(of(worker, 17))
        more(worker, 10)
        assert len(of(worker, 17)) <= known


def test_pattern_pictures_on_demand_with_rotation_and_mask() -> None:
    mask = {"x": 0.0, "y": 0.0, "width": 0.5, "height": 0.5}
    with Worker("pattern:", **SIZE, rotation=90, masks=[mask]) as worker:
        worker.read_units(2)
        worker.send(RequestPicture(1, quality=90))
        worker.send(RequestPicture(2, width=180))
        worker.read_until(lambda w: len(every(w, Picture)) == 2)
        first, second = every(worker, Picture)
        stamps = {unit.dts_us for unit in more(worker, 5)} | {u.dts_us for u in of(worker, 1)}
        assert worker.descriptions[0][0].rotation_deg == 90
        video = decode_video(of(worker, 1))[-1]
    assert (first.width, first.height) == (360, 640)  # as it is seen
    assert second.width == 180
    assert first.time_us in stamps
    (still,) = av.VideoCodecContext.create("mjpeg", "r").decode(av.Packet(first.jpeg))
    assert (still.width, still.height) == (640, 360)  # Exif has it turned
    for frame in (still, video):
        at = luma(frame)
        assert max(at(x, y) for x in range(20, 300, 20) for y in range(20, 170, 20)) < 24
        assert max(at(x, 300) for x in range(0, 640, 8)) > 60


def test_pattern_turned_in_pixels_stands_upright() -> None:
    with Worker("pattern:", **SIZE, rotation=270, rotate="picture") as worker:
        frame = decode_video(worker.read_units(2))[-1]
        assert worker.descriptions[0][0].rotation_deg == 0
    assert (frame.width, frame.height) == (360, 640)


@pytest.mark.parametrize("rung", list(Rung))
def test_pattern_recovers_by_a_rung_with_a_keyframe_and_no_new_track(rung: Rung) -> None:
    with Worker("pattern:", keyframe_us=60_000_000) as worker:
        worker.read_units(5)
        worker.send(Recover(rung))
        worker.read_until(lambda w: sum(unit.key for unit in of(w, 1)) == 2)
        more(worker, 3)
        units = of(worker, 1)
        assert on_the_grid(units)
        assert len(worker.descriptions) == 1
        assert len(decode_video(units)) == len(units)
