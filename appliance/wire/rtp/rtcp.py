"""RTCP packets, read and written (RFC 3550 §6, RFC 4585 §6, RFC 5104 §4.3.1).

A compound packet is read whole or not at all, however many kinds are unknown. Reduced-size packets
(RFC 5506), and compounds that do not begin with a report, pass: cameras send both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.media.unit import Buffer

SENDER_REPORT = 200
RECEIVER_REPORT = 201
SOURCE_DESCRIPTION = 202
GOODBYE = 203
TRANSPORT_FEEDBACK = 205
PAYLOAD_FEEDBACK = 206

MAX_PACKETS = 64  # in a compound; against hundreds of empty ones
MAX_NACKED = 512  # sequence numbers of one packet; as many as any history keeps
_CNAME = 1
_NACK = 1  # of transport feedback
_PICTURE_LOSS = 1  # of payload-specific feedback
_FULL_INTRA = 4
_REPORT_BLOCK = struct.Struct("!IIIIII")


@dataclass(slots=True)
class ReportBlock:
    """Reception of one source (RFC 3550 §6.4.1).

    lost_fraction: of 256. lost_packets: since the beginning, may be negative (duplicates).
    last_report, delay: the middle of the NTP stamp of the newest sender report, and the time since
        it came, in 1/65536 s; 0 if there was none.
    """

    ssrc: int
    lost_fraction: int = 0
    lost_packets: int = 0
    highest_sequence: int = 0
    jitter_ticks: int = 0
    last_report: int = 0
    delay: int = 0

    def pack(self) -> bytes:
        lost = max(-0x800000, min(self.lost_packets, 0x7FFFFF)) & 0xFFFFFF
        return _REPORT_BLOCK.pack(
            self.ssrc,
            self.lost_fraction << 24 | lost,
            self.highest_sequence,
            self.jitter_ticks,
            self.last_report,
            self.delay,
        )


@dataclass(slots=True)
class SenderReport:
    """ntp: seconds since 1900 in 1/2**32; timestamp: the same moment on the media clock."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    payload_bytes: int
    blocks: tuple[ReportBlock, ...] = ()

    def pack(self) -> bytes:
        counts = (self.packets & 0xFFFFFFFF, self.payload_bytes & 0xFFFFFFFF)
        body = struct.pack("!IQIII", self.ssrc, self.ntp, self.timestamp, *counts)
        return _pack(SENDER_REPORT, len(self.blocks), body + _pack_blocks(self.blocks))


@dataclass(slots=True)
class ReceiverReport:
    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def pack(self) -> bytes:
        body = self.ssrc.to_bytes(4, "big") + _pack_blocks(self.blocks)
        return _pack(RECEIVER_REPORT, len(self.blocks), body)


@dataclass(slots=True)
class SourceDescription:
    """The CNAME of one source (RFC 3550 §6.5); other items are passed over."""

    ssrc: int
    cname: str

    def pack(self) -> bytes:
        name = self.cname.encode()[:255]
        chunk = self.ssrc.to_bytes(4, "big") + bytes((_CNAME, len(name))) + name
        return _pack(SOURCE_DESCRIPTION, 1, chunk + bytes(4 - len(chunk) % 4))


@dataclass(slots=True)
class Goodbye:
    ssrcs: tuple[int, ...]

    def pack(self) -> bytes:
        body = b"".join(ssrc.to_bytes(4, "big") for ssrc in self.ssrcs)
        return _pack(GOODBYE, len(self.ssrcs), body)


@dataclass(slots=True)
class Nack:
    """Sequence numbers that the receiver asks for again (RFC 4585 §6.2.1)."""

    sender_ssrc: int
    media_ssrc: int
    sequences: tuple[int, ...]

    def pack(self) -> bytes:
        body = bytearray(struct.pack("!II", self.sender_ssrc, self.media_ssrc))
        left = list(self.sequences)
        while left:
            first = left.pop(0)
            mask = 0
            while left and 1 <= (left[0] - first & 0xFFFF) <= 16:
                mask |= 1 << (left.pop(0) - first & 0xFFFF) - 1
            body += struct.pack("!HH", first, mask)
        return _pack(TRANSPORT_FEEDBACK, _NACK, bytes(body))


@dataclass(slots=True)
class PictureLoss:
    """RFC 4585 §6.3.1: a key unit is wanted."""

    sender_ssrc: int
    media_ssrc: int

    def pack(self) -> bytes:
        body = struct.pack("!II", self.sender_ssrc, self.media_ssrc)
        return _pack(PAYLOAD_FEEDBACK, _PICTURE_LOSS, body)


