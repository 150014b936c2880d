"""`av:URL` — whatever libav can open over a network, for sources without a client of our own.

Only network protocols are let in, and each may reach only those it is made of: a playlist or a
description that came over the network must not make libav read files of this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import av

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.lanes.choosing import choose_lanes
from appliance.capture.lanes.console import LaneConsole
from appliance.capture.lanes.lane import Lane, Packet
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.playout import Playout
from appliance.capture.reading import FORMATS, describe_error, feed_packet
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason

OPEN_S, READ_S = 12.0, 4.0  # each below the appliance's own patience, so that we can say why
MAX_LATE_US = 5_000_000

_HTTP = "http,https,tcp,tls,crypto"
_RTSP = "rtsp,rtsps,rtp,srtp,udp,tcp,tls"
_RTMP = "rtmp,rtmps,rtmpt,http,https,tcp,tls"
PROTOCOLS = {
    "http": _HTTP, "https": _HTTP,
    "rtsp": _RTSP, "rtsps": _RTSP,
    "rtmp": _RTMP, "rtmps": _RTMP,
    "srt": "srt,udp",
    "udp": "udp", "rtp": "rtp,udp", "tcp": "tcp",
}  # fmt: skip

# Read from the first byte in real time; of everything else a server may send the last seconds in
# one go, which must not become a delay that stays.
RECORDED_FORMATS = ("hls", "dash", "mov", "matroska", "ogg", "avi", "mp3", "wav")
BURST_GAP_US = 20_000
MAX_BURST_US = 10_000_000
MAX_BURST_UNITS = 2048  # against a source that never pauses
MAX_BURST_BYTES = 8 << 20


def create(rest: str, options: Options) -> UrlSource:
    """Raises: SourceFault unless it is a URL of a network protocol."""
    scheme = urlsplit(rest).scheme.lower()
    if scheme not in PROTOCOLS or not rest[len(scheme) :].startswith("://"):
        known = ", ".join(PROTOCOLS)
        raise SourceFault(Reason.SOURCE_INVALID, f"write av: and a URL of one of {known}")
    return UrlSource(rest, PROTOCOLS[scheme], options)


def shown(url: str) -> str:
    """The URL without user, password and query, which may be secrets."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


class UrlSource:
    def __init__(self, url: str, protocols: str, options: Options) -> None:
        self._url = url
        self._protocols = protocols
        self._options = options

    def run(self, sink: Sink, commands: Commands) -> None:
        with self._open() as container:
            try:
                lanes = choose_lanes(container, self._options)
            except SourceFault as fault:
                raise SourceFault(fault.reason, f"{shown(self._url)}: {fault}") from None
            self._play(container, lanes, sink, commands)
        raise SourceFault(Reason.SOURCE_LOST, f"{shown(self._url)} has ended")

    def _open(self) -> Any:
        options = {
            "protocol_whitelist": self._protocols,
            "format_whitelist": FORMATS,
            "analyzeduration": "2000000",
            "rtsp_transport": "tcp",
        }
        try:
            return av.open(self._url, container_options=options, timeout=(OPEN_S, READ_S))
        except (av.FFmpegError, OSError) as error:
            raise SourceFault(
                Reason.CANNOT_OPEN,
                f"{shown(self._url)} cannot be opened: {describe_error(error)}; "
                "check the address and that the source is on",
            ) from None

    def _play(self, container: Any, lanes: dict[int, Lane], sink: Sink, commands: Commands) -> None:
        packets = self._packets(container, lanes)
        burst: list[AccessUnit] = []
        if not container.format.name.startswith(RECORDED_FORMATS):
            burst = read_burst(lanes, packets, commands)
        past_us = burst[-1].dts_us - burst[0].dts_us if burst else 0
        document = {"device": shown(self._url), "driver": container.format.name}
        console = LaneConsole(self._options, sink, commands, document)
        console.set_lanes(lanes.values())
        playout = Playout(
            console.sink, max_late_us=MAX_LATE_US, past_us=min(max(0, past_us), MAX_BURST_US)
        )
        playout.send(lanes.values(), burst)
        for packet in packets:
            console.obey()
            lane = lanes[packet.stream.index]
            playout.send(lanes.values(), feed_packet(lane, packet, commands, playout.late_us))

    def _packets(self, container: Any, lanes: dict[int, Lane]) -> Iterator[Packet]:
        try:
            yield from container.demux([container.streams[index] for index in lanes])
        except (av.FFmpegError, OSError) as error:
            raise SourceFault(
                Reason.SOURCE_LOST, f"{shown(self._url)} was lost: {describe_error(error)}"
            ) from None


def read_burst(
    lanes: dict[int, Lane], packets: Iterator[Packet], commands: Commands
) -> list[AccessUnit]:
    """What a server sends at once in the beginning: until packets come at their own pace."""
    units: list[AccessUnit] = []
    size_bytes = 0
    asked_us = monotonic_us()
    for packet in packets:
        waited_us = monotonic_us() - asked_us
        units += feed_packet(lanes[packet.stream.index], packet, commands)
        size_bytes += packet.size
        if units and (
            waited_us > BURST_GAP_US
            or size_bytes > MAX_BURST_BYTES
            or len(units) > MAX_BURST_UNITS
            or units[-1].dts_us - units[0].dts_us > MAX_BURST_US
        ):
            break
        asked_us = monotonic_us()
    return units
