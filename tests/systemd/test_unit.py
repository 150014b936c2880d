"""The unit file is valid, and as tight as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "porthole.service"
SYSUSERS = UNIT.with_name("porthole.sysusers")


def exposure(unit: Path) -> float:
    """systemd's own score: 0 is sealed, 10 is open."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found, told
    return float(found[1])


def test_unit_verified_has_no_fault(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/porthole/bin/porthole", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_unit_exposure_is_that_of_a_sealed_service_with_a_camera(tmp_path: Path) -> None:
    """1.2 without devices: what a camera, a microphone and a light need costs 0.2."""
    assert exposure(UNIT) <= 1.5
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(bare) > 9.0, "the score tells a sealed unit from an open one"


def test_unit_bounds_memory_and_tasks() -> None:
    lines = UNIT.read_text().splitlines()
    assert {"MemoryMax=60%", "TasksMax=128", "LimitNOFILE=4096"} <= set(lines)


def settings(name: str) -> list[str]:
    lines = (line.partition("=") for line in UNIT.read_text().splitlines())
    return [value for key, _, value in lines if key == name]


def test_unit_is_restarted_when_the_service_does_not_say_that_it_is_well() -> None:
    assert settings("Type") == ["notify"]
    assert settings("NotifyAccess") == ["main"]
    assert settings("WatchdogSec") == ["30"]
    assert settings("Restart") == ["always"]


def test_unit_may_use_cameras_and_microphones_and_no_disk() -> None:
    assert settings("DevicePolicy") == ["closed"]
    allowed = {line.split()[0] for line in settings("DeviceAllow")}
    assert {"char-video4linux", "char-media", "char-alsa", "char-gpiochip"} <= allowed
    assert not any("block" in name or "mem" in name for name in allowed)


def test_unit_groups_are_made_where_a_system_has_them_not() -> None:
    """A unit with a group that does not exist does not start."""
    made = {line.split()[1] for line in SYSUSERS.read_text().splitlines() if line[:2] == "g "}
    (groups,) = settings("SupplementaryGroups")
    assert set(groups.split()) <= made
