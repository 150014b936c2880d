"""Which cameras somebody has switched off: kept over restarts, because it is about privacy."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from appliance.hub.accounts import replace_file

log = logging.getLogger(__name__)

FILE = "cameras.json"
MAX_FILE_BYTES = 64 << 10
MAX_CAMERAS = 256  # against a configuration whose names change for ever


class Switches:
    """By stream name. directory: None keeps nothing."""

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / FILE
        self._off: dict[str, None] = dict.fromkeys(self._read())

    def is_on(self, stream: str) -> bool:
        return stream not in self._off

    def set(self, stream: str, on: bool) -> None:
        """It holds from now on, and after a restart if it can be written (told if not)."""
        if on:
            self._off.pop(stream, None)
        else:
            self._off[stream] = None
            while len(self._off) > MAX_CAMERAS:
                del self._off[next(iter(self._off))]
        try:
            self._write()
        except OSError as error:
            log.warning("which cameras are off will not outlive a restart: %s", error)

    def _read(self) -> list[str]:
        if self._path is None:
            return []
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("which cameras are off is not known: %s", error)
            return []
        try:
            if len(data) > MAX_FILE_BYTES:
                raise ValueError("it is too large")
            names = json.loads(data)["off"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("it has no list of names")
            return names[:MAX_CAMERAS]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            log.warning("%s is broken and not used, all cameras are on: %s", self._path, error)
            return []

    def _write(self) -> None:
        """Whole or not at all, also when the power fails. Raises: OSError."""
        if self._path is None:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._path, json.dumps({"off": list(self._off)}).encode())
