"""The key of the machine's own operator: for commands on the device, made anew at every start.

The server writes where it listens and a random key into a file that only its own user can read,
and takes the file away when it ends. The key may do what the action `api` covers and works
over loopback alone, so what leaks of it (a copy of the state directory, a file left by a crash)
opens nothing elsewhere and nothing later.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import ConfigError
from appliance.hub.accounts import MAX_PASSWORD_BYTES, digest_key, make_key, replace_file
from appliance.hub.addresses import parse_address

FILE_NAME = "local.json"
NAME = "local"  # by which the log knows who came with this key
MAX_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LocalDevice:
    """A running device of this machine, as its file tells: one of its URLs, and the key."""

    url: str
    key: str = field(repr=False)


class LocalKey:
    """The server's side: `publish` when it listens, `withdraw` when it ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._digest = ""

    def publish(self, url: str) -> None:
        """Raises: OSError if the file cannot be written; there is no local key then."""
        key = make_key()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path, json.dumps({"url": url, "key": key}).encode())
        self._digest = digest_key(key)

    def withdraw(self) -> None:
        """Takes the file away, unless a successor has put its own there already."""
        digest, self._digest = self._digest, ""
        if not digest:
            return
        with contextlib.suppress(OSError, ConfigError):
            device = read_local(self._path.parent)
            if device is not None and digest_key(device.key) == digest:
                self._path.unlink()

    def matches(self, key: str, peer_ip: str) -> bool:
        """Whether this is the key, shown by somebody on this machine."""
        address = parse_address(peer_ip)
        if not self._digest or address is None or not address.is_loopback:
            return False
        if not key or len(key) > MAX_PASSWORD_BYTES:
            return False
        return hmac.compare_digest(digest_key(key), self._digest)


def read_local(directory: Path) -> LocalDevice | None:
    """The device that runs here with this state; None if there is none.

    Only a file that nobody but its owner can have written is believed, for it says whom a command
    talks to. Raises: OSError (PermissionError: it is another user's); ConfigError if it is damaged.
    """
    path = directory / FILE_NAME
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise ConfigError(f"{path} is not what a running device wrote; remove it")
        data = file.read(MAX_FILE_BYTES + 1)
    try:
        document = json.loads(data)
        url, key = document["url"], document["key"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is damaged; restart the device") from error
    if not (isinstance(url, str) and isinstance(key, str) and len(data) <= MAX_FILE_BYTES):
        raise ConfigError(f"{path} is damaged; restart the device")
    return LocalDevice(url, key)
