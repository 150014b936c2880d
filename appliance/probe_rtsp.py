"""`porthole probe rtsp://…`: a camera explained by the client that would fetch it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from appliance.errors import ConfigError
from appliance.log import escape
from appliance.net.tls import ClientTls
from appliance.services.pull.remote import shown
from appliance.services.pull.rtsp_notes import Way
from appliance.services.pull.rtsp_survey import TrackFound, WayFound, survey
from appliance.wire.rtsp.target import RtspAddress, parse_rtsp_address

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_SECONDS = 3600.0
LONG_KEYFRAME_S = 4.0
MUCH_JITTER_MS = 100.0


def run_probe_rtsp(target: str, *, seconds: float, as_json: bool) -> int:
    """Prints what was found, by TCP and by UDP; the exit code."""
    try:
        address = parse_rtsp_address(target)
        if not 0 < seconds <= MAX_SECONDS:
            raise ConfigError(f"--seconds is above 0 and at most {MAX_SECONDS:.0f}")
    except ConfigError as error:
        sys.stderr.write(f"porthole: {error}\n")
        return os.EX_USAGE
    ways = (Way.TCP,) if address.is_tls else (Way.TCP, Way.UDP)
    found = asyncio.run(survey(address, ClientTls(insecure=True), ways, seconds))
    if all(one.fault for one in found):
        sys.stderr.write(f"porthole: {shown(address)}: {escape(found[0].fault)}\n")
        return os.EX_UNAVAILABLE
    if as_json:
        text = json.dumps({"url": shown(address), "ways": [asdict(one) for one in found]}, indent=2)
    else:
        text = "\n".join(_lines(address, found))
    sys.stdout.write(text + "\n")
    return os.EX_OK


def _lines(address: RtspAddress, found: list[WayFound]) -> Iterator[str]:
    yield escape(shown(address))
    for way in found:
        yield ""
        if way.fault:
            yield f"  by {way.way.value}: {escape(way.fault)}"
            continue
        yield f"  by {way.way.value}: first picture or sound after {way.first_ms or 0:.0f} ms"
        yield from (f"    {line}" for track in way.tracks for line in _track_lines(track, way))


def _track_lines(track: TrackFound, way: WayFound) -> Iterator[str]:
    seconds = max(way.media_s, 0.001)
    yield (
        f"{track.kind}: {escape(track.codec)}, {track.units / seconds:.1f} units/s, "
        f"{track.size_bytes * 8 / seconds / 1000:.0f} kbps"
    )
    total = track.packets + track.lost_packets
    percent = 100 * track.lost_packets / total if total else 0.0
    yield (
        f"  {track.packets} packets, {track.lost_packets} lost ({percent:.1f} %), "
        f"jitter {track.jitter_ms:.0f} ms"
    )
    if track.kind == "video":
        every = "-" if track.key_interval_s is None else f"{track.key_interval_s:.2f} s"
        yield f"  {track.keys} keyframes, every {every}"
        if track.key_interval_s is not None and track.key_interval_s > LONG_KEYFRAME_S:
            yield "  keyframes are rare: viewers wait long for the first picture"
    if not track.packets:
        yield "  announced, but nothing came"
    if track.jitter_ms > MUCH_JITTER_MS:
        yield "  packets come unevenly: look at the network, above all at WLAN"
    if not track.has_wall_clock:
        yield "  the camera does not tell the time"
