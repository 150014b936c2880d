"""``--describe``: what a source would send, as a table for a person."""

from __future__ import annotations

import json
import sys
from typing import Any

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.sources import open_source
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Picture

HEAD = f"{'track':>5} {'codec':5} {'dts s':>10} {'pts-dts ms':>10} {'late ms':>8} {'bytes':>8}  "


class TableFull(Exception):
    """Enough was seen: the end, not an error."""


class Table:
    """A `Sink` that prints rows until its time is over."""

    def __init__(self, seconds: float) -> None:
        self._start_us = monotonic_us()
        self._end_us = self._start_us + int(seconds * 1_000_000)
        self._dropped_frames = 0

    def describe(self, tracks: tuple[Track, ...]) -> None:
        for track in tracks:
            _print(f"track {track.id}: {track.config.rfc6381} {_size(track)}")
        _print(HEAD + "marks")

    def write(self, unit: AccessUnit) -> None:
        now_us = monotonic_us()
        marks = ("key " if unit.key and unit.track.kind is Kind.VIDEO else "") + (
            "discontinuity" if unit.discontinuity else ""
        )
        _print(
            f"{unit.track.id:5} {unit.track.codec:5} {(unit.dts_us - self._start_us) / 1e6:10.3f} "
            f"{(unit.pts_us - unit.dts_us) / 1000:10.1f} {(now_us - unit.dts_us) / 1000:8.1f} "
            f"{unit.size_bytes:8}  {marks}".rstrip()
        )
        if now_us >= self._end_us:
            raise TableFull

    def drop(self, count: int) -> None:
        self._dropped_frames += count
        if count:
            _print(f"{count} pictures dropped, {self._dropped_frames} in all")

    def state(self, document: dict[str, Any]) -> None:
        _print(f"state: {json.dumps(document)}")

    def answer(self, serial: int, error: str = "") -> None:
        _print(f"change {serial}: {error or 'done'}")

    def picture(self, picture: Picture) -> None:
        _print(f"picture {picture.serial}: {picture.error or f'{len(picture.jpeg)} bytes'}")


def describe(source: str, options_json: str, seconds: float) -> int:
    """The exit status."""
    try:
        open_source(source, Options.from_json(options_json)).run(Table(seconds), Commands())
    except (TableFull, BrokenPipeError):  # `| head` has seen enough, too
        return 0
    except SourceFault as error:
        sys.stderr.write(f"{error.reason}: {error}\n")
    return 1


def _size(track: Track) -> str:
    config = track.config
    width, height = getattr(config, "width_px", None), getattr(config, "height_px", None)
    if width is not None:
        return f"{width}x{height}"
    return f"{getattr(config, 'sample_rate_hz', 0)} Hz"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
