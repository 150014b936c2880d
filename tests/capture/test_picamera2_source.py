"""The picamera2 source in a real worker, with modules that stand in for the camera's."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from worker_fixture import DEADLINE_S, Worker, decode_video, luma

from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import (
    SUB_VIDEO_ID,
    VIDEO_ID,
    Answer,
    Change,
    Picture,
    Recover,
    RequestKeyframe,
    RequestPicture,
    Rung,
    SetBitrate,
    State,
)

FAKE = Path(__file__).parent / "fake_picamera2"
SUB = {"width": 160, "height": 90, "fps": 10, "bitrate_bps": 100_000, "keyframe_us": 1_000_000}
FRAME_US = 40_000  # of the 25 pictures a second that SMALL asks for


class Stage:
    """The folder in which the stand-in looks; see stage.py there."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        (folder / "settings.json").write_text(json.dumps(settings))

    def worker(self, source: str = "picamera2:0", **options: Any) -> Worker:
        environment = {"FAKE_PICAMERA2": str(self.folder), "PYTHONPATH": str(FAKE)}
        return Worker(source, environment=environment, **{"audio": "none"} | options)

    def switch(self, name: str) -> None:
        (self.folder / name).touch()

    def switch_off(self, name: str) -> None:
        (self.folder / name).unlink()

    def journal(self, what: str) -> list[dict[str, Any]]:
        lines = (self.folder / "journal").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["what"] == what]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def of_track(worker: Worker, track_id: int) -> list[AccessUnit]:
    return [unit for unit in worker.units(Kind.VIDEO) if unit.track.id == track_id]


def read_more(worker: Worker, count: int, track_id: int = VIDEO_ID) -> list[AccessUnit]:
    """The next units that come."""
    have = len(of_track(worker, track_id))
    worker.read_until(lambda w: len(of_track(w, track_id)) >= have + count)
    return of_track(worker, track_id)[have:]


def change(worker: Worker, **values: Any) -> str:
    """What the worker answers."""
    serial = len(worker.events) + 1
    worker.send(Change(serial, values))

    def answers(worker: Worker) -> list[Answer]:
        return [e for e in worker.events if isinstance(e, Answer) and e.serial == serial]

    worker.read_until(lambda worker: bool(answers(worker)))
    return answers(worker)[0].error


