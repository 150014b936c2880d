"""Secrets taken out of text that people will read."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"

# The password of user:password@ reaches to the last @ before the path, whatever is in it.
_USERINFO = re.compile(r"(://[^\s/:@]*:)[^\s/]*@")
# By RTSP it may have slashes, as its parser allows, unless what follows the colon is a port.
# So many characters at most, for time that is linear in the text.
_RTSP_USERINFO = re.compile(
    r"(\brtsps?://[^\s/:@]*:)(?![0-9]{0,5}/)[^\s/@]{0,256}/[^\s\"']{0,256}@", re.IGNORECASE
)
# Cameras of XiongMai have user and password in the path: /user=admin_password=…_channel=1.
_XIONGMAI = re.compile(r"(_password=)[^\s/&?\"']{1,256}?(?=_[a-z]{1,16}=|[\s/&?\"'.]|\Z)")
# Of a camera of UniFi Protect, which is known by its ports, the path is the key.
_UNIFI = re.compile(r"(\brtsps?://[^\s/]{1,256}:744[17]/)[^\s\"']+", re.IGNORECASE)
_NAMES = (
    r"access_token|api_?key|auth|authorization|jwt|key|pass|passphrase|passwd|password|pwd|secret"
    r"|sig|sign|signature|streamkey|token"
)
_FIELD = re.compile(rf"(?<![0-9a-z_])((?:{_NAMES})=|(?<=[?&])t=)[^\s&;,\"'<>]+", re.IGNORECASE)
# In rtmp://host/app/name the name is what services give out as the secret key to publish.
_RTMP_NAME = re.compile(r"(\brtmps?://[^\s/?\"']+/[^\s/?\"',]+[/?])[^\s\"',\]]+", re.IGNORECASE)
_HEADER = re.compile(r"\b(basic|bearer|digest) +[0-9a-z+/=_.~\-]{6,}", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with ``***`` for passwords in URLs, what follows the app in those of RTMP, values of
    ``key=``, ``token=``, ``?t=`` and the like, and credentials of Authorization headers."""
    if "=" in text:
        text = _FIELD.sub(rf"\1{HIDDEN}", text)
        text = _XIONGMAI.sub(rf"\1{HIDDEN}", text)
    if "://" in text:
        text = _RTSP_USERINFO.sub(rf"\1{HIDDEN}@", text)
        text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
        text = _UNIFI.sub(rf"\1{HIDDEN}", text)
        text = _RTMP_NAME.sub(rf"\1{HIDDEN}", text)
    return _HEADER.sub(rf"\1 {HIDDEN}", text)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with ``***`` for each of them, the longest first, so that none is left in part."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
