"""What Digest is answered with: HA1 = H(user:realm:secret) of RFC 7616 §3.4.2, for each algorithm.

It is as good as the secret to whoever steals it, but for Digest alone: the secret itself cannot be
read back from a key's 128 random bits, and not from a good password.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

REALM = "porthole"  # in every stored HA1: with another one none of them would be right any more
HA1_DIGITS = {"SHA-256": 64, "MD5": 32}  # by the algorithm's name in headers

Ha1s = Mapping[str, str]
"""Lower-case hex by the algorithm's name; empty for who cannot use Digest."""


def make_ha1s(user: str, secret: str) -> Ha1s:
    """user: without a colon, as names of accounts are."""
    text = f"{user}:{REALM}:{secret}".encode("utf-8", "surrogatepass")
    return {
        "SHA-256": hashlib.sha256(text).hexdigest(),
        "MD5": hashlib.md5(text, usedforsecurity=False).hexdigest(),
    }


def record_to_ha1s(record: object) -> Ha1s:
    """As stored. Raises: ValueError, unless there is one for each algorithm."""
    if not isinstance(record, dict) or record.keys() != HA1_DIGITS.keys():
        raise ValueError("digest")
    for name, digits in HA1_DIGITS.items():
        if not re.fullmatch(f"[0-9a-f]{{{digits}}}", str(record[name])):
            raise ValueError("digest")
    return dict(record)
