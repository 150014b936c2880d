"""What the pages show of one stream."""

from __future__ import annotations

from typing import Any

from appliance.hub.cameras import Camera
from appliance.hub.stream import Stream
from appliance.media.track import Kind, Track

WITH_PICTURES = frozenset({"pattern", "v4l2", "picamera2"})
FPS_FRAMES = 60  # frames measured over
FPS_MIN_FRAMES = 10
FPS_UNITS = 300  # units looked at for them: bounds the work whatever is interleaved
FPS_TOLERANCE = 0.04  # measured this near to the declared rate, the declared one is shown


def offline_row(name: str, *, on_demand: bool) -> dict[str, Any]:
    """A stream that is configured and of which nothing has been seen yet."""
    return {
        "name": name,
        "online": False,
        "on_demand": on_demand,
        "video": None,
        "audio": None,
        "bitrate_bps": 0,
        "viewers": 0,
        "age_ms": None,
        "restarts": 0,
        "placeholder": "",
        "camera": None,
        "urls": {"page": f"/{name}", "hls": f"/{name}.m3u8"},
    }


def stream_row(stream: Stream, *, on_demand: bool, viewers: int) -> dict[str, Any]:
    """The stream as it is now. age_ms: of the newest frame, None before the first; placeholder:
    what the still picture says that is shown instead of media."""
    now_us = stream.clock.monotonic_us()
    age_us = stream.last_unit_age_us()
    row = offline_row(stream.name, on_demand=on_demand)
    row |= {
        "online": stream.publisher is not None and bool(stream.tracks),
        "bitrate_bps": sum(stats.rate.rate_bps(now_us) for stats in stream.stats.values()),
        "viewers": viewers,
        "age_ms": None if age_us is None else age_us // 1000,
        "restarts": stream.restarts,
        "placeholder": stream.placeholder,
    }
    for track in reversed(stream.tracks):  # the first of a kind is the one that counts
        row[track.kind.value] = _track_row(stream, track)
    return row


def _track_row(stream: Stream, track: Track) -> dict[str, Any]:
    config: Any = track.config
    row = {"codec": track.codec.value, "rfc6381": config.rfc6381}
    if track.kind is Kind.AUDIO:
        return row | {"sample_rate_hz": config.sample_rate_hz, "channels": config.channels}
    width_px, height_px = config.width_px, config.height_px
    if track.rotation_deg in {90, 270}:  # players turn it
        width_px, height_px = height_px, width_px
    return row | {
        "width_px": width_px,
        "height_px": height_px,
        "rotation_deg": track.rotation_deg,
        "fps": shown_fps(measured_fps(stream, track), config.fps),
    }


def source_fault(pull: dict[str, Any] | None) -> dict[str, Any] | None:
    """Why nothing comes from where the stream is fetched, as a word of ours for anybody; None while
    it comes. retry_s: in how many seconds it is tried again."""
    if pull is None or not pull["fault"]:
        return None
    retry_s = pull["retry_s"]
    return {"reason": pull["fault"], "retry_s": None if retry_s is None else round(retry_s)}


def camera_row(camera: Camera) -> dict[str, Any]:
    """What viewers may know of the camera itself: no device, no control.

    why: it is off or away; rung: of the recovery ladder, while it is away; slowed: why the encoder
    has stepped down; picture: there are single pictures of it.
    """
    about = camera.describe()
    state, ladder, recovery = about.get("state"), about.get("ladder"), about.get("recovery")
    is_away = state in {"lost", "starting"}
    is_climbing = isinstance(recovery, dict) and not recovery.get("back")
    return {
        "name": camera.name,
        "state": state,
        "why": _why_off(about) if state == "off" else _why_away(about) if is_away else None,
        "rung": (recovery or {}).get("rung") if is_away and is_climbing else None,
        "encoder": about.get("encoder"),
        "slowed": ladder.get("reason") if isinstance(ladder, dict) and ladder.get("step") else None,
        "picture": about.get("source") in WITH_PICTURES,
    }


def _why_off(about: dict[str, Any]) -> str:
    if about.get("enabled", True) and about.get("hours"):
        return f"it captures {', '.join(about['hours'])}"
    return "somebody switched it off"


def _why_away(about: dict[str, Any]) -> str | None:
    """The fault that the slate tells, else what the ladder saw, else the last fault."""
    _, colon, fault = (about.get("placeholder") or "").partition(": ")
    if colon:
        return str(fault)
    recovery = about.get("recovery")
    if isinstance(recovery, dict) and recovery.get("why") and not recovery.get("back"):
        return str(recovery["why"])
    return about.get("last_fault")


def measured_fps(stream: Stream, track: Track) -> float | None:
    """Over the newest frames held, so that a camera slower than it claims shows as that."""
    newest_us = oldest_us = frames = 0
    for looked, unit in enumerate(reversed(stream.units.items)):
        if looked >= FPS_UNITS or frames >= FPS_FRAMES:
            break
        if unit.track.id == track.id:
            newest_us, oldest_us = newest_us or unit.dts_us, unit.dts_us
            frames += 1
    if frames < FPS_MIN_FRAMES or newest_us <= oldest_us:
        return None
    return (frames - 1) * 1_000_000 / (newest_us - oldest_us)


def shown_fps(measured: float | None, declared: float | None) -> float | None:
    if measured is None:
        return declared
    if declared and abs(measured - declared) <= declared * FPS_TOLERANCE:
        return declared
    return round(measured, 1)
