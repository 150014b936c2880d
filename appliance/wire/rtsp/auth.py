"""Basic and Digest of RTSP (RFC 7617, RFC 7616, RFC 2617, RFC 2069), as a server checks them.

Digest needs HA1 = H(user:realm:password) on this side: a scrypt hash cannot answer it. So
`Gate.check` asks for the HA1s of a user; an account without any uses Basic, within TLS. The
client's part is wire/rtsp/credentials.py's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

MAX_HEADER_CHARS = 4096
MAX_PARAMETERS = 32
NONCE_LIFE_US = 300 * 1_000_000  # how long one nonce may be used; then stale=true gives the next
# No two ways to match the same blanks: strangers send headers of nothing else.
_PARAMETER = re.compile(r'[\s,]*([a-zA-Z0-9_\-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')


class Algorithm(Enum):
    """Of Digest; the value is how headers spell it."""

    SHA256 = "SHA-256"
    MD5 = "MD5"

    def digest(self, text: str) -> str:
        data = text.encode("utf-8", "surrogatepass")
        if self is Algorithm.MD5:
            return hashlib.md5(data, usedforsecurity=False).hexdigest()
        return hashlib.sha256(data).hexdigest()


def make_ha1(algorithm: Algorithm, user: str, realm: str, password: str) -> str:
    """What a server keeps of a password to check Digest with; as good as the password there."""
    return algorithm.digest(f"{user}:{realm}:{password}")


@dataclass(frozen=True, slots=True)
class BasicShown:
    """What an Authorization header shows."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DigestShown:
    user: str
    realm: str
    nonce: str
    uri: str = field(repr=False)
    response: str = field(repr=False)
    algorithm: Algorithm
    qop: str = ""
    nc: str = ""
    cnonce: str = ""


Shown = BasicShown | DigestShown


def parse_authorization(header: str) -> Shown | None:
    """None for no header, another scheme, or a header that lacks something."""
    scheme, _, rest = header.strip().partition(" ")
    if len(header) > MAX_HEADER_CHARS:
        return None
    if scheme.lower() == "basic":
        return _parse_basic(rest.strip())
    if scheme.lower() != "digest":
        return None
    words = parse_parameters(rest)
    algorithm = read_algorithm(words)
    needed = [words.get(name, "") for name in ("username", "realm", "nonce", "uri", "response")]
    if algorithm is None or not all(needed):
        return None
    qop = words.get("qop", "")
    if qop not in {"", "auth"} or (qop and not (words.get("nc") and words.get("cnonce"))):
        return None
    user, realm, nonce, uri, response = needed
    nc, cnonce = words.get("nc", ""), words.get("cnonce", "")
    return DigestShown(user, realm, nonce, uri, response, algorithm, qop, nc, cnonce)


def _parse_basic(text: str) -> BasicShown | None:
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return BasicShown(user, password) if colon else None


def parse_parameters(text: str) -> dict[str, str]:
    """Names in lower case; values without quotes. Stops at what is no parameter."""
    words: dict[str, str] = {}
    position = 0
    while len(words) < MAX_PARAMETERS and (match := _PARAMETER.match(text, position)):
        quoted, bare = match[2], match[3]
        value = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        words.setdefault(match[1].lower(), value)
        position = match.end()
    return words


def read_algorithm(words: Mapping[str, str]) -> Algorithm | None:
    """None for one that we do not know; MD5 if there is no word of it (RFC 7616 §3.3)."""
    name = words.get("algorithm", "").upper()
    if not name:
        return Algorithm.MD5
    return next((item for item in Algorithm if item.value == name), None)


def answer_digest(shown: DigestShown, method: str, ha1: str) -> str:
    """What `response` must be (RFC 7616 §3.4.1; without qop RFC 2069 §2.1.2)."""
    digest = shown.algorithm.digest
    ha2 = digest(f"{method}:{shown.uri}")
    if shown.qop:
        middle = f"{shown.nonce}:{shown.nc}:{shown.cnonce}:{shown.qop}"
        return digest(f"{ha1}:{middle}:{ha2}")
    return digest(f"{ha1}:{shown.nonce}:{ha2}")


# -- the server's side -----------------------------------------------------------------------------


class Verdict(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    STALE = "stale"  # right, by a nonce that is too old


SecretOf = Callable[[str], Mapping[Algorithm, str] | None]


class Gate:
    """Challenges and checks of Digest; keeps nothing of what it issued.

    secret: random bytes of this process, by which nonces are recognised. A nonce is good for one
    peer (`peer`: its address) and a while, so that what somebody overheard is of no use elsewhere
    or later.
    """

    def __init__(self, realm: str, secret: bytes) -> None:
        self.realm = realm
        self._secret = secret

    @property
    def basic_challenge(self) -> str:
        """For within TLS, or where it is allowed in clear; instead of Digest, since a client that
        knows both takes that, and is lost if its account has no HA1.
        """
        return f'Basic realm="{self.realm}"'

    def challenges(self, peer: str, now_us: int, *, is_stale: bool = False) -> list[str]:
        """Values of WWW-Authenticate headers.

        MD5 is the last of Digest as FFmpeg 5 to 7 takes the last that it sees and knows no other,
        and has no qop as live555 knows none.
        """
        stale = ', stale="true"' if is_stale else ""
        start = f'Digest realm="{self.realm}", nonce="{self._issue(peer, now_us)}"'
        return [
            f'{start}, algorithm=SHA-256, qop="auth"{stale}',
            f"{start}, algorithm=MD5{stale}",
        ]

    def check(
        self,
        shown: DigestShown,
        method: str,
        url: str,
        peer: str,
        now_us: int,
        secret_of: SecretOf,
    ) -> Verdict:
        """Takes as long for a user who does not exist as for one who does."""
        secrets = secret_of(shown.user) or {}
        ha1 = secrets.get(shown.algorithm, "")
        expected = answer_digest(shown, method, ha1 or "0" * 32)
        is_same = hmac.compare_digest(expected.encode(), shown.response.lower().encode())
        if not (is_same and ha1 and _is_about(shown.uri, url)):
            return Verdict.WRONG
        return Verdict.RIGHT if self._is_good(shown.nonce, peer, now_us) else Verdict.STALE

    def _issue(self, peer: str, now_us: int) -> str:
        stamp = f"{now_us // 1_000_000:012x}"
        return stamp + self._seal(stamp, peer)

    def _seal(self, stamp: str, peer: str) -> str:
        return hmac.digest(self._secret, f"{stamp} {peer}".encode(), hashlib.sha256)[:12].hex()

    def _is_good(self, nonce: str, peer: str, now_us: int) -> bool:
        stamp = nonce[:12]
        seal = self._seal(stamp, peer).encode()
        if not hmac.compare_digest(nonce[12:].encode("utf-8", "surrogatepass"), seal):
            return False
        return 0 <= now_us - int(stamp, 16) * 1_000_000 <= NONCE_LIFE_US


def _is_about(uri: str, url: str) -> bool:
    """Whether a digest's uri means this request, and not another one that somebody overheard.

    live555 writes the session's URL for its tracks too, others only the path.
    """
    shown, asked = _resource(uri), _resource(url)
    return shown == asked or asked.startswith((f"{shown}/", f"{shown}?")) or shown == f"{asked}/"


def _resource(url: str) -> str:
    """Path and query."""
    _, mark, rest = url.partition("://")
    return (rest.partition("/")[2] if mark else url.lstrip("/")).rstrip("/")
