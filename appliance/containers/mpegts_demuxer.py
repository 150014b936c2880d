"""MPEG-TS from a byte stream or datagrams: packets, tables, PES packets, tracks and units.

ISO/IEC 13818-1. The first program is read. Damage costs the unit it hits and is counted; a peer
that sends nothing usable is refused. PCR is not read: the stamps alone give the time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from appliance.containers.mpegts import (
    NULL_PID,
    PACKET_BYTES,
    PAT_PID,
    STAMP_BITS,
    TABLE_PAT,
    TABLE_PMT,
    ElementaryStream,
    Pmt,
    SectionAssembler,
    parse_pat,
    parse_pmt,
    parse_section,
)
from appliance.containers.mpegts_pes import PesAssembler
from appliance.containers.mpegts_streams import UNSUPPORTED, StreamReader, make_stream_reader
from appliance.containers.mpegts_sync import PacketFinder
from appliance.containers.track_gate import Event, TrackGate
from appliance.errors import PeerError
from appliance.media.clock import Unroller
from appliance.media.track import Track
from appliance.media.unit import Buffer

MAX_STREAMS = 4  # a PMT that lists them without end
MAX_DAMAGED_IN_ROW = 200  # a peer that sends nothing usable although its packets are in sync
MAX_PACKETS_WITHOUT_PROGRAM = 20_000  # a peer that never says what it sends: 3.8 MB

_IN_ERROR = 0x80  # in the second byte of a packet
_STARTS = 0x40
_SCRAMBLED = 0xC0  # in the fourth
_ADAPTATION = 0x20
_PAYLOAD = 0x10
_DISCONTINUITY = 0x80  # in the adaptation field


@dataclass(slots=True)
class _Lane:
    """One PID of the program."""

    reader: StreamReader
    assembler: PesAssembler
    counter: int | None = None  # continuity counter of the newest payload
    expected: int = -1  # fourth byte of a packet that only continues in order
    newest: Buffer = b""  # the newest payload, by which a repeated packet is known
    is_interrupted: bool = False  # not yet told by a unit
    begun_after: bool = False  # whether the PES packet at hand begun after that


class MpegTsDemuxer:
    """Bytes in, events out: a tuple of Tracks says what all units after it belong to.

    counts: what was dropped, by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.finder = PacketFinder()
        self._gate = TrackGate()
        self._pat, self._pmt = SectionAssembler(), SectionAssembler()
        self._program: tuple[int, int] | None = None  # number and PMT PID
        self._pat_section, self._pmt_section = b"", b""  # as last accepted; they are repeated
        self._pcr_pid = NULL_PID
        self._lanes: dict[int, _Lane] = {}
        self._clock = Unroller(STAMP_BITS)
        self._packets_without_program = 0
        self._damaged_in_row = 0

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """The events that `data` completes. Raises: PeerError."""
        events: list[Event] = []
        for packet in self.finder.receive(data):
            self._packet(packet, events)
        return events

    def receive_eof(self) -> list[Event]:
        """The end: what is begun is complete as it is."""
        events: list[Event] = []
        for packet in self.finder.receive(b"", is_end=True):
            self._packet(packet, events)
        for lane in self._lanes.values():
            self._finish(lane, events)
        return events + self._gate.open(self._tracks())

    # -- packets -------------------------------------------------------------------------------

    def _packet(self, packet: memoryview, events: list[Event]) -> None:
        head, control = packet[1], packet[3]
        pid = (head & 0x1F) << 8 | packet[2]
        lane = self._lanes.get(pid)
        if lane is not None and head < _STARTS and control == lane.expected:  # nearly all packets
            self._continue(lane, control & 0x0F, packet[4:], events)
            return
        if lane is None and not self._is_table(pid):
            if not self._lanes:
                self._await_program()
            return
        if head & _IN_ERROR or control & _SCRAMBLED:
            self.counts["packets in error or scrambled"] += 1
            return
        start, flags = 4, 0
        if control & _ADAPTATION:
            start += 1 + packet[4]
            flags = packet[5] if packet[4] else 0
            if start > PACKET_BYTES:
                self._count_damage(f"an adaptation field of {packet[4]} bytes")
                return
        if lane is None:
            if control & _PAYLOAD:
                self._table(pid, packet[start:], starts=bool(head & _STARTS))
            return
        payload, counter = packet[start:], control & 0x0F
        if lane.counter == counter and lane.newest == payload and control & _PAYLOAD:
            self.counts["packets repeated"] += 1  # which §2.4.3.3 allows once
            return
        if flags & _DISCONTINUITY:
            if head & _STARTS:
                self._finish(lane, events)
            self._interrupt(pid)
        if control & _PAYLOAD:
            self._check_counter(lane, counter)
            if head & _STARTS:
                self._finish(lane, events)
                lane.assembler.start()
                lane.begun_after = lane.is_interrupted
            self._continue(lane, counter, payload, events)

    def _await_program(self) -> None:
        self._packets_without_program += 1
        if self._packets_without_program > MAX_PACKETS_WITHOUT_PROGRAM:
            raise PeerError("MPEG-TS without a program that can be carried")

    def _interrupt(self, pid: int) -> None:
        """discontinuity_indicator: of the time base on the PCR's PID, else of the counter."""
        for other, lane in self._lanes.items():
            if pid in (other, self._pcr_pid) and lane.counter is not None:
                lane.is_interrupted = True
                lane.counter, lane.expected = None, -1

    def _check_counter(self, lane: _Lane, counter: int) -> None:
        """Drop what is begun if packets are missing (§2.4.3.3).

        A counter that stands still with new payloads is let pass: some cameras never count.
        """
        before = lane.counter
        if before is not None and counter not in (before, before + 1 & 0x0F):
            self.counts["packets lost before"] += 1
            if lane.assembler.is_open:
                lane.assembler.drop()
                self.counts["units cut"] += 1

    def _continue(
        self, lane: _Lane, counter: int, payload: memoryview, events: list[Event]
    ) -> None:
        lane.counter, lane.newest = counter, payload
        lane.expected = _PAYLOAD | counter + 1 & 0x0F
        try:
            is_complete = lane.assembler.append(payload)
        except PeerError as error:
            self._count_damage(str(error))
            return
        if is_complete:
            self._finish(lane, events)

    def _finish(self, lane: _Lane, events: list[Event]) -> None:
        """Read the PES packet that is there, if any."""
        if not lane.assembler.is_open:
            return
        before = lane.reader.track
        try:
            pes = lane.assembler.take()
            pes.discontinuity = lane.begun_after
            units = lane.reader.read(pes)
        except PeerError as error:
            self._count_damage(str(error))
            return
        if units:
            self._damaged_in_row = 0
            if lane.begun_after:
                lane.is_interrupted = lane.begun_after = False
        elif lane.reader.track is before:
            self.counts["packets without unit"] += 1
        events += self._gate.push(units, self._tracks())

    def _tracks(self) -> list[Track | None]:
        return [lane.reader.track for lane in self._lanes.values()]

    def _count_damage(self, reason: str) -> None:
        self.counts["damaged"] += 1
        self._damaged_in_row += 1
        if self._damaged_in_row > MAX_DAMAGED_IN_ROW:
            raise PeerError(f"{self._damaged_in_row} times damage in a row, as: {reason}")

    # -- tables --------------------------------------------------------------------------------

    def _is_table(self, pid: int) -> bool:
        return pid == PAT_PID or (self._program is not None and pid == self._program[1])

    def _table(self, pid: int, payload: memoryview, *, starts: bool) -> None:
        assembler = self._pat if pid == PAT_PID else self._pmt
        try:
            for section in assembler.receive(payload, starts=starts):
                if pid == PAT_PID:
                    self._read_pat(section)
                else:
                    self._read_pmt(section)
        except PeerError as error:
            self._count_damage(str(error))

    def _read_pat(self, section: bytes) -> None:
        if section == self._pat_section:
            return
        reader = parse_section(section, TABLE_PAT)
        if reader is None:
            return
        programs = parse_pat(reader)
        self._pat_section = section
        if programs and programs[0] != self._program:
            self._program = programs[0]
            self._pmt, self._pmt_section = SectionAssembler(), b""

    def _read_pmt(self, section: bytes) -> None:
        if section == self._pmt_section or self._program is None:
            return
        reader = parse_section(section, TABLE_PMT, self._program[0])
        if reader is None:
            return
        pmt = parse_pmt(reader)
        self._pmt_section = section
        self._pcr_pid = pmt.pcr_pid
        self._lanes = self._make_lanes(pmt)

    def _make_lanes(self, pmt: Pmt) -> dict[int, _Lane]:
        """A lane for each stream that can be read; those that did not change go on."""
        lanes: dict[int, _Lane] = {}
        for stream in pmt.streams:
            pid = stream.pid
            lane = self._lanes.get(pid)
            if lane is None or lane.reader.stream != stream:
                lane = self._make_lane(stream)
            if lane is None:
                name = UNSUPPORTED.get(stream.stream_type, "unknown type")
                self.counts[f"stream of {name}"] += 1
            elif len(lanes) >= MAX_STREAMS:
                self.counts["streams beyond the limit"] += 1
            elif pid != NULL_PID and not self._is_table(pid):
                lanes.setdefault(pid, lane)
        return lanes

    def _make_lane(self, stream: ElementaryStream) -> _Lane | None:
        reader = make_stream_reader(stream, self._clock)
        return None if reader is None else _Lane(reader, PesAssembler(reader.MAX_PES_BYTES))
