"""build-arm.sh with tiny wheels made here, so that no network is needed; `make arm-smoke` builds
the real ones and runs them on an emulated processor."""

from __future__ import annotations

import os
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINES = {"arm64": (2, 183, 0), "armhf": (1, 40, 0x0500_0400), "amd64": (2, 62, 0)}
WHEEL_ARCH = {"arm64": "aarch64", "armhf": "armv7l", "amd64": "x86_64"}


def elf_header(architecture: str) -> bytes:
    """The first bytes of a shared object for it (System V ABI, ELF header)."""
    bits, machine, flags = MACHINES[architecture]
    head = bytearray(64)
    head[:6] = b"\x7fELF" + bytes((bits, 1))
    struct.pack_into("<HH", head, 16, 3, machine)
    struct.pack_into("<I", head, 36 if bits == 1 else 48, flags)
    return bytes(head)


def make_wheel(folder: Path, architecture: str, files: dict[str, bytes]) -> None:
    tags = f"cp313-cp313-manylinux_2_31_{WHEEL_ARCH[architecture]}"
    info = "aiohttp-3.99.dist-info"
    with zipfile.ZipFile(folder / f"aiohttp-3.99-{tags}.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: aiohttp\nVersion: 3.99\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nTag: {tags}\n")
        wheel.writestr(f"{info}/RECORD", "")


def build(folder: Path, *arguments: str, epoch: int = 1_700_000_000) -> subprocess.CompletedProcess:
    (folder / "requirements.txt").write_text("aiohttp==3.99\n")
    environment = os.environ | {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    command = [ROOT / "build-arm.sh", "--requirements", folder / "requirements.txt", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    for architecture in MACHINES:
        parser = elf_header(architecture)
        make_wheel(tmp_path, architecture, {"aiohttp/_http_parser.cpython-313.so": parser})
    return tmp_path


def test_build_leaves_packages_of_each_architecture(wheels: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    done = build(wheels, "--output", str(dist), "arm64", "armhf")
    assert done.returncode == 0, done.stderr
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=dist, check=True)
    for architecture in ("arm64", "armhf"):
        (packed,) = dist.glob(f"*-{architecture}.tar.zst")
        plain = tmp_path / f"{architecture}.tar"
        subprocess.run(["zstd", "-qd", packed, "-o", plain], check=True)
        with tarfile.open(plain) as tar:
            members = {Path(*Path(m.name).parts[1:]).as_posix(): m for m in tar.getmembers()}
        assert {
            "bin/porthole",
            "install.sh",
            "lib/appliance/__main__.py",
            "lib/appliance/web/vendor/hls.mjs.gz",
            "lib/appliance/web/vendor/mpegts.mjs.gz",
            "lib/aiohttp/_http_parser.cpython-313.so",
            "share/porthole.service",
            "share/porthole.toml",
        } <= members.keys()
        assert not [name for name in members if "__pycache__" in name or "package.json" in name]
        assert {m.mtime for m in members.values()} == {1_700_000_000}
        assert {(m.uid, m.gid) for m in members.values()} == {(0, 0)}
        assert members["bin/porthole"].mode == 0o755


def test_build_deb_installs_into_system_places(wheels: Path, tmp_path: Path) -> None:
    dist, unpacked = tmp_path / "dist", tmp_path / "unpacked"
    done = build(wheels, "--output", str(dist), "armhf")
    assert done.returncode == 0, done.stderr
    (deb,) = dist.glob("*.deb")
    fields = subprocess.run(
        ["dpkg-deb", "--field", deb, "Architecture", "Depends"], capture_output=True, text=True
    ).stdout
    assert "Architecture: armhf" in fields
    assert "python3 (>= 3.13), python3 (<< 3.14)" in fields
    assert "python3-cffi-backend" in fields  # which has no wheel for this architecture
    subprocess.run(["dpkg-deb", "--raw-extract", deb, unpacked], check=True)
    for path, mode in {
        "DEBIAN/postinst": 0o755,
        "DEBIAN/conffiles": 0o644,
        "etc/porthole/porthole.toml": 0o644,
        "opt/porthole/bin/porthole": 0o755,
        "usr/bin/porthole": 0o755,
        "usr/lib/systemd/system/porthole.service": 0o644,
        "usr/lib/sysusers.d/porthole.conf": 0o644,
    }.items():
        assert (unpacked / path).stat().st_mode & 0o7777 == mode, path


def test_build_twice_gives_the_same_bytes(wheels: Path, tmp_path: Path) -> None:
    sums = []
    for folder in ("one", "two"):
        assert build(wheels, "--output", str(tmp_path / folder), "arm64").returncode == 0
        sums.append((tmp_path / folder / "SHA256SUMS").read_text())
    assert sums[0] == sums[1]


def test_build_refuses_a_binary_of_another_processor(tmp_path: Path) -> None:
    alien = {"aiohttp/_http_parser.so": elf_header("amd64")}
    make_wheel(tmp_path, "arm64", alien)
    done = build(tmp_path, "--output", str(tmp_path / "dist"), "arm64")
    assert done.returncode == 1
    assert "aiohttp/_http_parser.so is not for arm64" in done.stderr
    assert not list((tmp_path / "dist").iterdir())


def test_build_refuses_aiohttp_without_its_compiled_parser(tmp_path: Path) -> None:
    make_wheel(tmp_path, "arm64", {"aiohttp/__init__.py": b""})
    done = build(tmp_path, "--output", str(tmp_path / "dist"), "arm64")
    assert done.returncode == 1
    assert "without its compiled HTTP parser" in done.stderr


def test_build_without_a_wheel_for_the_processor_names_it(tmp_path: Path) -> None:
    make_wheel(tmp_path, "arm64", {})
    done = build(tmp_path, "--output", str(tmp_path / "dist"), "armhf")
    assert done.returncode == 1
    assert "the wheels for armhf could not be fetched" in done.stderr


def test_build_of_an_unknown_architecture_shows_the_usage(tmp_path: Path) -> None:
    done = build(tmp_path, "riscv64")
    assert done.returncode == 1
    assert "usage:" in done.stderr
