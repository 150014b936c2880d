"""The running device's own key: who may read it, where it works, and what does not."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from appliance.errors import AuthError, ConfigError
from appliance.hub.access import Access, Action, AuthSettings, Credentials, Policy
from appliance.hub.local_key import FILE_NAME, LocalKey, read_local

URL = "http://localhost:8080"
LOOPBACK = ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")
ELSEWHERE = ("192.168.1.9", "10.0.0.1", "203.0.113.7", "0.0.0.0", "fe80::1", "", "localhost", "x")


def opened(tmp_path: Path) -> tuple[Access, str]:
    """A gate whose local key is out, and the key."""
    access = Access(AuthSettings(play=Policy.KEY), tmp_path)
    assert access.local_key is not None
    access.local_key.publish(URL)
    device = read_local(tmp_path)
    assert device is not None
    return access, device.key


async def test_local_key_opens_the_api_from_this_machine(tmp_path: Path) -> None:
    access, key = opened(tmp_path)
    for peer in LOOPBACK:
        assert await access.check(Action.API, "", peer, Credentials(key=key)) == "local"


@pytest.mark.parametrize("peer", ELSEWHERE)
async def test_local_key_opens_nothing_from_elsewhere(tmp_path: Path, peer: str) -> None:
    access, key = opened(tmp_path)
    with pytest.raises(AuthError):
        await access.check(Action.API, "", peer, Credentials(key=key))


@pytest.mark.parametrize("action", [Action.PLAY, Action.PUBLISH])
async def test_local_key_is_for_the_api_alone(tmp_path: Path, action: Action) -> None:
    access, key = opened(tmp_path)
    with pytest.raises(AuthError):
        await access.check(action, "live/camera", "127.0.0.1", Credentials(key=key))


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(key=""),
        Credentials(key="x" * 22),
        Credentials(key="x" * 100_000),
        Credentials(key="\udcff"),
        Credentials("local", "x"),
    ],
)
async def test_local_key_that_is_wrong_is_refused(tmp_path: Path, credentials: Credentials) -> None:
    access, _ = opened(tmp_path)
    with pytest.raises(AuthError):
        await access.check(Action.API, "", "127.0.0.1", credentials)


async def test_local_key_ends_with_the_run_and_the_next_one_is_another(tmp_path: Path) -> None:
    access, first = opened(tmp_path)
    assert access.local_key is not None
    access.local_key.withdraw()
    assert not (tmp_path / FILE_NAME).exists()
    with pytest.raises(AuthError):
        await access.check(Action.API, "", "127.0.0.1", Credentials(key=first))
    again, second = opened(tmp_path)
    assert second != first
    with pytest.raises(AuthError):
        await again.check(Action.API, "", "127.0.0.1", Credentials(key=first))


def test_local_key_file_is_for_its_owner_and_new_each_time(tmp_path: Path) -> None:
    """Whatever stood there, a link to elsewhere included, is replaced and not written through."""
    other = tmp_path / "other"
    other.write_text("precious")
    path = tmp_path / FILE_NAME
    path.symlink_to(other)
    LocalKey(tmp_path).publish(URL)
    assert other.read_text() == "precious"
    assert not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.glob(".*")) == []


def test_local_key_of_a_successor_stays_when_the_former_ends(tmp_path: Path) -> None:
    former, successor = LocalKey(tmp_path), LocalKey(tmp_path)
    former.publish(URL)
    successor.publish("http://localhost:9090")
    former.withdraw()
    device = read_local(tmp_path)
    assert device is not None and device.url == "http://localhost:9090"
    successor.withdraw()
    assert read_local(tmp_path) is None


def test_local_key_is_not_in_what_is_shown_of_it(tmp_path: Path) -> None:
    LocalKey(tmp_path).publish(URL)
    device = read_local(tmp_path)
    assert device is not None
    assert len(device.key) == 22 and device.key not in repr(device)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_local_key_file_that_others_can_touch_is_not_believed(tmp_path: Path, mode: int) -> None:
    LocalKey(tmp_path).publish(URL)
    (tmp_path / FILE_NAME).chmod(mode)
    with pytest.raises(ConfigError):
        read_local(tmp_path)


def test_local_key_file_that_is_a_link_or_no_file_is_not_believed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    LocalKey(real).publish(URL)
    (tmp_path / FILE_NAME).symlink_to(real / FILE_NAME)
    with pytest.raises(OSError, match="symbolic"):
        read_local(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    os.mkfifo(tmp_path / FILE_NAME, 0o600)
    with pytest.raises(ConfigError):
        read_local(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"url": 1, "key": "x"}', '{"url": "x"}', "[" * 5000, " " * 9000,
     json.dumps({"url": "x", "key": "y" * 5000})],
)  # fmt: skip
def test_local_key_file_that_is_damaged_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=FILE_NAME):
        read_local(tmp_path)
