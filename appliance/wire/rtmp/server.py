"""The server's side of RTMP, sans-IO: commands become events, answers become bytes.

Theory of operation: `receive` returns what the peer asks for; whoever uses this answers each
question by `accept_…` or `refuse_…`, at once or later. Calls that ask nothing are answered here.
Every refusal is an onStatus or _error, which encoders show their users, before anything is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from appliance.errors import PeerError
from appliance.media.amf0 import EcmaArray, Value
from appliance.wire.allowance import Allowance
from appliance.wire.rtmp.aggregate import split_aggregate
from appliance.wire.rtmp.chunks import MAX_OPEN_BYTES
from appliance.wire.rtmp.commands import (
    COMMAND_CSID,
    DATA_CSID,
    STATUS_CSID,
    Command,
    read_command,
    status,
    write_command,
    write_data,
)
from appliance.wire.rtmp.connection import CHUNK_BYTES, WINDOW_BYTES, Connection
from appliance.wire.rtmp.events import (
    ConnectAsked,
    Event,
    Media,
    Paused,
    PlayAsked,
    PublishAsked,
    Stopped,
    Switched,
)
from appliance.wire.rtmp.handshake import ServerHandshake
from appliance.wire.rtmp.message import (
    MEDIA_KINDS,
    Message,
    MessageType,
    UserEvent,
    set_peer_bandwidth,
    user_event,
    window_ack_size,
)

STRANGER_BYTES = 256 << 10  # held of messages of who does not publish: many may come to fill memory
STRANGER_BYTES_PER_S = 2 << 20  # against one who keeps us busy with what leads to nothing
MAX_STREAMS = 8  # message streams of one connection; peers use one
MAX_NAME_CHARS = 4096
VERSION, CAPABILITIES = "FMS/3,5,3,888", 127  # what Flash-era encoders expect to read


class Doing(Enum):
    NOTHING = "nothing"
    ASKED = "asked"
    PUBLISHING = "publishing"
    PLAYING = "playing"


class RtmpServer:
    """noise: 1536 random bytes for the handshake.

    Messages among the events are audio, video and data of streams that publish.
    """

    __slots__ = (
        *("_asked_connect", "_connected", "_connection", "_handshake", "_is_fmle", "_output"),
        *("_streams", "_talk"),
    )

    def __init__(self, noise: bytes) -> None:
        self._handshake: ServerHandshake | None = ServerHandshake(noise)
        self._connection = Connection()
        self._connection.allow_open_bytes(STRANGER_BYTES)
        self._talk: Allowance | None = Allowance(STRANGER_BYTES_PER_S)
        self._output: list[bytes] = []
        self._streams: dict[int, Doing] = {}
        self._asked_connect: float | None = None
        self._connected = False
        self._is_fmle = False  # it announced what it publishes

    @property
    def received_bytes(self) -> int:
        return self._connection.received_bytes

    @property
    def pending_bytes(self) -> int:
        return self._connection.pending_bytes

    def take_output(self) -> bytes:
        """What must be written now."""
        output = b"".join(self._output) + self._connection.take_output()
        self._output.clear()
        return output

    def receive(self, data: bytes | memoryview, now_us: int) -> list[Event]:
        """Raises: PeerError; what `take_output` still has may be sent, then it is over."""
        if self._talk is not None and not self._talk.take(len(data), now_us):
            raise PeerError("a peer that does not publish and talks without end")
        if self._handshake is not None:
            self._output.append(self._handshake.receive(bytes(data)))
            if not self._handshake.done:
                return []
            data, self._handshake = self._handshake.rest, None
        events: list[Event] = []
        for message in self._connection.receive(data, now_us):
            events += self._handle(message)
        return events

    # -- answers ----------------------------------------------------------------------------------

    def accept_connect(self, info: Mapping[str, Value] | None = None) -> None:
        """info: members of the `data` object, by which SRS's tools trace sessions."""
        if self._asked_connect is None:
            return
        transaction, self._asked_connect = self._asked_connect, None
        self._connected = True
        send = self._connection.send
        send(window_ack_size(WINDOW_BYTES))
        send(set_peer_bandwidth(WINDOW_BYTES))
        self._connection.set_chunk_bytes(CHUNK_BYTES)
        code = "NetConnection.Connect.Success"
        answer = status("status", code, "Connection succeeded", objectEncoding=0.0)
        answer["data"] = EcmaArray(info or {})
        about: dict[str, Value] = {"fmsVer": VERSION, "capabilities": CAPABILITIES, "mode": 1}
        send(write_command(0, "_result", transaction, about, answer), COMMAND_CSID)
        send(write_command(0, "onBWDone", 0.0, None), COMMAND_CSID)

    def reject_connect(self, text: str, redirect: str = "") -> None:
        """redirect: where to go instead, as SRS and FMS say it (``ex.redirect``, code 302)."""
        transaction = self._asked_connect or 0.0
        self._asked_connect = None
        answer = status("error", "NetConnection.Connect.Rejected", text)
        if redirect:
            answer["ex"] = {"code": 302.0, "redirect": redirect, "redirect2": redirect}
        self._connection.send(write_command(0, "_error", transaction, None, answer), COMMAND_CSID)

    def accept_publish(self, stream_id: int) -> None:
        if self._streams.get(stream_id) is not Doing.ASKED:
            return
        self._streams[stream_id] = Doing.PUBLISHING
        self._connection.allow_open_bytes(MAX_OPEN_BYTES)
        self._talk = None
        if self._is_fmle:
            about = status("status", "NetStream.Publish.Start", "Started publishing stream.")
            self._connection.send(
                write_command(stream_id, "onFCPublish", 0.0, None, about), STATUS_CSID
            )
        self.send_status(stream_id, "NetStream.Publish.Start", "Started publishing stream.")

    def accept_play(self, stream_id: int) -> None:
        """Media may follow, past this core: in chunks of CHUNK_BYTES, on MEDIA_CSIDS."""
        if self._streams.get(stream_id) is not Doing.ASKED:
            return
        self._streams[stream_id] = Doing.PLAYING
        self._connection.send(user_event(UserEvent.STREAM_BEGIN, stream_id))
        self.send_status(stream_id, "NetStream.Play.Reset", "Playing and resetting stream.")
        self.send_status(stream_id, "NetStream.Play.Start", "Started playing stream.")
        self._connection.send(write_data(stream_id, "|RtmpSampleAccess", True, True), DATA_CSID)
        # No NetStream.Data.Start, as FFmpeg 5 would show it as a track of data.

    def refuse(self, stream_id: int, code: str, text: str) -> None:
        """code: such as NetStream.Publish.BadName or NetStream.Play.StreamNotFound."""
        if stream_id in self._streams:
            self._streams[stream_id] = Doing.NOTHING
        self.send_status(stream_id, code, text, level="error")

    def send_status(self, stream_id: int, code: str, text: str, *, level: str = "status") -> None:
        about = status(level, code, text, clientid="porthole")
        self._connection.send(write_command(stream_id, "onStatus", 0.0, None, about), STATUS_CSID)

    def end_play(self, stream_id: int) -> None:
        """The stream is over: players stop by themselves."""
        self._connection.send(user_event(UserEvent.STREAM_EOF, stream_id))
        self.send_status(stream_id, "NetStream.Play.UnpublishNotify", "The stream has ended.")
        self.send_status(stream_id, "NetStream.Play.Stop", "Stopped playing stream.")

    # -- messages -----------------------------------------------------------------------------

    def _handle(self, message: Message) -> list[Event]:
        if message.kind in MEDIA_KINDS:
            return [message] if self._publishes(message) else []
        match message.kind:
            case MessageType.COMMAND | MessageType.COMMAND_AMF3:
                return self._obey(message)
            case MessageType.DATA_AMF3 if message.payload[:1] == b"\0":
                data = Message(
                    MessageType.DATA, message.stream_id, message.timestamp_ms, message.payload[1:]
                )
                return [data] if self._publishes(data) else []
            case MessageType.AGGREGATE if self._publishes(message):
                return list(split_aggregate(message))
        return []

    def _publishes(self, message: Message) -> bool:
        return self._streams.get(message.stream_id) is Doing.PUBLISHING

    def _obey(self, message: Message) -> list[Event]:
        command = read_command(message)
        if command.name == "connect":
            return self._connect(command)
        if not self._connected and self._asked_connect is None:  # some do not wait for the answer
            raise PeerError(f"{command.name[:40]!r} before connect")
        handler = _HANDLERS.get(command.name)
        if handler is None:
            self._reply(command)
            return []
        return handler(self, command, message.stream_id)

    def _connect(self, command: Command) -> list[Event]:
        if self._connected or self._asked_connect is not None:
            raise PeerError("a second connect")
        if not isinstance(command.about, Mapping) or not command.field("app"):
            self._asked_connect = command.transaction
            self.reject_connect("The connect names no app.")
            raise PeerError("a connect without an app")
        self._asked_connect = command.transaction
        return [
            ConnectAsked(
                app=command.field("app"),
                tc_url=command.field("tcUrl"),
                page_url=command.field("pageUrl"),
                flash_version=command.field("flashVer"),
            )
        ]

    def _reply(self, command: Command, *values: Value) -> None:
        """A call that needs no more; events (transaction 0) are not answered."""
        if command.transaction > 0:
            answer = write_command(0, "_result", command.transaction, None, *(values or (None,)))
            self._connection.send(answer, COMMAND_CSID)

    def _create_stream(self, command: Command, _: int) -> list[Event]:
        free = next((n for n in range(1, MAX_STREAMS + 1) if n not in self._streams), None)
        if free is None:
            about = status("error", "NetConnection.Call.Failed", "Too many streams.")
            self._connection.send(
                write_command(0, "_error", command.transaction, None, about), COMMAND_CSID
            )
            raise PeerError(f"more than {MAX_STREAMS} message streams")
        self._streams[free] = Doing.NOTHING
        self._reply(command, float(free))
        return []

    def _announce(self, command: Command, _: int) -> list[Event]:
        """FCPublish: the FMLE way, which is answered once publishing is."""
        self._is_fmle = True
        self._reply(command)
        return []

    def _publish(self, command: Command, stream_id: int) -> list[Event]:
        """Whether live, record or append is asked for: it is live."""
        if not self._begin(command, stream_id, "NetStream.Publish.BadName"):
            return []
        return [PublishAsked(stream_id, command.text(0)[:MAX_NAME_CHARS], is_fmle=self._is_fmle)]

    def _play(self, command: Command, stream_id: int) -> list[Event]:
        if not self._begin(command, stream_id, "NetStream.Play.Failed"):
            return []
        return [PlayAsked(stream_id, command.text(0)[:MAX_NAME_CHARS])]

    def _begin(self, command: Command, stream_id: int, code: str) -> bool:
        """Whether it may be asked for; else it is refused."""
        doing = self._streams.get(stream_id)
        if doing is not Doing.NOTHING:
            why = "there is no such message stream" if doing is None else "it is in use"
            self.send_status(stream_id, code, f"{command.name}: {why}.", level="error")
            return False
        if not command.arguments or not isinstance(command.arguments[0], str):
            self.send_status(stream_id, code, "The name is no string.", level="error")
            return False
        self._streams[stream_id] = Doing.ASKED
        return True

    def _delete_stream(self, command: Command, _: int) -> list[Event]:
        stream_id = int(command.number(0, -1))
        doing = self._streams.pop(stream_id, Doing.NOTHING)
        return [] if doing is Doing.NOTHING else [Stopped(stream_id)]

    def _close_stream(self, command: Command, stream_id: int) -> list[Event]:
        doing = self._streams.get(stream_id, Doing.NOTHING)
        if doing is Doing.NOTHING:
            return []
        if doing is Doing.PUBLISHING:
            self.send_status(stream_id, "NetStream.Unpublish.Success", "Stopped publishing.")
        self._streams[stream_id] = Doing.NOTHING
        return [Stopped(stream_id)]

    def _unpublish(self, command: Command, stream_id: int) -> list[Event]:
        """FCUnpublish comes on stream 0: it means the one that publishes."""
        found = [n for n, doing in self._streams.items() if doing is Doing.PUBLISHING]
        about = status("status", "NetStream.Unpublish.Success", "Stopped publishing.")
        self._connection.send(
            write_command(stream_id, "onFCUnpublish", 0.0, None, about), STATUS_CSID
        )
        self._reply(command)
        events: list[Event] = []
        for number in found[:1]:
            self._streams[number] = Doing.NOTHING
            events.append(Stopped(number))
        return events

    def _pause(self, command: Command, stream_id: int) -> list[Event]:
        if not self._plays(stream_id):
            return []
        paused = command.flag(0)
        word, text = ("Pause", "Paused") if paused else ("Unpause", "Unpaused")
        self.send_status(stream_id, f"NetStream.{word}.Notify", f"{text} stream.")
        event = UserEvent.STREAM_EOF if paused else UserEvent.STREAM_BEGIN
        self._connection.send(user_event(event, stream_id))
        return [Paused(stream_id, paused)]

    def _receive_audio(self, command: Command, stream_id: int) -> list[Event]:
        return self._switch(Media.AUDIO, command, stream_id)

    def _receive_video(self, command: Command, stream_id: int) -> list[Event]:
        return self._switch(Media.VIDEO, command, stream_id)

    def _switch(self, media: Media, command: Command, stream_id: int) -> list[Event]:
        if not self._plays(stream_id):
            return []
        return [Switched(stream_id, media, command.flag(0))]

    def _plays(self, stream_id: int) -> bool:
        return self._streams.get(stream_id) is Doing.PLAYING

    def _get_length(self, command: Command, _: int) -> list[Event]:
        self._reply(command, 0.0)  # live: there is none
        return []


_HANDLERS: Mapping[str, Callable[[RtmpServer, Command, int], list[Event]]] = {
    "createStream": RtmpServer._create_stream,
    "FCPublish": RtmpServer._announce,
    "publish": RtmpServer._publish,
    "play": RtmpServer._play,
    "deleteStream": RtmpServer._delete_stream,
    "closeStream": RtmpServer._close_stream,
    "FCUnpublish": RtmpServer._unpublish,
    "pause": RtmpServer._pause,
    "pauseRaw": RtmpServer._pause,
    "receiveAudio": RtmpServer._receive_audio,
    "receiveVideo": RtmpServer._receive_video,
    "getStreamLength": RtmpServer._get_length,
}
