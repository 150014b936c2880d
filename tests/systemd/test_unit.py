"""The unit file is valid, and as tight as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

UNIT = Path(__file__).parents[2] / "systemd" / "porthole.service"


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


def test_unit_exposure_is_below_two(tmp_path: Path) -> None:
    assert exposure(UNIT) < 2.0
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(bare) > 9.0, "the score tells a sealed unit from an open one"


def test_unit_bounds_memory_and_tasks() -> None:
    lines = UNIT.read_text().splitlines()
    assert {"MemoryMax=60%", "TasksMax=128", "LimitNOFILE=4096"} <= set(lines)
