"""Transport-wide congestion control feedback, read and written.

draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1: one number for every packet of a transport
in a header extension; the receiver tells when each arrived. Times are of 250 µs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.bits import Reader
from appliance.media.clock import Unroller
from appliance.media.unit import Buffer
from appliance.wire.rtp.packet import SEQUENCE_MASK
from appliance.wire.rtp.rtcp import TRANSPORT_FEEDBACK, Unknown

FORMAT = 15  # the feedback message type of RTPFB
TICK_US = 250
MAX_STATUSES = 8192  # of one feedback; seconds of any stream. Against 65 535 in twenty bytes
MAX_PENDING = 1024  # arrivals that wait to be told; against numbers far apart
INTERVAL_US = 100_000  # between two feedbacks of ours
_REFERENCE_US = 64_000
_REFERENCE_MASK = 0xFFFFFF
_SMALL, _LARGE, _RESERVED = 1, 2, 3
_RUN_MAX = 0x1FFF


@dataclass(slots=True)
class Feedback:
    """arrivals_us: of base_sequence and those after it, since a moment that only the receiver
    knows and that wraps after twelve days; None: it did not arrive.
    """

    base_sequence: int
    number: int
    arrivals_us: list[int | None]


def read_feedback(packet: Unknown) -> Feedback | None:
    """None if it is RTCP of another kind. Raises: PeerError if it is damaged."""
    if packet.payload_type != TRANSPORT_FEEDBACK or packet.count != FORMAT:
        return None
    return parse_feedback(packet.body)


def parse_feedback(body: Buffer) -> Feedback:
    """body: without the RTCP header. Raises: PeerError."""
    reader = Reader(body)
    reader.skip(8)  # who tells it, and of which stream: it is of the whole transport
    base_sequence, count = reader.u16(), reader.u16()
    reference, number = reader.u24(), reader.u8()
    if count > MAX_STATUSES:
        raise PeerError(f"feedback for {count} packets at once")
    symbols = _read_symbols(reader, count)
    if _RESERVED in symbols:
        raise PeerError("feedback with a reserved status")
    deltas = reader.take(symbols.count(_SMALL) + 2 * symbols.count(_LARGE))
    ticks, at = reference * (_REFERENCE_US // TICK_US), 0
    arrivals_us: list[int | None] = []
    for symbol in symbols:
        if symbol == _SMALL:
            ticks += deltas[at]
            at += 1
            arrivals_us.append(ticks * TICK_US)
        elif symbol:
            delta = deltas[at] << 8 | deltas[at + 1]
            ticks += delta - (delta >> 15 << 16)
            at += 2
            arrivals_us.append(ticks * TICK_US)
        else:
            arrivals_us.append(None)
    return Feedback(base_sequence, number, arrivals_us)


class ArrivalRecorder:
    """What one peer's packets are told of; due_us: when the next feedback should be made."""

    __slots__ = ("_arrivals", "_lowest", "_number", "_told", "_unroller", "due_us")

    def __init__(self) -> None:
        self._unroller = Unroller(16)
        self._arrivals: dict[int, int] = {}  # µs by unrolled number; numbers within MAX_PENDING
        self._lowest = 0  # of them
        self._told: int | None = None  # the highest number that feedback covered
        self._number = 0
        self.due_us: int | None = None

    def note(self, transport_sequence: int, now_us: int) -> None:
        """A packet arrived. One that was told as lost already stays so."""
        number = self._unroller.unroll(transport_sequence)
        if self._told is not None and number <= self._told:
            if self._told - number < MAX_PENDING:
                return
            self._told = None  # the sender counts anew
        if self._arrivals and abs(number - self._lowest) >= MAX_PENDING:
            self._arrivals.clear()
        if not self._arrivals or number < self._lowest:
            self._lowest = number
        self._arrivals.setdefault(number, now_us)
        if self.due_us is None:
            self.due_us = now_us + INTERVAL_US

    def feedback(self, sender_ssrc: int, media_ssrc: int) -> list[bytes]:
        """RTCP packets for all that arrived since the last call; mostly one, or none."""
        self.due_us = None
        if not self._arrivals:
            return []
        first, last = self._lowest, max(self._arrivals)
        if self._told is not None and first - self._told < MAX_PENDING:
            first = self._told + 1  # what is missing between the two was lost
        told = [self._arrivals.get(number) for number in range(first, last + 1)]
        self._arrivals.clear()
        self._told = last
        packets: list[bytes] = []
        for start, end in _spans(told):
            arrivals_us = told[start:end]
            packets.append(
                pack_feedback(sender_ssrc, media_ssrc, first + start, self._number, arrivals_us)
            )
            self._number = self._number + 1 & 0xFF
        return packets


