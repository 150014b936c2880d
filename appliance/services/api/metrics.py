"""/metrics in the text format of Prometheus: the names of SRS's exporter, then our own."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance import __version__
from appliance.hub.stream import Stream
from appliance.services.api.envelope import Identity
from appliance.services.api.health import key_age_us
from appliance.services.api.shapes import Audience
from appliance.services.api.system import System, cpu_s, open_fds, resident_bytes
from appliance.services.contract import Context

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAME = re.compile(r"[^0-9A-Za-z_]")


@dataclass(slots=True)
class Page:
    """Families of samples, each with its HELP and TYPE once."""

    lines: list[str] = field(default_factory=list)

    def family(self, kind: str, name: str, about: str) -> Family:
        self.lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        return Family(self, name)

    def one(self, kind: str, name: str, about: str, value: float, **labels: str) -> None:
        self.family(kind, name, about).add(value, **labels)

    def render(self) -> str:
        return "\n".join(self.lines) + "\n"


@dataclass(frozen=True, slots=True)
class Family:
    page: Page
    name: str

    def add(self, value: float, **labels: str) -> None:
        text = ",".join(f'{key}="{_escape(label)}"' for key, label in labels.items())
        number = str(value) if isinstance(value, int) else f"{value:.6g}"
        self.page.lines.append(
            f"{self.name}{{{text}}} {number}" if text else f"{self.name} {number}"
        )


def _escape(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def render_metrics(context: Context, system: System, identity: Identity) -> str:
    """Every figure there is; ages are left out until there is one."""
    page = Page()
    audience = Audience.of(context.sessions)
    _srs(page, context, system, identity)
    _streams(page, context, audience)
    _cameras(page, context)
    _forwards(page, context)
    _transcodes(page, context)
    _sessions(page, context)
    _counters(page, context)
    _process(page, system)
    return page.render()


def _srs(page: Page, context: Context, system: System, identity: Identity) -> None:
    """The exporter's own set, by which dashboards for SRS go."""
    sessions, uname = context.sessions, os.uname()
    major = __version__.partition(".")[0]
    page.one(
        "gauge", "srs_node_uname_info", "The system, as uname -a tells it", 1,
        sysname=uname.sysname, nodename=context.device_name, release=uname.release,
        version=uname.version, machine=uname.machine,
    )  # fmt: skip
    page.one(
        "gauge", "srs_build_info", "What is running", 1,
        server=identity.server, service=identity.service, pid=identity.pid, build_date="",
        major=major, version=__version__, code="Porthole",
    )  # fmt: skip
    gauges = {
        "srs_cpu_percent": ("Processor time, 100 is one processor", system.process_cpu() * 100),
        "srs_memory": ("Resident memory in kB", resident_bytes() // 1024),
        "srs_streams": ("Streams that somebody publishes", _published(context)),
        "srs_clients": ("Connected clients", len(sessions.active)),
    }
    counters = {
        "srs_send_bytes_total": ("Bytes sent to clients", sessions.sent_bytes()),
        "srs_receive_bytes_total": ("Bytes received from clients", sessions.received_bytes()),
        "srs_clients_total": ("Clients so far", sessions.totals.total()),
        "srs_clients_errs_total": ("Refusals and faults", context.faults.counts.total()),
    }
    for name, (about, value) in gauges.items():
        page.one("gauge", name, about, value)
    for name, (about, value) in counters.items():
        page.one("counter", name, about, value)


def _published(context: Context) -> int:
    return sum(stream.publisher is not None for stream in context.hub.streams.values())


def _streams(page: Page, context: Context, audience: Audience) -> None:
    streams = sorted(context.hub.streams.values(), key=lambda stream: stream.name)
    now_us = context.hub.clock.monotonic_us()

    figures: tuple[tuple[str, str, str, Callable[[Stream], float | None]], ...] = (
        ("gauge", "up", "Whether somebody publishes it", lambda s: int(s.publisher is not None)),
        ("gauge", "placeholder", "Whether a still picture stands in for its media",
         lambda s: int(bool(s.placeholder))),
        ("gauge", "viewers", "Players of the stream", lambda s: audience.viewers(s.name)),
        ("gauge", "frame_age_seconds", "Age of the newest frame",
         lambda s: _seconds(s.last_unit_age_us())),
        ("gauge", "key_age_seconds", "Age of the newest keyframe",
         lambda s: _seconds(key_age_us(s))),
        ("gauge", "bitrate_bps", "Media received, over 30 s",
         lambda s: sum(track.rate.rate_bps(now_us) for track in s.stats.values())),
        ("gauge", "held_bytes", "Media kept for its viewers, finished HLS segments aside",
         _held_bytes),
        ("counter", "sent_bytes_total", "Bytes sent to its viewers",
         lambda s: context.sessions.sent_bytes(s.name)),
        ("counter", "restarts_total", "How often a source came back", lambda s: s.restarts),
    )  # fmt: skip
    for kind, name, about, figure in figures:
        family = page.family(kind, f"porthole_stream_{name}", about)
        for stream in streams:
            if (value := figure(stream)) is not None:
                family.add(value, stream=stream.name)
    tracks = [(s.name, t.kind.value, s.stats[t.id]) for s in streams for t in s.tracks]
    received = page.family("counter", "porthole_stream_received_bytes_total", "Media received")
    for name, kind, stats in tracks:
        received.add(stats.rate.total_bytes, stream=name, kind=kind)
    units = page.family("counter", "porthole_stream_units_total", "Frames received")
    for name, kind, stats in tracks:
        units.add(stats.units, stream=name, kind=kind)


def _held_bytes(stream: Stream) -> int:
    rings = (rendition.ring.size_bytes for rendition in stream.renditions.values())
    return stream.units.size_bytes + sum(rings)


CAMERA_GAUGES: tuple[tuple[str, str, tuple[str, ...], float], ...] = (
    ("fps", "Pictures per second that it is to give", ("fps",), 1),
    ("measured_fps", "Pictures per second that it gives", ("measured_fps",), 1),
    ("bitrate_bps", "What its encoder is set to", ("bitrate_bps",), 1),
    ("encode_p95_seconds", "Time to encode a picture, 95 of 100 take less",
     ("encode_ms_p95",), 0.001),
    ("ladder_step", "How far a slow encoder has stepped down, 0 is not", ("ladder", "step"), 1),
    ("sound_drift_ppm", "How much faster the microphone's clock runs", ("sound", "drift_ppm"), 1),
    ("sound_skew_seconds", "Sound behind the picture", ("sound", "skew_ms"), 0.001),
)  # fmt: skip


FORWARD_FIGURES: tuple[tuple[str, str, str, Callable[[dict[str, Any]], float]], ...] = (
    ("gauge", "up", "Whether the destination takes the stream",
     lambda row: int(row["state"] == "live")),
    ("gauge", "lag_seconds", "How far behind the stream it is", lambda row: row["lag_ms"] / 1000),
    ("counter", "sent_bytes_total", "Bytes sent to it", lambda row: row["bytes"]),
    ("counter", "dropped_units_total", "Frames left out because it was too far behind",
     lambda row: row["dropped_units"]),
    ("counter", "attempts_total", "Connections tried", lambda row: row["attempts"]),
)  # fmt: skip

TRANSCODE_FIGURES = (
    ("gauge", "listeners", "Renditions and feeds with this form of the sound that are in use"),
    ("gauge", "missing", "Whether they go without it, because it cannot be made"),
    ("counter", "workers_total", "Workers begun"),
)

MAX_FIGURE = 1e15  # beyond all of these; against a worker that writes numbers too large for a float


def _cameras(page: Page, context: Context) -> None:
    """What each camera tells of itself; figures it does not tell are left out."""
    cameras = [(camera.stream_name, camera.describe()) for camera in context.cameras.all()]
    on = page.family("gauge", "porthole_camera_on", "Whether it may capture now")
    for stream, about in cameras:
        on.add(int(about.get("state") != "off"), stream=stream)
    for name, help_text, path, factor in CAMERA_GAUGES:
        family = page.family("gauge", f"porthole_camera_{name}", help_text)
        for stream, about in cameras:
            value: object = about
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if abs(value) < MAX_FIGURE:
                family.add(value * factor, stream=stream)


def _forwards(page: Page, context: Context) -> None:
    """destination: its name in the API, because its address has a key."""
    rows = context.reports["forward"]() if "forward" in context.reports else []
    for kind, name, about, figure in FORWARD_FIGURES:
        family = page.family(kind, f"porthole_forward_{name}", about)
        for row in rows:
            family.add(figure(row), stream=row["stream"], destination=row["name"])


def _transcodes(page: Page, context: Context) -> None:
    rows = context.reports["transcode"]() if "transcode" in context.reports else []
    for kind, name, about in TRANSCODE_FIGURES:
        family = page.family(kind, f"porthole_transcode_{name}", about)
        for row in rows:
            family.add(int(row[name.removesuffix("_total")]), stream=row["stream"], to=row["to"])


def _seconds(value_us: int | None) -> float | None:
    return None if value_us is None else value_us / 1_000_000


def _sessions(page: Page, context: Context) -> None:
    sessions = context.sessions
    open_now: dict[str, int] = dict.fromkeys(sessions.totals, 0)
    for session in sessions.active.values():
        open_now[session.kind] += 1
    current = page.family("gauge", "porthole_sessions", "Open sessions")
    for kind, count in sorted(open_now.items()):
        current.add(count, kind=kind)
    total = page.family("counter", "porthole_sessions_total", "Sessions so far")
    for kind, count in sorted(sessions.totals.items()):
        total.add(count, kind=kind)


def _counters(page: Page, context: Context) -> None:
    """What services count by themselves, and every refusal by its reason."""
    rejects = page.family("counter", "porthole_rejects_total", "Refusals and faults by reason")
    for (proto, reason), count in sorted(context.faults.counts.items()):
        rejects.add(count, proto=proto, reason=reason)
    by_name: dict[str, list[tuple[Mapping[str, str], int]]] = {}
    for (name, labels), count in sorted(context.counters.values.items()):
        by_name.setdefault(_counter_name(name), []).append((dict(labels), count))
    for name, samples in by_name.items():
        family = page.family("counter", name, name.removeprefix("porthole_").replace("_", " "))
        for sample, count in samples:
            family.add(count, **sample)


def _counter_name(name: str) -> str:
    name = _NAME.sub("_", name).removeprefix("porthole_").removesuffix("_total")
    return f"porthole_{name}_total"


def _process(page: Page, system: System) -> None:
    page.one("counter", "process_cpu_seconds_total", "Processor time", cpu_s())
    page.one("gauge", "process_resident_memory_bytes", "Resident memory", resident_bytes())
    page.one("gauge", "process_open_fds", "Open file descriptors", open_fds())
    page.one("gauge", "porthole_uptime_seconds", "Since the start", system.uptime_s)
    lag = page.family("gauge", "porthole_loop_lag_seconds", "How late the loop is, over a minute")
    for part, seconds in system.lag.quantiles_s().items():
        lag.add(seconds, quantile=part)
