"""Addresses: of a camera as its owner writes it, of its tracks, and of a stream of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, unquote

from appliance.errors import ConfigError, PeerError

MAX_URL_CHARS = 2048
MAX_QUERY_FIELDS = 64  # against a name of a thousand parameters
DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322}
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f]")
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.\-]*)://(?:(?P<userinfo>[^/]*)@)?"
    r"(?P<host>\[[0-9a-f:.%a-z_\-]+\]|[^/?#:@\[\]]*)(?::(?P<port>[0-9]{0,5}))?(?P<rest>[/?].*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
# How the tracks of a session are called: ours, live555's, FFmpeg's and GStreamer's ways.
_CONTROL = re.compile(r"/(?P<control>(?:trackid|track|streamid|stream)=[0-9]{1,3})/?\Z", re.I)


@dataclass(frozen=True, slots=True)
class RtspAddress:
    """resource: path and query. User and password are decoded; they never get into a URL again."""

    scheme: str
    host: str
    port: int
    resource: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_tls(self) -> bool:
        return self.scheme == "rtsps"

    @property
    def place(self) -> str:
        """``rtsp://host:port``, without the port if it is the usual one."""
        host = self.host.partition("%")[0]  # RFC 6874 §1: a zone is nobody's business but ours
        host = f"[{host}]" if ":" in host else host
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def url(self) -> str:
        """What requests name; without user and password."""
        return self.place + self.resource


def parse_rtsp_address(url: str) -> RtspAddress:
    """Raises: ConfigError, whose text quotes nothing of it.

    A password may have ``@``, ``/`` or ``#`` in it as it is: owners paste it so.
    """
    if len(url) > MAX_URL_CHARS or _UNFIT.search(url):
        raise ConfigError("an address with spaces, or longer than any")
    match = _URL.match(_shield(url))
    if match is None:
        raise ConfigError("the URL's host or port is malformed")
    scheme = match["scheme"].lower()
    if scheme not in DEFAULT_PORTS:
        raise ConfigError("it begins with neither rtsp:// nor rtsps://")
    host = match["host"].strip("[]").replace("%25", "%", 1)
    if not host:
        raise ConfigError("the URL has no host")
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise ConfigError("the URL's port is none")
    user, _, password = (match["userinfo"] or "").partition(":")
    # What go2rtc has behind a # is for itself; by RFC 3986 §3.5 no fragment is ever sent.
    rest = (match["rest"] or "").partition("#")[0] or "/"
    resource = rest if rest.startswith("/") else f"/{rest}"
    return RtspAddress(scheme, host, port, resource, unquote(user), unquote(password))


def _shield(url: str) -> str:
    """Percent-encodes what a pasted password has that would end it.

    An ``@`` behind the first slash belongs to the password only if a colon came before the slash
    that begins no port: ``rtsp://u:a/b@host`` has one, ``rtsp://host:554/a@b`` has not.
    """
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    has_password = ":" in authority and not re.search(r":[0-9]{0,5}\Z", authority)
    if mark and slash and "@" not in authority and has_password and "@" in path:
        userinfo, _, after = rest.rpartition("@")
        return f"{scheme}://{userinfo.replace('/', '%2F')}@{after}"
    userinfo, at, host = authority.rpartition("@")
    return f"{scheme}{mark}{userinfo.replace('@', '%40')}{at}{host}{slash}{path}"


def redirected(address: RtspAddress, location: str) -> RtspAddress:
    """Where a server sends us instead. User and password go along to the same host only.

    Raises: PeerError for what is no RTSP address or would leave TLS.
    """
    try:
        if location.startswith("/") and not location.startswith("//"):
            target = replace(address, resource=location[:MAX_URL_CHARS])
        else:
            target = parse_rtsp_address(location)
    except ConfigError:
        raise PeerError("redirected to what is no RTSP address") from None
    if _UNFIT.search(target.resource):
        raise PeerError("redirected to what is no RTSP address")
    if address.is_tls and not target.is_tls:
        raise PeerError("redirected to an address without TLS")
    if target.host == address.host:
        return replace(target, user=address.user, password=address.password)
    return replace(target, user="", password="")


def resolve_base(address: RtspAddress, headers: tuple[str, ...]) -> str:
    """The URL that relative ones start from: the first usable one of Content-Base and
    Content-Location, else what was asked for (RFC 2326 §C.1.1).

    Only its path and query count: cameras name an address they once had, 0.0.0.0, or the one
    inside of the NAT that we reach them through.
    """
    for header in headers:
        try:
            found = parse_rtsp_address(header.strip().strip("<>"))
        except ConfigError:
            continue
        return address.place + found.resource
    return address.url


def resolve_control(base: str, control: str) -> str:
    """The URL of an `a=control` (RFC 2326 §C.1.1), on the host of `base`.

    A relative one is put behind the whole base, its query included, as all clients do and cameras
    of Dahua rely on: ``…/realmonitor?channel=1&subtype=0/trackID=0``.
    """
    control = _UNFIT.sub("", control)[:MAX_URL_CHARS]
    if not control or control == "*":
        return base
    if control[:7].lower() in {"rtsp://", "rtsps:/"}:
        try:
            found = parse_rtsp_address(control)
        except ConfigError:
            return base
        return parse_rtsp_address(base).place + found.resource
    if control.startswith("?"):
        return base + control
    return f"{base.rstrip('/')}/{control.lstrip('/')}"


# -- the server's side -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """name: ``app/stream``, not yet checked; control: of a track, empty for all of it."""

    name: str
    query: Mapping[str, str] = field(repr=False)
    control: str = ""


def resolve(url: str) -> Target:
    """``rtsp://any-host/live/camera?key=k``, with ``/trackID=0`` behind the path or behind the
    query, which is where clients put it. Raises: PeerError for what is no RTSP URL.
    """
    match = _URL.match(url[: MAX_URL_CHARS + 1])
    if match is None or match["scheme"].lower() not in {"rtsp", "rtsps", "rtspu"}:
        raise PeerError("no RTSP URL")
    if len(url) > MAX_URL_CHARS:
        raise PeerError("a URL longer than any")
    path, _, query = (match["rest"] or "").partition("?")
    control = ""
    if found := _CONTROL.search(query):
        control, query = found["control"], query[: found.start()]
    elif found := _CONTROL.search(path):
        control, path = found["control"], path[: found.start()]
    pairs = parse_qsl(query.strip("/").replace("?", "&"), keep_blank_values=True)
    return Target(unquote(path).strip("/"), dict(pairs[:MAX_QUERY_FIELDS]), control)


def resolve_within(base: Target, target: Target) -> Target:
    """What a further request of a session means: `base` with its query and the control of a track
    of it, or `target` if that is another stream."""
    path = f"{target.name}/{target.control}".rstrip("/")
    if path == base.name:
        return replace(base, control="")
    if path.startswith(f"{base.name}/"):
        return replace(base, control=path[len(base.name) + 1 :])
    return target
