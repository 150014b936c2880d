"""Where a stream is pulled from: an address of RTMP, RTSP or HTTP-FLV, its secrets kept apart."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from appliance.errors import ConfigError, PeerError
from appliance.redact import HIDDEN, hide
from appliance.wire.rtmp.address import DEFAULT_PORTS, RtmpAddress, parse_rtmp_address
from appliance.wire.rtsp.target import DEFAULT_PORTS as RTSP_PORTS
from appliance.wire.rtsp.target import RtspAddress, parse_rtsp_address

FLV_SUFFIX = ".flv"
HTTP_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARS = 1024
UNIFI_PORTS = frozenset({7441, 7447})  # of UniFi Protect, where the path is all that is asked for


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """url: without user and password, which go into a header."""

    url: str = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url, allow_fragments=False)

    @property
    def is_tls(self) -> bool:
        return self.parts.scheme == "https"

    @property
    def endpoint(self) -> tuple[str, str, int]:
        """Who is asked: a password is for this one and no other."""
        parts = self.parts
        return parts.scheme, parts.hostname or "", parts.port or HTTP_PORTS[parts.scheme]


Address = RtmpAddress | HttpAddress | RtspAddress


def parse_remote(url: str) -> Address:
    """``rtmp(s)://host/app/name``, ``rtsp(s)://host/path`` or ``http(s)://host/….flv``.

    Raises: ConfigError, whose text quotes nothing of it.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in DEFAULT_PORTS:
        return parse_rtmp_address(url)
    return parse_rtsp_address(url) if scheme in RTSP_PORTS else _parse_http(url)


def _parse_http(url: str) -> HttpAddress:
    try:
        parts = urlsplit(url, allow_fragments=False)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("the URL's host or port is malformed") from None
    if parts.scheme not in HTTP_PORTS or not host or port == 0 or len(url) > MAX_URL_CHARS:
        raise ConfigError("write rtmp://host/app/name or http://host/app/name.flv")
    if not parts.path.endswith(FLV_SUFFIX):
        raise ConfigError("the path of an address of HTTP-FLV ends with .flv")
    authority = parts.netloc.rpartition("@")[2]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return HttpAddress(parts._replace(netloc=authority).geturl(), user, password)


def http_redirected(address: HttpAddress, location: str) -> HttpAddress:
    """Where `Location` leads; user and password go to nobody but who has them already.

    Raises: PeerError for what is neither http nor https, or would leave TLS.
    """
    try:
        parts = urlsplit(urljoin(address.url, location), allow_fragments=False)
        host = parts.hostname
        port = parts.port
    except ValueError:
        raise PeerError("redirected to what is no address") from None
    if parts.scheme not in HTTP_PORTS or not host or port == 0 or len(location) > MAX_URL_CHARS:
        raise PeerError("redirected to what is neither http nor https")
    if address.is_tls and parts.scheme != "https":
        raise PeerError("redirected to an address without TLS")
    authority = parts.netloc.rpartition("@")[2]
    target = HttpAddress(parts._replace(netloc=authority).geturl())
    if target.endpoint != address.endpoint:
        return target
    return HttpAddress(target.url, address.user, address.password)


def on_origin(origin: str, name: str) -> Address:
    """The stream of this name on an origin such as ``rtmp://host/`` or ``http://host/path/?key=k``.

    Raises: ConfigError if the origin is no address, or the name has no app where RTMP needs one.
    """
    if origin.partition(":")[0].lower() in RTSP_PORTS:
        raise ConfigError("an origin is asked by RTMP or HTTP")
    base, _, query = origin.partition("?")
    suffix = "" if base.partition(":")[0].lower() in DEFAULT_PORTS else FLV_SUFFIX
    query = f"?{query}" if query else ""
    return parse_remote(f"{base.rstrip('/')}/{quote(name, safe='/:')}{suffix}{query}")


def door(address: Address) -> tuple[str, int]:
    """Host and port of its TCP connection."""
    if isinstance(address, HttpAddress):
        return address.endpoint[1:]
    return address.host, address.port


def shown(address: Address) -> str:
    """What may be told to anybody: without user, password and query, and without the name in an
    RTMP address, which is often the key to publish there, too, or a path in which cameras of
    XiongMai want the password: ``/user=admin_password=…_channel=1``."""
    match address:
        case RtmpAddress():
            return address.shown
        case RtspAddress():
            path = address.resource.partition("?")[0]
            is_secret = "=" in path or "@" in path or address.port in UNIFI_PORTS
            return address.place + (f"/{HIDDEN}" if is_secret else path)
    return address.parts._replace(query="").geturl()


def scrub(address: Address, text: str) -> str:
    """The text, which may quote a peer that repeats what it was told, without our secrets."""
    return hide(text, _secrets(address))


def _secrets(address: Address) -> set[str]:
    match address:
        case RtmpAddress():
            query, found = address.name.partition("?")[2], set[str]()
        case RtspAddress():  # in ``channel=1`` is no secret, and it would make nonsense of "401"
            values = set(re.findall(r"=([^_&/=]{4,})", address.resource))
            if address.port in UNIFI_PORTS:
                values.add(address.resource.partition("?")[0].strip("/"))
            pair = f"{address.user}:{address.password}".encode("utf-8", "surrogatepass")
            return values | {address.password, quote(address.password), b64encode(pair).decode()}
        case _:
            query, found = address.parts.query, {address.password, quote(address.password)}
    found |= {query} | {pair.partition("=")[2] for pair in query.split("&")}
    return found | {unquote(secret) for secret in found}