@dataclass(slots=True)
class FullIntra:
    """RFC 5104 §4.3.1: a key unit is wanted; `number` grows with each request."""

    sender_ssrc: int
    media_ssrc: int
    number: int

    def pack(self) -> bytes:
        words = (self.sender_ssrc, 0, self.media_ssrc, (self.number & 0xFF) << 24)
        return _pack(PAYLOAD_FEEDBACK, _FULL_INTRA, struct.pack("!IIII", *words))


@dataclass(slots=True)
class Unknown:
    """A packet of another kind; `count` is the five bits beside the version."""

    payload_type: int
    count: int
    body: bytes

    def pack(self) -> bytes:
        return _pack(self.payload_type, self.count, self.body)


RtcpPacket = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Goodbye
    | Nack
    | PictureLoss
    | FullIntra
    | Unknown
)


def parse(data: Buffer) -> list[RtcpPacket]:
    """The packets of a compound.

    Raises: PeerError if any of them is damaged, or there are more than any sender has use for.
    """
    reader = Reader(data)
    packets: list[RtcpPacket] = []
    while reader.remaining:
        if len(packets) >= MAX_PACKETS:
            raise PeerError(f"more than {MAX_PACKETS} RTCP packets in one")
        first, payload_type, words = reader.u8(), reader.u8(), reader.u16()
        if first >> 6 != 2:
            raise PeerError(f"RTCP of version {first >> 6}")
        body = reader.take(4 * words)
        if first & 0x20:
            if not body or not 0 < body[-1] <= len(body):
                raise PeerError("RTCP padding that passes the packet")
            body = body[: -body[-1]]
        packets += _parse_one(payload_type, first & 0x1F, body)
    return packets


def is_key_request(packet: RtcpPacket) -> bool:
    return isinstance(packet, PictureLoss | FullIntra)


def _parse_one(payload_type: int, count: int, body: memoryview) -> Iterable[RtcpPacket]:
    reader = Reader(body)
    match payload_type, count:
        case (200, _):
            numbers = reader.u32(), reader.u64(), reader.u32(), reader.u32(), reader.u32()
            return (SenderReport(*numbers, _read_blocks(reader, count)),)
        case (201, _):
            return (ReceiverReport(reader.u32(), _read_blocks(reader, count)),)
        case (202, _):
            return _read_descriptions(reader, count)
        case (203, _):
            return (Goodbye(tuple(reader.u32() for _ in range(count))),)
        case (205, 1):
            return (Nack(reader.u32(), reader.u32(), _read_nacked(reader)),)
        case (206, 1):
            return (PictureLoss(reader.u32(), reader.u32()),)
        case (206, 4):
            return (_read_full_intra(reader),)
        case _:
            return (Unknown(payload_type, count, bytes(body)),)


def _read_blocks(reader: Reader, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for _ in range(count):
        ssrc, lost, *rest = _REPORT_BLOCK.unpack(reader.take(_REPORT_BLOCK.size))
        total = lost & 0xFFFFFF
        blocks.append(ReportBlock(ssrc, lost >> 24, total - (total >> 23 << 24), *rest))
    return tuple(blocks)


def _read_descriptions(reader: Reader, count: int) -> list[RtcpPacket]:
    """The last chunk may lack its end and its padding: cameras forget them."""
    found: list[RtcpPacket] = []
    for _ in range(count):
        ssrc = reader.u32()
        start = reader.position
        while reader.remaining and (kind := reader.u8()):
            text = bytes(reader.take(reader.u8()))
            if kind == _CNAME:
                found.append(SourceDescription(ssrc, text.decode(errors="replace")))
            if len(found) > MAX_PACKETS:
                raise PeerError("more CNAMEs than sources")
        reader.skip(min(reader.remaining, (start - reader.position) % 4))
    return found


def _read_nacked(reader: Reader) -> tuple[int, ...]:
    """At most MAX_NACKED: what is beyond was sent too long ago anyway."""
    sequences: list[int] = []
    while reader.remaining and len(sequences) < MAX_NACKED:
        first, mask = reader.u16(), reader.u16()
        sequences.append(first)
        sequences += [(first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1]
    return tuple(sequences[:MAX_NACKED])


def _read_full_intra(reader: Reader) -> FullIntra:
    sender_ssrc, _ = reader.u32(), reader.u32()
    return FullIntra(sender_ssrc, reader.u32(), reader.u8())


def _pack(payload_type: int, count: int, body: bytes) -> bytes:
    return struct.pack("!BBH", 0x80 | count, payload_type, len(body) // 4) + body


def _pack_blocks(blocks: tuple[ReportBlock, ...]) -> bytes:
    return b"".join(block.pack() for block in blocks)
