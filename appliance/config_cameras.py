"""What only all streams together, or several keys of one, can be wrong about: cameras.

Each fault is told with the path of its key, as those of single values are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from appliance.config_lines import Path
from appliance.config_values import dotted, show
from appliance.errors import ConfigError
from appliance.hub.hours import parse_hours
from appliance.services.contract import MaskSettings, PresetSettings, StreamSettings

MAX_MASKS = 16
MAX_PRESETS = 16
MAX_OVERLAY_CHARS = 200
SUB = "/sub"
# What takes every picture into its hands, and can therefore make a second, smaller one of it.
WITH_SUB = frozenset({"pattern", "v4l2", "picamera2"})
_LED = re.compile(r"gpio:[0-9]{1,4}|(?!gpio:)[0-9A-Za-z][0-9A-Za-z_:.\-]{0,63}", re.ASCII)
_PRESET = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.\-]{0,63}", re.ASCII)

Report = Callable[[Path, str], None]


def check_cameras(streams: Sequence[tuple[Path, StreamSettings]], report: Report) -> None:
    """streams: with the path of each one's table."""
    for path, stream in streams:
        _check_hours(stream.hours, (*path, "hours"), report)
        if stream.led and not _LED.fullmatch(stream.led):
            report(
                (*path, "led"),
                f"{dotted(path)}.led = {show(stream.led)}: "
                'write a name under /sys/class/leds, or "gpio:17"',
            )
        _check_overlay(stream, path, report)
        _check_masks(stream.mask, path, report)
        if stream.mask and stream.video.encoder == "camera" and _scheme(stream) == "v4l2":
            report(
                (*path, "video", "encoder"),
                f'{dotted(path)}.video.encoder = "camera" cannot hide what is masked; write "auto"',
            )
        _check_presets(stream.preset, path, report)
    _check_subs(streams, report)


def _check_hours(texts: Sequence[str], path: Path, report: Report) -> None:
    for text in texts:
        try:
            parse_hours(text)
        except ConfigError as error:
            report(path, f"{dotted(path)}: {show(text)}: {error}")


def _check_overlay(stream: StreamSettings, path: Path, report: Report) -> None:
    for name in ("name", "clock", "text"):
        text = getattr(stream.overlay, name)
        if len(text) > MAX_OVERLAY_CHARS:
            report(
                (*path, "overlay", name),
                f"{dotted(path)}.overlay.{name} has {len(text)} characters, "
                f"at most {MAX_OVERLAY_CHARS} are possible",
            )


def _check_masks(masks: Sequence[MaskSettings], path: Path, report: Report) -> None:
    if len(masks) > MAX_MASKS:
        report((*path, "mask"), f"{dotted(path)} has {len(masks)} masks, at most {MAX_MASKS}")
    for index, mask in enumerate(masks):
        place = (*path, "mask", index)
        for start, size in (("x", "width"), ("y", "height")):
            begin, extent = getattr(mask, start), getattr(mask, size)
            if extent <= 0:
                report(place, f"{dotted(place)}.{size} is missing or 0; give a part of the picture")
            elif begin + extent > 1 + 1e-9:
                report(
                    (*place, size),
                    f"{dotted(place)}: {start} + {size} = {begin + extent:g} reaches beyond the "
                    "picture, which ends at 1",
                )


def _check_presets(presets: Sequence[PresetSettings], path: Path, report: Report) -> None:
    if len(presets) > MAX_PRESETS:
        report(
            (*path, "preset"), f"{dotted(path)} has {len(presets)} presets, at most {MAX_PRESETS}"
        )
    names: set[str] = set()
    for index, preset in enumerate(presets):
        place = (*path, "preset", index)
        if not _PRESET.fullmatch(preset.name):
            report(
                (*place, "name"),
                f"{dotted(place)}.name = {show(preset.name)}: "
                "has 1 to 64 letters, digits and _ . -",
            )
        elif preset.name in names:
            report((*place, "name"), f"{dotted(path)} has two presets {preset.name}")
        names.add(preset.name)
        _check_hours(preset.hours, (*place, "hours"), report)
        if replace(preset, name="", hours=()) == PresetSettings(""):
            report(place, f"{dotted(place)} changes nothing; give fps, bitrate or controls")


def _check_subs(streams: Sequence[tuple[Path, StreamSettings]], report: Report) -> None:
    made_by: dict[str, str] = {}
    for path, stream in streams:
        if not stream.source.startswith("camera:"):
            continue
        try:
            main = find_main(stream.source, [each for _, each in streams])
            if main.name in made_by:
                raise ConfigError(f"{made_by[main.name]} is its second stream already")
            made_by[main.name] = stream.name
            _check_size(stream, main)
        except ConfigError as error:
            report((*path, "source"), f"{dotted(path)}.source = {show(stream.source)}: {error}")


def find_main(source: str, streams: Sequence[StreamSettings]) -> StreamSettings:
    """The stream whose camera ``camera:front/sub`` means, by either of its names.

    Raises: ConfigError.
    """
    name = source.removeprefix("camera:").removesuffix(SUB)
    cameras = [each for each in streams if _scheme(each) not in {"", "camera"}]
    found = [each for each in cameras if each.name == name]
    found = found or [each for each in cameras if each.name.rpartition("/")[2] == name]
    if not found:
        names = ", ".join(each.name.rpartition("/")[2] for each in cameras)
        raise ConfigError(f"there is no camera {show(name)}; there are {names or 'none'}")
    if len(found) > 1:
        raise ConfigError(f"that can be {' or '.join(each.name for each in found)}; write it whole")
    if _scheme(found[0]) not in WITH_SUB:
        raise ConfigError(f"{found[0].name} is {_scheme(found[0])}:, which has no second stream")
    return found[0]


def _scheme(stream: StreamSettings) -> str:
    return stream.source.partition(":")[0].lower()


def _check_size(sub: StreamSettings, main: StreamSettings) -> None:
    if sub.video.width > main.video.width or sub.video.height > main.video.height:
        raise ConfigError(
            f"{sub.video.width}×{sub.video.height} is larger than {main.name} with "
            f"{main.video.width}×{main.video.height}; give width and height in its [stream.video]"
        )
