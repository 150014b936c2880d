"""What the picamera2 source is made of, piece by piece: controls, clock, chunks, patience."""

from __future__ import annotations

import threading
import time
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import av
import pytest

from appliance.capture.fault import ChangeRefused, SourceFault
from appliance.capture.options import MaskOptions, Options
from appliance.capture.picamera.camera import Stream, find_camera
from appliance.capture.picamera.controls import Controls, fps_range
from appliance.capture.picamera.deadline import DriverHangs, Errand
from appliance.capture.picamera.encoding import UnitReader
from appliance.capture.picamera.handover import Handover
from appliance.capture.picamera.pictures import Draft, Pictures, planes_of
from appliance.capture.picamera.sensor_clock import SensorClock
from appliance.capture.sources import open_source

RANGES: dict[str, Any] = {
    "AeEnable": (False, True, True),
    "AfWindows": ((0, 0, 0, 0), (65535, 65535, 65535, 65535), (0, 0, 0, 0)),
    "AnalogueGain": (1.0, 16.0, None),
    "AwbMode": (0, 3, 0),
    "Brightness": (-1.0, 1.0, 0.0),
    "ColourGains": (0.0, 32.0, None),
    "ExposureTime": (60, 66_666, 20_000),
    "FrameDurationLimits": (16_666, 1_000_000, 33_333),
    "HdrChannel": (0, 4, 0),
    "ScalerCrop": ((0, 0, 64, 64), (0, 0, 4608, 2592), (0, 0, 4608, 2592)),
    "StatsName": ("", "", ""),
}
AWB = {0: "Auto", 1: "Incandescent", 2: "Tungsten", 3: "Fluorescent", 4: "Indoor"}


def make_controls(applied: dict[str, Any]) -> Controls:
    return Controls(RANGES, lambda name: AWB if name == "AwbMode" else {}, applied.update)


# -- controls -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "applied"),
    [
        ({"AeEnable": False}, {"AeEnable": False}),
        ({"AeEnable": 1}, {"AeEnable": True}),
        ({"AnalogueGain": 2}, {"AnalogueGain": 2.0}),
        ({"AnalogueGain": 0}, {"AnalogueGain": 0.0}),
        ({"gain": 16.0}, {"AnalogueGain": 16.0}),
        ({"ExposureTime": 66_666}, {"ExposureTime": 66_666}),
        ({"shutter": 0}, {"ExposureTime": 0}),
        ({"exposuretime": 100.0}, {"ExposureTime": 100}),
        ({"exposure_time": 100, "awb-mode": 1}, {"ExposureTime": 100, "AwbMode": 1}),
        ({"AwbMode": "tungsten"}, {"AwbMode": 2}),
        ({"awb": 3}, {"AwbMode": 3}),
        ({"ColourGains": [1.5, 2]}, {"ColourGains": (1.5, 2)}),
        ({"awbgains": "1.5,2.25"}, {"ColourGains": (1.5, 2.25)}),
        ({"ScalerCrop": [0, 0, 100, 50]}, {"ScalerCrop": (0, 0, 100, 50)}),
        ({"ScalerCrop": "8,9,100,50"}, {"ScalerCrop": (8, 9, 100, 50)}),
        ({"AfWindows": "0,0,9,9;1,1,8,8"}, {"AfWindows": [(0, 0, 9, 9), (1, 1, 8, 8)]}),
        ({"AfWindows": [[0, 0, 9, 9]]}, {"AfWindows": [(0, 0, 9, 9)]}),
        ({"HdrChannel": 4}, {"HdrChannel": 4}),
        ({}, {}),
    ],
)
def test_control_within_its_range_is_set(given: dict[str, Any], applied: dict[str, Any]) -> None:
    told: dict[str, Any] = {}
    controls = make_controls(told)
    controls.set(given)
    assert told == applied
    assert {name: type(value) for name, value in told.items()} == {
        name: type(value) for name, value in applied.items()
    }
    assert controls.values == applied


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ExposureTime": 59}, "from 60 to 66666 (0: automatic)"),
        ({"ExposureTime": 66_667}, "from 60 to 66666"),
        ({"ExposureTime": 100.5}, "a whole number from 60"),
        ({"ExposureTime": "long"}, "ExposureTime is 'long': give a whole number"),
        ({"ExposureTime": True}, "ExposureTime is True"),
        ({"AnalogueGain": 0.5}, "from 1 to 16 (0: automatic)"),
        ({"Brightness": float("nan")}, "a number from -1 to 1"),
        ({"Brightness": float("inf")}, "a number from -1 to 1"),
        ({"Brightness": None}, "a number from -1 to 1"),
        ({"AeEnable": "yes"}, "give true or false"),
        ({"AeEnable": 2}, "give true or false"),
        ({"AwbMode": 4}, "Auto (0), Incandescent (1), Tungsten (2), Fluorescent (3)"),
        ({"AwbMode": "indoor"}, "give one of Auto (0)"),
        ({"AwbMode": True}, "give one of Auto (0)"),
        ({"ColourGains": [1.0]}, "a list of 2 numbers from 0 to 32"),
        ({"ColourGains": [1.0, 33]}, "ColourGains has 33"),
        ({"ColourGains": "red"}, "a list of 2 numbers"),
        ({"ColourGains": 1.0}, "a list of 2 numbers"),
        ({"ScalerCrop": [0, 0, 1]}, "a list of 4 numbers"),
        ({"ScalerCrop": [-1, 0, 1, 1]}, "ScalerCrop has -1"),
        ({"AfWindows": "0,0,9,9;1,1"}, "a list of 4 numbers"),
        ({"StatsName": "x"}, "cannot be set from here"),
        ({"FrameDurationLimits": [1, 2]}, "change fps instead"),
        ({"Brightnes": 0}, "did you mean Brightness?"),
        ({"zoom": 2}, "it has AeEnable, AfWindows"),
        ({"z" * 5000: 2}, "it has AeEnable"),
        ({"ColourGains": list(range(5000))}, "…"),
    ],
)
def test_control_out_of_its_range_is_refused_with_it(given: dict[str, Any], words: str) -> None:
    told: dict[str, Any] = {}
    controls = make_controls(told)
    with pytest.raises(ChangeRefused) as refusal:
        controls.set({"Brightness": 0.5} | given)
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 400
    assert told == {} and controls.values == {}


