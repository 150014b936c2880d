"""RTMP's chunk stream: messages cut into chunks that share one connection (RTMP 1.0 §5.3).

Theory of operation: every chunk says to which chunk stream it belongs, and leaves out of its header
what is as before on that chunk stream. A message is usually sent without another in between, so
its chunks come as one run in which every header is the same single byte: such a run is checked and
joined by two slices, whatever the chunk size; anything else goes chunk by chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.wire.rtmp.message import (
    CONTROL_CSID,
    Message,
    MessageType,
    max_bytes,
    read_chunk_size,
)

DEFAULT_CHUNK_BYTES = 128
EXTENDED = b"\xff\xff\xff"  # a timestamp field that says: the real one follows in 4 bytes
HEADER_BYTES = (11, 7, 3, 0)  # of the message header, by format (§5.3.1.2)
MAX_OPEN = 16  # messages begun on different chunk streams; peers use three or four
MAX_OPEN_BYTES = 8 << 20  # of what has arrived of them
MAX_LANES = 64  # chunk streams with a history; against a peer that walks through all 65 599
# Against messages that hold nothing, of which a byte each would be 250 000 from one read:
MIN_MESSAGE_BYTES = 12  # so much do messages take on average, headers included
SPARE_MESSAGES = 64  # of those that come together, a few may be shorter


@dataclass(slots=True)
class _Lane:
    """One chunk stream. field_ms: of the timestamp field, absolute or a delta."""

    kind: int = 0
    stream_id: int = 0
    length: int = 0
    timestamp_ms: int = 0
    field_ms: int = 0
    is_extended: bool = False
    parts: bytearray | None = None  # of the message that is being received


class ChunkReader:
    """Bytes in, messages out. Set Chunk Size and Abort take effect here, and are passed on too.

    received_bytes: all that was taken, for acknowledgements.
    max_open_bytes: of messages that are not complete.
    """

    __slots__ = (
        *("_input", "_lanes", "_open", "_open_bytes", "chunk_bytes", "max_open_bytes"),
        *("received_bytes",),
    )

    def __init__(self) -> None:
        self.chunk_bytes = DEFAULT_CHUNK_BYTES
        self.received_bytes = 0
        self.max_open_bytes = MAX_OPEN_BYTES
        self._input = bytearray()
        self._lanes: dict[int, _Lane] = {}
        self._open = 0
        self._open_bytes = 0

    def receive(self, data: bytes | memoryview) -> list[Message]:
        """The messages that `data` completes. Raises: PeerError; the reader is not used then."""
        self.received_bytes += len(data)
        self._input += data
        messages: list[Message] = []
        position = 0
        most = SPARE_MESSAGES + len(self._input) // MIN_MESSAGE_BYTES
        while (end := self._take_chunk(position, messages)) is not None:
            position = end
            if len(messages) > most:
                raise PeerError(f"{len(messages)} messages in {position} bytes")
        if position:
            del self._input[:position]
        self._check_held(self.pending_bytes)
        return messages

    @property
    def pending_bytes(self) -> int:
        """What is held of incomplete messages and chunks."""
        return self._open_bytes + len(self._input)

    def _check_held(self, size_bytes: int) -> None:
        """Also of a chunk that is not complete: it may be as large as its message."""
        if size_bytes > self.max_open_bytes:
            raise PeerError(f"more than {self.max_open_bytes} bytes of incomplete messages")

    # -- one chunk, or a run of them -----------------------------------------------------------

    def _take_chunk(self, start: int, messages: list[Message]) -> int | None:
        """Where the chunk at `start`, or the run it begins, ends; None if it is not all there."""
        data = self._input
        available = len(data)
        if start >= available:
            return None
        first = data[start]
        form, csid, header = first >> 6, first & 0x3F, start + 1
        if csid < 2:  # §5.3.1.1: numbers from 64 on take one byte more, or two
            header += 1 + csid
            if header > available:
                return None
            csid = 64 + int.from_bytes(data[start + 1 : header], "little")
        position = header + HEADER_BYTES[form]
        if position > available:
            return None
        lane = self._lanes.get(csid) or self._new_lane(csid, form)
        is_extended = lane.is_extended if form == 3 else data[header : header + 3] == EXTENDED
        stamp_bytes = b""
        if is_extended:
            stamp_bytes = bytes(data[position : position + 4])
            # A continuation repeats the extended stamp, but not with all peers.
            if form == 3 and not lane.field_ms.to_bytes(4, "big").startswith(stamp_bytes):
                stamp_bytes = b""
            elif len(stamp_bytes) < 4:
                return None
            position += len(stamp_bytes)
        if lane.parts is None:
            self._check_head(lane, form, header)
            have, length = 0, lane.length
        else:
            have, length = len(lane.parts), lane.length
            if form <= 1:
                raise PeerError("a message begins inside another one of its chunk stream")
        size = min(self.chunk_bytes, length - have)
        if position + size > available:
            return None
        if lane.parts is None:
            self._begin(lane, form, header, stamp_bytes)
        head = bytes((first | 0xC0,)) + stamp_bytes if header == start + 1 else b""
        return self._take_payload(lane, position, size, head, messages)

    def _new_lane(self, csid: int, form: int) -> _Lane:
        """librtmp begins chunk stream 2 with format 1; anything but 0 elsewhere is a fault."""
        if form != 0 and not (csid == CONTROL_CSID and form == 1):
            raise PeerError(f"chunk stream {csid} begins with format {form}")
        if len(self._lanes) >= MAX_LANES:
            raise PeerError(f"more than {MAX_LANES} chunk streams")
        lane = self._lanes[csid] = _Lane()
        return lane

    def _check_head(self, lane: _Lane, form: int, header: int) -> None:
        """What a new message's header says of its kind and length, before any of it is awaited."""
        if form <= 1:
            lane.length = int.from_bytes(self._input[header + 3 : header + 6], "big")
            lane.kind = self._input[header + 6]
        if lane.length > max_bytes(lane.kind):
            raise PeerError(f"a message of type {lane.kind} with {lane.length} bytes")

    def _begin(self, lane: _Lane, form: int, header: int, stamp_bytes: bytes) -> None:
        """A new message; a header leaves out what is as before (§5.3.1.2)."""
        data = self._input
        if form <= 2:
            lane.is_extended = bool(stamp_bytes)
            lane.field_ms = int.from_bytes(stamp_bytes or data[header : header + 3], "big")
        if form == 0:
            lane.stream_id = int.from_bytes(data[header + 7 : header + 11], "little")
            lane.timestamp_ms = lane.field_ms
        else:
            lane.timestamp_ms = (lane.timestamp_ms + lane.field_ms) & 0xFFFF_FFFF
        if self._open >= MAX_OPEN:
            raise PeerError(f"more than {MAX_OPEN} messages at once")
        self._open += 1
        lane.parts = bytearray()

    def _take_payload(
        self, lane: _Lane, position: int, size: int, head: bytes, messages: list[Message]
    ) -> int:
        """`size` bytes at `position` and what follows of the message in a run.

        head: what every chunk of the run begins with; empty if runs are not looked for.
        """
        data, parts = self._input, lane.parts
        assert parts is not None
        end = position + size
        missing = lane.length - len(parts) - size
        run = data[position:end]
        if missing and head and data.startswith(head, end):
            run_end = self._run_end(end, missing, head)
            run = data[position:run_end]
            for left in range(len(head), 0, -1):  # a column of all headers at a time
                del run[size :: self.chunk_bytes + left]
            end = run_end
        parts += run
        self._open_bytes += len(run)
        self._check_held(self._open_bytes)
        if len(parts) == lane.length:
            self._complete(lane, messages)
        return end

    def _run_end(self, start: int, missing: int, head: bytes) -> int:
        """How far the chunks from `start` on continue the message without another in between."""
        data, chunk, over = self._input, self.chunk_bytes, len(head)
        step = chunk + over
        count = -(-missing // chunk)
        if len(data) - start < missing + count * over:  # not all of it has come
            count = (len(data) - start) // step
        same = count
        for offset, byte in enumerate(head):
            column = data[start + offset : start + offset + count * step : step][:count]
            same = min(same, count - len(column.lstrip(bytes((byte,)))))
        return start + min(same * step, missing + same * over)

    def _complete(self, lane: _Lane, messages: list[Message]) -> None:
        payload = bytes(lane.parts or b"")
        self._drop(lane)
        message = Message(lane.kind, lane.stream_id, lane.timestamp_ms, payload)
        if lane.kind == MessageType.SET_CHUNK_SIZE:
            self.chunk_bytes = read_chunk_size(payload)
        elif lane.kind == MessageType.ABORT:
            self._abort(payload)
        messages.append(message)

    def _abort(self, payload: bytes) -> None:
        """§5.4.2: what has come of that chunk stream's message is thrown away."""
        if len(payload) != 4:
            raise PeerError(f"an abort of {len(payload)} bytes")
        lane = self._lanes.get(int.from_bytes(payload, "big"))
        if lane is not None and lane.parts is not None:
            self._drop(lane)

    def _drop(self, lane: _Lane) -> None:
        self._open -= 1
        self._open_bytes -= len(lane.parts or b"")
        lane.parts = None


class ChunkWriter:
    """Messages in, bytes out. A chunk stream per kind of message, as most peers do it."""

    __slots__ = ("_sent", "chunk_bytes")

    def __init__(self) -> None:
        self.chunk_bytes = DEFAULT_CHUNK_BYTES
        self._sent: dict[int, tuple[int, int]] = {}  # csid → (message stream, timestamp)

    def write(self, message: Message, csid: int) -> bytes:
        """The chunks of one message (format 0, or 1 with the time since the one before it)."""
        payload, timestamp_ms = message.payload, message.timestamp_ms & 0xFFFF_FFFF
        before = self._sent.get(csid)
        field_ms, form = timestamp_ms, 0
        if before is not None and before[0] == message.stream_id:
            delta_ms = (timestamp_ms - before[1]) & 0xFFFF_FFFF
            if delta_ms < 1 << 31:  # a clock that goes back needs an absolute stamp
                field_ms, form = delta_ms, 1
        self._sent[csid] = message.stream_id, timestamp_ms
        extended = field_ms.to_bytes(4, "big") if field_ms >= 0xFF_FFFF else b""
        head = b"".join(
            (
                bytes((form << 6 | csid,)),
                min(field_ms, 0xFF_FFFF).to_bytes(3, "big"),
                len(payload).to_bytes(3, "big"),
                bytes((message.kind,)),
                message.stream_id.to_bytes(4, "little") if form == 0 else b"",
                extended,
            )
        )
        if message.kind == MessageType.SET_CHUNK_SIZE:
            self.chunk_bytes = read_chunk_size(payload)
        return head + join_chunks(payload, bytes((0xC0 | csid,)) + extended, self.chunk_bytes)


def join_chunks(payload: bytes, head: bytes, chunk_bytes: int) -> bytes:
    """The payload with `head` between its chunks."""
    if len(payload) <= chunk_bytes:
        return payload
    return head.join(
        payload[start : start + chunk_bytes] for start in range(0, len(payload), chunk_bytes)
    )
