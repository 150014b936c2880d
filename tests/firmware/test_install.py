"""install.sh into an image's root that holds just what it looks at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
VERSION = PYTHON.removeprefix("python")
AS_ROOT = [] if os.geteuid() == 0 else ["fakeroot"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of a Debian, as far as the installer can tell."""
    root = tmp_path / "image"
    for folder in ("etc", "usr/bin", "usr/lib", "lib/systemd", "var/lib"):
        (root / folder).mkdir(parents=True)
    (root / "etc/debian_version").write_text("13.0\n")
    (root / "usr/lib/libstdc++.so.6").touch()
    (root / "usr/lib/libgcc_s.so.1").touch()
    (root / "lib/systemd/systemd").touch()
    shutil.copy(Path(sys.executable).resolve(), root / "usr/bin" / PYTHON)
    (root / "usr/bin/python3").symlink_to(PYTHON)
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An unpacked tarball as build-arm.sh makes it, without the dependencies."""
    tree = tmp_path / "porthole-tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "share").mkdir()
    (tree / "bin/porthole").write_text("#!/bin/sh\n")
    (tree / "lib/appliance").mkdir(parents=True)
    (tree / "lib/appliance/__init__.py").write_text("")
    shutil.copy(ROOT / "firmware-scripts/install.sh", tree)
    shutil.copy(ROOT / "firmware-scripts/porthole", tree / "share")
    shutil.copy(ROOT / "systemd/porthole.service", tree / "share")
    shutil.copy(ROOT / "systemd/porthole.sysusers", tree / "share")
    (tree / "share/porthole.toml").write_text("# as shipped\n")
    (tree / "share/python-version").write_text(f"{VERSION}\n")
    machine = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}[os.uname().machine]
    (tree / "share/architecture").write_text(f"{machine}\n")
    return tree


def install(tree: Path, image: Path) -> subprocess.CompletedProcess[str]:
    command = [*AS_ROOT, tree / "install.sh", "--root", image]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # has a python3 of VERSION
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": path})


def test_install_leaves_program_user_unit_and_configuration(tree: Path, image: Path) -> None:
    done = install(tree, image)
    assert done.returncode == 0, done.stderr
    assert (image / "opt/porthole/bin/porthole").exists()
    assert list((image / "opt/porthole/lib/appliance/__pycache__").glob("*.pyc"))
    assert (image / "etc/porthole/porthole.toml").read_text() == "# as shipped\n"
    enabled = image / "etc/systemd/system/multi-user.target.wants/porthole.service"
    assert enabled.is_symlink()
    (user,) = (
        line for line in (image / "etc/passwd").read_text().splitlines() if "porthole" in line
    )
    assert user.endswith(":/var/lib/porthole:/usr/sbin/nologin")
    assert (image / "var/lib/porthole").stat().st_mode & 0o777 == 0o700


def test_install_again_updates_and_leaves_the_configuration(tree: Path, image: Path) -> None:
    install(tree, image)
    (image / "etc/porthole/porthole.toml").write_text("# as edited\n")
    (tree / "lib/appliance/new.py").write_text("")
    (image / "opt/porthole/lib/appliance/old.py").write_text("")
    passwd = (image / "etc/passwd").read_text()
    done = install(tree, image)
    assert done.returncode == 0, done.stderr
    assert (image / "etc/porthole/porthole.toml").read_text() == "# as edited\n"
    assert "is yours and stays" in done.stdout
    assert (image / "opt/porthole/lib/appliance/new.py").exists()
    assert not (image / "opt/porthole/lib/appliance/old.py").exists()
    assert (image / "etc/passwd").read_text() == passwd
    assert {path.name for path in (image / "opt").iterdir()} == {"porthole"}


def test_install_of_a_tree_for_another_processor_changes_nothing(tree: Path, image: Path) -> None:
    (tree / "share/architecture").write_text("mips\n")
    done = install(tree, image)
    assert done.returncode == 1
    assert f"this package is for Python and architecture {VERSION} mips" in done.stderr
    assert not (image / "opt").exists()


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("etc/debian_version", "is not Debian"),
        ("usr/bin/python3", "apt-get install python3"),
        ("usr/lib/libstdc++.so.6", "apt-get install libstdc++6"),
        ("lib/systemd/systemd", "apt-get install systemd"),
    ],
)
def test_install_without_what_it_needs_says_so(
    tree: Path, image: Path, missing: str, sentence: str
) -> None:
    (image / missing).unlink()
    done = install(tree, image)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not (image / "opt").exists()
