"""An RTMP peer that says whatever it is told to, over a socket: for what no real program would."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from framehash import clip_units

from appliance.containers.flv_tag_writer import sequence_header_body, tag_body
from appliance.media.amf0 import Value, decode, encode
from appliance.media.track import Kind
from appliance.wire.rtmp.chunks import ChunkReader, ChunkWriter
from appliance.wire.rtmp.message import Message, MessageType, set_chunk_size

DEADLINE_S = 20.0
KINDS = {Kind.VIDEO: MessageType.VIDEO, Kind.AUDIO: MessageType.AUDIO}
CSIDS = {MessageType.VIDEO: 6, MessageType.AUDIO: 4}

Tag = tuple[MessageType, int, bytes]


class RtmpPeer:
    """Connected, and through the handshake unless `greet` is False."""

    def __init__(
        self,
        port: int,
        *,
        greet: bool = True,
        tls: ssl.SSLContext | None = None,
        receive_bytes: int = 0,
    ) -> None:
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(("127.0.0.1", port))
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock)
        self.writer = ChunkWriter()
        self._reader = ChunkReader()
        self.heard: list[Message] = []
        self.is_closed = False
        if greet:
            self.greet()

    def greet(self) -> None:
        self.sock.sendall(b"\x03" + bytes(1536))
        got = b""
        while len(got) < 1 + 2 * 1536:
            got += self._recv()
        self.sock.sendall(bytes(1536))

    def _recv(self) -> bytes:
        got = self.sock.recv(1 << 18)
        if not got:
            raise EOFError("the server closed")
        return got

    def __enter__(self) -> RtmpPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    # -- saying -------------------------------------------------------------------------------

    def call(self, stream_id: int, *values: Value) -> None:
        self.say(Message(MessageType.COMMAND, stream_id, 0, encode(*values)))

    def say(self, message: Message, csid: int = 3) -> None:
        self.sock.sendall(self.writer.write(message, csid))

    def connect(self, app: str = "live", tc_url: str = "rtmp://h/live") -> Any:
        """The answer's information object."""
        self.call(0, "connect", 1.0, {"app": app, "tcUrl": tc_url, "flashVer": "FMLE/3.0 (test)"})
        return self.wait_answer(1.0)[-1]

    def create_stream(self) -> int:
        self.call(0, "createStream", 4.0, None)
        return int(self.wait_answer(4.0)[-1])

    def publish(self, name: str, app: str = "live") -> str:
        """The code that was answered."""
        self.connect(app)
        stream_id = self.create_stream()
        self.call(stream_id, "publish", 5.0, None, name, "live")
        return self.wait_status("NetStream.")["code"]

    def play(self, name: str, app: str = "live") -> None:
        """Asks; what comes of it is to be waited for."""
        self.connect(app)
        self.call(self.create_stream(), "play", 5.0, None, name, -2000.0)

    def send_tags(self, tags: list[Tag]) -> None:
        """Of stream 1, in one go."""
        data = []
        for kind, timestamp_ms, body in tags:
            message = Message(kind, 1, timestamp_ms & 0xFFFF_FFFF, body)
            data.append(self.writer.write(message, CSIDS[kind]))
        self.sock.sendall(b"".join(data))

    def set_chunk_bytes(self, size_bytes: int) -> None:
        self.say(set_chunk_size(size_bytes), 2)

    # -- hearing ------------------------------------------------------------------------------

    def hear(self) -> list[Message]:
        """What comes next. Raises: EOFError, OSError."""
        found = self._reader.receive(self._recv())
        self.heard += found
        return found

    def wait(self, wanted: Callable[[Message], Any]) -> Any:
        """What `wanted` makes of the first message heard, or to be heard, that it wants."""
        end_s = time.monotonic() + DEADLINE_S
        seen = 0
        while True:
            for message in self.heard[seen:]:
                if (found := wanted(message)) is not None:
                    return found
            seen = len(self.heard)
            assert time.monotonic() < end_s, self.codes
            self.hear()

    def wait_answer(self, transaction: float) -> list[Any]:
        def wanted(message: Message) -> list[Any] | None:
            values = commands_of(message)
            return values if values[1:2] == [transaction] else None

        return list(self.wait(wanted))

    def wait_status(self, code: str) -> dict[str, Any]:
        """The first status whose code begins so."""

        def wanted(message: Message) -> dict[str, Any] | None:
            values = commands_of(message)
            about = values[-1] if values[:1] == ["onStatus"] else None
            return about if about is not None and about["code"].startswith(code) else None

        return dict(self.wait(wanted))

    def wait_media(self, kind: MessageType, since: int = 0) -> Message:
        """The first one among `heard[since:]` and what is to come."""
        left = self.heard[since:]
        self.heard = left
        found: Message = self.wait(lambda message: message if message.kind == kind else None)
        return found

    def hear_all(self) -> None:
        """Until the server closes."""
        try:
            while True:
                self.hear()
        except (EOFError, ConnectionError):
            self.is_closed = True

    @property
    def codes(self) -> list[str]:
        """Of all statuses so far."""
        abouts = [values[-1] for m in self.heard if (values := commands_of(m))]
        return [about["code"] for about in abouts if isinstance(about, dict) and "code" in about]


def commands_of(message: Message) -> list[Any]:
    return decode(message.payload) if message.kind == MessageType.COMMAND else []


def clip_tags(kind: str = "h264-b+aac") -> list[Tag]:
    """A clip as messages, sequence headers first; the earliest is at 0 ms."""
    tracks, units = clip_units(kind)
    first_us = units[0].dts_us
    tags: list[Tag] = []
    for track in tracks:
        body = sequence_header_body(track.config)
        if body is not None:
            tags.append((KINDS[track.config.kind], 0, body))
    for unit in units:
        stamp_ms = round((unit.dts_us - first_us) / 1000)
        tags.append((KINDS[unit.track.config.kind], stamp_ms, tag_body(unit)))
    return tags
