"""An address of a stream on another server: ``rtmp://host[:port]/app/name[?query]``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from appliance.errors import ConfigError, PeerError
from appliance.redact import HIDDEN

MAX_URL_CHARS = 1024
DEFAULT_PORTS = {"rtmp": 1935, "rtmps": 443}
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class RtmpAddress:
    """name: of the stream there, with its query, which may hold a key."""

    scheme: str
    host: str
    port: int
    app: str = field(repr=False)
    name: str = field(repr=False)

    @property
    def is_tls(self) -> bool:
        return self.scheme == "rtmps"

    @property
    def place(self) -> str:
        """``rtmp://host:port``, without the port if it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def shown(self) -> str:
        """What may be told to anybody: the name is often the key to publish."""
        return f"{self.place}/{self.app.partition('/')[0]}/{HIDDEN}"

    @property
    def tc_url(self) -> str:
        return f"{self.place}/{self.app}"


def parse_rtmp_address(url: str) -> RtmpAddress:
    """Raises: ConfigError, whose text quotes nothing of it."""
    if len(url) > MAX_URL_CHARS or _UNFIT.search(url):
        raise ConfigError("an address with spaces, or longer than any")
    try:
        parts = urlsplit(url, allow_fragments=False)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the URL's host or port is malformed") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigError("it begins with neither rtmp:// nor rtmps://")
    if not host:
        raise ConfigError("the URL has no host")
    if port == 0:
        raise ConfigError("the URL's port is 0")
    if "@" in parts.netloc:
        raise ConfigError("RTMP has no user and password; servers take a key in the query")
    app, name = _split_path(parts)
    port = DEFAULT_PORTS[parts.scheme] if port is None else port
    return RtmpAddress(parts.scheme, host, port, app, name)


def _split_path(parts: SplitResult) -> tuple[str, str]:
    """(app, name): the name is what follows the last slash. Raises: ConfigError."""
    app, _, name = parts.path.strip("/").rpartition("/")
    if not app or not name:
        raise ConfigError("behind the host come an app and a name, with a slash between")
    return app, f"{name}?{parts.query}" if parts.query else name


def redirected(address: RtmpAddress, url: str, *, keep_query: bool = False) -> RtmpAddress:
    """Where a server sends us instead: to the app of this URL, or to all of it if it has a name.

    keep_query: even to another host; it may hold a key. Raises: PeerError; also for what would
    leave TLS.
    """
    scheme, _, rest = url.partition("://")
    place = rest.partition("?")[0].rstrip("/")
    segments = [part for part in place.split("/")[1:] if part]
    is_whole = len(segments) > len(address.app.split("/"))
    name = address.name.partition("?")[0]
    try:
        target = parse_rtmp_address(url if is_whole else f"{scheme}://{place}/{name}")
    except ConfigError:
        raise PeerError("redirected to what is no RTMP address") from None
    if address.is_tls and not target.is_tls:
        raise PeerError("redirected to an address without TLS")
    if not is_whole and (keep_query or target.host == address.host):
        return RtmpAddress(target.scheme, target.host, target.port, target.app, address.name)
    return target
