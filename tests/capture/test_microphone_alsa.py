"""ALSA's real library, on devices that need no sound card, and what the kernel tells of cards."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest
from alsa_fixture import sine, write_alsa_config

from appliance.capture.clock import monotonic_us
from appliance.capture.microphone import libasound as binding
from appliance.capture.microphone.alsa import Pcm, plausible_stamp_us
from appliance.capture.microphone.devices import (
    SoundDevice,
    choose_device,
    is_of_camera,
    list_devices,
    usb_device,
)
from appliance.capture.microphone.libasound import AlsaFault, libasound, timespec_us
from appliance.capture.microphone.pace import MAX_BURST_US, Pace

WAIT_US = 1_000_000


def open_with(monkeypatch: pytest.MonkeyPatch, config: Path, name: str, channels: int = 1) -> Pcm:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    return Pcm(name, 48_000, channels)


def test_alsa_reads_a_file_s_samples_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = sine(440, 1)
    pcm = open_with(monkeypatch, write_alsa_config(tmp_path, "clip", samples), "clip")
    assert (pcm.rate_hz, pcm.channels, pcm.sample_format) == (48_000, 1, "s16")
    heard, count = b"", 0
    while count < 20_000:
        captured = pcm.read(WAIT_US)
        assert captured is not None
        assert captured.first == count
        assert captured.samples * 2 == len(captured.data)
        assert captured.total >= captured.first + captured.samples
        assert 0 <= monotonic_us() - captured.time_us < WAIT_US
        assert not captured.after_gap
        assert not captured.clocked  # always full, and yet no overrun
        heard += captured.data
        count += captured.samples
    assert heard == samples.tobytes()[: len(heard)]
    pcm.close()
    pcm.close()  # twice is once


def test_alsa_converts_what_a_device_cannot_do_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "asound.conf"
    # Six channels and nothing else, as array microphones have
    config.write_text(
        "</usr/share/alsa/alsa.conf>\n"
        "pcm.array { type multi\n slaves.a { pcm { type null } channels 6 }\n"
        + "".join(f" bindings.{n} {{ slave a channel {n} }}\n" for n in range(6))
        + "}\n"
    )
    pcm = open_with(monkeypatch, config, "array")
    assert pcm.channels == 1
    captured = pcm.read(WAIT_US)
    assert captured is not None and len(captured.data) == captured.samples * 2
    pcm.close()


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ESTRPIPE])
def test_alsa_overrun_and_suspend_mark_what_follows(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = open_with(monkeypatch, write_alsa_config(tmp_path, "clip", sine(440, 1)), "clip")
    marks = []
    for _ in range(2):
        captured = pcm.read(WAIT_US)
        assert captured is not None
        marks.append(captured.after_gap)
    pcm._recover(-code)  # what a device without a clock never reports
    pcm._recover(-errno.EAGAIN)
    for _ in range(2):
        captured = pcm.read(WAIT_US)
        assert captured is not None
        marks.append(captured.after_gap)
    assert marks == [False, False, True, False]
    with pytest.raises(AlsaFault, match="clip: the sound device is gone"):
        pcm._recover(-errno.ENODEV)
    pcm.close()


def test_alsa_gives_two_channels_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pcm = open_with(monkeypatch, write_alsa_config(tmp_path, "clip", sine(440, 1)), "clip", 2)
    captured = pcm.read(WAIT_US)
    assert pcm.channels == 2
    assert captured is not None and len(captured.data) == captured.samples * 4
    pcm.close()


@pytest.mark.parametrize("name", ["nowhere", "hw:31,0", "", "hw:CARD='x',DEV=0", "{", "a b\n"])
def test_alsa_device_that_is_not_there_is_a_sentence_and_silent(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AlsaFault) as caught:
        open_with(monkeypatch, write_alsa_config(tmp_path, "clip", sine(440, 1)), name)
    assert str(caught.value).startswith(f"{name}: ")
    assert capfd.readouterr() == ("", "")  # libasound's own words are kept out of the log


def test_alsa_missing_library_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "LIBRARY", "libasound-is-not-here.so.2")
    libasound.cache_clear()
    try:
        for ask in (list_devices, lambda: Pcm("default", 48_000, 1)):
            with pytest.raises(AlsaFault, match="install the package libasound2"):
                ask()
    finally:
        libasound.cache_clear()


def test_alsa_lists_devices_without_any_card_or_with_some() -> None:
    for device in list_devices():  # most machines that run tests have none
        assert device.name.startswith("hw:CARD=")


@pytest.mark.parametrize(
    ("raw", "long_bytes"),
    [
        (struct.pack("<qq", 1234, 567_890_000), 8),
        (struct.pack("<qii", 1234, 567_890_000, 0), 4),  # 32 bits with a time_t of 64
        (struct.pack("<qii", 1234, 567_890_000, -1), 4),  # its padding untouched
        (struct.pack("<ii", 1234, 567_890_000) + b"\xff" * 8, 4),
    ],
)
def test_alsa_time_stamps_of_every_layout(raw: bytes, long_bytes: int) -> None:
    assert timespec_us(raw, long_bytes) == 1_234_567_890


@pytest.mark.parametrize(
    ("stamp_us", "taken"),
    [(999_000, True), (1_000_000, True), (1_000_001, False), (0, False), (1.8e15, False)],
)
def test_alsa_stamps_of_another_clock_are_not_believed(stamp_us: float, taken: bool) -> None:
    now_us = 1_000_000 if taken or stamp_us > 1e6 else 90_000_000
    believed_us = plausible_stamp_us(int(stamp_us), now_us)
    assert believed_us == (stamp_us if taken else now_us)


# -- which device ------------------------------------------------------------------------------


def plug_in(sysfs: Path, usb: str, *, card: int | None = None, video: int | None = None) -> None:
    """What the kernel shows of a USB device with a sound and a video interface."""
    device = sysfs / "devices/usb1" / usb
    for interface, kind, name in (
        (f"{usb}:1.0", "video4linux", f"video{video}" if video is not None else ""),
        (f"{usb}:1.2", "sound", f"card{card}" if card is not None else ""),
    ):
        if name:
            entry = device / interface / kind / name
            entry.mkdir(parents=True)
            (device / interface / "bInterfaceNumber").write_text("00")
            (entry / "device").symlink_to(device / interface)
            (sysfs / "class" / kind).mkdir(parents=True, exist_ok=True)
            (sysfs / "class" / kind / name).symlink_to(entry)


def device_of(card: int, *, of_camera: bool) -> SoundDevice:
    return SoundDevice(f"hw:CARD=C{card},DEV=0", "a card", card, 0, of_camera)


def test_auto_takes_the_microphone_of_the_camera_itself(tmp_path: Path) -> None:
    plug_in(tmp_path, "1-1", card=1, video=0)
    plug_in(tmp_path, "1-2", card=2, video=2)
    built_in = tmp_path / "devices/soc/sound/card0"
    built_in.mkdir(parents=True)
    (built_in / "device").symlink_to(tmp_path / "devices/soc")
    (tmp_path / "class/sound/card0").symlink_to(built_in)
    found = [device_of(0, of_camera=False)] + [device_of(n, of_camera=True) for n in (1, 2)]
    assert choose_device(found, "/dev/video2", tmp_path) == "hw:CARD=C2,DEV=0"
    assert choose_device(found, "/dev/video0", tmp_path) == "hw:CARD=C1,DEV=0"
    assert choose_device(found, "/dev/video9", tmp_path) == "hw:CARD=C1,DEV=0"
    assert choose_device(found, "", tmp_path) == "hw:CARD=C1,DEV=0"
    assert choose_device(found[:1], "", tmp_path) == "hw:CARD=C0,DEV=0"
    assert choose_device([], "/dev/video0", tmp_path) == ""
    assert usb_device(tmp_path / "class/sound/card0") is None


def test_a_card_of_a_usb_device_with_video_is_of_a_camera(tmp_path: Path) -> None:
    plug_in(tmp_path, "1-1", card=1, video=0)
    plug_in(tmp_path, "1-2", card=2)
    assert is_of_camera(1, tmp_path)
    assert not is_of_camera(2, tmp_path)
    assert not is_of_camera(3, tmp_path)


# -- how fast ----------------------------------------------------------------------------------


def test_pace_lets_a_real_device_run_and_its_backlog_through() -> None:
    pace, now_us = Pace(48_000, 0), 0
    for _ in range(1000):  # 0.1 % fast
        now_us += 19_980
        assert pace.wait_us(now_us) == 0
        pace.take(960, now_us, clocked=True)
    now_us += 700_000  # we could not look
    for _ in range(35):
        assert pace.wait_us(now_us) == 0
        pace.take(960, now_us, clocked=True)


def test_pace_bounds_a_device_that_floods() -> None:
    pace, now_us, taken = Pace(48_000, 0), 0, 0
    while now_us < 60_000_000:
        now_us += pace.wait_us(now_us) or 10
        pace.take(960, now_us, clocked=True)
        taken += 960
    assert taken <= 48_000 * (60 + MAX_BURST_US / 1e6) * 1.06


def test_pace_reads_a_device_without_a_clock_at_its_nominal_rate() -> None:
    pace, now_us, taken = Pace(48_000, 5_000_000), 5_000_000, 0
    while now_us < 65_000_000:
        now_us += pace.wait_us(now_us) + 100
        heard_us = pace.take(960, now_us, clocked=False)
        taken += 960
        assert abs(heard_us - (5_000_000 + taken * 1e6 / 48_000)) <= 200
    assert abs(taken - 48_000 * 60) <= 2 * 960
