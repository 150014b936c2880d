"""WebSocket, the server's side for viewers: who watches says next to nothing (RFC 6455).

What a viewer says is read frame by frame; its messages are passed over, pings and the close are
handed up. Nothing here knows about HTTP beyond the values of a few fields.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum

from appliance.errors import PeerError
from appliance.wire.allowance import Allowance

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # §1.3
VERSION = "13"  # §4.4
KEY_BYTES = 16
MAX_CONTROL_BYTES = 125  # §5.5
MAX_FRAME_BYTES = 64 << 10  # against a viewer who uploads
MAX_TALK_BYTES = 128 << 10  # in a second; against one who pings without end
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 §5.6.2, and no longer


class Opcode(IntEnum):
    """§5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class CloseCode(IntEnum):
    """§7.4.1."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    POLICY_VIOLATION = 1008


@dataclass(slots=True)
class Ping:
    payload: bytes


@dataclass(slots=True)
class Closed:
    """The viewer said goodbye, or broke the rules; what it sends after this is not read.

    code: what to answer.
    """

    code: CloseCode
    reason: str = ""


Event = Ping | Closed


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept (§4.2.2). Raises: PeerError if the key is none."""
    try:
        size_bytes = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size_bytes = 0
    if size_bytes != KEY_BYTES:
        raise PeerError("Sec-WebSocket-Key is not 16 bytes in base64")
    digest = hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def first_protocol(offered: str) -> str:
    """The first name of Sec-WebSocket-Protocol; empty if there is none.

    Browsers end a connection whose server takes none of the names they offered.
    """
    name = offered.partition(",")[0].strip()
    return name if TOKEN.fullmatch(name) else ""


def frame_head(opcode: Opcode, size_bytes: int) -> bytes:
    """Of a whole message; from a server nothing is masked (§5.1)."""
    first = 0x80 | opcode
    if size_bytes < 126:
        return bytes((first, size_bytes))
    if size_bytes < 1 << 16:
        return bytes((first, 126)) + size_bytes.to_bytes(2, "big")
    return bytes((first, 127)) + size_bytes.to_bytes(8, "big")


def frame(opcode: Opcode, payload: bytes) -> bytes:
    return frame_head(opcode, len(payload)) + payload


def close_frame(code: CloseCode) -> bytes:
    return frame(Opcode.CLOSE, code.to_bytes(2, "big"))


class ViewerFrames:
    """What a viewer sends. Holds no more than one control frame."""

    def __init__(self) -> None:
        self._held = bytearray()  # the beginning of a frame: a head, or a control frame
        self._skip_bytes = 0  # of a message that nobody reads
        self._is_closed = False
        self._allowance = Allowance(MAX_TALK_BYTES)

    def receive(self, data: bytes, now_us: int) -> list[Event]:
        """At most the newest ping, which is the one to be answered (§5.5.3), and the end.

        Never raises: breaking the protocol is the event `Closed`.
        """
        if not self._is_closed and not self._allowance.take(len(data), now_us):
            self._is_closed = True
            return [Closed(CloseCode.POLICY_VIOLATION, "a viewer that talks")]
        ping: Event | None = None
        position = 0
        while position < len(data) and not self._is_closed:
            position, event = self._step(data, position)
            if isinstance(event, Closed):
                self._is_closed = True
                return [event] if ping is None else [ping, event]
            ping = event or ping
        return [] if ping is None else [ping]

    def _step(self, data: bytes, position: int) -> tuple[int, Event | None]:
        """The next part of a frame: where it ends, and what it completes."""
        if self._skip_bytes:
            step = min(self._skip_bytes, len(data) - position)
            self._skip_bytes -= step
            return position + step, None
        try:
            wanted = self._wanted_bytes()
            self._held += data[position : position + wanted]
            event = None if self._wanted_bytes() else self._take()
        except PeerError as error:
            return len(data), Closed(CloseCode.PROTOCOL_ERROR, str(error))
        return position + wanted, event

    def _wanted_bytes(self) -> int:
        """How much more the held frame needs: its head, or all of it. Raises: PeerError."""
        held = self._held
        if len(held) < 2:
            return 2 - len(held)
        head_bytes = self._head_bytes()
        if len(held) < head_bytes:
            return head_bytes - len(held)
        is_control = held[0] & 0x08
        return head_bytes + self._payload_bytes() - len(held) if is_control else 0

    def _head_bytes(self) -> int:
        """With the mask. Raises: PeerError for what no viewer may send (§5.1, §5.2, §5.5)."""
        first, second = self._held[:2]
        opcode, size = first & 0x0F, second & 0x7F
        if first & 0x70:
            raise PeerError("reserved bits are set")
        if opcode not in Opcode.__members__.values():
            raise PeerError(f"opcode {opcode} is not known")
        if not second & 0x80:
            raise PeerError("a frame is not masked")
        if opcode >= Opcode.CLOSE and (not first & 0x80 or size > MAX_CONTROL_BYTES):
            raise PeerError("a control frame is in parts or not short")
        return 2 + {126: 2, 127: 8}.get(size, 0) + 4

    def _payload_bytes(self) -> int:
        """Raises: PeerError if there are too many."""
        size = self._held[1] & 0x7F
        if size >= 126:
            size = int.from_bytes(self._held[2 : self._head_bytes() - 4], "big")
        if size > MAX_FRAME_BYTES:
            raise PeerError("a frame is too long")
        return size

    def _take(self) -> Event | None:
        """The held frame is complete, or the head of one to be passed over."""
        held = bytes(self._held)
        head_bytes, size = self._head_bytes(), self._payload_bytes()
        opcode = held[0] & 0x0F
        self._held.clear()
        if opcode < Opcode.CLOSE:
            self._skip_bytes = size
            return None
        mask = held[head_bytes - 4 : head_bytes]
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(held[head_bytes:]))
        if opcode == Opcode.PING:
            return Ping(payload)
        return Closed(CloseCode.NORMAL) if opcode == Opcode.CLOSE else None
