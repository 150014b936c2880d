"""NAL units of H.264 and HEVC: the two ways to pack them, and what lies under the escaping.

ISO/IEC 14496-10 Annex B (start codes), ISO/IEC 14496-15 §4.3.3 (length prefixes).
"""

from __future__ import annotations

from collections.abc import Iterable

from appliance.errors import PeerError
from appliance.media.unit import Buffer

MAX_NALS = 4096  # per access unit, empty ones counted; against a flood of tiny ones
START_CODE = b"\0\0\0\1"
_SHORT_START_CODE = b"\0\0\1"


def split_annexb(data: Buffer) -> list[memoryview]:
    """The NAL units between start codes, as views of `data`; empty ones are left out.

    Raises: PeerError if there is no start code, anything but zeros before the first, or too
    many units.
    """
    whole = data if isinstance(data, bytes) else bytes(data)  # a view cannot be searched
    view = memoryview(whole)
    start = whole.find(_SHORT_START_CODE)
    if start < 0 or whole[:start].strip(b"\0"):
        raise PeerError("no Annex B start code where one must be")
    nals: list[memoryview] = []
    for _ in range(MAX_NALS):
        start += len(_SHORT_START_CODE)
        following = whole.find(_SHORT_START_CODE, start)
        end = len(whole) if following < 0 else following
        if end > start and not whole[end - 1]:  # trailing_zero_8bits belong to no unit
            end = start + len(whole[start:end].rstrip(b"\0"))
        if end > start:
            nals.append(view[start:end])
        if following < 0:
            return nals
        start = following
    raise PeerError(f"more than {MAX_NALS} NAL units in one access unit")


def split_length_prefixed(data: Buffer, length_bytes: int = 4) -> list[memoryview]:
    """The NAL units behind their lengths, as views of `data`; empty ones are left out.

    Raises: PeerError if a length passes the end, or there are too many units.
    """
    view = memoryview(data)
    nals: list[memoryview] = []
    position, size = 0, len(view)
    for _ in range(MAX_NALS):
        if position == size:
            return nals
        start = position + length_bytes
        position = start + int.from_bytes(view[position:start], "big")
        if start > size or position > size:
            raise PeerError("a NAL unit passes the end of its access unit")
        if position > start:
            nals.append(view[start:position])
    if position < size:
        raise PeerError(f"more than {MAX_NALS} NAL units in one access unit")
    return nals


def join_annexb(nals: Iterable[Buffer]) -> bytes:
    """One byte stream with a four-byte start code before each unit."""
    pieces: list[Buffer] = []
    for nal in nals:
        pieces += (START_CODE, nal)
    return b"".join(pieces)


def join_length_prefixed(nals: Iterable[Buffer]) -> bytes:
    """One sample with a four-byte length before each unit."""
    pieces: list[Buffer] = []
    for nal in nals:
        pieces += (len(nal).to_bytes(4, "big"), nal)
    return b"".join(pieces)


def unescape(nal: Buffer) -> bytes:
    """The unit without its emulation prevention bytes (ISO/IEC 14496-10 §7.4.1), as a copy."""
    return bytes(nal).replace(b"\0\0\3", b"\0\0")
