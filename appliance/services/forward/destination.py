"""Where a stream is handed on to: an RTMP address, its names filled in, its secrets hidden."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

from appliance.errors import ConfigError
from appliance.redact import hide
from appliance.wire.rtmp.address import RtmpAddress, parse_rtmp_address, redirected

DEFAULT_APP = "live"  # of a stream whose name has no slash
_FIELDS = ("device", "app", "stream")


@dataclass(frozen=True, slots=True)
class Destination:
    """Its name, and what stands behind the first word of its app, are for nobody's eyes."""

    address: RtmpAddress = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Destination:
        """Raises: ConfigError, whose text quotes nothing of it."""
        return cls(parse_rtmp_address(url))

    @property
    def shown(self) -> str:
        """What may be told to anybody."""
        return self.address.shown

    @property
    def label(self) -> str:
        """Where it is, for a list of destinations: ``host/app``."""
        return f"{self.address.place.partition('://')[2]}/{self.address.app.partition('/')[0]}"

    @property
    def stream_name(self) -> str:
        """What the stream is called there, if there is a Porthole."""
        return f"{self.address.app}/{self.address.name.partition('?')[0]}"

    def redirected(self, url: str) -> Destination:
        """Where its server sends us instead; our key is for whom it trusts. Raises: PeerError."""
        return Destination(redirected(self.address, url, keep_query=True))

    def scrub(self, text: str) -> str:
        """The text, which may quote a peer that repeats what it was told, without our secrets."""
        path, _, query = self.address.name.partition("?")
        secrets = {self.address.name, path, query, self.address.app.partition("/")[2]}
        secrets |= {pair.partition("=")[2] for pair in query.split("&")}
        return hide(text, secrets | {unquote(secret) for secret in secrets})


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
    Destination.parse(filled)
