"""Boards by what their device tree calls itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from appliance.capture.board import PROFILES, Board, read_board
from appliance.capture.encoders.governor import Step


def board(folder: Path, model: str) -> Board:
    path = folder / "sys/firmware/devicetree/base"
    path.mkdir(parents=True)
    (path / "model").write_bytes(model.encode() + b"\0")
    return read_board(folder)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "1920x1080 at 30 pictures/s"),
        ("Raspberry Pi 500 Rev 1.0", "1920x1080 at 30 pictures/s"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", "1920x1080 at 30 pictures/s"),
        ("Raspberry Pi 4 Model B Rev 1.5", "1280x720 at 30 pictures/s"),
        ("Raspberry Pi 400 Rev 1.0", "1280x720 at 30 pictures/s"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "1280x720 at 15 pictures/s"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "854x480 at 15 pictures/s"),
        ("Raspberry Pi Zero W Rev 1.1", "640x360 at 10 pictures/s"),
        ("Raspberry Pi Model B Rev 2", "640x360 at 10 pictures/s"),
    ],
)
def test_board_that_is_known_has_its_profile(tmp_path: Path, model: str, expected: str) -> None:
    known = board(tmp_path, model)
    assert known.name == model
    assert str(known.profile) == expected
    assert 1 <= known.max_threads <= known.cores


@pytest.mark.parametrize(
    "model", ["Radxa ROCK 5B", "", "\udcff".encode("utf-8", "replace").decode()]
)
def test_board_that_nobody_knows_has_none(tmp_path: Path, model: str) -> None:
    unknown = board(tmp_path, model)
    assert unknown.profile is None
    assert (unknown.preset, unknown.max_threads) == ("superfast", 0)


def test_machine_without_a_device_tree_has_none(tmp_path: Path) -> None:
    assert read_board(tmp_path).profile is None


def test_profile_lets_pass_what_it_can_and_says_where_to_begin_otherwise() -> None:
    zero_2 = next(profile for names, profile in PROFILES if "Raspberry Pi Zero 2" in names)
    assert zero_2.step_for(640, 480, 15) is None
    assert zero_2.step_for(640, 360, 25) is None  # fewer pixels a second than it manages
    step = zero_2.step_for(1280, 720, 30)
    assert step == Step(15, Fraction(480, 720))
    assert zero_2.step_for(854, 480, 30) == Step(15, Fraction(1))
