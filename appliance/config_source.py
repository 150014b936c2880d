"""What `source =` may say: a URL whose scheme names who fetches it. Never a command."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from appliance.config_values import nearest
from appliance.errors import ConfigError
from appliance.wire.rtmp.address import parse_rtmp_address
from appliance.wire.rtsp.target import parse_rtsp_address

# What `av:` opens. libav knows more (concat, subfile, pipe, data …), most of which read local
# files or wrap other protocols; see playlists such as that of CVE-2016-1897.
AV_SCHEMES = frozenset(
    {"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"}
)
_MODULE = re.compile(r"[0-9]{1,2}|[/\\][!-~]{1,199}", re.ASCII)  # or libcamera's identifier
_DEVICE = re.compile(r"/dev/[^\s/][^\s]*")
_CAMERA_PATH = re.compile(r"/dev/(?:video|v4l/)")
_FLV = re.compile(r"//[^\s?]+/[^?]+\.flv(\?.*)?")
_SUB = re.compile(r"[^\s:]+/sub")
_SCHEME = re.compile(r"([A-Za-z][0-9A-Za-z+.\-]*):", re.ASCII)


def check_source(source: str, schemes: Collection[str]) -> None:
    """`schemes`: those that a service is there for. Raises: ConfigError."""
    if not source:
        return
    scheme, rest = _split(source)
    if scheme not in schemes:
        if scheme in AV_SCHEMES and "av" in schemes:
            raise ConfigError(f'write "av:{scheme}://…" to open {scheme} by libav')
        raise ConfigError(f'"{scheme}:" is no kind of source{nearest(scheme, schemes)}')
    match scheme:
        case "pattern" if rest:
            raise ConfigError('write "pattern:" alone; nothing follows it')
        case "file":
            _check_file(rest)
        case "v4l2":
            _check_v4l2(rest)
        case "picamera2":
            if not _MODULE.fullmatch(rest):
                raise ConfigError('write "picamera2:0" for the first camera, 1 for the second')
        case "camera":
            if not _SUB.fullmatch(rest):
                raise ConfigError('write "camera:NAME/sub" for the second stream of camera NAME')
        case "av":
            inner, inner_rest = _split(rest)
            if inner not in AV_SCHEMES:
                raise ConfigError(f'"av:{inner}:" is not opened{nearest(inner, AV_SCHEMES)}')
            if not inner_rest.startswith("//"):
                raise ConfigError(f'write "av:{inner}://…"')
            _check_authority(inner, inner_rest)
        case "rtmp" | "rtmps":
            parse_rtmp_address(source)
        case "rtsp" | "rtsps":
            parse_rtsp_address(source)
        case "http" | "https":
            if not _FLV.fullmatch(rest):
                raise ConfigError(
                    f"of {scheme} only addresses that end with .flv are read here; write "
                    f'"av:{scheme}://…" to open it by libav'
                )
            _check_authority(scheme, rest)
        case _:
            _check_authority(scheme, rest)


def _check_file(rest: str) -> None:
    """``file:/clip.mp4`` or ``file:///clip.mp4``: of this machine, and from the root."""
    if rest.startswith("//"):
        host, slash, _ = rest[2:].partition("/")
        if host not in {"", "localhost"} or not slash:
            raise ConfigError('write "file:///videos/clip.mp4", without a host')
    elif not rest.startswith("/"):
        raise ConfigError('write the whole path, like "file:/videos/clip.mp4"')


def _check_v4l2(rest: str) -> None:
    if rest != "auto" and (not _DEVICE.fullmatch(rest) or ".." in rest):
        raise ConfigError(
            'write "v4l2:auto", or the device\'s path as `porthole cameras` shows it, like '
            '"v4l2:/dev/v4l/by-id/…"'
        )


def _split(source: str) -> tuple[str, str]:
    match = _SCHEME.match(source)
    if match is None:
        if _CAMERA_PATH.match(source):
            raise ConfigError(f'write "v4l2:{source}"')
        raise ConfigError(
            'a source is a URL, like "pattern:", "file:/clip.mp4" or "rtsp://camera/x"'
        )
    return match.group(1).lower(), source[match.end() :]


def _check_authority(scheme: str, rest: str) -> None:
    """``scheme://`` is followed by a host, and a port if any is a number."""
    if not rest.startswith("//"):
        return
    try:
        parts = urlsplit(f"{scheme}:{rest}")
        port = parts.port
    except ValueError as error:
        raise ConfigError("the URL's host or port is malformed") from error
    if not parts.hostname or any(char.isspace() for char in rest):
        raise ConfigError("the URL has no host" if not parts.hostname else "the URL has a space")
    if port == 0:
        raise ConfigError("the URL's port is 0")


def complete_source(text: str) -> str:
    """SOURCE of the command line as a source: a path of a file or camera gets its scheme.

    Raises: FileNotFoundError if it looks like a path and no file is there.
    """
    if _CAMERA_PATH.match(text):
        return f"v4l2:{text}"
    match = _SCHEME.match(text)
    if match is not None and not os.path.exists(text):  # noqa: PTH110 - Path raises for names too long
        rest = text[match.end() :]
        if match.group(1).lower() != "file" or rest.startswith("//"):
            return text
        path = Path(rest).expanduser()
    else:
        path = Path(text).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 - Path raises for names too long
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a directory; name a file in it")
    return f"file:{path.absolute()}"
