"""``python -m appliance.capture.probe``: reads $PORTHOLE_SOURCE for a while and measures it.

The child of `porthole probe`. It writes one JSON object per line: ``{"progress": …}`` while
it goes on, at last ``{"report": …}`` or ``{"error": {"kind": …, "text": …}}``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

import av

from appliance.capture.clock import monotonic_us
from appliance.capture.measure import Arrival, SyncMeter, TrackMeter
from appliance.capture.program import SOURCE_VARIABLE, die_with_parent, take_output
from appliance.capture.sources.url import PROTOCOLS

CONNECT_S, OPEN_S, READ_S = 5.0, 12.0, 5.0
PROGRESS_US = 200_000
MAX_PACKETS = 1_000_000  # of a file, which comes as fast as it can be read
MAX_MEMORY_BYTES = 2 << 30  # against a file that makes libav allocate without end
PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}
RECORDED = ("hls", "dash", "mov", "matroska", "ogg", "avi", "mp3", "wav")


class ProbeError(Exception):
    """kind: a word that the parent knows an exit code for."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.capture.probe")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--parent", type=int, default=0)
    asked = parser.parse_args()
    output = os.fdopen(take_output(), "w", encoding="utf-8")
    die_with_parent(asked.parent)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def tell(**document: Any) -> None:
        output.write(json.dumps(document) + "\n")
        output.flush()

    try:
        tell(report=probe(os.environ.pop(SOURCE_VARIABLE, ""), asked.seconds, tell))
    except ProbeError as error:
        tell(error={"kind": error.kind, "text": str(error)})
        return 1
    except BrokenPipeError:
        return 0
    return 0


def probe(url: str, seconds: float, tell: Any) -> dict[str, Any]:
    """Raises: ProbeError."""
    parts = urlsplit(url)
    is_file = parts.scheme == "file"
    if not is_file:
        if parts.scheme not in PROTOCOLS:
            raise ProbeError("usage", f"URLs begin with one of {', '.join(PROTOCOLS)}")
        check_host(parts)
    started_us = monotonic_us()
    with _open(parts) as container:
        opened_us = monotonic_us()
        measurement = Measurement(container, live=not is_file, started_us=started_us)
        measurement.run(opened_us + int(seconds * 1_000_000), tell)
        return measurement.report(opened_us)


def check_host(parts: SplitResult) -> None:
    """Raises: ProbeError if the URL has no host that can be resolved."""
    try:
        host = parts.hostname
        port = parts.port
    except ValueError as error:
        raise ProbeError("usage", "the URL's host or port is malformed") from error
    if not host:
        raise ProbeError("usage", "the URL has no host")
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        raise ProbeError("host", f"cannot resolve {host}: {error.strerror}") from error


def check_port(parts: SplitResult) -> None:
    """Says what libav only calls an input/output error; after it, since some peers accept once.

    Raises: ProbeError if nobody takes a connection there.
    """
    host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    if not port or parts.scheme in {"udp", "rtp", "srt"}:
        return
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except TimeoutError as error:
        text = f"{host} port {port} did not answer within {CONNECT_S:.0f} s"
        raise ProbeError("timeout", text) from error
    except ConnectionRefusedError as error:
        raise ProbeError("refused", f"{host} refused port {port}: nothing listens there") from error
    except OSError as error:
        raise ProbeError("unavailable", f"{host} port {port}: {error.strerror}") from error


def _open(parts: SplitResult) -> Any:
    """The opened container. Raises: ProbeError."""
    is_file = parts.scheme == "file"
    protocols = "file,crypto" if is_file else PROTOCOLS[parts.scheme]
    options = {"protocol_whitelist": protocols, "rtsp_transport": "tcp"}
    try:
        return av.open(
            parts.path if is_file else parts.geturl(), options=options, timeout=(OPEN_S, READ_S)
        )
    except (av.FFmpegError, OSError) as error:
        fault = _explain(error)
        if fault.kind in {"unavailable", "timeout", "refused"} and not is_file:
            check_port(parts)
        raise fault from None


def _explain(error: Exception) -> ProbeError:
    """libav's errors as sentences, without the URL that they repeat with its secrets."""
    match error:
        case FileNotFoundError():
            return ProbeError("input", "there is no such file")
        case IsADirectoryError():
            return ProbeError("input", "that is a directory")
        case av.error.HTTPUnauthorizedError() | av.error.HTTPForbiddenError():
            return ProbeError("permission", "the server wants a user and password, or other ones")
        case PermissionError():
            return ProbeError("permission", "it may not be read")
        case av.error.HTTPNotFoundError():
            return ProbeError("unavailable", "the server has nothing at this address (404)")
        case av.error.ExitError() | TimeoutError():
            return ProbeError("timeout", f"nothing came for {OPEN_S:.0f} s")
        case ConnectionRefusedError():
            return ProbeError("refused", "the connection was refused")
        case av.error.InvalidDataError() | av.error.DemuxerNotFoundError() | EOFError():
            return ProbeError("unsupported", "it is in no form that libav knows")
        case av.error.ProtocolNotFoundError():
            return ProbeError("unsupported", "the protocol is not supported by this libav")
    words = str(getattr(error, "strerror", None) or type(error).__name__)
    return ProbeError("unavailable", f"it cannot be opened: {words}")


