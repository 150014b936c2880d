"""Either end of an RTMP connection after its handshake: chunks, acknowledgements, pings."""

from __future__ import annotations

from appliance.media.bits import Reader
from appliance.wire.allowance import Allowance
from appliance.wire.rtmp.chunks import ChunkReader, ChunkWriter
from appliance.wire.rtmp.message import (
    CONTROL_CSID,
    MEDIA_KINDS,
    Message,
    MessageType,
    UserEvent,
    ack,
    read_user_event,
    set_chunk_size,
    user_event,
)

CHUNK_BYTES = 60_000  # of what we send, as SRS has it; every peer takes it
WINDOW_BYTES = 2_500_000
MIN_ACK_BYTES = 16 << 10  # a peer that wants an acknowledgement for each byte gets fewer
MAX_PINGS_PER_S = 10  # more are not answered: pings are for peers that wonder, not for load


class Connection:
    """`receive` bytes → messages that are not about the connection itself; `send` → bytes."""

    __slots__ = ("_ack_every_bytes", "_acked_bytes", "_output", "_pings", "_reader", "_writer")

    def __init__(self) -> None:
        self._reader = ChunkReader()
        self._writer = ChunkWriter()
        self._output: list[bytes] = []
        self._ack_every_bytes: int | None = None
        self._acked_bytes = 0
        self._pings = Allowance(MAX_PINGS_PER_S)

    @property
    def received_bytes(self) -> int:
        return self._reader.received_bytes

    @property
    def pending_bytes(self) -> int:
        """Held of messages that are not complete."""
        return self._reader.pending_bytes

    def allow_open_bytes(self, size_bytes: int) -> None:
        """Of messages that are not complete, from now on."""
        self._reader.max_open_bytes = size_bytes

    def receive(self, data: bytes | memoryview, now_us: int) -> list[Message]:
        """Raises: PeerError; the connection is not used then."""
        messages = [
            message
            for message in self._reader.receive(data)
            if message.kind in MEDIA_KINDS or not self._handle_control(message, now_us)
        ]
        self._acknowledge()
        return messages

    def send(self, message: Message, csid: int = CONTROL_CSID) -> None:
        self._output.append(self._writer.write(message, csid))

    def set_chunk_bytes(self, size_bytes: int) -> None:
        """Of what we send, from here on."""
        self.send(set_chunk_size(size_bytes))

    def take_output(self) -> bytes:
        """What must be written now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def _handle_control(self, message: Message, now_us: int) -> bool:
        """Whether it was about the connection; what a peer may leave out is tolerated."""
        match message.kind:
            case MessageType.WINDOW_ACK_SIZE:
                self._ack_every_bytes = max(MIN_ACK_BYTES, Reader(message.payload).u32())
            case MessageType.USER_CONTROL:
                self._handle_event(message, now_us)
            case (
                MessageType.SET_CHUNK_SIZE
                | MessageType.ABORT
                | MessageType.ACK
                | MessageType.SET_PEER_BANDWIDTH
            ):
                pass  # the reader has done it, or there is nothing to be done
            case _:
                return False
        return True

    def _handle_event(self, message: Message, now_us: int) -> None:
        event = read_user_event(message.payload)
        if event is None or event[0] != UserEvent.PING_REQUEST:
            return
        if self._pings.take(1, now_us):
            self.send(user_event(UserEvent.PING_RESPONSE, event[1]))

    def _acknowledge(self) -> None:
        received = self._reader.received_bytes
        if self._ack_every_bytes is None or received - self._acked_bytes < self._ack_every_bytes:
            return
        self._acked_bytes = received
        self.send(ack(received))
