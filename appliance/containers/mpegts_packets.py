"""Transport packets out of PES packets and sections: headers, adaptation fields, stuffing.

ISO/IEC 13818-1 §2.4.3.2–§2.4.3.5. The only code here that runs per packet, so it works on whole
lists: slices of 184 bytes interleaved with ready-made headers.
"""

from __future__ import annotations

import struct

from appliance.containers.mpegts import PACKET_BYTES, STAMP_MASK, SYNC

PAYLOAD_BYTES = PACKET_BYTES - 4

RANDOM_ACCESS = 0x40
DISCONTINUITY = 0x80
_PCR = 0x10
_START = 0x40  # payload_unit_start_indicator
_PAYLOAD, _ADAPTATION = 0x10, 0x20

# An adaptation field of each size (its length byte included) that holds nothing
_STUFFING = (b"", b"\0", *(bytes((size - 1, 0)) + b"\xff" * (size - 2) for size in range(2, 184)))

_CUTTERS = [struct.Struct(f"{PAYLOAD_BYTES}s" * count) for count in range(65)]


def adaptation_field(flags: int, clock_us: int | None = None) -> bytes:
    """Flags and PCR, without the length byte; the clock is exact to its 27 MHz."""
    if clock_us is None:
        return bytes((flags,)) if flags else b""
    base, extension = divmod(clock_us * 27, 300)
    pcr = (base & STAMP_MASK) << 15 | 0x3F << 9 | extension
    return bytes((flags | _PCR,)) + pcr.to_bytes(6, "big")


def _slices(payload: bytes, position: int, count: int) -> list[bytes]:
    """`count` slices of 184 bytes, cut in C."""
    slices: list[bytes] = []
    while count:
        step = min(count, len(_CUTTERS) - 1)
        slices += _CUTTERS[step].unpack_from(payload, position)
        position += step * PAYLOAD_BYTES
        count -= step
    return slices


class PacketWriter:
    """The packets of one PID; keeps its continuity counter."""

    __slots__ = ("_counter", "_headers", "pid")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._counter = 0
        word = SYNC << 24 | pid << 8 | _PAYLOAD
        self._headers = [(word | counter).to_bytes(4, "big") for counter in range(16)]

    def _header(self, start: int, control: int) -> bytes:
        word = SYNC << 24 | start << 16 | self.pid << 8 | control | self._counter
        return word.to_bytes(4, "big")

    def write(self, out: list[bytes], payload: bytes, adaptation: bytes = b"") -> None:
        """Append the packets of a PES packet or section, as pieces to join.

        adaptation: an `adaptation_field` for the first packet.
        """
        size = len(payload)
        position = PAYLOAD_BYTES - (len(adaptation) + 1 if adaptation else 0)
        if size < position:
            self._write_only(out, payload, adaptation)
            return
        if adaptation:
            out.append(self._header(_START, _ADAPTATION | _PAYLOAD))
            out.append(bytes((len(adaptation),)) + adaptation)
        else:
            out.append(self._header(_START, _PAYLOAD))
        out.append(payload[:position])
        counter = self._counter + 1
        full = (size - position) // PAYLOAD_BYTES
        end = position + full * PAYLOAD_BYTES
        if full:
            first = counter & 15
            pieces: list[bytes] = [b""] * (2 * full)
            pieces[::2] = (self._headers * (full // 16 + 2))[first : first + full]
            pieces[1::2] = _slices(payload, position, full)
            out += pieces
            counter += full
        self._counter = counter & 15
        if end < size:
            out.append(self._header(0, _ADAPTATION | _PAYLOAD))
            out += (_STUFFING[PAYLOAD_BYTES - (size - end)], payload[end:])
            self._counter = (counter + 1) & 15

    def _write_only(self, out: list[bytes], payload: bytes, adaptation: bytes) -> None:
        """A payload that leaves room in its only packet."""
        out.append(self._header(_START, _ADAPTATION | _PAYLOAD))
        room = PAYLOAD_BYTES - len(payload)
        if adaptation:
            stuffing = b"\xff" * (room - 1 - len(adaptation))
            out += (bytes((room - 1,)), adaptation, stuffing, payload)
        else:
            out += (_STUFFING[room], payload)
        self._counter = (self._counter + 1) & 15

    def write_section(self, out: list[bytes], section: bytes) -> None:
        """A section in packets of its own, stuffed behind its end (§2.4.4.1)."""
        padded = b"\0" + section
        self.write(out, padded + b"\xff" * (-len(padded) % PAYLOAD_BYTES))

    def write_clock(self, out: list[bytes], clock_us: int) -> None:
        """A packet with PCR and no payload, which takes no counter value of its own."""
        field = adaptation_field(0, clock_us)
        word = SYNC << 24 | self.pid << 8 | _ADAPTATION | (self._counter - 1) & 15
        stuffing = b"\xff" * (PAYLOAD_BYTES - 1 - len(field))
        out += (word.to_bytes(4, "big"), bytes((PAYLOAD_BYTES - 1,)), field, stuffing)