def test_control_that_libcamera_refuses_is_told_so() -> None:
    def refuse(_: dict[str, Any]) -> None:
        raise RuntimeError("Control is not advertised")

    controls = Controls(RANGES, lambda _: {}, refuse)
    with pytest.raises(ChangeRefused, match="refuses Brightness: Control is not advertised"):
        controls.set({"Brightness": 0.0})
    assert controls.values == {}


def test_controls_are_described_with_types_and_ranges() -> None:
    controls = make_controls({})
    controls.set({"AwbMode": 2, "Brightness": 0.25})
    described = controls.describe()
    assert described["Brightness"] == {
        "type": "float", "min": -1.0, "max": 1.0, "default": 0.0, "value": 0.25,
    }  # fmt: skip
    assert described["ExposureTime"] == {  # 0: automatic, which is its default
        "type": "int", "min": 0, "max": 66_666, "default": 0, "value": None,
    }  # fmt: skip
    assert described["ColourGains"]["default"] == [0.0, 0.0]
    assert described["AwbMode"] == {
        "type": "menu", "choices": ["Auto", "Incandescent", "Tungsten", "Fluorescent"],
        "default": "Auto", "value": "Tungsten",
    }  # fmt: skip
    kinds = {name: about["type"] for name, about in described.items()}
    assert kinds == {
        "AeEnable": "bool", "AfWindows": "list", "AnalogueGain": "float", "AwbMode": "menu",
        "Brightness": "float", "ColourGains": "list", "ExposureTime": "int", "HdrChannel": "int",
        "ScalerCrop": "list", "StatsName": "text",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limits", "fps"),
    [
        ((16_666, 1_000_000, 33_333), (1, 60)),
        (((10_000, 10_000), (100_000, 100_000), None), (10, 100)),
        ((0, 0, 0), None),
    ],
)
def test_frame_rates_follow_from_the_durations(limits: Any, fps: tuple[int, int] | None) -> None:
    found = fps_range({"FrameDurationLimits": limits})
    assert (None if found is None else tuple(map(round, found))) == fps
    assert fps_range({}) is None


