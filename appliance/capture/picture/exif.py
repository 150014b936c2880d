"""An Exif segment for a JPEG: how to turn it and when it was taken (Exif 2.3, CIPA DC-008-2012).

Written only; what it must not contain, such as a place, it does not know.
"""

from __future__ import annotations

import struct
from time import localtime, strftime

SOI = b"\xff\xd8"
_APP1 = 0xFFE1
_TIFF_HEADER = struct.pack(">2sHI", b"MM", 42, 8)  # TIFF 6.0 §2: big-endian, the first IFD follows
_ORIENTATION, _DATE_TIME, _EXIF_IFD = 0x0112, 0x0132, 0x8769
_EXIF_VERSION, _DATE_TIME_ORIGINAL = 0x9000, 0x9003
_ASCII, _SHORT, _LONG, _UNDEFINED = 2, 3, 4, 7
# §4.6.4: which of the eight ways to hold a picture needs this turn clockwise to stand upright
_ORIENTATIONS = {0: 1, 90: 6, 180: 3, 270: 8}

Entry = tuple[int, int, bytes]  # tag, type, value; values of several entries keep their order


def with_exif(jpeg: bytes, rotation_deg: int, unix_us: int) -> bytes:
    """The JPEG with the segment as its first (§4.5.4); one it has already is not removed.

    unix_us: when the picture was taken; written in local time.
    """
    if not jpeg.startswith(SOI):
        raise ValueError("not a JPEG")
    return b"".join((SOI, exif_segment(rotation_deg, unix_us), memoryview(jpeg)[len(SOI) :]))


def exif_segment(rotation_deg: int, unix_us: int) -> bytes:
    taken = strftime("%Y:%m:%d %H:%M:%S", localtime(unix_us // 1_000_000)).encode() + b"\0"
    first = [
        (_ORIENTATION, _SHORT, struct.pack(">H", _ORIENTATIONS[rotation_deg])),
        (_DATE_TIME, _ASCII, taken),
        (_EXIF_IFD, _LONG, bytes(4)),
    ]
    start = len(_TIFF_HEADER)
    second = start + len(_ifd(first, start))
    first[-1] = (_EXIF_IFD, _LONG, struct.pack(">I", second))
    private = [(_EXIF_VERSION, _UNDEFINED, b"0230"), (_DATE_TIME_ORIGINAL, _ASCII, taken)]
    body = b"Exif\0\0" + _TIFF_HEADER + _ifd(first, start) + _ifd(private, second)
    return struct.pack(">HH", _APP1, 2 + len(body)) + body


def _ifd(entries: list[Entry], start: int) -> bytes:
    """TIFF 6.0 §2: count, twelve bytes per entry, no next IFD; then values of more than four bytes.

    start: where it lies behind the TIFF header's first byte.
    """
    sizes = {_ASCII: 1, _SHORT: 2, _LONG: 4, _UNDEFINED: 1}
    head = struct.pack(">H", len(entries))
    values = b""
    values_start = start + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        head += struct.pack(">HHI", tag, kind, len(value) // sizes[kind])
        if len(value) <= 4:
            head += value.ljust(4, b"\0")
        else:
            head += struct.pack(">I", values_start + len(values))
            values += value + bytes(len(value) % 2)
    return head + bytes(4) + values
