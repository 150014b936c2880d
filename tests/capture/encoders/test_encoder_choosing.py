"""Which encoder is opened, what is said when none can be, and encoders changed while running."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from appliance.capture.encoders import choosing, h264, v4l2m2m
from appliance.capture.encoders.choosing import open_encoder
from appliance.capture.encoders.encoder import (
    BT601,
    EncoderSettings,
    KeyframeGrid,
    PacketReader,
    VideoEncoder,
)
from appliance.capture.encoders.h264 import H264Encoder
from appliance.capture.encoders.v4l2m2m import M2mEncoder, find_encoder
from appliance.capture.fault import SourceFault
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason

SETTINGS = EncoderSettings(64, 48, Fraction(30), 100_000, 2_000_000)
INTERVAL_US = 33_333


def nothing() -> str:
    return ""


def encode(encoder: VideoEncoder, count: int, first: int = 0) -> list[AccessUnit]:
    frame = av.VideoFrame(64, 48, "yuv420p")
    return [
        unit
        for number in range(first, first + count)
        for unit in encoder.encode(frame, number * INTERVAL_US)
    ]


# -- probing --------------------------------------------------------------------------------------


class Driver:
    """A V4L2 device's answers: its capabilities, and what each queue can hold."""

    def __init__(self, flags: int, formats: dict[int, list[bytes]]) -> None:
        self._flags = flags
        self._formats = formats

    def ioctl(self, descriptor: int, request: int, data: bytearray) -> None:
        if request == v4l2m2m.VIDIOC_QUERYCAP:
            data[84:88] = (self._flags | v4l2m2m.CAP_DEVICE_CAPS).to_bytes(4, "little")
            data[88:92] = self._flags.to_bytes(4, "little")
            return
        assert request == v4l2m2m.VIDIOC_ENUM_FMT
        index = int.from_bytes(data[:4], "little")
        queue = self._formats.get(int.from_bytes(data[4:8], "little"), [])
        if index >= len(queue):
            raise OSError(errno.EINVAL, "no more")
        data[44:48] = queue[index]


M2M_MPLANE, M2M, CAPTURE_ONLY = 0x4000, 0x8000, 0x1
OUTPUT_MPLANE = 10


@pytest.mark.parametrize(
    ("driver", "found"),
    [
        (Driver(M2M_MPLANE, {9: [b"MJPG", b"H264"], OUTPUT_MPLANE: [b"YU12"]}), True),
        (Driver(M2M, {1: [b"H264"]}), True),
        (Driver(M2M_MPLANE, {9: [b"YU12"], OUTPUT_MPLANE: [b"H264"]}), False),  # a decoder
        (Driver(CAPTURE_ONLY, {1: [b"H264"]}), False),  # a camera
        (Driver(M2M_MPLANE, {9: []}), False),
    ],
)
def test_find_encoder_takes_only_what_makes_h264_of_pictures(
    tmp_path: Path, driver: Driver, found: bool
) -> None:
    node = tmp_path / "video11"
    node.touch()
    assert find_encoder([node], driver.ioctl) == (str(node) if found else "")


def test_find_encoder_passes_over_what_is_no_device(tmp_path: Path) -> None:
    plain = tmp_path / "video0"
    plain.touch()
    assert find_encoder([tmp_path / "missing", plain]) == ""  # with the kernel's own ioctl


def test_find_encoder_ends_with_a_driver_that_has_no_last_format(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    driver = Driver(M2M, {1: [b"YUYV"] * 100_000})
    assert find_encoder([node], driver.ioctl) == ""


# -- choosing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["auto", "libx264"])
def test_open_encoder_without_hardware_is_libx264(wish: str) -> None:
    encoder = open_encoder(wish, 1, SETTINGS, find_device=nothing)
    assert encoder.name == "libx264"
    assert encoder.threads == 1
    assert encode(encoder, 1)[0].key


def test_open_encoder_prefers_the_device_that_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, EncoderSettings]] = []
    monkeypatch.setattr(choosing, "M2mEncoder", lambda *given: opened.append(given))
    open_encoder("auto", 7, SETTINGS, find_device=lambda: "/dev/video11")
    assert opened == [(7, SETTINGS)]
    open_encoder("libx264", 7, SETTINGS, find_device=lambda: "/dev/video11")
    open_encoder("auto", 7, SETTINGS, without=v4l2m2m.CODEC, find_device=lambda: "/dev/video11")
    assert len(opened) == 1


def test_open_encoder_with_hardware_that_refuses_falls_back() -> None:
    """libav finds no such device here, whatever the probe says."""
    encoder = open_encoder("auto", 1, SETTINGS, find_device=lambda: "/dev/video11")
    assert encoder.name == "libx264"


def test_open_encoder_that_must_be_hardware_says_what_was_tried() -> None:
    for find, word in ((nothing, "no device"), (lambda: "/dev/video11", "/dev/video11")):
        with pytest.raises(SourceFault, match=word) as caught:
            open_encoder("h264_v4l2m2m", 1, SETTINGS, find_device=find)
        assert caught.value.reason is Reason.ENCODER
        assert 'encoder = "auto"' in str(caught.value)