def read_state(worker: Worker, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    def states(worker: Worker) -> list[dict[str, Any]]:
        return [e.document for e in worker.events if isinstance(e, State) and fits(e.document)]

    worker.read_until(lambda worker: bool(states(worker)))
    return states(worker)[-1]


def assert_even(units: list[AccessUnit]) -> None:
    """No picture is missing, none comes twice; a busy machine may shift one."""
    steps = [b.dts_us - a.dts_us for a, b in zip(units, units[1:], strict=False)]
    assert all(step > 0 for step in steps), steps


# -- start and media ------------------------------------------------------------------------------


@pytest.mark.parametrize("hardware", [True, False])
@pytest.mark.parametrize("encoder", ["auto", "camera"])
def test_camera_gives_pictures_that_decode(tmp_path: Path, hardware: bool, encoder: str) -> None:
    stage = Stage(tmp_path, hardware=hardware)
    before_us = time.monotonic_ns() // 1000
    with stage.worker(encoder=encoder) as worker:
        units = worker.read_units(12)
    assert units[0].key and units[0].track.id == VIDEO_ID
    assert_even(units)
    assert before_us < units[0].dts_us < time.monotonic_ns() // 1000
    frames = decode_video(units)
    assert len(frames) == 12
    assert (frames[0].width, frames[0].height) == (320, 180)
    assert abs(luma(frames[-1])(160, 90) - 180) < 4
    by_picamera2 = hardware or encoder == "camera"
    assert bool(stage.journal("encoder")) == by_picamera2


def test_hardware_encoder_gets_what_is_configured(stage: Stage) -> None:
    with stage.worker(fps=50, keyframe_us=400_000, bitrate_bps=450_000) as worker:
        worker.read_units(30)
        keys = [n for n, unit in enumerate(worker.units(Kind.VIDEO)) if unit.key]
        state = read_state(worker, lambda document: "encoder" in document)
    (encoder,) = stage.journal("encoder")
    assert encoder == {
        "what": "encoder", "stream": "main", "bitrate": 450_000, "iperiod": 20, "framerate": 50,
        "profile": "high", "skip": 1,
    }  # fmt: skip
    assert keys[:2] == [0, 20]
    (configured,) = stage.journal("configure")
    assert configured["raw"] is None and configured["lores"] is None
    assert stage.journal("controls")[0]["values"] == {"FrameDurationLimits": [20_000, 20_000]}
    assert state["name"] == "imx708" and state["device"].startswith("picamera2:/base/")
    assert state["encoder"] == "v4l2 (picamera2)"
    assert (state["width"], state["height"], state["fps"]) == (320, 180, 50)


def test_parameter_sets_that_come_alone_are_no_pictures(tmp_path: Path) -> None:
    stage = Stage(tmp_path, parameter_sets_alone=True)
    with stage.worker(keyframe_us=200_000) as worker:
        units = worker.read_units(12)
    assert [n for n, unit in enumerate(units) if unit.key] == [0, 5, 10]
    assert len(decode_video(units)) == 12


def test_half_turn_is_made_by_the_sensor(stage: Stage) -> None:
    with stage.worker(rotation=180) as worker:
        units = worker.read_units(2)
    assert units[0].track.rotation_deg == 0
    assert stage.journal("configure")[0]["transform"] == {"hflip": 1, "vflip": 1, "transpose": 0}


def test_quarter_turn_is_left_to_viewers(stage: Stage) -> None:
    with stage.worker(rotation=90) as worker:
        units = worker.read_units(2)
    assert units[0].track.rotation_deg == 90
    assert stage.journal("configure")[0]["transform"]["hflip"] == 0


def test_quarter_turn_of_pixels_goes_past_picamera2s_encoder(stage: Stage) -> None:
    with stage.worker(rotation=270, rotate="picture") as worker:
        units = worker.read_units(3)
    assert units[0].track.rotation_deg == 0
    assert (units[0].track.config.width_px, units[0].track.config.height_px) == (180, 320)
    assert stage.journal("encoder") == []


def test_stamps_of_no_clock_we_have_count_from_the_first_picture(tmp_path: Path) -> None:
    with Stage(tmp_path, stamp_ahead_ns=3_600_000_000_000).worker() as worker:
        units = worker.read_units(5)
    assert abs(time.monotonic_ns() // 1000 - units[-1].dts_us) < DEADLINE_S * 1_000_000
    assert_even(units)


def test_board_without_the_encoder_it_should_have_encodes_itself(tmp_path: Path) -> None:
    stage = Stage(tmp_path, no_encoder=True)
    with stage.worker() as worker:
        assert len(decode_video(worker.read_units(5))) == 5
        assert [e["number"] for e in stage.journal("open")] == [0, 0]
    with stage.worker(encoder="camera") as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "encoder"
    assert "/dev/video11" in fault.text


def test_rate_beyond_the_camera_is_cut_to_what_it_does(tmp_path: Path) -> None:
    stage = Stage(tmp_path, max_fps=15)
    with stage.worker() as worker:
        worker.read_units(3)
        state = read_state(worker, lambda document: "fps" in document)
        assert state["fps"] == 15
        assert change(worker, fps=16) == "fps = 16: imx708 does 1 to 15 at this size"
    assert stage.journal("encoder")[0]["framerate"] == 15


# -- several, missing, broken ---------------------------------------------------------------------

TWO = [{"Model": "imx708", "Id": "/base/i2c@1/imx708@1a"}, {"Model": "ov5647", "Id": "/base/b"}]


def test_two_cameras_are_two_workers(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first, second = (Stage(folder, cameras=TWO) for folder in folders)
    with first.worker("picamera2:0") as one, second.worker("picamera2:/base/b") as other:
        one.read_units(3)
        other.read_units(3)
        names = [read_state(each, lambda d: "name" in d)["name"] for each in (one, other)]
    assert names == ["imx708", "ov5647"]
    assert [stage.journal("open")[0]["number"] for stage in (first, second)] == [0, 1]


def test_camera_that_is_missing_ends_the_worker_with_a_list(tmp_path: Path) -> None:
    with Stage(tmp_path, cameras=TWO).worker("picamera2:2") as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "source-missing"
    assert "picamera2:0 is imx708 at /base/i2c@1/imx708@1a" in fault.text
    with Stage(tmp_path, cameras=[]).worker() as worker:
        fault = worker.read_end()
    assert fault is not None and "ribbon cable" in fault.text


def test_camera_that_another_program_has_is_told(tmp_path: Path) -> None:
    with Stage(tmp_path, taken=True).worker() as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "cannot-open"
    assert "Device or resource busy" in fault.text and "another program" in fault.text


def test_size_that_the_camera_has_not_is_refused(stage: Stage) -> None:
    with stage.worker(width=4096, height=4096) as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "cannot-open"
    assert "imx708 refuses 4096x4096 at 25 fps" in fault.text
    assert stage.journal("close")


def test_machine_without_picamera2_says_what_to_install() -> None:
    with Worker("picamera2:0") as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "cannot-open"
    assert "sudo apt install --no-install-recommends python3-picamera2" in fault.text


def test_picamera2_that_does_not_load_says_why(tmp_path: Path) -> None:
    (tmp_path / "picamera2.py").write_text("import numpy_of_another_python")
    (tmp_path / "libcamera.py").write_text("")
    with Worker("picamera2:0", environment={"PYTHONPATH": str(tmp_path)}) as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "cannot-open"
    assert "numpy_of_another_python" in fault.text and "Debian's own python3" in fault.text


# -- commands -------------------------------------------------------------------------------------


def test_keyframe_is_forced_on_hardware(stage: Stage) -> None:
    with stage.worker(keyframe_us=60_000_000) as worker:
        worker.read_units(3)
        worker.send(RequestKeyframe())
        worker.read_until(lambda w: sum(unit.key for unit in w.units(Kind.VIDEO)) == 2)
        assert_even(worker.units(Kind.VIDEO))
    assert stage.journal("force") == [{"what": "force", "stream": "main"}]
    assert len(stage.journal("encoder")) == 1


@pytest.mark.parametrize(
    "settings", [{"hardware": False}, {"no_force": True}], ids=["libav", "older picamera2"]
)
def test_keyframe_where_it_cannot_be_forced_comes_of_another_encoder(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    stage = Stage(tmp_path, **settings)
    with stage.worker(keyframe_us=60_000_000, encoder="camera") as worker:
        worker.read_units(3)
        worker.send(RequestKeyframe())
        worker.read_until(lambda w: sum(unit.key for unit in w.units(Kind.VIDEO)) == 2)
        read_more(worker, 5)
        units = worker.units(Kind.VIDEO)
        worker.read_until(lambda _: bool(stage.journal("encoder stopped")))
    assert_even(units)
    assert len(decode_video(units)) == len(units)
    assert len(stage.journal("encoder")) == 2


def test_changes_of_the_encoder_lose_no_picture(stage: Stage) -> None:
    with stage.worker(keyframe_us=60_000_000) as worker:
        worker.read_units(5)
        assert change(worker, bitrate=150_000, keyframe=2_000_000) == ""
        worker.read_until(lambda w: sum(unit.key for unit in w.units(Kind.VIDEO)) == 2)
        read_more(worker, 10)
        units = worker.units(Kind.VIDEO)
    assert len(decode_video(units)) == len(units)
    assert_even(units)
    number = [unit.key for unit in units].index(True, 1)
    around = units[number - 3 : number + 4]
    assert around[-1].dts_us - around[0].dts_us < 6 * 3 * FRAME_US  # but for a busy machine
    assert [e["bitrate"] for e in stage.journal("encoder")] == [300_000, 150_000]
    assert [e["iperiod"] for e in stage.journal("encoder")] == [1500, 50]


def test_bitrate_of_the_appliance_reaches_the_encoder(stage: Stage) -> None:
    with stage.worker() as worker:
        worker.read_units(3)
        worker.send(SetBitrate(123_000))
        state = read_state(worker, lambda document: document.get("bitrate_bps") == 123_000)
        assert state["encoder"]
    assert stage.journal("encoder")[-1]["bitrate"] == 123_000


def test_frame_rate_changes_while_running(stage: Stage) -> None:
    with stage.worker() as worker:
        worker.read_units(3)
        assert change(worker, fps=50) == ""
        read_state(worker, lambda document: document.get("fps") == 50)
        steps = read_more(worker, 20)
    assert stage.journal("controls")[-1]["values"] == {"FrameDurationLimits": [20_000, 20_000]}
    assert stage.journal("encoder")[-1]["framerate"] == 50
    assert_even(steps)


def test_controls_are_set_all_or_none(stage: Stage) -> None:
    with stage.worker(controls={"Brightness": 0.5}) as worker:
        worker.read_units(2)
        assert stage.journal("controls")[-1]["values"] == {"Brightness": 0.5}
        error = change(worker, controls={"awb": "daylight", "ExposureTime": 1_000_000}, fps=10)
        assert error == "ExposureTime = 1000000: give a whole number from 9 to 66666 (0: automatic)"
        assert stage.journal("controls")[-1]["values"] == {"Brightness": 0.5}
        values = {"awb": "daylight", "ExposureTime": 5000, "ColourGains": [1.5, 2.0]}
        assert change(worker, controls=values) == ""
        assert stage.journal("controls")[-1]["values"] == {
            "AwbMode": 5, "ExposureTime": 5000, "ColourGains": [1.5, 2.0],
        }  # fmt: skip
        state = read_state(
            worker, lambda d: d.get("controls", {}).get("AwbMode", {}).get("value") == "Daylight"
        )
    assert state["controls"]["Brightness"]["value"] == 0.5
    assert state["controls"]["NoiseReductionMode"]["choices"][1] == "Fast"
    assert state["fps"] == 25


def test_wrong_controls_of_the_configuration_do_not_keep_the_camera_off(stage: Stage) -> None:
    with stage.worker(controls={"Brightness": 7.0, "awb": "cloudy"}) as worker:
        worker.read_units(2)
        state = read_state(worker, lambda document: "why" in document)
    assert state["why"] == "Brightness = 7: give a number from -1 to 1"
    assert state["controls"]["AwbMode"]["value"] == "Cloudy"


@pytest.mark.parametrize("values", [{"colour": 1}, {"sub": True}, {"fps": 0}, {"controls": 3}])
def test_changes_that_cannot_be_are_refused(stage: Stage, values: dict[str, Any]) -> None:
    with stage.worker() as worker:
        worker.read_units(1)
        assert change(worker, **values) != ""
        read_more(worker, 2)


# -- the second stream, stills, masks -------------------------------------------------------------


def test_second_stream_comes_while_it_is_wanted(stage: Stage) -> None:
    with stage.worker(sub=SUB) as worker:
        worker.read_units(5)
        assert of_track(worker, SUB_VIDEO_ID) == []
        assert change(worker, sub=True) == ""
        units = read_more(worker, 8, SUB_VIDEO_ID)
        assert change(worker, sub=False) == ""
        worker.read_until(lambda _: bool(stage.journal("encoder stopped")))
    assert units[0].key
    assert len(decode_video(units)) == 8
    assert (units[0].track.config.width_px, units[0].track.config.height_px) == (160, 90)
    assert stage.journal("configure")[0]["lores"] == [160, 90]
    sub = stage.journal("encoder")[1]
    assert (sub["stream"], sub["bitrate"], sub["skip"], sub["framerate"]) == (
        "lores", 100_000, 2, 12,
    )  # fmt: skip


def test_second_stream_keeps_the_pictures_shape(stage: Stage) -> None:
    with stage.worker(sub=SUB | {"width": 160, "height": 160}) as worker:
        worker.read_units(1)
    assert stage.journal("configure")[0]["lores"] == [160, 90]


def take_picture(worker: Worker, **wish: Any) -> Picture:
    serial = len(worker.events) + 1
    worker.send(RequestPicture(serial, **wish))

    def answers(worker: Worker) -> list[Picture]:
        return [e for e in worker.events if isinstance(e, Picture) and e.serial == serial]

    worker.read_until(lambda worker: bool(answers(worker)))
    return answers(worker)[0]


def decode_jpeg(data: bytes) -> av.VideoFrame:
    context = av.VideoCodecContext.create("mjpeg", "r")
    return context.decode(av.Packet(data))[0]


MASK = {"x": 0.0, "y": 0.0, "width": 0.5, "height": 0.5}


@pytest.mark.parametrize("hardware", [True, False])
def test_masked_pixels_are_black_everywhere(tmp_path: Path, hardware: bool) -> None:
    stage = Stage(tmp_path, hardware=hardware)
    with stage.worker(masks=[MASK], sub=SUB) as worker:
        assert change(worker, sub=True) == ""
        read_more(worker, 3, SUB_VIDEO_ID)
        main, sub = (
            decode_video(of_track(worker, track_id))[-1] for track_id in (VIDEO_ID, SUB_VIDEO_ID)
        )
        still = decode_jpeg(take_picture(worker).jpeg)
        small = decode_jpeg(take_picture(worker, width=160).jpeg)
        assert read_state(worker, lambda d: "masks" in d)["masks"] == 1
    for frame in (main, sub):
        at = luma(frame)
        inside = {at(x, y) for x in range(0, frame.width // 2 - 2, 3) for y in range(0, 40, 3)}
        assert max(inside) <= 20
        assert abs(at(frame.width - 4, 2) - 180) < 5 and abs(at(2, frame.height - 4) - 180) < 5
    for frame in (still, small):
        at = luma(frame)
        assert max(at(x, 2) for x in range(0, frame.width // 2 - 8)) < 12
        assert at(frame.width - 4, 2) > 170
    assert (still.width, small.width) == (320, 160)


def test_mask_stays_where_it_is_in_the_room_when_the_sensor_turns(stage: Stage) -> None:
    """Its place is told on the sensor's picture as it is without turning."""
    with stage.worker(masks=[MASK], rotation=180) as worker:
        at = luma(decode_video(worker.read_units(2))[-1])
    assert at(300, 170) <= 20
    assert abs(at(4, 4) - 180) < 5


def test_small_stills_come_from_the_small_stream(stage: Stage) -> None:
    with stage.worker(sub=SUB) as worker:
        worker.read_units(3)
        before_us = time.monotonic_ns() // 1000
        picture = take_picture(worker, sub=True, quality=50)
        large = take_picture(worker)
    assert (picture.width, picture.height, picture.error) == (160, 90, "")
    assert before_us - 1_000_000 < picture.time_us < time.monotonic_ns() // 1000
    assert (large.width, large.height) == (320, 180)


def test_words_are_written_and_changed(stage: Stage) -> None:
    overlay = {"shown": True, "text": "MMMM", "size_percent": 20.0}
    with stage.worker(overlay=overlay) as worker:
        assert dark_pixels(decode_video(worker.read_units(3))[-1]) > 200
        assert change(worker, overlay=False) == ""
        worker.read_until(lambda w: dark_pixels(decode_video(w.units(Kind.VIDEO))[-1]) == 0)
        assert change(worker, overlay=True, text="") == ""
        read_more(worker, 3)
        assert dark_pixels(decode_video(worker.units(Kind.VIDEO))[-1]) == 0


def dark_pixels(frame: av.VideoFrame) -> int:
    at = luma(frame)
    return sum(at(x, y) < 60 for x in range(0, frame.width, 2) for y in range(0, 90, 2))


# -- what goes wrong while it runs ----------------------------------------------------------------


def test_camera_that_stalls_still_obeys(stage: Stage) -> None:
    with stage.worker() as worker:
        worker.read_units(3)
        stage.switch("stall")
        assert change(worker, controls={"Brightness": 0.1}) == ""
        picture = take_picture(worker)
        assert "gave no picture" in picture.error
        stage.switch_off("stall")
        read_more(worker, 3)


def test_camera_is_closed_and_opened_again(stage: Stage) -> None:
    with stage.worker(controls={"Brightness": 0.1}) as worker:
        worker.read_units(3)
        assert change(worker, controls={"AnalogueGain": 2.0}, fps=30) == ""
        stage.switch("stall")
        worker.send(Recover(Rung.CAMERA))
        worker.read_until(lambda _: len(stage.journal("start")) == 2)
        stage.switch_off("stall")
        units = read_more(worker, 5)
        state = read_state(worker, lambda d: d.get("fps") == 30 and "controls" in d)
    assert_even(worker.units(Kind.VIDEO))
    assert any(unit.key for unit in units)
    assert [len(stage.journal(what)) for what in ("open", "close", "encoder stopped")] == [2, 1, 2]
    values = {name: about["value"] for name, about in state["controls"].items()}
    assert (values["Brightness"], values["AnalogueGain"]) == (0.1, 2.0)


def test_encoder_that_stalls_is_replaced(stage: Stage) -> None:
    with stage.worker(keyframe_us=60_000_000) as worker:
        worker.read_units(3)
        stage.switch("encoder-stall")
        wait_until(lambda: bool(stage.journal("encoder stalls")))
        stage.switch_off("encoder-stall")
        worker.send(Recover(Rung.ENCODER))
        worker.read_until(lambda w: sum(unit.key for unit in w.units(Kind.VIDEO)) == 2)
    assert_even(worker.units(Kind.VIDEO))
    assert [len(stage.journal(what)) for what in ("open", "encoder")] == [1, 2]


def test_camera_that_vanishes_for_good_ends_the_worker(stage: Stage) -> None:
    with stage.worker() as worker:
        worker.read_units(3)
        stage.switch("gone")
        worker.send(Recover(Rung.CAMERA))
        fault = worker.read_end()
    assert fault is not None and fault.reason == "source-missing"


@pytest.mark.parametrize(
    ("switch", "rung", "words"),
    [
        ("hang", Rung.CAMERA, "closing the camera did not return within 5 s"),
        ("hang-encoder", Rung.ENCODER, "an encoder's stop did not return within 5 s"),
    ],
)
def test_driver_that_hangs_ends_the_worker_by_itself(
    stage: Stage, switch: str, rung: Rung, words: str
) -> None:
    with stage.worker() as worker:
        worker.read_units(3)
        stage.switch(switch)
        worker.send(Recover(rung))
        fault = worker.read_end()
        assert worker.process.wait(DEADLINE_S) == 1
    assert fault is not None and fault.reason == "source-lost"
    assert words in fault.text


def test_worker_whose_driver_hangs_still_ends_with_its_input(stage: Stage) -> None:
    with stage.worker() as worker:
        worker.read_units(3)
        stage.switch("hang")
        worker.send(Recover(Rung.CAMERA))
        wait_until(lambda: bool(stage.journal("blocked by hang")))
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        assert worker.process.wait(DEADLINE_S) == 0


def test_mask_that_hides_nothing_is_refused(stage: Stage) -> None:
    """Its owner meant to hide something."""
    with stage.worker(masks=[MASK | {"width": 0.0}]) as worker:
        fault = worker.read_end()
    assert fault is not None and fault.reason == "source-invalid"
    assert worker.units(Kind.VIDEO) == []


def test_appliance_that_does_not_read_does_not_stop_the_camera(stage: Stage) -> None:
    """The pipe is full and the worker's own thread waits; picamera2's threads go on and drop."""
    stage.switch("noise")
    with stage.worker(bitrate_bps=50_000_000, fps=50) as worker:
        worker.read_units(3)
        wait_until(lambda: len(stage.journal("exposed")) >= 5)
        before = len(worker.units(Kind.VIDEO))
        units = worker.read_units(before + 100)
    assert_even(units)
    gaps = [n for n in range(1, len(units)) if units[n].dts_us - units[n - 1].dts_us > 10 * 20_000]
    assert gaps and all(units[n].key for n in gaps)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
