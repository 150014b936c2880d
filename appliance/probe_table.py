"""A probe's report as a table for a person, with what is wrong said at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Track = dict[str, Any]

LONG_KEYFRAME_S = 4.0
MUCH_JITTER_MS = 100.0
MUCH_OFFSET_MS = 200.0


def render_report(url: str, report: dict[str, Any]) -> str:
    """The whole text, without a final newline."""
    kind = "live" if report["live"] else "recorded"
    head = [
        url,
        f"  {report['format']}, {kind}, {_mbps(report['bitrate_bps'])}",
        f"  opened in {_ms(report['opened_ms'])}, first keyframe after "
        f"{_ms(report['first_key_ms'])}, measured {report['media_s']:.1f} s of media in "
        f"{report['measured_s']:.1f} s",
        "",
    ]
    rows = [("", *(f"{track['kind']} {n}" for n, track in enumerate(report["tracks"])))]
    rows += _rows(report["tracks"])
    findings = find_faults(report)
    if not findings:
        findings = ["nothing wrong was seen"]
    return "\n".join([*head, *_align(rows), "", *_sync(report), *(f"  {f}" for f in findings)])


def _rows(tracks: list[Track]) -> list[tuple[str, ...]]:
    lines: dict[str, Callable[[Track], str]] = {
        "codec": _codec,
        "picture": _picture,
        "sound": _sound,
        "bitrate": lambda track: _mbps(track["bitrate_bps"]),
        "rate": _rate,
        "keyframe every": _keyframes,
        "B-frames": lambda track: "yes" if track["reordered"] else "no",
        "jitter": lambda track: _ms(track["jitter_ms"]),
        "longest wait": lambda track: _ms(track["longest_wait_ms"]),
        "back in time": lambda track: _count(track["regressions"], track["worst_regression_ms"]),
        "gaps": lambda track: _count(track["gaps"], track["worst_gap_ms"]),
        "without stamp": lambda track: str(track["unstamped"]),
    }
    only_video = {"picture", "keyframe every", "B-frames"}
    rows = []
    for name, show in lines.items():
        cells = [
            show(track)
            if (track["kind"] == "video" or name not in only_video)
            and (track["kind"] == "audio" or name != "sound")
            else "-"
            for track in tracks
        ]
        if set(cells) != {"-"}:
            rows.append((name, *cells))
    return rows


def _codec(track: Track) -> str:
    return f"{track['codec']} {track['profile'] or ''}".strip()


def _picture(track: Track) -> str:
    return f"{track['width']}x{track['height']} {track['pixel_format'] or ''}".strip()


def _sound(track: Track) -> str:
    return f"{track['sample_rate_hz']} Hz, {track['channels']} channels"


def _rate(track: Track) -> str:
    measured = track["packet_rate_hz"]
    if measured is None:
        return "-"
    if track["kind"] == "audio":
        return f"{measured:.1f} packets/s"
    declared = track["declared_fps"]
    says = f" (says {declared:g})" if declared and abs(declared - measured) > declared / 20 else ""
    return f"{measured:.2f} fps{says}"


def _keyframes(track: Track) -> str:
    interval = track["keyframe_interval_s"]
    if interval is None:
        return f"{track['keyframes']} seen"
    if interval["most"] - interval["least"] < 0.1:
        return f"{interval['mean']:.2f} s"
    return f"{interval['mean']:.2f} s ({interval['least']:.2f} to {interval['most']:.2f})"


def _count(count: int, worst_ms: float) -> str:
    return f"{count} (up to {_ms(worst_ms)})" if count else "no"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.2f} s" if abs(value) >= 1000 else f"{value:.0f} ms"


def _mbps(bitrate_bps: int | None) -> str:
    if bitrate_bps is None:
        return "-"
    if bitrate_bps >= 1_000_000:
        return f"{bitrate_bps / 1e6:.2f} Mbps"
    return f"{bitrate_bps / 1e3:.0f} kbps"


def _align(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _sync(report: dict[str, Any]) -> list[str]:
    sync = report["sync"]
    if sync is None:
        return []
    start_ms, ahead_ms = sync["audio_starts_after_video_ms"], sync["audio_ahead_ms"]["mean"]
    after, ahead = ("before", "after")[start_ms >= 0], ("behind", "ahead")[ahead_ms >= 0]
    return [
        f"  sound starts {_ms(abs(start_ms))} {after} the picture; "
        f"as they come it is {_ms(abs(ahead_ms))} {ahead}"
    ]


def find_faults(report: dict[str, Any]) -> list[str]:
    """Sentences on what viewers would notice."""
    found = [report["note"]] if report["note"] else []
    for number, track in enumerate(report["tracks"]):
        name = f"{track['kind']} {number}"
        if not track["packets"]:
            found.append(f"{name}: announced, but nothing came")
            continue
        if track["regressions"]:
            found.append(f"{name}: its clock runs backwards; players stutter or stop")
        if track["gaps"]:
            found.append(f"{name}: media is missing")
        if (track["jitter_ms"] or 0) > MUCH_JITTER_MS:
            found.append(f"{name}: it comes unevenly; players need a long buffer")
        if track["kind"] == "video":
            found += _keyframe_faults(name, track, report["media_s"])
    sync = report["sync"]
    if sync is not None and abs(sync["audio_starts_after_video_ms"]) > MUCH_OFFSET_MS:
        found.append("sound and picture start apart; check that they come from one clock")
    return found


def _keyframe_faults(name: str, track: Track, media_s: float) -> list[str]:
    interval = track["keyframe_interval_s"]
    if not track["keyframes"]:
        return [f"{name}: no keyframe in {media_s:.1f} s; nobody could start watching"]
    if (interval["most"] if interval else media_s) > LONG_KEYFRAME_S:
        return [f"{name}: keyframes are far apart; viewers wait, HLS segments get long"]
    return []