def pack_feedback(
    sender_ssrc: int,
    media_ssrc: int,
    base_sequence: int,
    number: int,
    arrivals_us: Sequence[int | None],
) -> bytes:
    """One RTCP packet; at least one arrived, and no two in succession 8 s apart."""
    first_us = next(arrival_us for arrival_us in arrivals_us if arrival_us is not None)
    reference = first_us // _REFERENCE_US
    ticks = reference * (_REFERENCE_US // TICK_US)
    symbols: list[int] = []
    deltas = bytearray()
    for arrival_us in arrivals_us:
        if arrival_us is None:
            symbols.append(0)
            continue
        delta = arrival_us // TICK_US - ticks
        ticks += delta
        if 0 <= delta <= 0xFF:
            symbols.append(_SMALL)
            deltas.append(delta)
        else:
            symbols.append(_LARGE)
            deltas += delta.to_bytes(2, "big", signed=True)
    body = bytearray(sender_ssrc.to_bytes(4, "big") + media_ssrc.to_bytes(4, "big"))
    body += (base_sequence & SEQUENCE_MASK).to_bytes(2, "big") + len(symbols).to_bytes(2, "big")
    body += (reference & _REFERENCE_MASK).to_bytes(3, "big") + bytes((number,))
    body += _pack_symbols(symbols) + deltas
    padding = -len(body) % 4
    if padding:
        body += bytes(padding - 1) + bytes((padding,))
    head = bytes((0x80 | (0x20 if padding else 0) | FORMAT, TRANSPORT_FEEDBACK))
    return head + (len(body) // 4).to_bytes(2, "big") + bytes(body)


def _spans(told: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Parts whose steps from arrival to arrival fit 16 bits."""
    start, previous_us = 0, None
    for at, arrival_us in enumerate(told):
        if arrival_us is None:
            continue
        if previous_us is not None and not -8_000_000 < arrival_us - previous_us < 8_000_000:
            yield start, at
            start = at
        previous_us = arrival_us
    yield start, len(told)


def _read_symbols(reader: Reader, count: int) -> list[int]:
    """Each chunk gives at least one, so they end with the bytes or with the count."""
    symbols: list[int] = []
    while len(symbols) < count:
        chunk = reader.u16()
        if chunk >> 15 == 0:
            run = chunk & _RUN_MAX
            if not run:
                raise PeerError("feedback with a run of no packets")
            symbols += [chunk >> 13] * min(run, count - len(symbols))
        elif chunk >> 14 == 0b10:
            symbols += [chunk >> bit & 1 for bit in range(13, -1, -1)]
        else:
            symbols += [chunk >> bit & 3 for bit in range(12, -1, -2)]
    return symbols[:count]


def _pack_symbols(symbols: Sequence[int]) -> bytes:
    """A run where it covers more than a vector of the symbols that follow would."""
    packed = bytearray()
    at = 0
    while at < len(symbols):
        run = _run_length(symbols, at)
        step = 7 if _LARGE in symbols[at : at + 14] else 14
        if run >= step or at + run == len(symbols):
            chunk, step = symbols[at] << 13 | run, run
        elif step == 14:
            chunk = 0b10 << 14
            for place, symbol in enumerate(symbols[at : at + 14]):
                chunk |= symbol << 13 - place
        else:
            chunk = 0b11 << 14
            for place, symbol in enumerate(symbols[at : at + 7]):
                chunk |= symbol << 12 - 2 * place
        packed += chunk.to_bytes(2, "big")
        at += step
    return bytes(packed)


def _run_length(symbols: Sequence[int], at: int) -> int:
    run = 1
    while at + run < len(symbols) and run < _RUN_MAX and symbols[at + run] == symbols[at]:
        run += 1
    return run
