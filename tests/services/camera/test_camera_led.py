"""The light: on while a worker lives, on files and a chip in place of the board's."""

from __future__ import annotations

import errno
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from camera_fixture import camera, stream_settings
from scripted_worker import Play

from appliance.net import worker_process as process
from appliance.services.camera import Settings, led
from appliance.services.camera.led import (
    CHIP_INFO,
    GET_LINE,
    SET_VALUES,
    GpioLight,
    Led,
    SysfsLight,
    open_led,
)


def make_led(root: Path, name: str = "ACT") -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "trigger").write_text("[mmc0] none timer")
    (folder / "brightness").write_text("0")
    (folder / "max_brightness").write_text("255\n")
    return folder


def test_light_of_the_board_is_taken_from_its_trigger(tmp_path: Path) -> None:
    folder = make_led(tmp_path)
    light = SysfsLight("ACT", tmp_path)
    light.set(True)
    assert (folder / "trigger").read_text() == "none"
    assert (folder / "brightness").read_text() == "255"
    light.set(False)
    assert (folder / "brightness").read_text() == "0"


def test_light_without_trigger_or_maximum_is_switched_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "brightness").write_text("0")
    SysfsLight("x", tmp_path).set(True)
    assert (tmp_path / "x" / "brightness").read_text() == "1"


class Board:
    """Chips in place of the kernel's: what ioctl is asked, as linux/gpio.h lays it out."""

    def __init__(self, folder: Path, **chips: tuple[bytes, int]) -> None:
        self.folder = folder
        self.chips = chips
        self.asked: list[tuple[str, int]] = []
        self.levels: list[int] = []
        for name in chips:
            (folder / name).write_text("")

    def ioctl(self, descriptor: int, request: int, data: bytearray) -> int:
        if request == SET_VALUES:
            bits, mask = struct.unpack("=QQ", data)
            assert (descriptor, mask) == (77, 1)
            self.levels.append(bits)
            return 0
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        if request == CHIP_INFO:
            label, lines = self.chips[name]
            data[32 : 32 + len(label)] = label
            struct.pack_into("=I", data, 64, lines)
        elif request == GET_LINE:
            assert struct.unpack_from("=I", data, 560) == (1,)
            assert struct.unpack_from("=Q", data, 288) == (8,)
            assert data[256:265] == b"porthole\0"
            self.asked.append((name, struct.unpack_from("=I", data)[0]))
            struct.pack_into("=i", data, 588, 77)
        return 0


@pytest.mark.parametrize(
    ("chips", "line", "expected"),
    [
        ({"gpiochip0": (b"pinctrl-bcm2711", 58), "gpiochip1": (b"raspberrypi-exp", 8)}, 17, 0),
        ({"gpiochip0": (b"other", 64), "gpiochip4": (b"pinctrl-rp1", 54)}, 17, 4),
        ({"gpiochip0": (b"small", 8), "gpiochip1": (b"large", 32)}, 17, 1),
    ],
)
def test_light_on_a_line_is_one_of_the_boards_header(
    tmp_path: Path, chips: dict[str, tuple[bytes, int]], line: int, expected: int
) -> None:
    board = Board(tmp_path, **chips)
    light = GpioLight(line, devices=tmp_path, ioctl=board.ioctl)
    for on in (True, False, True):
        light.set(on)
    assert board.asked == [(f"gpiochip{expected}", line)]  # once, then it is ours
    assert board.levels == [1, 0, 1]


def test_light_on_a_line_that_no_chip_has_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = Board(tmp_path, gpiochip0=(b"pinctrl-bcm2711", 58))
    light = Led(GpioLight(99, devices=tmp_path, ioctl=board.ioctl), "gpio:99")
    for _ in range(3):
        light.hold()()
    assert [record.getMessage() for record in caplog.records] == [
        "the light gpio:99 cannot be switched: no GPIO chip here has a line 99"
    ]


class Flaky:
    def __init__(self) -> None:
        self.works = False
        self.on: list[bool] = []

    def set(self, on: bool) -> None:
        if not self.works:
            raise OSError(errno.EACCES, "Permission denied")
        self.on.append(on)


def test_light_that_works_again_may_fail_aloud_again(caplog: pytest.LogCaptureFixture) -> None:
    flaky = Flaky()
    light = Led(flaky, "ACT")
    light.hold()()
    flaky.works = True
    release = light.hold()
    flaky.works = False
    release()
    assert len(caplog.records) == 2
    assert flaky.on == [True]


def test_light_burns_until_the_last_worker_is_gone() -> None:
    """One that the kernel cannot kill may still see."""
    flaky = Flaky()
    flaky.works = True
    light = Led(flaky, "ACT")
    light.reset()
    first, second = light.hold(), light.hold()
    first()
    first()
    light.reset()
    assert flaky.on == [False, True, True]
    second()
    assert flaky.on[-1] is False


def test_light_that_is_not_configured_is_none() -> None:
    assert open_led("") is None
    assert open_led("gpio:17") is not None


async def test_camera_light_burns_while_its_worker_lives(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_led(tmp_path)
    monkeypatch.setattr(led, "SYSFS", tmp_path)
    play("listen()\nsay((VIDEO, AUDIO))\nfilm()\n")

    def burns() -> bool:
        return (folder / "brightness").read_text() != "0"

    async with camera(stream_settings(led="ACT", slate=False), settings=Settings(nice=0)) as device:
        await device.wait(lambda: device.workers)
        assert burns()
        await device.wait_units(2)
        await device.camera.change({"enabled": False})
        assert not burns()
        await device.camera.change({"enabled": True})
        await device.wait_units(2)
        assert burns()
    assert not burns()


async def test_camera_light_of_two_cameras_burns_until_both_are_off(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_led(tmp_path)
    monkeypatch.setattr(led, "SYSFS", tmp_path)
    play("listen()\nsay((VIDEO, AUDIO))\nfilm()\n")
    front = stream_settings(led="ACT", slate=False)
    back = replace(front, name="live/back")
    async with camera(front, back, settings=Settings(nice=0)) as device:
        await device.wait(lambda: len(device.workers) == 2)
        await device.camera.change({"enabled": False})
        assert (folder / "brightness").read_text() != "0"
        await device.context.cameras.find("back").change({"enabled": False})
        assert (folder / "brightness").read_text() == "0"


async def test_camera_light_goes_out_if_its_worker_never_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_led(tmp_path)
    monkeypatch.setattr(led, "SYSFS", tmp_path)
    monkeypatch.setattr(process, "command", lambda options, nice: ["/nowhere/python"])
    async with camera(stream_settings(led="ACT", slate=False)) as device:
        await device.wait(lambda: device.restarts("cannot-start"))
        assert (folder / "brightness").read_text() == "0"
