"""Signed, expiring tokens: how a viewer who once showed a key is known without being remembered.

A token is bound to one stream and good for nothing but its media. It carries the mark of the
account that it was issued for, so that it ends with the account. Nothing is stored: the signature
is checked against a secret that this process made and never shows, so a restart ends all tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode

from appliance.hub.access import MARK_BYTES
from appliance.hub.clock import Clock

LIFETIME_S = 12 * 3600  # a viewer who still has the key gets a new one after that
_MAC_BYTES = 16
_VIEWER_BYTES = 6
_EXPIRY_BYTES = 5
_TOKEN_BYTES = _EXPIRY_BYTES + _VIEWER_BYTES + MARK_BYTES + _MAC_BYTES
_TOKEN = re.compile(rf"[0-9A-Za-z_\-]{{{-(-_TOKEN_BYTES * 4 // 3)}}}\Z", re.ASCII)


class Tokens:
    """Expiry counts on the monotonic clock, which no one can set back."""

    def __init__(self, clock: Clock, *, lifetime_s: int = LIFETIME_S) -> None:
        self.lifetime_s = lifetime_s
        self._clock = clock
        self._secret = secrets.token_bytes(32)

    def issue(self, stream: str, mark: bytes = bytes(MARK_BYTES)) -> str:
        """A new viewer's token, of characters that need no escaping in URLs and cookies."""
        expiry_s = self._clock.monotonic_us() // 1_000_000 + self.lifetime_s
        body = expiry_s.to_bytes(_EXPIRY_BYTES, "big") + secrets.token_bytes(_VIEWER_BYTES) + mark
        return urlsafe_b64encode(body + self._mac(body, stream)).rstrip(b"=").decode("ascii")

    def is_valid(self, token: str, stream: str) -> bool:
        """Whether we issued it for this stream and it has not expired."""
        return self.read(token, stream) is not None

    def read(self, token: str, stream: str) -> bytes | None:
        """The mark of the account it was issued for; None if it is not valid."""
        if not _TOKEN.match(token):  # the decoder takes other spellings of the same bytes too
            return None
        try:
            raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        except ValueError:
            return None
        body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(raw) != _TOKEN_BYTES or not hmac.compare_digest(mac, self._mac(body, stream)):
            return None
        expiry_s = int.from_bytes(body[:_EXPIRY_BYTES], "big")
        if self._clock.monotonic_us() // 1_000_000 >= expiry_s:
            return None
        return body[-MARK_BYTES:]

    def _mac(self, body: bytes, stream: str) -> bytes:
        message = b"hls media\0" + body + stream.encode()
        return hmac.digest(self._secret, message, hashlib.sha256)[:_MAC_BYTES]
