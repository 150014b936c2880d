"""Packets made once for all receivers, and dressed for each: its SSRC, sequence and stamps.

Theory of operation: a chunk holds the packets of one access unit as RTSP carries them over TCP
(RFC 2326 §10.12), with headers that are right but for what is a receiver's own. Dressing copies
the bytes and overwrites the headers where they lie; what they say depends on the packet and on the
receiver alone, so the same bytes may be dressed again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from appliance.media.unit import Chunk
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.packet import HEADER_BYTES, SEQUENCE_MASK, STAMP_MASK

FRAME_BYTES = 4  # `$`, channel and length before each packet
MAX_SEGMENTS = 64  # of one datagram that the kernel cuts up: UDP_MAX_SEGMENTS of Linux
MAX_RUN_BYTES = 65_000  # of it, that must fit an IP packet with its headers

_FRAME = struct.Struct("!BBHHHII")
_DRESS_FRAME = struct.Struct("!BHHHII").pack_into
_DRESS_PACKET = struct.Struct("!HHII").pack_into
_DOLLAR = 0x24
_PLAIN = 0x8000  # version 2 and the marker's octet
_MARKED = 0x8080


class Place(NamedTuple):
    """Where a packet lies in its chunk, from its `$` on, and what its header says for nobody.

    kind: the first two octets of the RTP header; size: of the packet, without the frame's head.
    """

    offset: int
    size: int
    kind: int
    sequence: int
    stamp: int


@dataclass(slots=True)
class RtpChunk(Chunk):
    """One access unit. index: of its track among those carried; places: of its packets.

    sent_packets, sent_bytes: of the track, before this chunk, as sender reports count them.
    """

    index: int = 0
    places: tuple[Place, ...] = ()
    sent_packets: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class Identity:
    """What is one receiver's own of a track; the offsets are added to what the chunks say.

    channel: of RTP when it is interleaved.
    """

    ssrc: int
    sequence_offset: int
    stamp_offset: int
    channel: int = 0

    def sequence(self, sequence: int) -> int:
        return (sequence + self.sequence_offset) & SEQUENCE_MASK

    def timestamp(self, stamp: int) -> int:
        return (stamp + self.stamp_offset) & STAMP_MASK


Identities = Sequence[Identity]
"""By the index of the track."""


def frame_payloads(
    payloads: Sequence[Payload], payload_type: int, sequence: int, stamp: int
) -> tuple[bytes, tuple[Place, ...]]:
    """A chunk's data and places. sequence: of its first packet."""
    pieces: list[bytes] = []
    places: list[Place] = []
    offset = 0
    for number, payload in enumerate(payloads, sequence):
        size = HEADER_BYTES + len(payload.data)
        kind = (_MARKED if payload.marker else _PLAIN) | payload_type
        own = number & SEQUENCE_MASK, (stamp + payload.stamp_offset) & STAMP_MASK
        pieces += (_FRAME.pack(_DOLLAR, 0, size, kind, *own, 0), payload.data)
        places.append(Place(offset, size, kind, *own))
        offset += FRAME_BYTES + size
    return b"".join(pieces), tuple(places)


class FrameBatch:
    """Chunks joined, for receivers by TCP."""

    __slots__ = ("_data", "_places")

    def __init__(self, data: bytes, chunks: Iterable[RtpChunk]) -> None:
        """data: that of the chunks, joined."""
        self._data = data
        self._places: dict[int, list[Place]] = {}
        base = 0
        for chunk in chunks:
            places = self._places.setdefault(chunk.index, [])
            for offset, *rest in chunk.places:
                places.append(Place(base + offset + 1, *rest))
            base += len(chunk.data)

    def dress(self, identities: Identities) -> bytearray:
        """What one receiver is sent; the hot path of playing by TCP."""
        dressed = bytearray(self._data)
        for index, places in self._places.items():
            mine = identities[index]
            channel, ssrc = mine.channel, mine.ssrc
            first, early = mine.sequence_offset, mine.stamp_offset
            for offset, size, kind, sequence, stamp in places:
                _DRESS_FRAME(
                    dressed,
                    offset,
                    channel,
                    size,
                    kind,
                    (sequence + first) & SEQUENCE_MASK,
                    (stamp + early) & STAMP_MASK,
                    ssrc,
                )
        return dressed


class Run(NamedTuple):
    """Datagrams that follow each other, of `size` bytes but for the last, which may be less."""

    start: int
    end: int
    size: int


class DatagramBatch:
    """One chunk, for receivers by UDP.

    runs: what one system call can send, where the kernel cuts datagrams up.
    """

    __slots__ = ("_data", "_places", "index", "runs")

    def __init__(self, chunk: RtpChunk) -> None:
        self.index = chunk.index
        view = memoryview(chunk.data)
        self._places: list[Place] = []
        pieces: list[memoryview] = []
        start = 0
        for offset, size, *rest in chunk.places:
            pieces.append(view[offset + FRAME_BYTES : offset + FRAME_BYTES + size])
            self._places.append(Place(start, size, *rest))
            start += size
        self._data = b"".join(pieces)
        self.runs = tuple(find_runs(self._places))

    def dress(self, mine: Identity) -> bytearray:
        dressed = bytearray(self._data)
        ssrc, first, early = mine.ssrc, mine.sequence_offset, mine.stamp_offset
        for offset, _, kind, sequence, stamp in self._places:
            _DRESS_PACKET(
                dressed,
                offset,
                kind,
                (sequence + first) & SEQUENCE_MASK,
                (stamp + early) & STAMP_MASK,
                ssrc,
            )
        return dressed


def find_runs(places: Sequence[Place]) -> Iterable[Run]:
    """The longest possible, in order."""
    start = end = size = 0
    for place in places:
        has_ended = size and (end - start) % size  # a shorter one was the last of its run
        is_full = end - start >= size * MAX_SEGMENTS or end - start + place.size > MAX_RUN_BYTES
        if size and (has_ended or is_full or place.size > size):
            yield Run(start, end, size)
            size = 0
        if not size:
            start, size = place.offset, place.size
        end = place.offset + place.size
    if size:
        yield Run(start, end, size)
