"""The locked wheels are what pyproject.toml asks for, for every Python a device may have."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "firmware-scripts/wheels").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_holds_every_requirement_within_its_range(lock: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(re.findall(r"^(\S+)==(\S+)", lock.read_text(), re.MULTILINE))
    extras = project["optional-dependencies"]
    for line in (*project["dependencies"], *extras["capture"], *extras["webrtc"]):
        requirement = Requirement(line)
        assert pinned[requirement.name.lower()] in requirement.specifier, line


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_lock_gives_every_package_its_hashes(lock: Path) -> None:
    packages = re.split(r"^(?=\S+==)", lock.read_text(), flags=re.MULTILINE)[1:]
    assert packages
    for package in packages:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package


def test_locks_are_there_for_both_debians() -> None:
    assert [lock.stem for lock in LOCKS] == ["cp311", "cp313"]
