"""The client's side of RTMP, sans-IO: connect, then publish or play one stream.

The sequence is what encoders send (releaseStream and FCPublish before createStream), which servers
of every make understand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from appliance.errors import PeerError
from appliance.media.amf0 import Value
from appliance.wire.allowance import Allowance
from appliance.wire.rtmp.aggregate import split_aggregate
from appliance.wire.rtmp.commands import (
    COMMAND_CSID,
    DATA_CSID,
    MEDIA_CSIDS,
    Command,
    read_command,
    write_command,
)
from appliance.wire.rtmp.connection import CHUNK_BYTES, WINDOW_BYTES, Connection
from appliance.wire.rtmp.handshake import ClientHandshake
from appliance.wire.rtmp.message import Message, MessageType, UserEvent, user_event, window_ack_size

# Enhanced RTMP: what we can carry besides Flash's codecs
FOURCCS = ("avc1", "hvc1", "av01", "vp09", "mp4a", "Opus", "fLaC", "ac-3", "ec-3", ".mp3")
BUFFER_MS = 3000  # a player's buffer, as told to the server; those that pace themselves need it
MAX_TALK_BYTES = 256 << 10  # in a second, of a server that is published to: it has little to say
_CONNECT, _CREATE = 1.0, 4.0


class Purpose(Enum):
    PUBLISH = "publish"
    PLAY = "play"


@dataclass(frozen=True, slots=True)
class Started:
    """Media may be sent, or will come."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will not have it. code: as NetStream.Publish.BadName; redirect: where instead."""

    code: str
    text: str
    redirect: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream that was played is over."""

    code: str


Event = Started | Refused | Ended | Message


class RtmpClient:
    """`begin`, then `receive`; `send_media` after Started.

    name: of the stream, with its query if it has one. noise: 1536 random bytes.
    """

    def __init__(
        self, purpose: Purpose, *, tc_url: str, app: str, name: str, noise: bytes, agent: str
    ) -> None:
        self._purpose = purpose
        self._tc_url = tc_url
        self._app = app
        self._name = name
        self._agent = agent
        self._handshake: ClientHandshake | None = ClientHandshake(noise)
        self._connection = Connection()
        self._output: list[bytes] = [self._handshake.begin()]
        self._talk = Allowance(MAX_TALK_BYTES) if purpose is Purpose.PUBLISH else None
        self._stream_id = 0
        self.is_started = False

    def take_output(self) -> bytes:
        """What must be written now."""
        output = b"".join(self._output) + self._connection.take_output()
        self._output.clear()
        return output

    def receive(self, data: bytes | memoryview, now_us: int) -> list[Event]:
        """Raises: PeerError; the connection is not used then."""
        if self._talk is not None and not self._talk.take(len(data), now_us):
            raise PeerError("a server that talks without end to its publisher")
        if self._handshake is not None:
            self._output.append(self._handshake.receive(bytes(data)))
            if not self._handshake.done:
                return []
            data, self._handshake = self._handshake.rest, None
            self._connect()
        events: list[Event] = []
        for message in self._connection.receive(data, now_us):
            events += self._handle(message)
        return events

    def send_media(self, kind: int, timestamp_ms: int, payload: bytes) -> None:
        """Audio, video or data of what is published."""
        message = Message(kind, self._stream_id, timestamp_ms, payload)
        self._connection.send(message, MEDIA_CSIDS.get(kind, DATA_CSID))

    def stop(self) -> None:
        """Says goodbye; what `take_output` then has is the last."""
        if not self._stream_id:
            return
        if self._purpose is Purpose.PUBLISH:
            self._call("FCUnpublish", 6.0, None, self._name)
        self._call("deleteStream", 7.0, None, float(self._stream_id))

    def _call(self, name: str, transaction: float, *values: Value) -> None:
        self._connection.send(write_command(0, name, transaction, *values), COMMAND_CSID)

    def _connect(self) -> None:
        self._connection.send(window_ack_size(WINDOW_BYTES))
        about: dict[str, Value] = {
            "app": self._app,
            "type": "nonprivate",
            "flashVer": self._agent,
            "tcUrl": self._tc_url,
        }
        if self._purpose is Purpose.PLAY:
            about |= {
                "fpad": False,
                "capabilities": 15.0,
                "audioCodecs": 4071.0,
                "videoCodecs": 252.0,
                "videoFunction": 1.0,
            }
        about["fourCcList"] = list(FOURCCS)
        self._call("connect", _CONNECT, about)

    def _handle(self, message: Message) -> list[Event]:
        match message.kind:
            case MessageType.COMMAND | MessageType.COMMAND_AMF3:
                return self._obey(read_command(message))
            case MessageType.AUDIO | MessageType.VIDEO | MessageType.DATA:
                return [message] if self._purpose is Purpose.PLAY else []
            case MessageType.AGGREGATE if self._purpose is Purpose.PLAY:
                return list(split_aggregate(message))
        return []

    def _obey(self, command: Command) -> list[Event]:
        match command.name, command.transaction:
            case "_result", 1.0:
                self._create_stream()
            case "_result", 4.0:
                self._begin(command)
            case "_error", 1.0 | 4.0:
                return [_refusal(command)]
            case "onStatus", _:
                return self._status(command)
        return []

    def _create_stream(self) -> None:
        self._connection.set_chunk_bytes(CHUNK_BYTES)
        if self._purpose is Purpose.PUBLISH:
            self._call("releaseStream", 2.0, None, self._name)
            self._call("FCPublish", 3.0, None, self._name)
        self._call("createStream", _CREATE, None)

    def _begin(self, command: Command) -> None:
        self._stream_id = int(command.number(0, 1.0)) & 0xFFFF_FFFF
        if self._purpose is Purpose.PUBLISH:
            message = write_command(self._stream_id, "publish", 5.0, None, self._name, "live")
        else:
            message = write_command(self._stream_id, "play", 5.0, None, self._name, -2000.0)
        self._connection.send(message, COMMAND_CSID)
        if self._purpose is Purpose.PLAY:
            payload = user_event(UserEvent.SET_BUFFER_LENGTH, self._stream_id)
            payload.payload += BUFFER_MS.to_bytes(4, "big")
            self._connection.send(payload)

    def _status(self, command: Command) -> list[Event]:
        about = command.arguments[0] if command.arguments else None
        code = _text(about, "code")
        if _text(about, "level") == "error":
            return [_refusal(command)]
        if code in {"NetStream.Publish.Start", "NetStream.Play.Start"} and not self.is_started:
            self.is_started = True
            return [Started()]
        if code in {"NetStream.Play.Stop", "NetStream.Play.UnpublishNotify"}:
            return [Ended(code)]
        return []


def _text(about: Value, name: str) -> str:
    value = about.get(name) if isinstance(about, Mapping) else None
    return value if isinstance(value, str) else ""


def _refusal(command: Command) -> Refused:
    about = next((value for value in command.arguments if isinstance(value, Mapping)), None)
    more = about.get("ex") if about is not None else None
    code = _text(about, "code") or "NetConnection.Call.Failed"
    return Refused(code[:100], _text(about, "description")[:200], _text(more, "redirect")[:1024])
