"""What one peer sends: authentic packets, each once; state is made for authentic sources only.

Everything refused is a `PeerError`, which the caller counts and forgets: none of it may end the
session, for anybody can send it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.errors import PeerError
from appliance.media.unit import Buffer
from appliance.wire.rtp.packet import HEADER_BYTES, SEQUENCE_MASK
from appliance.wire.srtp.keys import MasterKey
from appliance.wire.srtp.replay import ReplayWindow
from appliance.wire.srtp.transform import (
    CONTROL_HEADER_BYTES,
    CONTROL_INDEX_BYTES,
    ENCRYPTED,
    make_transform,
)

MAX_SOURCES = 32  # media, RTX and simulcast of one page; against a peer with endless SSRCs
_HALF = 0x8000
_MAX_INDEX = (1 << 48) - 1


@dataclass(slots=True)
class _Source:
    rtp: ReplayWindow = field(default_factory=ReplayWindow)
    control: ReplayWindow = field(default_factory=ReplayWindow)


class InboundSession:
    """All that one peer sends with one master key."""

    __slots__ = ("_sources", "_transform")

    def __init__(self, master: MasterKey) -> None:
        self._transform = make_transform(master)
        self._sources: dict[int, _Source] = {}

    def open(self, data: Buffer) -> bytes:
        """An RTP packet in clear.

        Raises: PeerError if it is damaged, not authentic, a replay, older than the window, or of
        more sources than one peer needs.
        """
        header_bytes = _header_bytes(data)
        if header_bytes + self._transform.tag_bytes > len(data):
            raise PeerError(f"an SRTP packet of {len(data)} bytes")
        ssrc = int.from_bytes(data[8:12], "big")
        source = self._source(ssrc)
        index = _guess(int.from_bytes(data[2:4], "big"), source.rtp.highest)
        if not 0 <= index <= _MAX_INDEX or not source.rtp.is_new(index):
            raise PeerError("an SRTP packet that came before")
        packet = self._transform.open(ssrc, index, data, header_bytes)
        source.rtp.add(index)
        self._sources[ssrc] = source
        return packet

    def open_control(self, data: Buffer) -> bytes:
        """An RTCP compound in clear. Raises: PeerError as `open`, and if it is not encrypted."""
        tag_bytes = self._transform.tag_bytes
        if len(data) < CONTROL_HEADER_BYTES + CONTROL_INDEX_BYTES + tag_bytes:
            raise PeerError(f"an SRTCP packet of {len(data)} bytes")
        word_at = self._transform.control_index_at(len(data))
        word = int.from_bytes(data[word_at : word_at + CONTROL_INDEX_BYTES], "big")
        if not word & ENCRYPTED:
            raise PeerError("SRTCP in clear")  # RFC 8834 §4.1 leaves no room for it
        ssrc, index = int.from_bytes(data[4:8], "big"), word ^ ENCRYPTED
        source = self._source(ssrc)
        if not source.control.is_new(index):
            raise PeerError("an SRTCP packet that came before")
        compound = self._transform.open_control(ssrc, word, data)
        source.control.add(index)
        self._sources[ssrc] = source
        return compound

    def _source(self, ssrc: int) -> _Source:
        """What is known of it; kept by the caller once a packet of it proved authentic."""
        source = self._sources.get(ssrc)
        if source is None:
            if len(self._sources) >= MAX_SOURCES:
                raise PeerError(f"more than {MAX_SOURCES} sources")
            source = _Source()
        return source


def _header_bytes(data: Buffer) -> int:
    """Of the RTP header with its sources and its extension, which stay in clear."""
    if len(data) < HEADER_BYTES or data[0] >> 6 != 2:
        raise PeerError("not an SRTP packet")
    size = HEADER_BYTES + 4 * (data[0] & 0x0F)
    if data[0] & 0x10:
        size += 4 + 4 * int.from_bytes(data[size + 2 : size + 4], "big")
    return size


def _guess(sequence: int, highest: int) -> int:
    """The index of a sequence number: the nearest to the highest one (RFC 3711 §3.3.1).

    Negative for one from before the first packet's rollover.
    """
    if highest < 0:
        return sequence
    step = (sequence - highest) & SEQUENCE_MASK
    return highest + (step - SEQUENCE_MASK - 1 if step >= _HALF else step)
