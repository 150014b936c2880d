"""What is no fault of a configuration, but will not do what its author may expect here and now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from appliance.config import Config
from appliance.config_cameras import find_main
from appliance.errors import ConfigError
from appliance.media.quantity import Unit, format_quantity
from appliance.services.contract import StreamSettings

ENCODES = frozenset({"pattern", "v4l2", "picamera2", "camera"})


def advise(config: Config) -> list[str]:
    """One sentence each, in the order of the file; looks at which devices and files are there."""
    found = []
    for stream in config.streams:
        if not stream.enabled:
            continue
        advice = (*_missing(stream), *_segments(stream, config), *_second(stream, config))
        found += [f"stream {stream.name}: {text}" for text in advice]
    return found


def _missing(stream: StreamSettings) -> Iterator[str]:
    scheme, _, rest = stream.source.partition(":")
    if scheme == "file":
        path = unquote(urlsplit(rest).path) if rest.startswith("//") else rest
        if not _exists(path):
            yield f"there is no file {path}"
    elif scheme == "v4l2" and rest == "auto":
        if not any(Path("/dev").glob("video*")):
            yield "no camera is connected; `porthole cameras` lists them"
    elif scheme == "v4l2" and not _exists(rest):
        yield f"there is no device {rest}; `porthole cameras` lists those that are there"
    elif scheme.lower() in {"rtsp", "rtsps"}:
        yield from _missing_password(stream)
    if stream.led and not stream.led.startswith("gpio:"):
        leds = Path("/sys/class/leds")
        if not _exists(str(leds / stream.led)):
            names = ", ".join(sorted(each.name for each in leds.glob("*")))
            yield f"there is no LED {stream.led}" + (f"; there are {names}" if names else "")


def _missing_password(stream: StreamSettings) -> Iterator[str]:
    from appliance.services.pull.credentials import read_password

    if name := stream.rtsp.password_file:
        try:
            if not read_password(name, os.environ):
                yield f'the first line of password_file "{name}" is empty'
        except ConfigError as error:
            yield str(error)


def _exists(path: str) -> bool:
    """Path.exists fails for names that no file can have, and for folders that are not ours."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _segments(stream: StreamSettings, config: Config) -> Iterator[str]:
    """A segment begins at a keyframe, so it cannot be shorter than what is between two."""
    hls = config.services.get("hls")
    scheme = stream.source.partition(":")[0]
    if hls is None or scheme not in ENCODES or not getattr(hls, "enabled", True):
        return
    keyframe_us = stream.video.keyframe_us
    if hls.segment_us < keyframe_us:
        segment, keyframe = (
            format_quantity(value, Unit.DURATION) for value in (hls.segment_us, keyframe_us)
        )
        yield (
            f"keyframe = {keyframe} makes HLS segments of {keyframe}, "
            f"although hls.segment = {segment}; give both the same"
        )


def _second(stream: StreamSettings, config: Config) -> Iterator[str]:
    if not stream.source.startswith("camera:"):
        return
    main = find_main(stream.source, config.streams)
    if not main.enabled:
        yield f"its camera {main.name} is off"
    elif (stream.video.width, stream.video.height) == (main.video.width, main.video.height):
        yield f"it is as large as {main.name}; give its [stream.video] a smaller width and height"