class Measurement:
    """Reads packets until it is time; live: they come as they are made."""

    def __init__(self, container: Any, *, live: bool, started_us: int) -> None:
        self._container = container
        self._started_us = started_us
        self._tracks = [s for s in container.streams if s.type in {"video", "audio"}]
        if not self._tracks:
            raise ProbeError("unsupported", "it has neither picture nor sound")
        self._meters = {stream.index: TrackMeter() for stream in self._tracks}
        self._sync = SyncMeter()
        self.live = live and not container.format.name.startswith(RECORDED)
        self.note = ""

    def run(self, end_us: int, tell: Any) -> None:
        begin_us = told_us = monotonic_us()
        packets = 0
        for packet in self._packets():
            now_us = monotonic_us()
            if packet.size:
                packets += 1
                self._count(packet, now_us)
            if now_us - told_us >= PROGRESS_US:
                told_us = now_us
                tell(progress=(now_us - begin_us) / (end_us - begin_us), packets=packets)
            if now_us >= end_us or packets >= MAX_PACKETS:
                return
        if self.live:
            self.note = self.note or "the source ended while it was measured"

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._tracks)
        except EOFError:
            return
        except (av.FFmpegError, OSError) as error:
            if not any(meter.packets for meter in self._meters.values()):
                raise _explain(error) from None
            self.note = (
                f"nothing came for {READ_S:.0f} s"
                if isinstance(error, av.error.ExitError)
                else f"it broke off: {getattr(error, 'strerror', None) or type(error).__name__}"
            )

    def _count(self, packet: Any, now_us: int) -> None:
        base = packet.time_base
        dts_us, pts_us = (
            None if stamp is None else int(stamp * base * 1_000_000)
            for stamp in (packet.dts, packet.pts)
        )
        meter = self._meters[packet.stream_index]
        meter.count(Arrival(dts_us, pts_us, packet.size, packet.is_keyframe, now_us))
        self._sync.note(pts_us, is_video=packet.stream.type == "video")

    def report(self, opened_us: int) -> dict[str, Any]:
        if not any(meter.packets for meter in self._meters.values()):
            raise ProbeError("timeout", "it opened, but no media came")
        video = next((s for s in self._tracks if s.type == "video"), None)
        audio = next((s for s in self._tracks if s.type == "audio"), None)
        tracks = [self._track(stream) for stream in self._tracks]
        sync = None
        if video is not None and audio is not None:
            sync = self._sync.figures(self._meters[video.index], self._meters[audio.index])
        return {
            "format": self._container.format.name,
            "live": self.live,
            "measured_s": round((monotonic_us() - opened_us) / 1e6, 2),
            "media_s": round(max(m.span_us for m in self._meters.values()) / 1e6, 3),
            "opened_ms": (opened_us - self._started_us) // 1000,
            "first_key_ms": self._first_key_ms(video or audio),
            "duration_s": self._duration_s(),
            "bitrate_bps": sum(track["bitrate_bps"] or 0 for track in tracks),
            "tracks": tracks,
            "sync": sync,
            "note": self.note,
        }

    def _first_key_ms(self, stream: Any) -> int | None:
        first_us = self._meters[stream.index].first_key_us
        return None if first_us is None else (first_us - self._started_us) // 1000

    def _duration_s(self) -> float | None:
        duration = self._container.duration
        return None if self.live or duration is None else duration / 1_000_000

    def _track(self, stream: Any) -> dict[str, Any]:
        context = stream.codec_context
        about: dict[str, Any] = {
            "kind": stream.type,
            "codec": context.name,
            "profile": str(context.profile or "") or None,
        }
        if stream.type == "video":
            rate = stream.average_rate or stream.guessed_rate
            about |= {
                "width": context.width,
                "height": context.height,
                "pixel_format": context.pix_fmt,
                "declared_fps": round(float(rate), 3) if rate else None,
            }
        else:
            about |= {"sample_rate_hz": context.sample_rate, "channels": context.channels}
        return about | self._meters[stream.index].figures(live=self.live)


if __name__ == "__main__":
    sys.exit(main())
