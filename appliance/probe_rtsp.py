"""`porthole probe rtsp://…`: a camera explained by the client that would fetch it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from appliance.errors import ConfigError
from appliance.log import escape
from appliance.net.tls import ClientTls, client_context
from appliance.net.tls_pin import READ_S, read_fingerprint
from appliance.services.pull.faults import GARBAGE, LOGIN, REFUSED, SILENT, UNREACHABLE
from appliance.services.pull.remote import shown
from appliance.services.pull.rtsp_notes import AUTO, Way
from appliance.services.pull.rtsp_survey import HOST, TrackFound, WayFound, survey
from appliance.wire.rtsp.target import RtspAddress, parse_rtsp_address

if TYPE_CHECKING:
    from appliance.probe import Progress

MAX_SECONDS = 3600.0
LONG_KEYFRAME_S = 4.0
MUCH_JITTER_MS = 100.0

EXIT_CODES = {LOGIN: os.EX_NOPERM, HOST: os.EX_NOHOST, GARBAGE: os.EX_DATAERR}
ADVICE = {
    LOGIN: (
        "write rtsp://USER:PASSWORD@HOST/…; many cameras want an account that is made for RTSP or "
        "ONVIF, and lock it after some wrong passwords"
    ),
    UNREACHABLE: "is it on, is this its address, and is RTSP switched on in it?",
    SILENT: "does a firewall let it through, and do others watch it already?",
    HOST: "write its address, such as rtsp://192.168.1.20/…",
}
NOT_FOUND = "the path is that of another model: docs/rtsp-cameras.md has some"


def run_probe_rtsp(target: str, *, seconds: float, as_json: bool, progress: Progress) -> int:
    """Prints what was found, by TCP and by UDP; the exit code."""
    try:
        address = parse_rtsp_address(target)
        if not 0 < seconds <= MAX_SECONDS:
            raise ConfigError(f"--seconds is above 0 and at most {MAX_SECONDS:.0f}")
    except ConfigError as error:
        sys.stderr.write(f"porthole: {error}\n")
        return os.EX_USAGE
    certificate, found = asyncio.run(_explore(address, seconds, progress))
    progress.clear()
    if all(one.first_ms is None for one in found):
        return _complain(address, found)
    document = {"url": shown(address), "certificate": certificate or None}
    if as_json:
        text = json.dumps(document | {"ways": [asdict(one) for one in found]}, indent=2)
    else:
        text = "\n".join(_lines(address, certificate, found))
    sys.stdout.write(text + "\n")
    return os.EX_OK


def _complain(address: RtspAddress, found: list[WayFound]) -> int:
    """One line on why there is nothing, and what to do."""
    first = found[0]
    advice = ADVICE.get(first.reason, "")
    if first.reason == REFUSED and ": 404" in first.fault:
        advice = NOT_FOUND
    text = f"{first.fault}; {advice}" if advice else first.fault
    sys.stderr.write(f"porthole: {escape(shown(address))}: {escape(text)}\n")
    return EXIT_CODES.get(first.reason, os.EX_UNAVAILABLE)


async def _explore(
    address: RtspAddress, seconds: float, progress: Progress
) -> tuple[str, list[WayFound]]:
    """The fingerprint of a certificate that no authority has signed, empty if one has or there is
    none; and what was found by each way."""
    if address.is_tls:
        own = await _own_certificate(address)
        tls = ClientTls(fingerprint=own)
        return own, await survey(address, tls, (Way.TCP,), seconds, progress.show)
    found = await survey(address, ClientTls(), AUTO, seconds, progress.show)
    is_there = any(one.reason != UNREACHABLE for one in found)
    if is_there and all(one.first_ms is None and not one.is_final for one in found):
        found += await survey(address, ClientTls(), (Way.HTTP,), seconds, progress.show)
    return "", found


async def _own_certificate(address: RtspAddress) -> str:
    try:
        async with asyncio.timeout(READ_S):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=client_context()
            )
    except ssl.SSLCertVerificationError:
        return await read_fingerprint(address.host, address.port)
    except (OSError, TimeoutError, UnicodeError):
        return ""  # which the survey tells
    writer.transport.abort()
    return ""


def _lines(address: RtspAddress, certificate: str, found: list[WayFound]) -> Iterator[str]:
    yield escape(shown(address))
    if certificate:
        yield "  its certificate is signed by no authority; to trust this one, write"
        yield f'    [stream.rtsp]\n    tls_fingerprint = "{certificate}"'
    for way in found:
        yield ""
        if way.first_ms is None:
            yield f"  by {way.way.value}: {escape(way.fault)}"
            continue
        yield f"  by {way.way.value}: first picture or sound after {way.first_ms:.0f} ms"
        yield from (f"    {line}" for track in way.tracks for line in _track_lines(track))
        if way.fault:
            yield f"    then: {escape(way.fault)}"
    working = [way.way.value for way in found if way.first_ms is not None and not way.fault]
    yield ""
    yield f"  transports that work: {', '.join(working) or 'none for long'}"


def _track_lines(track: TrackFound) -> Iterator[str]:
    unit = "pictures" if track.kind == "video" else "frames"
    rate = "-" if track.rate_hz is None else f"{track.rate_hz:.1f} {unit}/s"
    bitrate = "-" if track.bitrate_bps is None else f"{track.bitrate_bps / 1000:.0f} kbps"
    yield f"{track.kind}: {escape(track.codec)}, {rate}, {bitrate}"
    if not track.packets:
        yield "  announced, but nothing came"
        return
    total = track.packets + track.lost_packets
    percent = 100 * track.lost_packets / total if total else 0.0
    yield (
        f"  {track.packets} packets, {track.lost_packets} lost ({percent:.1f} %), "
        f"jitter {track.jitter_ms:.0f} ms"
    )
    if track.kind == "video":
        every = "" if track.key_interval_s is None else f", every {track.key_interval_s:.2f} s"
        yield f"  {track.keys} keyframes{every}"
        if not track.keys or (track.key_interval_s or 0) > LONG_KEYFRAME_S:
            yield "  keyframes are rare: viewers wait long for the first picture"
    if track.jitter_ms > MUCH_JITTER_MS:
        yield "  packets come unevenly: look at the network, above all at WLAN"
    if not track.has_wall_clock:
        yield "  the camera does not tell the time"
