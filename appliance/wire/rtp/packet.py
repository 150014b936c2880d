"""The RTP packet: its header taken apart and put together (RFC 3550 §5.1, RFC 5761 §4)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.unit import Buffer

HEADER_BYTES = 12
SEQUENCE_MASK = 0xFFFF
STAMP_MASK = 0xFFFFFFFF

_HEADER = struct.Struct("!BBHII")
_PLAIN = 0x80  # version 2, no padding, no extension, no contributing sources
_read_run_header = struct.Struct("!IQ").unpack_from  # up to the sequence number, and the rest
_RUN_MARKER = 0x80_0000


@dataclass(slots=True)
class RtpPacket:
    """One packet as it came.

    payload: a slice of the datagram: bytes of bytes (a copy), a view of a view.
    extension: profile word and body of the header extension (RFC 3550 §5.3.1).
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    payload: Buffer
    extension: tuple[int, Buffer] | None = None


def parse(data: Buffer) -> RtpPacket:
    """Raises: PeerError if it is not RTP of version 2, or its parts pass its end."""
    if len(data) < HEADER_BYTES:
        raise PeerError(f"an RTP packet of {len(data)} bytes")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first == _PLAIN:
        return RtpPacket(
            second & 0x7F, sequence, timestamp, ssrc, second >= 0x80, data[HEADER_BYTES:]
        )
    if first >> 6 != 2:
        raise PeerError(f"RTP of version {first >> 6}")
    start, extension = _skip_to_payload(data, first)
    end = len(data) - (data[-1] if first & 0x20 else 0)
    if start > end or (first & 0x20 and end == len(data)):
        raise PeerError(f"RTP padding of {data[-1]} bytes in a packet of {len(data)}")
    return RtpPacket(
        second & 0x7F, sequence, timestamp, ssrc, second >= 0x80, data[start:end], extension
    )


@dataclass(slots=True)
class PacketRun:
    """Packets that follow each other and have one timestamp, as a picture's do.

    packets: whole ones, with a plain header, so that payloads begin at HEADER_BYTES; none is empty.
    sequence, marker: of the last; the others have no marker.
    """

    sequence: int
    timestamp: int
    ssrc: int
    marker: bool
    packets: Sequence[bytes]


def read_run(
    packets: Sequence[bytes], begin: int, payload_type: int, ssrc: int, sequence: int
) -> PacketRun | None:
    """The run that begins with this packet, if that is the one described; else None."""
    wanted = _PLAIN << 24 | payload_type << 16 | sequence
    stop, end = begin, begin + min(len(packets) - begin, SEQUENCE_MASK + 1 - sequence)
    marker, source = False, -1  # timestamp and SSRC
    while stop < end and len(packets[stop]) > HEADER_BYTES:
        found, found_source = _read_run_header(packets[stop])
        if source < 0 and found_source & STAMP_MASK == ssrc:
            source = found_source
        if found & ~_RUN_MARKER != wanted or found_source != source:
            break
        stop += 1
        if found & _RUN_MARKER:
            marker = True
            break
        wanted += 1
    count = stop - begin
    if not count:
        return None
    return PacketRun(sequence + count - 1, source >> 32, ssrc, marker, packets[begin:stop])


def _skip_to_payload(data: Buffer, first: int) -> tuple[int, tuple[int, Buffer] | None]:
    """Where the payload starts, past contributing sources and the header extension."""
    start = HEADER_BYTES + 4 * (first & 0x0F)
    extension: tuple[int, Buffer] | None = None
    if first & 0x10:
        head, start = start, start + 4
        if start <= len(data):
            profile = int.from_bytes(data[head : head + 2], "big")
            start += 4 * int.from_bytes(data[head + 2 : head + 4], "big")
            extension = profile, data[head + 4 : start]
    if start > len(data):
        raise PeerError("an RTP header that passes the end of its packet")
    return start, extension


def header(payload_type: int, sequence: int, timestamp: int, ssrc: int, marker: bool) -> bytes:
    """The twelve bytes before a payload; counters are cut to their width."""
    return _HEADER.pack(
        _PLAIN,
        payload_type | 0x80 if marker else payload_type,
        sequence & SEQUENCE_MASK,
        timestamp & STAMP_MASK,
        ssrc,
    )


def is_rtcp(data: Buffer) -> bool:
    """Whether a packet on a shared port or channel is RTCP (RFC 5761 §4: types 192 to 223)."""
    return len(data) >= 2 and 192 <= data[1] <= 223
