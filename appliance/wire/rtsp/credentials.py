"""How a client of RTSP answers a server's challenges (RFC 7617, RFC 7616, RFC 2617, RFC 2069)."""

from __future__ import annotations

import base64
import hmac
import re
from itertools import pairwise

from appliance.wire.rtsp.auth import (
    MAX_HEADER_CHARS,
    Algorithm,
    DigestShown,
    answer_digest,
    make_ha1,
    parse_parameters,
    read_algorithm,
)

_UNQUOTABLE = re.compile(r'["\\\x00-\x1f\x7f]')


class ClientAuth:
    """Answers a server's challenges for one user.

    noise: random bytes that cnonces are made of.
    """

    def __init__(self, user: str, password: str, noise: bytes) -> None:
        self._user = user
        self._password = password
        self._noise = noise
        self._is_basic = False
        self._words: dict[str, str] = {}  # of the Digest challenge
        self._count = 0

    @property
    def has_credentials(self) -> bool:
        return bool(self._user or self._password)

    @property
    def nonce(self) -> str:
        """Of the challenge in use; empty without one."""
        return self._words.get("nonce", "")

    def challenge(self, headers: list[str]) -> bool:
        """Takes the strongest challenge; False if there is none that can be answered.

        One header may hold several, as those of some cameras do.
        """
        found: dict[Algorithm, dict[str, str]] = {}
        offers_basic = False
        for header in headers:
            for scheme, rest in _split_challenges(header[:MAX_HEADER_CHARS]):
                words = parse_parameters(rest)
                algorithm = read_algorithm(words)
                offers_basic |= scheme == "basic"
                if scheme == "digest" and algorithm is not None and words.get("nonce"):
                    found.setdefault(algorithm, words)
        best = next((found[item] for item in Algorithm if item in found), None)
        if best is None and not offers_basic:
            return False
        self._is_basic = best is None
        self._words = best or {}
        self._count = 0
        return self.has_credentials

    def header(self, method: str, url: str) -> str:
        """The value of Authorization for this request; empty before any challenge."""
        if self._is_basic:
            pair = f"{self._user}:{self._password}".encode("utf-8", "surrogatepass")
            return f"Basic {base64.b64encode(pair).decode()}"
        if not self._words:
            return ""
        algorithm = read_algorithm(self._words) or Algorithm.MD5
        realm, nonce = self._words.get("realm", ""), self._words["nonce"]
        qop = "auth" if "auth" in re.split(r"[\s,]+", self._words.get("qop", "")) else ""
        self._count += 1
        nc = f"{self._count:08x}" if qop else ""
        cnonce = hmac.digest(self._noise, f"{nonce}{nc}".encode(), "sha256").hex()[:16]
        shown = DigestShown(self._user, realm, nonce, url, "", algorithm, qop, nc, cnonce)
        ha1 = make_ha1(algorithm, self._user, realm, self._password)
        return self._format(shown, answer_digest(shown, method, ha1))

    def _format(self, shown: DigestShown, response: str) -> str:
        pairs = {
            "username": shown.user,
            "realm": shown.realm,
            "nonce": shown.nonce,
            "uri": shown.uri,
            "response": response,
        }
        if "opaque" in self._words:
            pairs["opaque"] = self._words["opaque"]
        if shown.qop:
            pairs["cnonce"] = shown.cnonce
        text = ", ".join(f'{name}="{_quoted(value)}"' for name, value in pairs.items())
        if "algorithm" in self._words:
            text += f", algorithm={shown.algorithm.value}"
        if shown.qop:
            text += f", qop={shown.qop}, nc={shown.nc}"
        return f"Digest {text}"


def _split_challenges(header: str) -> list[tuple[str, str]]:
    """(scheme, parameters) of ``Digest …, Basic …``; quotes may hold the words too."""
    plain = re.sub(r'"(?:[^"\\]|\\.?)*"?', lambda match: "_" * len(match[0]), header)
    starts = [match.start(1) for match in re.finditer(r"(?:^|,)\s*([A-Za-z]+)(?:\s|\Z)", plain)]
    pieces = [header[a:b] for a, b in pairwise([*starts, len(header)])]
    return [(word.lower(), rest) for word, _, rest in (piece.partition(" ") for piece in pieces)]


def _quoted(value: str) -> str:
    return _UNQUOTABLE.sub(lambda match: f"\\{match[0]}" if match[0] in '"\\' else "", value)
