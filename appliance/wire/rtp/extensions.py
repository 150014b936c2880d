"""RTP header extensions of WebRTC: read, and written with one header form per viewer's track.

RFC 8285 (both forms are read, the one-byte form is written) and the extensions that browsers offer.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import MisuseError, PeerError
from appliance.media.bits import Reader
from appliance.media.clock import US_PER_S
from appliance.media.unit import Buffer
from appliance.wire.rtp.outgoing import Identity, Place
from appliance.wire.rtp.packet import HEADER_BYTES, SEQUENCE_MASK, STAMP_MASK

_ONE_BYTE = 0xBEDE
_TWO_BYTE = 0x1000  # its lower four bits are anybody's
_HAS_EXTENSION = 0x1000  # the X bit in the first two octets of a packet
_MARKER_AND_FLAGS = 0xFF80  # of those octets: all but the payload type


@dataclass(slots=True, frozen=True)
class Extensions:
    """What the headers of one track to one viewer carry; an id of 0: not negotiated.

    orientation_deg: how much the receiver shall turn the picture, clockwise; None: nothing is told.
    A playout delay, where negotiated, is 0: show each picture as soon as it is there.
    """

    transport_cc: int = 0
    abs_send_time: int = 0
    playout_delay: int = 0
    orientation: int = 0
    orientation_deg: int | None = None
    mid: int = 0
    mid_value: str = ""


class HeaderForm:
    """All headers of one track to one viewer, of one size, so that GSO can cut packets apart.

    payload_type: of this viewer; the shared packets' own is nobody's.
    size_bytes: of each header.
    """

    __slots__ = ("_abs_id", "_fixed", "_pack", "_transport_head", "payload_type", "size_bytes")

    def __init__(self, payload_type: int, extensions: Extensions | None = None) -> None:
        wanted = extensions or Extensions()
        fixed = _fixed_elements(wanted)
        self.payload_type = payload_type
        self._abs_id = wanted.abs_send_time
        self._transport_head = wanted.transport_cc << 4 | 1 if wanted.transport_cc else 0
        used = len(fixed) + (3 if self._transport_head else 0) + (4 if self._abs_id else 0)
        words = -(-used // 4)
        self._fixed = fixed + bytes(4 * words - used)
        tail = f"{4 * words - (3 if self._transport_head else 0)}s"
        form = f"!HHIIHH{'BH' if self._transport_head else ''}{tail}" if words else "!HHII"
        packer = struct.Struct(form)
        self._pack = packer.pack
        self.size_bytes = packer.size

    @property
    def has_transport_cc(self) -> bool:
        return self._transport_head != 0

    def headers(
        self, places: Sequence[Place], mine: Identity, transport_sequence: int = 0, now_us: int = 0
    ) -> list[bytes]:
        """One per packet.

        transport_sequence: of the first one; the others' follow. now_us: for the send time, of
        any clock that runs evenly.
        """
        ssrc, first, early = mine.ssrc, mine.sequence_offset, mine.stamp_offset
        pack, kind = self._pack, self.payload_type
        words = (self.size_bytes - HEADER_BYTES) // 4 - 1
        if words < 0:
            return [
                pack(
                    place.kind & _MARKER_AND_FLAGS | kind,
                    (place.sequence + first) & SEQUENCE_MASK,
                    (place.stamp + early) & STAMP_MASK,
                    ssrc,
                )
                for place in places
            ]
        kind |= _HAS_EXTENSION
        tail = self._tail(now_us)
        head = self._transport_head
        found: list[bytes] = []
        for _, _, place_kind, sequence, stamp in places:
            octets = place_kind & _MARKER_AND_FLAGS | kind
            number = (sequence + first) & SEQUENCE_MASK
            stamp = (stamp + early) & STAMP_MASK
            if head:
                count = transport_sequence & SEQUENCE_MASK
                transport_sequence += 1
                packed = pack(octets, number, stamp, ssrc, _ONE_BYTE, words, head, count, tail)
            else:
                packed = pack(octets, number, stamp, ssrc, _ONE_BYTE, words, tail)
            found.append(packed)
        return found

    def _tail(self, now_us: int) -> bytes:
        if not self._abs_id:
            return self._fixed
        sent = abs_send_time(now_us).to_bytes(3, "big")
        return bytes((self._abs_id << 4 | 2,)) + sent + self._fixed


def abs_send_time(now_us: int) -> int:
    """Seconds of a clock in 1/2**18, of which 24 bits are sent."""
    return (now_us << 18) // US_PER_S & 0xFFFFFF


def parse_elements(extension: tuple[int, Buffer] | None) -> dict[int, bytes]:
    """The elements of a packet's header extension by their id; the last one of several counts.

    Raises: PeerError if an element passes the end.
    """
    if extension is None:
        return {}
    profile, body = extension
    if profile == _ONE_BYTE:
        return _parse_one_byte(Reader(body))
    return _parse_two_byte(Reader(body)) if profile & 0xFFF0 == _TWO_BYTE else {}


def orientation_of(element: bytes) -> int:
    """Degrees clockwise that the receiver shall turn the picture (3GPP TS 26.114 §7.4.5)."""
    return 90 * (element[0] & 3) if element else 0


def _fixed_elements(wanted: Extensions) -> bytes:
    """Those that are the same in every packet."""
    found = b""
    if wanted.playout_delay:
        found += bytes((wanted.playout_delay << 4 | 2, 0, 0, 0))  # both bounds: 0 ms
    if wanted.orientation and wanted.orientation_deg is not None:
        found += bytes((wanted.orientation << 4, wanted.orientation_deg // 90 & 3))
    if wanted.mid and wanted.mid_value:
        value = wanted.mid_value.encode()
        if len(value) > 16:
            raise MisuseError("a mid that does not fit the one-byte form")
        found += bytes((wanted.mid << 4 | len(value) - 1,)) + value
    return found


def _parse_one_byte(reader: Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while reader.remaining:
        head = reader.u8()
        number = head >> 4
        if number == 15:  # RFC 8285 §4.2: nothing after it is to be read
            break
        if number:
            found[number] = bytes(reader.take((head & 0x0F) + 1))
        elif head:
            raise PeerError("a header extension's padding with a length")
    return found


def _parse_two_byte(reader: Reader) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while reader.remaining:
        if number := reader.u8():
            found[number] = bytes(reader.take(reader.u8()))
    return found
