"""Certificates that are trusted by their fingerprint: those that cameras make for themselves."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import ssl

from appliance.errors import ConfigError

PREFIX = "sha256:"
READ_S = 5.0
_HEX = re.compile(r"[0-9a-f]{64}\Z")


class OtherCertificate(ssl.SSLError):
    """seen: the fingerprint of the one that was shown."""

    def __init__(self, seen: str) -> None:
        super().__init__("another certificate than the one that is trusted")
        self.seen = seen


def parse_fingerprint(text: str) -> str:
    """``sha256:`` and 64 hexadecimal digits, as `openssl x509 -fingerprint` has them, too, with
    colons. Returns the digits. Raises: ConfigError."""
    digits = text.strip().lower().removeprefix(PREFIX).replace(":", "")
    if _HEX.match(digits) is None:
        raise ConfigError(
            'write "sha256:" and the 64 digits that the log or `porthole probe` tells'
        )
    return digits


def fingerprint(certificate: bytes) -> str:
    """certificate: DER."""
    return PREFIX + hashlib.sha256(certificate).hexdigest()


def pinned_context(text: str) -> ssl.SSLContext:
    """For connecting to who shows this certificate and no other, whoever signed it and for
    whichever name. The handshake fails with OtherCertificate, before anything is said.

    Raises: ConfigError.
    """
    wanted = PREFIX + parse_fingerprint(text)
    context = untrusting_context()

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            seen = fingerprint(self.getpeercert(binary_form=True) or b"")
            if not hmac.compare_digest(seen, wanted):
                raise OtherCertificate(seen)

    context.sslobject_class = Pinned
    return context


def untrusting_context() -> ssl.SSLContext:
    """Takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def read_fingerprint(host: str, port: int) -> str:
    """Of the certificate shown there; nothing is said. Empty if none can be read."""
    try:
        async with asyncio.timeout(READ_S):
            _, writer = await asyncio.open_connection(host, port, ssl=untrusting_context())
    except (OSError, TimeoutError):
        return ""
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return fingerprint(shown) if shown else ""
