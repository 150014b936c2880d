"""What a connection carries: messages and, among them, `$` frames of RTP (RFC 2326 §10.12).

Theory of operation: bytes of one read are cut up where they lie; only what the end of a read tears
apart is held, and added to without being looked at until it can be whole.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtsp.message import (
    MAX_HEAD_BYTES,
    Request,
    Response,
    parse_head,
    read_content_length,
)

DOLLAR = 0x24
FRAME_HEAD_BYTES = 4
MAX_GARBAGE_BYTES = 64 << 10  # against a camera that sends anything but RTSP
MAX_FRAMES = 1024  # of one batch; of packets as small as can be, a read holds thousands
MAX_MESSAGES = 64  # of one read; against a peer whose questions alone keep us busy

_HEAD = struct.Struct(">BBH")
_pack_head, _read_head = _HEAD.pack, _HEAD.unpack_from
_EMPTY_LINES = re.compile(rb"[\r\n]+")
_PADDING = re.compile(rb"[\r\n\0 ]+")
_RESUME = re.compile(rb"\$|RTSP/1\.|R(?:T(?:S(?:P(?:/1?)?)?)?)?\Z")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
# What can begin a message of a server: an answer, or one of the few requests it may make.
_STARTS = (
    b"RTSP/",
    b"OPTIONS ",
    b"ANNOUNCE ",
    b"REDIRECT ",
    b"GET_PARAMETER ",
    b"SET_PARAMETER ",
    b"TEARDOWN ",
)


@dataclass(slots=True)
class Frames:
    """Interleaved packets in the order of the wire, each with its channel; whoever takes them may
    let others have their turn after each batch."""

    frames: list[tuple[int, bytes]] = field(repr=False)


Item = Request | Response | Frames


class InterleavedReader:
    """Bytes in, messages and batches of frames out.

    is_tolerant: what belongs to nothing is passed over up to a cap, and counted in
    `garbage_bytes`, as cameras tear frames apart by answers and pad them; a server does not.
    allow_frames: set to False where a `$` is an offence.
    """

    def __init__(self, *, is_tolerant: bool) -> None:
        self.allow_frames = True
        self.garbage_bytes = 0
        self._is_tolerant = is_tolerant
        self._blank = _PADDING if is_tolerant else _EMPTY_LINES
        self._held = bytearray()
        self._needed = 1  # bytes held before looking again
        self._open: Request | Response | None = None  # waits for its body
        self._messages = 0
        self._skipped = 0  # garbage that nothing understood has made up for

    @property
    def pending_bytes(self) -> int:
        """Held of what is not complete."""
        return len(self._held)

    @property
    def has_message(self) -> bool:
        """Whether any came."""
        return self._messages > 0

    def receive(self, data: bytes) -> list[Item]:
        """Raises: PeerError; what was complete before it is lost, as the connection is over."""
        items: list[Item] = []
        if self._held:
            self._held += data
            if len(self._held) < self._needed or self._is_head_open(data):
                return items
            data = bytes(self._held)
            self._held.clear()
        position, end = 0, len(data)
        messages_before = self._messages
        while position < end:
            if self._messages - messages_before > MAX_MESSAGES:
                raise PeerError(f"more than {MAX_MESSAGES} messages at once")
            if self._open is not None:
                after = self._take_body(data, position, items)
            elif data[position] == DOLLAR:
                after = self._take_frames(data, position, items)
            elif blank := self._blank.match(data, position):
                after = blank.end()
            else:
                after = self._take_message(data, position, items)
            if after < 0:
                self._held += data[position:] if position else data
                break
            position = after
        return items

    def take_short_body(self) -> Request | Response | None:
        """The message whose body is shorter than its Content-Length said, with what came of it."""
        message, self._open = self._open, None
        if message is not None:
            message.body = bytes(self._held)
            self._held.clear()
        return message

    @property
    def has_open_body(self) -> bool:
        return self._open is not None

    def _is_head_open(self, data: bytes) -> bool:
        """A head dribbles in: without a line's end in it there is nothing to look for."""
        return (
            self._needed == 1 and b"\n" not in data and len(self._held) <= MAX_HEAD_BYTES
        ) and self._open is None

    def _take_frames(self, data: bytes, position: int, items: list[Item]) -> int:
        """All whole frames from here on. The position behind them, or -1 for none yet."""
        if not self.allow_frames:
            raise PeerError("an interleaved frame before any channel was set up")
        frames: list[tuple[int, bytes]] = []
        append = frames.append
        start, end = position, len(data)
        self._needed = FRAME_HEAD_BYTES
        while position + FRAME_HEAD_BYTES <= end and len(frames) < MAX_FRAMES:
            dollar, channel, length = _read_head(data, position)
            if dollar != DOLLAR:
                break
            body = position + FRAME_HEAD_BYTES
            stop = body + length
            if stop > end:
                self._needed = stop - position
                break
            append((channel, data[body:stop]))
            position = stop
        if position == start:
            return -1
        # Frames excuse as much garbage as they carry, or empty ones would excuse any amount.
        payload_bytes = position - start - FRAME_HEAD_BYTES * len(frames)
        self._skipped = max(0, self._skipped - payload_bytes)
        items.append(Frames(frames))
        return position

    def _take_message(self, data: bytes, position: int, items: list[Item]) -> int:
        if self._is_tolerant and not data.startswith(_STARTS, position):
            rest = data[position : position + 16]
            if not any(start.startswith(rest) for start in _STARTS):
                return self._skip(data, position)
        match = _HEAD_END.search(data, position, position + MAX_HEAD_BYTES + 4)
        if match is None:
            if len(data) - position > MAX_HEAD_BYTES:
                raise PeerError(f"a head of more than {MAX_HEAD_BYTES} bytes")
            self._needed = 1
            return -1
        head = data[position : match.start()]
        try:
            message = parse_head(head, is_tolerant=self._is_tolerant)
        except PeerError:
            if self._is_tolerant:  # such as the end of a request that we do not know
                self._skipped += len(head)  # looked at, and will be again from a little later on
                return self._skip(data, position)
            raise
        length = read_content_length(message.headers)
        self._messages += 1
        self._skipped = 0
        if length:
            self._open, self._needed = message, length
        else:
            items.append(message)
        return match.end()

    def _take_body(self, data: bytes, position: int, items: list[Item]) -> int:
        stop = position + self._needed
        if self._open is None or stop > len(data):
            return -1
        self._open.body = data[position:stop]
        items.append(self._open)
        self._open = None
        return stop

    def _skip(self, data: bytes, position: int) -> int:
        """Where the next frame or answer may begin, else the end."""
        found = _RESUME.search(data, position + 1)
        after = found.start() if found else len(data)
        self.garbage_bytes += after - position
        self._skipped += after - position
        if self._skipped > MAX_GARBAGE_BYTES:
            raise PeerError(f"{MAX_GARBAGE_BYTES} bytes that are neither RTSP nor frames")
        return after


def format_frame(channel: int, packet: bytes | memoryview) -> bytes:
    """Raises: MisuseError for a packet that a frame cannot hold."""
    return format_frames(((channel, packet),))


def format_frames(frames: Iterable[tuple[int, bytes | memoryview]]) -> bytes:
    """All of them, to be written at once. Raises: MisuseError as `format_frame`."""
    parts: list[bytes | memoryview] = []
    try:
        for channel, packet in frames:
            parts.append(_pack_head(DOLLAR, channel, len(packet)))
            parts.append(packet)
    except struct.error:
        raise MisuseError(
            "an interleaved frame has a channel of 8 bits and at most 65535 bytes"
        ) from None
    return b"".join(parts)