# -- which camera ---------------------------------------------------------------------------------

FOUND = [{"Model": "imx708", "Id": "/base/i2c@1/imx708@1a"}, {"Model": "ov5647", "Id": "/base/b"}]


@pytest.mark.parametrize(("which", "number"), [("0", 0), ("1", 1), ("/base/b", 1)])
def test_camera_is_found_by_number_or_identifier(which: str, number: int) -> None:
    assert find_camera(which, FOUND) == number


def test_camera_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(SourceFault, match=r"picamera2:1 is ov5647 at /base/b") as fault:
        find_camera("2", FOUND)
    assert fault.value.reason == "source-missing"
    with pytest.raises(SourceFault, match="ribbon cable"):
        find_camera("0", [])


@pytest.mark.parametrize("rest", ["", "first", "-1", "/" + "x" * 200])
def test_source_with_a_name_that_cannot_be_is_refused(rest: str) -> None:
    with pytest.raises(SourceFault, match="write picamera2:0"):
        open_source(f"picamera2:{rest}", Options())


def test_source_that_can_turn_no_pixels_says_so() -> None:
    options = Options(encoder="camera", rotation=90, rotate="picture")
    with pytest.raises(SourceFault, match='set rotate = "flag"'):
        open_source("picamera2:0", options)


# -- time -----------------------------------------------------------------------------------------


def clock_after(monotonic_ns: int, slept_ns: int) -> SensorClock:
    times = {
        time.CLOCK_MONOTONIC: monotonic_ns,
        time.CLOCK_BOOTTIME: monotonic_ns + slept_ns,
    }
    return SensorClock(times.__getitem__)


@pytest.mark.parametrize(
    ("slept_s", "stamp_us"),
    [(0, 99_990_000), (50, 99_990_000), (50, 149_990_000)],
    ids=["never slept", "stamps of CLOCK_MONOTONIC", "stamps of CLOCK_BOOTTIME"],
)
def test_sensor_time_becomes_monotonic(slept_s: int, stamp_us: int) -> None:
    clock = clock_after(100_000_000_000, slept_s * 1_000_000_000)
    assert clock.monotonic_us(stamp_us) == 99_990_000
    assert clock.monotonic_us(stamp_us + 33_333) == 100_023_333  # the first stamp has decided


@pytest.mark.parametrize("stamp_us", [0, 5_000_000, 99_000_000_000])
def test_sensor_time_of_no_clock_counts_from_its_first_picture(stamp_us: int) -> None:
    clock = clock_after(100_000_000_000, 50_000_000_000)
    assert clock.monotonic_us(stamp_us) == 100_000_000
    assert clock.monotonic_us(stamp_us + 33_333) == 100_033_333


# -- chunks ---------------------------------------------------------------------------------------


def encode(count: int, key_every: int = 100) -> list[bytes]:
    context = av.VideoCodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 64, 64, "yuv420p"
    context.time_base, context.gop_size = Fraction(1, 25), key_every
    context.options = {"tune": "zerolatency", "x264-params": "repeat-headers=1:scenecut=0"}
    chunks = []
    for number in range(count):
        frame = av.VideoFrame(64, 64, "yuv420p")
        frame.pts = number
        chunks += [bytes(packet) for packet in context.encode(frame)]
    return chunks


def split_sets(chunk: bytes) -> tuple[bytes, bytes]:
    at = chunk.index(b"\0\0\1\x65")
    return chunk[:at].removesuffix(b"\0"), chunk[at:]


def test_chunks_become_units_without_parameter_sets() -> None:
    reader = UnitReader(1, 90)
    units = [reader.read(chunk, n * 40_000) for n, chunk in enumerate(encode(3))]
    assert [unit.key for unit in units if unit] == [True, False, False]
    assert [unit.dts_us for unit in units if unit] == [0, 40_000, 80_000]
    assert all(unit.track is reader.track for unit in units if unit)
    assert reader.track is not None and reader.track.rotation_deg == 90
    assert all(part[0] & 31 in {1, 5, 6} for unit in units if unit for part in unit.parts)