def test_open_encoder_for_a_camera_without_h264_says_so() -> None:
    with pytest.raises(SourceFault, match=r"does not deliver H\.264"):
        open_encoder("camera", 1, SETTINGS, find_device=nothing)


def test_open_encoder_without_libx264_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: Any) -> Any:
        raise ValueError("libx264")

    monkeypatch.setattr(h264.av.VideoCodecContext, "create", unknown, raising=False)
    with pytest.raises(SourceFault) as caught:
        open_encoder("auto", 1, SETTINGS, find_device=nothing)
    text = str(caught.value)
    assert "h264_v4l2m2m (no device" in text
    assert "python3-av" in text
    assert text.count("libx264") >= 1


# -- while it runs --------------------------------------------------------------------------------


def test_encoder_at_another_pace_keeps_its_parameter_sets() -> None:
    encoder = H264Encoder(
        1, 640, 360, Fraction(30), bitrate_bps=500_000, keyframe_us=60_000_000
    )  # fmt: skip
    frame = av.VideoFrame(640, 360, "yuv420p")
    first = encoder.encode(frame, 0)
    encoder.set_fps(10)
    slower = encoder.encode(frame, 100_000)
    assert slower[0].key
    assert first[0].track.config == slower[0].track.config
    assert first[0].track.config.fps == 30


def test_encoder_at_another_pace_keeps_its_bitrate() -> None:
    """Noise costs what it is given: the bits of a second are the same at a third of the rate."""
    import os

    def bits_per_second(fps: int) -> float:
        encoder = H264Encoder(
            1, 320, 180, Fraction(30), bitrate_bps=400_000, keyframe_us=60_000_000
        )
        encoder.set_fps(fps)
        frame = av.VideoFrame(320, 180, "yuv420p")
        sizes = []
        for number in range(fps * 6):
            for plane in frame.planes:
                plane.update(os.urandom(plane.buffer_size))
            (unit,) = encoder.encode(frame, number * 1_000_000 // fps)
            sizes.append(unit.size_bytes)
        return sum(sizes[fps * 2 :]) * 8 / 4

    for fps in (30, 10):
        assert 250_000 < bits_per_second(fps) < 600_000, fps


def test_encoder_tells_the_matrix_it_was_given() -> None:
    encoder = choosing.open_software(1, EncoderSettings(64, 48, Fraction(30), 100_000, 1_000_000))
    other = choosing.open_software(
        1, EncoderSettings(64, 48, Fraction(30), 100_000, 1_000_000, matrix=BT601)
    )
    assert encode(encoder, 1)[0].track.config != encode(other, 1)[0].track.config


def test_keyframe_grid_of_another_interval_begins_with_the_next_picture() -> None:
    grid = KeyframeGrid(2_000_000, Fraction(30))
    times_us = [n * INTERVAL_US for n in range(300)]
    due = [at_us for at_us in times_us[:100] if grid.is_due(at_us)]
    grid.set_keyframe_us(500_000)
    due += [at_us for at_us in times_us[100:] if grid.is_due(at_us)]
    seconds = [round(at_us / 1_000_000, 1) for at_us in due]
    assert seconds == [0.0, 2.0, 3.3, 3.8, 4.3, 4.8, 5.3, 5.8, 6.3, 6.8, 7.3, 7.8, 8.3, 8.8,
                       9.3, 9.8]  # fmt: skip


def test_packet_reader_knows_sets_that_come_once_and_alone() -> None:
    """As hardware encoders deliver them: before the first picture, in a packet of their own."""
    encoder = H264Encoder(1, 64, 48, Fraction(30), bitrate_bps=100_000, keyframe_us=60_000_000)
    units = encode(encoder, 3)
    config: Any = units[0].track.config
    start = b"\0\0\0\1"
    reader = PacketReader(5, rotation_deg=90)

    def packet(nals: Any, at_us: int | None) -> Any:
        made = av.Packet(b"".join(start + bytes(nal) for nal in nals))
        made.pts = at_us
        return made

    assert reader.units(packet(units[0].parts, 0)) == []  # nobody could decode it yet
    assert reader.units(packet((*config.sps, *config.pps), None)) == []
    (unit,) = reader.units(packet(units[0].parts, 40_000))
    assert unit.key
    assert (unit.track.id, unit.track.rotation_deg, unit.track.config) == (5, 90, config)
    assert (unit.dts_us, unit.pts_us) == (40_000, 40_000)  # such drivers give no dts
    (later,) = reader.units(packet(units[1].parts, 80_000))
    assert later.track is unit.track


def test_m2m_encoder_without_a_device_says_how_to_do_without() -> None:
    with pytest.raises(SourceFault, match='encoder = "libx264"'):
        M2mEncoder(1, SETTINGS)
