"""What one peer is sent: its streams and its RTCP, each index used once."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.errors import MisuseError
from appliance.media.unit import Buffer
from appliance.wire.rtp.packet import SEQUENCE_MASK
from appliance.wire.srtp.keys import MasterKey
from appliance.wire.srtp.transform import CONTROL_HEADER_BYTES, Transform, make_transform

_HALF = 0x8000
_MAX_CONTROL_INDEX = (1 << 31) - 1  # RFC 3711 §9.2: then new keys are due, after decades


class OutboundStream:
    """One SSRC. Made by `OutboundSession.stream`, once for each SSRC."""

    __slots__ = ("_next", "_transform", "ssrc")

    def __init__(self, transform: Transform, ssrc: int) -> None:
        self._transform = transform
        self.ssrc = ssrc
        self._next: int | None = None  # index; its upper 32 bits are the rollover counter

    def protect(
        self, first_sequence: int, headers: Sequence[bytes], payloads: Sequence[Buffer]
    ) -> bytes:
        """Packets with successive sequence numbers, one behind the other, for one call of GSO.

        Each is as long as header, payload and tag: where the plain ones were of equal size, these
        are. headers: whole, with their extension, and of this SSRC and these sequence numbers.
        Raises: MisuseError for numbers used before: with GCM, two packets of one number would give
        away the key.
        """
        due = self._next
        index = first_sequence if due is None else due + _step(first_sequence, due)
        if due is not None and index < due:
            raise MisuseError(f"sequence number {first_sequence} was used before")
        self._next = index + len(headers)
        return self._transform.protect(self.ssrc, index, headers, payloads)

    def protect_again(self, sequence: int, header: bytes, payload: Buffer) -> bytes:
        """A packet sent before, for peers without RTX (RFC 4588).

        It must be the same to the last bit, so a header with transport-wide numbers cannot be sent
        again. Raises: MisuseError if it was never sent.
        """
        due = self._next
        index = -1 if due is None else due + _step(sequence, due)
        if due is None or not 0 <= index < due:
            raise MisuseError(f"sequence number {sequence} was never used")
        return self._transform.protect(self.ssrc, index, (header,), (payload,))


class OutboundSession:
    """All that is sent to one peer with one master key."""

    __slots__ = ("_control_index", "_streams", "_transform")

    def __init__(self, master: MasterKey) -> None:
        self._transform = make_transform(master)
        self._streams: dict[int, OutboundStream] = {}  # our own SSRCs only
        self._control_index = 0

    @property
    def tag_bytes(self) -> int:
        """By how much a packet of RTP grows."""
        return self._transform.tag_bytes

    def stream(self, ssrc: int) -> OutboundStream:
        stream = self._streams.get(ssrc)
        if stream is None:
            stream = self._streams[ssrc] = OutboundStream(self._transform, ssrc)
        return stream

    def protect_control(self, compound: bytes) -> bytes:
        """RTCP packets, the first of which names the SSRC of all."""
        if len(compound) < CONTROL_HEADER_BYTES:
            raise MisuseError("RTCP without a header")
        self._control_index += 1
        if self._control_index > _MAX_CONTROL_INDEX:
            raise MisuseError("SRTCP has used up its key")
        ssrc = int.from_bytes(compound[4:8], "big")
        return self._transform.protect_control(ssrc, self._control_index, compound)


def _step(sequence: int, index: int) -> int:
    """From an index to the nearest one with this sequence number."""
    step = (sequence - index) & SEQUENCE_MASK
    return step - SEQUENCE_MASK - 1 if step >= _HALF else step
