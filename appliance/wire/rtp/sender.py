"""Payloads, made once, on their way to one receiver: RTP headers, framing, sender reports."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.packet import HEADER_BYTES, SEQUENCE_MASK, STAMP_MASK, header
from appliance.wire.rtp.rtcp import SenderReport

_INTERLEAVED = struct.Struct("!BBHBBHII")  # RFC 2326 §10.12, then RFC 3550 §5.1
_DOLLAR = 0x24


class RtpSender:
    """One track to one receiver, or to several that share its SSRC and sequence (multicast).

    first_sequence, stamp_offset: random, so that no two sessions are taken for one (RFC 3550 §5.1).
    sequence: of the next packet.
    """

    __slots__ = ("_payload_bytes", "packets", "payload_type", "sequence", "ssrc", "stamp_offset")

    def __init__(
        self, payload_type: int, ssrc: int, first_sequence: int, stamp_offset: int
    ) -> None:
        self.payload_type = payload_type
        self.ssrc = ssrc
        self.sequence = first_sequence & SEQUENCE_MASK
        self.stamp_offset = stamp_offset
        self.packets = 0
        self._payload_bytes = 0

    def timestamp(self, stamp: int) -> int:
        """What the header says for a stamp of the track's own clock."""
        return (stamp + self.stamp_offset) & STAMP_MASK

    def headers(self, payloads: Sequence[Payload], stamp: int) -> list[bytes]:
        """One per payload, for `sendmsg([header, payload.data])`."""
        first = self._advance(payloads)
        stamp += self.stamp_offset
        kind, ssrc = self.payload_type, self.ssrc
        return [
            header(kind, first + index, stamp + payload.stamp_offset, ssrc, payload.marker)
            for index, payload in enumerate(payloads)
        ]

    def datagrams(self, payloads: Sequence[Payload], stamp: int) -> list[bytes]:
        headers = self.headers(payloads, stamp)
        return [head + payload.data for head, payload in zip(headers, payloads, strict=True)]

    def interleaved(self, payloads: Sequence[Payload], stamp: int, channel: int) -> bytes:
        """A whole unit as RTSP carries it over TCP."""
        sequence = self._advance(payloads)
        stamp += self.stamp_offset
        plain, marked = self.payload_type, self.payload_type | 0x80
        pieces: list[bytes] = []
        for payload in payloads:
            data = payload.data
            pieces.append(
                _INTERLEAVED.pack(
                    _DOLLAR,
                    channel,
                    len(data) + HEADER_BYTES,
                    0x80,
                    marked if payload.marker else plain,
                    sequence & SEQUENCE_MASK,
                    (stamp + payload.stamp_offset) & STAMP_MASK,
                    self.ssrc,
                )
            )
            pieces.append(data)
            sequence += 1
        return b"".join(pieces)

    def report(self, ntp: int, stamp: int) -> SenderReport:
        """ntp: the wall clock of the moment that `stamp` has on the track's clock."""
        counts = self.packets, self._payload_bytes
        return SenderReport(self.ssrc, ntp, self.timestamp(stamp), *counts)

    def _advance(self, payloads: Sequence[Payload]) -> int:
        """Count these payloads as sent. The sequence number of the first."""
        first = self.sequence
        self.sequence = (first + len(payloads)) & SEQUENCE_MASK
        self.packets += len(payloads)
        self._payload_bytes += sum(len(payload.data) for payload in payloads)
        return first
