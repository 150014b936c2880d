"""`porthole camera`: what is asked of whom with which key, and how the answer reads."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from appliance_process import ROOT, ApplianceProcess, appliance_process

from appliance.camera_table import list_cameras, show_camera
from appliance.cli_camera import find_device, parse_settings
from appliance.config import Config, DeviceSettings
from appliance.errors import ConfigError
from appliance.hub.accounts import Account, Accounts, Action, digest_key
from appliance.hub.local_key import FILE_NAME, LocalKey, read_local
from appliance.net.http import HttpSettings

PATTERN = """
[[stream]]
name = "live/front"
source = "pattern:"
video = { width = 320, height = 180, fps = 10, bitrate = "100k" }
[[stream.preset]]
name = "night"
fps = 5
"""


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["fps=15"], {"fps": 15}),
        (["bitrate=1500k"], {"bitrate": "1500k"}),
        (["bitrate=1500000", "keyframe=2"], {"bitrate": "1500000", "keyframe": "2"}),
        (["text=15"], {"text": "15"}),
        (["text=a = b"], {"text": "a = b"}),
        (["text="], {"text": ""}),
        (["overlay=on", "enabled=no"], {"overlay": True, "enabled": False}),
        (["preset=1"], {"preset": "1"}),
        (["exposure=2000", "gain=1.5"], {"controls": {"exposure": 2000, "gain": 1.5}}),
        (["AwbMode=Indoor", "AeEnable=No"], {"controls": {"AwbMode": "Indoor", "AeEnable": False}}),
        (["gains=[1.5, 2]"], {"controls": {"gains": [1.5, 2]}}),
        (["gains=[[["], {"controls": {"gains": "[[["}}),
        (["controls.fps=5", "fps=15"], {"fps": 15, "controls": {"fps": 5}}),
    ],
)  # fmt: skip
def test_camera_settings_are_read_as_people_write_them(
    texts: list[str], values: dict[str, Any]
) -> None:
    assert parse_settings(texts) == values


@pytest.mark.parametrize("text", ["fps", "=5", "", "fps=1 fps=2"])
def test_camera_settings_that_are_none_are_told(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_settings(text.split(" ") if text else [""])


# -- whom it asks ----------------------------------------------------------------------------------


def asked(**changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**({"url": None, "key_file": None} | changes))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.delenv("PORTHOLE_KEY", raising=False)
    return tmp_path


def config(*listen: str) -> Config:
    return Config(DeviceSettings("x"), HttpSettings(listen=listen or (":8080",)))


def test_camera_asks_the_device_that_runs_here_with_its_key(state: Path) -> None:
    LocalKey(state).publish("http://localhost:9999")
    local = read_local(state)
    assert local is not None
    device = find_device(asked(), config())
    assert (device.url, device.key, device.is_here) == ("http://localhost:9999", local.key, True)


def test_camera_shows_the_local_key_to_nobody_else(state: Path) -> None:
    LocalKey(state).publish("http://localhost:9999")
    for url in ("http://front-door:8080", "http://localhost:9999", "https://evil.example"):
        device = find_device(asked(url=url), config())
        assert (device.url, device.key, device.is_here) == (url, "", False)


def test_camera_key_of_the_user_wins(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    LocalKey(state).publish("http://localhost:9999")
    monkeypatch.setenv("PORTHOLE_KEY", " from-environment\n")
    assert find_device(asked(), config()).key == "from-environment"
    assert find_device(asked(url="http://x"), config()).key == "from-environment"
    file = state / "key"
    file.write_text("from-file\nmore")
    assert find_device(asked(key_file=file), config()).key == "from-file"


@pytest.mark.parametrize("text", ["", "\n", "a\x1bb", "schlüssel"])
def test_camera_key_file_without_a_key_is_told(state: Path, text: str) -> None:
    (state / "key").write_text(text)
    with pytest.raises(ConfigError, match="holds no key"):
        find_device(asked(key_file=state / "key"), config())


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ((":8080",), "http://localhost:8080"),
        (("[::]:81",), "http://localhost:81"),
        (("127.0.0.1:82",), "http://localhost:82"),
        (("192.168.1.5:83",), "http://192.168.1.5:83"),
        (("[fd00::1]:84",), "http://[fd00::1]:84"),
        ((":0", ":85"), "http://localhost:85"),
    ],
)
def test_camera_without_a_running_device_asks_where_the_file_says(
    state: Path, listen: tuple[str, ...], url: str
) -> None:
    device = find_device(asked(), config(*listen))
    assert (device.url, device.key) == (url, "")


def test_camera_with_nobody_to_ask_says_so(state: Path) -> None:
    with pytest.raises(ConfigError, match="name one with --url"):
        find_device(asked(), config(":0"))


# -- how it reads ----------------------------------------------------------------------------------

HOSTILE: tuple[Any, ...] = (
    None, True, 5, -1.5, "\x1b[2J\u202e\n", "x" * 5000, [], [1, "\x1b"], {},
    {"\x1b": {"value": "\n"}}, {"step": "\x1b", "reason": 5},
    {"value": [1] * 900, "choices": ["\x9b"] * 3},
)  # fmt: skip
KEYS = (
    "name", "stream", "state", "placeholder", "last_fault", "hours", "enabled", "source", "device",
    "device_name", "format", "why", "width", "height", "fps", "measured_fps", "rotation", "encoder",
    "bitrate_bps", "keyframe_us", "encode_ms_p95", "ladder", "sound", "sub", "overlay", "masks",
    "presets", "preset", "recoveries", "recovery", "controls",
)  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value)[:24])
def test_camera_tables_show_whatever_a_device_says_as_plain_lines(value: Any) -> None:
    for state in ("live", "lost", "off", value):
        camera = dict.fromkeys(KEYS, value) | {"state": state}
        for text in (list_cameras([camera, value]), show_camera(camera)):
            assert all(line.isprintable() for line in text.split("\n"))
            assert len(text) < 40_000


def test_camera_table_of_none_says_what_to_write() -> None:
    assert "source such as v4l2:auto" in list_cameras([])


def test_camera_table_does_not_show_the_past_of_one_that_is_away() -> None:
    camera = {
        "name": "front", "stream": "live/front", "state": "lost", "last_fault": "it was unplugged",
        "width": 640, "height": 360, "fps": 30, "encoder": "libx264",
    }  # fmt: skip
    assert "640" not in list_cameras([camera]) and "libx264" not in list_cameras([camera])
    assert "lost: it was unplugged" in list_cameras([camera])


# -- all of it -------------------------------------------------------------------------------------


def porthole(device: ApplianceProcess, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """The command as the operator of this device types it."""
    folder = device.folder
    command = [sys.executable, "-m", "appliance", "camera", *arguments]
    options = ["-c", str(folder / "porthole.toml"), "--set", f'device.state="{folder / "state"}"']
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PORTHOLE_")}
    ours.pop("STATE_DIRECTORY", None)
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60,
        env=ours | environ, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("device")
    with appliance_process(folder, config=PATTERN) as process:
        process.folder = folder  # type: ignore[attr-defined]
        process.wait_line("is live")
        yield process


def test_camera_commands_show_and_change_the_running_device(device: ApplianceProcess) -> None:
    code, out, _ = porthole(device)
    assert code == 0 and re.search(r"^front +live .* live/front$", out, re.MULTILINE)
    code, out, _ = porthole(device, "set", "front", "fps=8", "text=hello", "brightness=8")
    assert code == 0 and "front" in out
    code, out, _ = porthole(device, "show", "live/front")
    assert code == 0 and re.search(r"^brightness +8 +0 +-64 to 64 by 8$", out, re.MULTILINE)
    code, out, _ = porthole(device, "preset", "front", "night")
    document = json.loads(porthole(device, "show", "front", "--json")[1])
    assert document["camera"]["preset"] == "night"
    assert document["camera"]["settings"]["text"] == "hello"


def test_camera_commands_switch_off_and_on(device: ApplianceProcess) -> None:
    code, out, _ = porthole(device, "off", "front")
    assert code == 0 and re.search(r"^front +off ", out, re.MULTILINE)
    workers = [Path(f"/proc/{pid}/cmdline") for pid in device.children()]
    assert not [path for path in workers if b"pattern:" in path.read_bytes()], "it is closed"
    code, out, _ = porthole(device, "on", "front")
    assert code == 0 and "off" not in out
    device.wait_line("is live", since=len(device.lines) - 5)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["show", "back"], os.EX_NOINPUT, "there is no camera back; there are front"),
        (["show", "../../x"], os.EX_DATAERR, ""),
        (["set", "front", "fps=1000"], os.EX_DATAERR, "fps: must be from 1 to 120"),
        (["set", "front", "brightness=900"], os.EX_DATAERR, "brightness = 900: "),
        (["set", "front", "colour=red"], os.EX_DATAERR, "colour"),
        (["set", "front", "colour"], os.EX_CONFIG, "write NAME=VALUE"),
        (["preset", "front", "dusk"], os.EX_DATAERR, "there are night"),
        (["--url", "http://127.0.0.1:1", "list"], os.EX_UNAVAILABLE, "is the device running"),
        (["--url", "front-door", "list"], os.EX_UNAVAILABLE, "write http://DEVICE:8080"),
        (["--key-file", "/none", "list"], os.EX_NOINPUT, "/none: No such file"),
    ],
)
def test_camera_command_that_fails_says_what_to_do(
    device: ApplianceProcess, arguments: list[str], code: int, sentence: str
) -> None:
    done, out, err = porthole(device, *arguments)
    assert (done, out) == (code, "")
    assert sentence in err
    assert all(line.startswith("porthole: ") for line in err.splitlines())


def test_camera_command_without_the_right_key_is_refused(device: ApplianceProcess) -> None:
    code, _, err = porthole(device, "--url", device.url, "list")
    assert code == os.EX_NOPERM and "sudo porthole camera" in err
    code, _, err = porthole(device, PORTHOLE_KEY="wrong")
    assert code == os.EX_NOPERM and "wrong user, password or key" in err
    viewer = "V" * 22
    accounts = Accounts(device.folder / "state")  # type: ignore[attr-defined]
    accounts.add(Account("eve", frozenset({Action.PLAY}), key_digest=digest_key(viewer)))
    code, _, err = porthole(device, PORTHOLE_KEY=viewer)
    assert code == os.EX_NOPERM


def test_camera_command_from_elsewhere_works_with_a_key(device: ApplianceProcess) -> None:
    key = device.wait_line(r"^      (\S{22})$")[1]
    code, out, _ = porthole(device, "--url", device.url, "show", "front", PORTHOLE_KEY=key)
    assert code == 0 and "live/front" in out


def test_camera_local_key_lives_as_long_as_the_device(tmp_path: Path) -> None:
    with appliance_process(tmp_path, config=PATTERN) as process:
        path = tmp_path / "state" / FILE_NAME
        local = read_local(tmp_path / "state")
        assert local is not None and local.url == process.url.rstrip("/")
        assert path.stat().st_mode & 0o777 == 0o600
        assert local.key not in process.log
        process.stop()
        assert not path.exists()
