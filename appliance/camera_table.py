"""What the API says of cameras, as tables for a terminal.

Everything may be missing and nothing is trusted to be what it should be: it comes from whoever
answered at the address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from appliance.log import escape

MAX_CELL_CHARS = 60
MAX_FACT_CHARS = 400
MAX_ROWS = 512
NONE = "-"


def list_cameras(cameras: Sequence[Any]) -> str:
    """One line for each."""
    if not cameras:
        return "no cameras are configured: give a [[stream]] a source such as v4l2:auto"
    rows: list[tuple[str, ...]] = [("NAME", "STATE", "PICTURE", "ENCODER", "SOUND", "STREAM")]
    rows += [_camera_row(one) for one in cameras[:MAX_ROWS] if isinstance(one, dict)]
    return align(rows)


def _camera_row(camera: dict[str, Any]) -> tuple[str, ...]:
    is_live = camera.get("state") == "live"  # what it was before would pass for what it is
    return (
        _text(camera.get("name")),
        _state(camera),
        _picture(camera) if is_live else NONE,
        _text(camera.get("encoder")) if is_live else NONE,
        _sound(camera.get("sound")) if is_live else NONE,
        _text(camera.get("stream")),
    )


def show_camera(camera: dict[str, Any]) -> str:
    """Everything that is known, then its controls with what they can be set to."""
    facts = [
        ("camera", f"{_text(camera.get('name'))} ({_text(camera.get('stream'))})"),
        ("state", _state(camera, MAX_FACT_CHARS)),
        ("source", _text(camera.get("source"))),
        ("device", _device(camera)),
        ("format", _text(camera.get("format"))),
        ("why", _text(camera.get("why"))),
        ("picture", _picture(camera)),
        ("rotation", _number(camera.get("rotation"), "°")),
        ("encoder", _encoder(camera)),
        ("stepped down", _ladder(camera.get("ladder"))),
        ("sound", _sound(camera.get("sound"))),
        ("second stream", _second(camera.get("sub"))),
        ("overlay", _overlay(camera.get("overlay"))),
        ("masks", _number(camera.get("masks"))),
        ("presets", _presets(camera)),
        ("recoveries", _recoveries(camera.get("recoveries"))),
        ("last step", _last_step(camera.get("recovery"))),
        ("last fault", _text(camera.get("last_fault"), MAX_FACT_CHARS)),
    ]
    width = max(len(name) for name, _ in facts)
    lines = [f"{name:<{width}}  {text}" for name, text in facts if text != NONE]
    controls = camera.get("controls")
    if isinstance(controls, dict) and controls:
        lines += ["", list_controls(controls)]
    return "\n".join(lines)


def list_controls(controls: dict[str, Any]) -> str:
    rows = [("CONTROL", "VALUE", "DEFAULT", "POSSIBLE")]
    rows += [
        (_text(name), _text(one.get("value")), _text(one.get("default")), _possible(one))
        for name, one in sorted(controls.items())[:MAX_ROWS]
        if isinstance(one, dict)
    ]
    return align(rows)


def _possible(control: dict[str, Any]) -> str:
    choices = control.get("choices")
    if isinstance(choices, list) and choices:
        return ", ".join(_text(choice) for choice in choices[:MAX_ROWS])
    if control.get("type") == "bool":
        return "true or false"
    low, high, step = (control.get(name) for name in ("min", "max", "step"))
    if low is None and high is None:
        return _text(control.get("type"))
    text = f"{_text(low)} to {_text(high)}"
    return text if step in {None, 0, 1} else f"{text} by {_text(step)}"


def _state(camera: dict[str, Any], max_chars: int = MAX_CELL_CHARS) -> str:
    """The state, and why if it is a bad one."""
    state = _text(camera.get("state"))
    match state:
        case "lost":
            reason = _text(camera.get("last_fault") or camera.get("placeholder"), max_chars)
            return state if reason == NONE else f"{state}: {reason}"
        case "off" if camera.get("enabled") is True and isinstance(camera.get("hours"), list):
            return f"off, on at {', '.join(map(_text, camera['hours'][:MAX_ROWS]))}"
    return state


def _device(camera: dict[str, Any]) -> str:
    device, name = camera.get("device"), camera.get("device_name")
    return f"{_text(device)} ({_text(name)})" if device and name else _text(device)


def _picture(camera: dict[str, Any]) -> str:
    width, height = camera.get("width"), camera.get("height")
    if not width or not height:
        return NONE
    fps = camera.get("measured_fps") or camera.get("fps")
    rate = f" {_number(fps)} fps" if fps else ""
    return f"{_text(width)}×{_text(height)}{rate}"


def _encoder(camera: dict[str, Any]) -> str:
    parts = [_text(camera.get("encoder"))]
    if bitrate := _count(camera.get("bitrate_bps")):
        parts.append(f"{bitrate / 1_000_000:g} Mb/s")
    if keyframe := _count(camera.get("keyframe_us")):
        parts.append(f"a keyframe every {keyframe / 1_000_000:g} s")
    if (cost := camera.get("encode_ms_p95")) is not None:
        parts.append(f"{_number(cost)} ms per picture")
    return ", ".join(parts) if parts[0] != NONE else NONE


def _ladder(ladder: Any) -> str:
    if not isinstance(ladder, dict) or not ladder.get("step"):
        return NONE
    of = f" of {_text(ladder.get('of'))}" if ladder.get("of") else ""
    return f"{_text(ladder['step'])}{of}: {_text(ladder.get('reason'), MAX_FACT_CHARS)}"


def _sound(sound: Any) -> str:
    if not isinstance(sound, dict):
        return NONE
    if sound.get("error"):
        return _text(sound["error"], MAX_FACT_CHARS)
    return f"{_text(sound.get('device'))} {_number(sound.get('rate_hz'))} Hz"


def _second(sub: Any) -> str:
    if not isinstance(sub, dict):
        return NONE
    active = "" if sub.get("active") else ", asleep"
    return f"{_picture(sub)}{active}"


def _overlay(overlay: Any) -> str:
    if not isinstance(overlay, dict) or not overlay.get("shown"):
        return NONE
    return _text(overlay.get("text")) if overlay.get("text") else "shown"


def _presets(camera: dict[str, Any]) -> str:
    names = camera.get("presets")
    if not isinstance(names, list) or not names:
        return NONE
    current = camera.get("preset")
    return ", ".join(f"{_text(name)} (now)" if name == current else _text(name) for name in names)


def _recoveries(counts: Any) -> str:
    if not isinstance(counts, dict):
        return NONE
    found = [f"{_text(name)} {_text(count)}" for name, count in counts.items() if count]
    return ", ".join(found) or NONE


def _last_step(recovery: Any) -> str:
    if not isinstance(recovery, dict) or not recovery.get("rung"):
        return NONE
    why = _text(recovery.get("why"), MAX_FACT_CHARS)
    ago = f" {_count(recovery.get('ago_ms')) // 1000} s ago"
    back = f"; {_text(recovery['back'])}" if recovery.get("back") else ""
    return f"{_text(recovery['rung'])}{ago}: {why}{back}"


def _number(value: Any, unit: str = "") -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value:
        return NONE
    return f"{value:.1f}".removesuffix(".0") + unit


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(value: Any, max_chars: int = MAX_CELL_CHARS) -> str:
    """One line that a terminal shows as it is."""
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = f"{value:g}"
    text = str(value)
    return escape(text if len(text) <= max_chars else text[: max_chars - 1] + "…")


def align(rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell."""
    lines = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    )
