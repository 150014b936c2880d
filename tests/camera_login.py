"""How a camera asks who is there: Basic, Digest by MD5 or SHA-256, and cameras that never agree.

Written apart from what it tests, by RFC 7617 and RFC 7616.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Login:
    """schemes: of Basic, MD5 and SHA-256, as they are offered.

    never: nobody is let in. shifty: every refusal has another realm and nonce.
    nonce_uses: as many requests may use one nonce; then it is refused with or without `says_stale`.
    proven, refused: what came of the requests so far.
    """

    user: str = "admin"
    password: str = "s3cret"
    schemes: tuple[str, ...] = ("MD5",)
    never: bool = False
    shifty: bool = False
    nonce_uses: int = 1 << 30
    says_stale: bool = True
    proven: int = 0
    refused: int = 0
    _nonce: int = 1
    _used: int = 0
    _words: dict[str, str] = field(default_factory=dict)

    @property
    def realm(self) -> str:
        return f"camera {self._nonce}" if self.shifty else "camera"

    @property
    def nonce(self) -> str:
        return hashlib.md5(b"%d" % self._nonce).hexdigest()

    def refusal(self, method: str, shown: str) -> Iterable[str]:
        """The headers of a 401, or nothing if this request may pass."""
        is_right = self._is_right(method, shown)
        is_stale = is_right and shown.startswith("Digest") and self._used >= self.nonce_uses
        if is_right and not is_stale and not self.never:
            self._used += 1
            self.proven += 1
            return ()
        self.refused += 1
        if self.shifty or is_stale:
            self._nonce, self._used = self._nonce + 1, 0
        stale = ", stale=true" if is_stale and self.says_stale else ""
        return [f"WWW-Authenticate: {self._challenge(one)}{stale}" for one in self.schemes]

    def _challenge(self, scheme: str) -> str:
        if scheme == "Basic":
            return f'Basic realm="{self.realm}"'
        head = f'Digest realm="{self.realm}", nonce="{self.nonce}", qop="auth"'
        return head if scheme == "MD5" else f"{head}, algorithm={scheme}"

    def _is_right(self, method: str, shown: str) -> bool:
        kind, _, text = shown.partition(" ")
        if kind == "Basic":
            wanted = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return "Basic" in self.schemes and text == wanted
        if kind != "Digest":
            return False
        words = {name: quoted or plain for name, quoted, plain in _WORD.findall(text)}
        algorithm = words.get("algorithm", "MD5")
        if algorithm not in self.schemes or words.get("nonce") != self.nonce:
            return False
        one, two = (
            _hash(algorithm, text)
            for text in (
                f"{self.user}:{self.realm}:{self.password}",
                f"{method}:{words.get('uri')}",
            )
        )
        middle = [self.nonce]
        if "qop" in words:
            middle += [words["nc"], words["cnonce"], words["qop"]]
        return words.get("response") == _hash(algorithm, ":".join((one, *middle, two)))


_WORD = re.compile(r'(\w+)=(?:"([^"]*)"|([^,\s]+))')


def _hash(algorithm: str, text: str) -> str:
    return hashlib.new(algorithm.replace("-", "").lower(), text.encode()).hexdigest()
