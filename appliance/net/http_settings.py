"""`[http]`: where the HTTP server listens and what it lets in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """`[http.tls]`: certificate and key are PEM files, read again when they change."""

    listen: tuple[str, ...] = ()
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Sizes in bytes, durations in microseconds.

    listen: ``:port`` is IPv6 and IPv4; port 0 picks one.
    max_connections_per_ip: loopback and trusted proxies are outside this cap, because they speak
        for many viewers; `max_connections` bounds them too.
    request_deadline_us: from accept, or from a request's first byte, to the end of its head; and
        again for its body.
    idle_us: how long a connection is kept between requests.
    stall_us: how long a client may take nothing of what is sent to it.
    allowed_hosts: names besides IP addresses, localhost, ``*.local`` and the device's own under
        which browsers may reach it (``"*"``: any, which gives up the guard against DNS rebinding).
    trusted_proxies: addresses or networks whose X-Forwarded-For and -Proto are believed.
    """

    listen: tuple[str, ...] = (":8080",)
    tls: TlsSettings = field(default_factory=TlsSettings)
    max_connections: int = 512
    max_connections_per_ip: int = 32
    max_header_line_bytes: int = 8192
    max_headers: int = 64
    max_body_bytes: int = 1 << 20
    request_deadline_us: int = field(
        default=10_000_000, metadata={"key": "request_deadline", "unit": "duration"}
    )
    idle_us: int = field(default=60_000_000, metadata={"key": "idle", "unit": "duration"})
    stall_us: int = field(default=10_000_000, metadata={"key": "stall", "unit": "duration"})
    allowed_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
