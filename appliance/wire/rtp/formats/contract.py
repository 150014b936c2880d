"""What each payload format offers: packets to units and units to payloads.

A depacketizer is given the packets of one SSRC in order, and told of each gap. It never makes one
unit out of two: a unit that lacks a packet is dropped whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit, Buffer
from appliance.wire.rtp.packet import RtpPacket

MAX_UNIT_BYTES = 4 * 1024 * 1024  # of an access unit in progress; against one without end
DEFAULT_PAYLOAD_BYTES = 1200  # fits any path with IPv6, UDP, RTP, SRTP and a tunnel around it


@dataclass(slots=True)
class Assembled:
    """One whole access unit; its parts are as `AccessUnit.parts` wants them, and own their bytes.

    stamp: unrolled, in ticks of the track's clock; presentation time for video.
    key: decoding can start here; always True for audio.
    duration: in ticks, of audio; 0 where it is not known.
    damaged: what it refers to was lost; the next key unit is whole again. Never set for audio.
    config: of NAL units, what describes this one, as a packet may complete units of two.
    """

    stamp: int
    parts: tuple[Buffer, ...]
    key: bool
    duration: int = 0
    damaged: bool = False
    config: CodecConfig | None = field(default=None, compare=False, repr=False)


class Depacketizer(Protocol):
    """One track's packets, in order, to its units."""

    @property
    def config(self) -> CodecConfig | None:
        """What is known from the session description or in band; a new object when it changes.

        It describes the units returned last.
        """
        ...

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        """Units this packet completed. stamp: the packet's timestamp, unrolled.

        Raises: PeerError if the payload is damaged; the unit it belongs to is lost and the next
        packet can be pushed.
        """
        ...

    def lost(self) -> None:
        """Packets are missing before the next one: the unit in progress is dropped."""
        ...

    def flush(self) -> list[Assembled]:
        """The unit in progress, if it is whole: nothing more follows."""
        ...


@dataclass(slots=True)
class Payload:
    """What follows one RTP header; made once and shared by every viewer.

    marker: of the RTP header.
    stamp_offset: ticks after the unit's own stamp.
    """

    data: bytes
    marker: bool
    stamp_offset: int = 0


class Packetizer(Protocol):
    """One track's units to payloads of at most `max_bytes`, which its constructor takes."""

    def payloads(self, unit: AccessUnit) -> list[Payload]:
        """In the order of sending. May be empty, if the format gathers several units."""
        ...
