"""Where a stream is handed on to: an RTMP address, its names filled in, its secrets hidden."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from appliance.errors import ConfigError, PeerError

HIDDEN = "***"
MAX_URL_CHARS = 1024
DEFAULT_PORTS = {"rtmp": 1935, "rtmps": 443}
DEFAULT_APP = "live"  # of a stream whose name has no slash
_FIELDS = ("device", "app", "stream")
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Destination:
    """name: of the stream there, with its query; most services make it the secret key.

    shown: what may be told to anybody: the address up to the app.
    """

    host: str
    port: int
    is_tls: bool
    app: str = field(repr=False)
    name: str = field(repr=False)
    tc_url: str = field(repr=False)
    shown: str

    def scrub(self, text: str) -> str:
        """The text, which may quote a peer that repeats what it was told, without our secrets."""
        for secret in self._secrets():
            text = text.replace(secret, HIDDEN)
        return text

    def _secrets(self) -> list[str]:
        """The longest first, so that none is left in part."""
        path, _, query = self.name.partition("?")
        secrets = {self.name, path, query, self.app.partition("?")[2]}
        secrets |= {pair.partition("=")[2] for pair in query.split("&")}
        secrets |= {unquote(secret) for secret in secrets}
        return sorted(filter(None, secrets), key=len, reverse=True)


def parse_destination(url: str) -> Destination:
    """``rtmp://host[:port]/app/name[?query]``. Raises: ConfigError, whose text quotes nothing."""
    if len(url) > MAX_URL_CHARS or _UNFIT.search(url):
        raise ConfigError("an address with spaces, or longer than any")
    try:
        parts = urlsplit(url, allow_fragments=False)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("its host or port is not one") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigError("it begins with neither rtmp:// nor rtmps://")
    if not host:
        raise ConfigError("it has no host")
    if "@" in parts.netloc:
        raise ConfigError("RTMP has no user and password; servers take a key in name or query")
    app, name = _split_path(parts)
    if not app or not name:
        raise ConfigError("behind the host come an app and a name, with a slash between them")
    place = f"{parts.scheme}://{parts.netloc}"
    return Destination(
        host=host,
        port=DEFAULT_PORTS[parts.scheme] if port is None else port,
        is_tls=parts.scheme == "rtmps",
        app=app,
        name=name,
        tc_url=f"{place}/{app}",
        shown=f"{place}/{re.split(r'[/?]', app)[0]}/{HIDDEN}",
    )


def _split_path(parts: SplitResult) -> tuple[str, str]:
    """(app, name): the name is what follows the last slash; ``app?query/name`` is known too."""
    app, _, name = parts.path.strip("/").rpartition("/")
    if not app and "/" in parts.query:
        query, _, name_of_query = parts.query.rpartition("/")
        return f"{name}?{query}", name_of_query
    return app, f"{name}?{parts.query}" if name and parts.query else name


def fill(template: str, device: str, stream: str) -> str:
    """The template with its {device}, {app} and {stream}."""
    app, _, name = stream.rpartition("/")
    values = (device, app or DEFAULT_APP, name)
    for word, value in zip(_FIELDS, values, strict=True):
        template = template.replace(f"{{{word}}}", value)
    return template


def check_template(template: str) -> None:
    """Raises: ConfigError."""
    filled = fill(template, "device", "app/stream")
    if "{" in filled or "}" in filled:
        raise ConfigError("only {device}, {app} and {stream} are replaced")
    parse_destination(filled)


def redirected(destination: Destination, url: str) -> Destination:
    """Where a server sends us instead: to the app of this URL, or to all of it if it has a name.

    Raises: PeerError; also for what would send a secret in the clear.
    """
    scheme, _, rest = url.partition("://")
    segments = [part for part in rest.partition("?")[0].split("/")[1:] if part]
    depth = len(destination.app.partition("?")[0].split("/"))
    if len(segments) <= depth:  # a tcUrl, as Adobe's servers and SRS's `redirect` have it
        url = f"{scheme}://{rest.partition('?')[0].rstrip('/')}/{destination.name}"
    try:
        target = parse_destination(url)
    except ConfigError:
        raise PeerError("redirected to what is no address") from None
    if destination.is_tls and not target.is_tls:
        raise PeerError("redirected to an address without TLS")
    return target
