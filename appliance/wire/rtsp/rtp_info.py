"""The RTP-Info header: where each track begins (RFC 2326 §12.33)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

MAX_INFOS = 16


@dataclass(frozen=True, slots=True)
class RtpInfo:
    """sequence and timestamp: of a track's first packet; None for what a server does not tell."""

    url: str = field(repr=False)
    sequence: int | None = None
    timestamp: int | None = None


def parse_rtp_info(value: str) -> tuple[RtpInfo, ...]:
    """``url=…;seq=1;rtptime=2,url=…``; what is malformed is left out."""
    infos = []
    for part in re.split(r",\s*(?=url\s*=)", value, flags=re.IGNORECASE)[:MAX_INFOS]:
        url = re.match(r"\s*url\s*=\s*\"?([^;\"\s]*)", part, re.IGNORECASE)
        if url is not None:
            sequence = _number(part, "seq", 0xFFFF)
            infos.append(RtpInfo(url[1], sequence, _number(part, "rtptime", 0xFFFF_FFFF)))
    return tuple(infos)


def format_rtp_info(infos: Iterable[RtpInfo]) -> str:
    """Empty for no tracks."""
    return ",".join(_format(info) for info in infos)


def _format(info: RtpInfo) -> str:
    words = [f"url={info.url}"]
    if info.sequence is not None:
        words.append(f"seq={info.sequence & 0xFFFF}")
    if info.timestamp is not None:
        words.append(f"rtptime={info.timestamp & 0xFFFF_FFFF}")
    return ";".join(words)


def _number(text: str, name: str, highest: int) -> int | None:
    match = re.search(rf";\s*{name}\s*=\s*([0-9]{{1,10}})\b", text, re.IGNORECASE)
    return int(match[1]) if match and int(match[1]) <= highest else None
