"""`porthole camera …`: the cameras of a running device, shown and changed through its API.

On the device itself its own key is found (`hub/local_key`); for another device, or as a user who
may not read that file, a key comes from --key-file or $PORTHOLE_KEY.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from appliance.camera_table import list_cameras, show_camera
from appliance.cli import complain, say
from appliance.config import Config, state_directory
from appliance.device_client import Device, DeviceError
from appliance.errors import ConfigError
from appliance.hub.local_key import read_local
from appliance.net.address import is_loopback, parse_address

PATH = "/api/v1/cameras/"
MAX_KEY_BYTES = 1024
SETTINGS = frozenset({"bitrate", "fps", "keyframe", "text", "overlay", "enabled", "preset"})
WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def run_camera_command(arguments: argparse.Namespace, config: Config) -> int:
    """Raises: ConfigError (the command itself is wrong), OSError (a key file cannot be read)."""
    device = find_device(arguments, config)
    try:
        document = _run(arguments, device)
    except DeviceError as error:
        complain(str(error))
        if advice := _advice(error, device):
            complain(advice)
        return _exit_code(error.status)
    if arguments.json:
        say(json.dumps(document, indent=1))
    elif "cameras" in document:
        say(list_cameras(document["cameras"]))
    elif arguments.verb == "show":
        say(show_camera(document["camera"]))
    else:
        say(list_cameras([document["camera"]]))
    return os.EX_OK


def _run(arguments: argparse.Namespace, device: Device) -> dict[str, Any]:
    path = PATH + quote(getattr(arguments, "name", ""))
    match arguments.verb:
        case "on" | "off":
            values: dict[str, Any] = {"enabled": arguments.verb == "on"}
        case "preset":
            values = {"preset": arguments.preset}
        case "set":
            values = parse_settings(arguments.settings)
        case _:
            values = {}
    document = device.patch(path, values) if values else device.get(path)
    if not isinstance(document.get("cameras", []), list) or not (
        "cameras" in document or isinstance(document.get("camera"), dict)
    ):
        raise DeviceError(f"{device.url} knows no cameras; is it older than this command?")
    return dict(document)


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """``fps=15 exposure=2000`` as the API wants it: what is no setting is one of the controls.

    ``controls.NAME`` is a control even if a setting is called the same. Raises: ConfigError.
    """
    values: dict[str, Any] = {}
    controls: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{json.dumps(text)}: write NAME=VALUE, such as fps=15")
        place = values if name in SETTINGS else controls
        name = name.removeprefix("controls.")
        if name in place:
            raise ConfigError(f"{name} is given twice")
        place[name] = value if name == "text" or name == "preset" else _plain(name, value)
    return values | ({"controls": controls} if controls else {})


def _plain(name: str, text: str) -> Any:
    """A truth value, number or array of numbers where the text is one; else the text."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_plain = isinstance(value, int | float | list) and name not in {"bitrate", "keyframe"}
    return value if is_plain else text


# -- whom to ask -------------------------------------------------------------------------------


def find_device(arguments: argparse.Namespace, config: Config) -> Device:
    """The one at --url, else the one that runs here, else where the configuration says.

    The key of the device that runs here is shown to that one alone. Raises: ConfigError, OSError.
    """
    key = _given_key(arguments.key_file)
    if arguments.url:
        return Device(arguments.url, key)
    try:
        local = read_local(state_directory(config.device, os.environ))
    except OSError:
        local = None  # another user's; the answer will say that a key is needed
    if local is not None:
        return Device(local.url, key or local.key, is_here=True)
    return Device(_configured_url(config), key)


def _given_key(path: Path | None) -> str:
    if path is None:
        return os.environ.get("PORTHOLE_KEY", "").strip()
    with path.open("rb") as file:
        key = file.read(MAX_KEY_BYTES).decode("utf-8", "replace").partition("\n")[0].strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(f"{path} holds no key in its first line")
    return key


def _configured_url(config: Config) -> str:
    for address in config.http.listen:
        host, port = parse_address(address)
        if port == 0:
            continue
        if host in {"", "::", "0.0.0.0"} or is_loopback(host):  # noqa: S104 - as it is written
            return f"http://localhost:{port}"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    raise ConfigError("no device runs here, or as another user (sudo?); name one with --url")


def _advice(error: DeviceError, device: Device) -> str:
    """What somebody can do, if that is not in the sentence already."""
    match error.status:
        case 0 if isinstance(error.__cause__, ConnectionError | TimeoutError):
            return "is the device running (systemctl status porthole)? another one: --url"
        case 401 if not device.key:
            return (
                "as the device's own operator: sudo porthole camera …; "
                'else with a key that may "api": PORTHOLE_KEY=… or --key-file FILE'
            )
    return ""


def _exit_code(status: int) -> int:
    match status:
        case 400:
            return os.EX_DATAERR
        case 401 | 403:
            return os.EX_NOPERM
        case 404:
            return os.EX_NOINPUT
    return os.EX_UNAVAILABLE