def test_parameter_sets_alone_are_kept_for_the_picture() -> None:
    sets, picture = split_sets(encode(1)[0])
    reader = UnitReader(1, 0)
    assert reader.read(sets, 1000) is None
    unit = reader.read(picture, 1000)
    assert unit is not None and unit.key
    assert reader.damaged == 0


def test_chunks_before_the_first_keyframe_are_left_out() -> None:
    chunks = encode(4, key_every=2)
    reader = UnitReader(1, 0)
    assert reader.read(chunks[1], 1) is None
    assert reader.read(chunks[2], 2) is not None


@pytest.mark.parametrize("rest", [b"no start code", b"", b"\1" * 5000])
def test_rest_of_a_picture_that_was_cut_waits_for_a_keyframe(rest: bytes) -> None:
    chunks = encode(6, key_every=3)
    reader = UnitReader(1, 0)
    taken = [reader.read(data, at) for at, data in enumerate([*chunks[:2], rest, *chunks[2:]])]
    assert [unit is not None for unit in taken] == [True, True, False, False, True, True, True]
    assert reader.damaged == 1


def test_second_chunk_of_one_time_is_no_second_picture() -> None:
    chunks = encode(4, key_every=2)
    reader = UnitReader(1, 0)
    reader.read(chunks[0], 1000)
    assert reader.read(chunks[1], 1000) is None
    assert reader.read(chunks[1], 2000) is None
    assert reader.read(chunks[2], 3000) is not None


# -- pictures in memory ---------------------------------------------------------------------------


def test_planes_are_found_behind_the_padding() -> None:
    width, height, stride = 8, 4, 12
    luma = b"".join(bytes([row]) * width + b"p" * 4 for row in range(height))
    blue = b"".join(bytes([100 + row]) * 4 + b"p" * 2 for row in range(2))
    red = b"".join(bytes([200 + row]) * 4 + b"p" * 2 for row in range(2))
    canvas = planes_of(memoryview(bytearray(luma + blue + red)), Stream(width, height, stride))
    for plane, first in ((canvas.luma, 0), (canvas.cb, 100), (canvas.cr, 200)):
        rows = [
            bytes(plane.data[row * plane.stride : row * plane.stride + plane.width])
            for row in range(plane.height)
        ]
        assert rows == [bytes([first + row]) * plane.width for row in range(plane.height)]


def refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("failed to find buffer")


def test_picture_that_cannot_be_masked_is_a_fault_and_no_exception_in_the_cameras_thread() -> None:
    stream, masks = Stream(64, 64, 64), (MaskOptions(width=1.0, height=1.0),)
    system: Any = SimpleNamespace(mapped_array=refuse)
    drafts = {"main": Draft(Options(masks=masks), stream, 0)}
    pictures = Pictures(system, drafts, {"main": stream}, lambda _: True)
    pictures.check()
    pictures.see(Any)  # type: ignore[arg-type]
    with pytest.raises(SourceFault, match="failed to find buffer"):
        pictures.check()


# -- waiting --------------------------------------------------------------------------------------


def test_handover_drops_what_does_not_fit() -> None:
    handover: Handover[int] = Handover(2)
    assert [handover.put(n) for n in range(3)] == [True, True, False]
    handover.wake()
    assert handover.take_dropped() == 1
    assert handover.take_dropped() == 0
    assert [handover.take(0), handover.take(0), handover.take(0)] == [0, 1, None]


def test_handover_wakes_who_waits() -> None:
    handover: Handover[int] = Handover(2)
    threading.Timer(0.01, handover.wake).start()
    assert handover.take(60_000_000) is None


def test_errand_gives_back_what_went_wrong() -> None:
    def fail() -> None:
        raise RuntimeError("the camera burns")

    with pytest.raises(RuntimeError, match="the camera burns"):
        Errand("a call", fail, 60_000_000).wait()


def test_errand_that_never_ends_is_given_up() -> None:
    end = threading.Event()
    errand = Errand("closing the camera", end.wait, 0)
    with pytest.raises(DriverHangs, match="closing the camera did not return within 0 s"):
        errand.wait()
    end.set()
