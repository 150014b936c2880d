"""What a stream may be called; every name is checked here once, at the door it comes in by."""

from __future__ import annotations

import re

from appliance.errors import NameInvalid

MAX_NAME_CHARS = 128
MAX_SEGMENTS = 4

# `:` and `.` occur in real names such as 239.1.1.1:1234. \Z, not $: no trailing newline.
_NAME = re.compile(r"[0-9A-Za-z_\-./:]+\Z", re.ASCII)

# Last segments that would shadow the addresses of a stream's own forms.
RESERVED_SUFFIXES = (
    ".m3u8", ".flv", ".ts", ".mpd", ".aac", ".mp3", ".mp4", ".m4s", ".jpg", ".jpeg", ".mjpeg",
    ".hls",
)  # fmt: skip


def stream_name(raw: str) -> str:
    """`raw` itself, if it is a name a stream can have.

    Raises: NameInvalid otherwise; its text does not repeat the name.
    """
    if not raw:
        raise NameInvalid("a stream name is missing")
    if len(raw) > MAX_NAME_CHARS:
        raise NameInvalid(f"a stream name has at most {MAX_NAME_CHARS} characters")
    if not _NAME.match(raw):
        raise NameInvalid("a stream name has only letters, digits and _ - . / :")
    segments = raw.split("/")
    if len(segments) > MAX_SEGMENTS:
        raise NameInvalid(f"a stream name has at most {MAX_SEGMENTS} parts between slashes")
    for segment in segments:
        if not segment:
            raise NameInvalid("a stream name has no empty part, leading or trailing slash")
        if segment.startswith((".", "-")):
            raise NameInvalid("no part of a stream name starts with . or -")
        if segment.endswith(RESERVED_SUFFIXES):
            raise NameInvalid("no part of a stream name ends like a file (.m3u8, .flv, …)")
    return raw
