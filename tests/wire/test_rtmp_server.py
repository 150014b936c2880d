"""The server's side of RTMP against our client's side, and against who keeps to no order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.media.amf0 import Value, decode, encode
from appliance.wire.rtmp.aggregate import split_aggregate
from appliance.wire.rtmp.chunks import ChunkReader, ChunkWriter
from appliance.wire.rtmp.client import Ended, Purpose, Refused, RtmpClient, Started
from appliance.wire.rtmp.commands import VIDEO_CSID
from appliance.wire.rtmp.connection import CHUNK_BYTES
from appliance.wire.rtmp.events import (
    ConnectAsked,
    Media,
    Paused,
    PlayAsked,
    PublishAsked,
    Stopped,
    Switched,
)
from appliance.wire.rtmp.message import (
    Message,
    MessageType,
    UserEvent,
    set_chunk_size,
    user_event,
)
from appliance.wire.rtmp.server import (
    MAX_STREAMS,
    STRANGER_BYTES,
    STRANGER_BYTES_PER_S,
    RtmpServer,
)

NOISE = random.Random(9).randbytes(1536)
SECOND_US = 1_000_000


class Peer:
    """Says what it is told to a server that has accepted its connect, and reads the answers."""

    def __init__(self, *, connected: bool = True) -> None:
        self.server = RtmpServer(NOISE)
        self._writer = ChunkWriter()
        self._reader = ChunkReader()
        self.heard: list[Message] = []
        self.server.receive(b"\x03" + bytes(1536), 0)
        assert len(self.server.take_output()) == 1 + 2 * 1536
        self.server.receive(bytes(1536), 0)
        if connected:
            (asked,) = self.call(0, "connect", 1.0, {"app": "live", "tcUrl": "rtmp://h/live"})
            assert asked == ConnectAsked("live", "rtmp://h/live")
            self.server.accept_connect({"srs_id": "7"})
            self.listen()

    def call(self, stream_id: int, *values: Value, now_us: int = 0) -> list[Any]:
        return self.say(Message(MessageType.COMMAND, stream_id, 0, encode(*values)), now_us)

    def say(self, message: Message, now_us: int = 0) -> list[Any]:
        events = self.server.receive(self._writer.write(message, 3), now_us)
        self.listen()
        return list(events)

    def begin(self, message: Message) -> None:
        """All of it but the last byte."""
        self.server.receive(self._writer.write(message, 3)[:-1], 0)

    def listen(self) -> None:
        self.heard += self._reader.receive(self.server.take_output())

    @property
    def commands(self) -> list[list[Value]]:
        return [decode(m.payload) for m in self.heard if m.kind == MessageType.COMMAND]

    def codes(self) -> list[str]:
        """Of every status it got."""
        found = []
        for values in self.commands:
            about: Any = values[-1]
            if isinstance(about, dict) and "code" in about:
                found.append(about["code"])
        return found

    def open_stream(self) -> int:
        self.call(0, "createStream", 4.0, None)
        name, transaction, _, number = self.commands[-1]
        assert (name, transaction) == ("_result", 4.0)
        assert isinstance(number, float)
        return int(number)


def join(client: RtmpClient, server: RtmpServer) -> list[Any]:
    """All that the two say to each other until they wait; connect is accepted at once."""
    events: list[Any] = []
    while True:
        to_server, to_client = client.take_output(), server.take_output()
        if not to_server and not to_client:
            return events
        for event in server.receive(to_server, 0):
            events.append(event)
            if isinstance(event, ConnectAsked):
                server.accept_connect()
        events += client.receive(to_client, 0)


def make_client(purpose: Purpose) -> RtmpClient:
    return RtmpClient(
        purpose, tc_url="rtmp://h/live", app="live", name="cam?key=k", noise=NOISE, agent="Test/1"
    )


def test_client_publishes_to_server() -> None:
    client, server = make_client(Purpose.PUBLISH), RtmpServer(NOISE)
    events = join(client, server)
    assert events[-1] == PublishAsked(1, "cam?key=k", is_fmle=True)
    server.accept_publish(1)
    assert join(client, server) == [Started()]
    client.send_media(MessageType.VIDEO, 40, b"\x17picture")
    client.send_media(MessageType.AUDIO, 41, b"\xafsound")
    sent = join(client, server)
    assert [(m.kind, m.timestamp_ms, m.payload) for m in sent] == [
        (MessageType.VIDEO, 40, b"\x17picture"),
        (MessageType.AUDIO, 41, b"\xafsound"),
    ]
    client.stop()
    assert join(client, server) == [Stopped(1)]


def test_client_plays_from_server_until_it_ends() -> None:
    client, server = make_client(Purpose.PLAY), RtmpServer(NOISE)
    assert join(client, server)[-1] == PlayAsked(1, "cam?key=k")
    server.accept_play(1)
    events = join(client, server)
    assert Started() in events
    media = ChunkWriter()  # as it comes from a fan-out, past the server's core
    media.chunk_bytes = CHUNK_BYTES
    data = media.write(Message(MessageType.VIDEO, 1, 1000, b"v" * 100_000), VIDEO_CSID)
    (picture,) = client.receive(data, 0)
    assert (picture.kind, picture.timestamp_ms, len(picture.payload)) == (9, 1000, 100_000)
    server.end_play(1)
    assert isinstance(join(client, server)[0], Ended)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_refusal_reaches_the_client_with_its_words(purpose: Purpose) -> None:
    client, server = make_client(purpose), RtmpServer(NOISE)
    join(client, server)
    server.refuse(1, "NetStream.Publish.BadName", "somebody publishes it")
    assert join(client, server) == [Refused("NetStream.Publish.BadName", "somebody publishes it")]


def test_redirect_reaches_the_client() -> None:
    client, server = make_client(Purpose.PLAY), RtmpServer(NOISE)
    while not server.receive(client.take_output(), 0):
        client.receive(server.take_output(), 0)
    server.reject_connect("elsewhere", redirect="rtmp://other/live/cam")
    (refused,) = client.receive(server.take_output(), 0)
    where = "rtmp://other/live/cam"
    assert refused == Refused("NetConnection.Connect.Rejected", "elsewhere", where)


def test_connect_is_answered_with_what_tools_of_srs_read() -> None:
    peer = Peer()
    name, transaction, about, answer = peer.commands[0]
    assert (name, transaction) == ("_result", 1.0)
    assert isinstance(about, dict) and isinstance(answer, dict)
    assert about["capabilities"] == 127
    assert answer["code"] == "NetConnection.Connect.Success"
    assert answer["data"] == {"srs_id": "7"}


def test_player_pauses_and_switches_media() -> None:
    peer = Peer()
    stream_id = peer.open_stream()
    assert peer.call(stream_id, "play", 5.0, None, "cam") == [PlayAsked(1, "cam")]
    peer.server.accept_play(stream_id)
    assert peer.call(stream_id, "pause", 0.0, None, True, 0.0) == [Paused(1, True)]
    assert peer.call(stream_id, "pause", 0.0, None, False, 0.0) == [Paused(1, False)]
    assert peer.call(stream_id, "receiveAudio", 0.0, None, False) == [
        Switched(1, Media.AUDIO, False)
    ]
    assert peer.call(stream_id, "closeStream", 0.0, None) == [Stopped(1)]
    assert {"NetStream.Pause.Notify", "NetStream.Unpause.Notify"} <= set(peer.codes())


def test_old_encoder_ends_by_fcunpublish() -> None:
    peer = Peer()
    peer.call(0, "releaseStream", 2.0, None, "cam")
    peer.call(0, "FCPublish", 3.0, None, "cam")
    stream_id = peer.open_stream()
    peer.call(stream_id, "publish", 5.0, None, "cam", "append")
    peer.server.accept_publish(stream_id)
    peer.listen()
    assert [values[0] for values in peer.commands][-2:] == ["onFCPublish", "onStatus"]
    assert peer.call(0, "FCUnpublish", 6.0, None, "cam") == [Stopped(stream_id)]
    assert peer.call(0, "deleteStream", 7.0, None, float(stream_id)) == []


def test_large_messages_are_held_for_publishers_only() -> None:
    """Strangers could fill the memory with the beginnings of pictures, in chunks of any size."""
    picture = Message(MessageType.VIDEO, 1, 0, bytes(STRANGER_BYTES + 1000))
    for word, chunk_bytes in itertools.product(("play", "publish"), (128, 0x7FFF_FFFF)):
        peer = Peer()
        peer.say(set_chunk_size(chunk_bytes))
        peer.call(peer.open_stream(), word, 5.0, None, "cam")
        if word == "publish":
            peer.server.accept_publish(1)
            assert len(peer.say(picture)) == 1
        else:
            peer.server.accept_play(1)
            with pytest.raises(PeerError, match="incomplete messages"):
                peer.begin(picture)


def test_who_does_not_publish_is_heard_out_within_bounds() -> None:
    """R14, R25: what leads to nothing costs time, whatever it is."""
    noise = b"".join(ChunkWriter().write(Message(99, 0, 0, bytes(9000)), 7) for _ in range(30))
    for word in ("", "play", "publish"):
        peer = Peer()
        if word:
            peer.call(peer.open_stream(), word, 5.0, None, "cam")
        if word == "publish":
            peer.server.accept_publish(1)
        said = 0
        while said < 3 * STRANGER_BYTES_PER_S:
            try:
                peer.server.receive(noise, SECOND_US)
            except PeerError:
                break
            said += len(noise)
        assert (said < STRANGER_BYTES_PER_S) == (word != "publish"), word


def test_messages_that_hold_nothing_are_few() -> None:
    """A byte each, they would be 250 000 from one read of the socket."""
    for publishes in (False, True):
        peer = Peer()
        if publishes:
            peer.call(peer.open_stream(), "publish", 5.0, None, "cam")
            peer.server.accept_publish(1)
        peer.server.receive(bytes.fromhex("04 000000 000000 08 01000000"), 0)
        with pytest.raises(PeerError, match="messages in"):
            peer.server.receive(b"\xc4" * (1 << 18), SECOND_US)


def test_server_that_talks_without_end_to_its_publisher_is_left() -> None:
    client = make_client(Purpose.PUBLISH)
    join(client, RtmpServer(NOISE))
    event = ChunkWriter().write(user_event(UserEvent.PING_REQUEST, 1), 2)
    with pytest.raises(PeerError, match="without end"):
        for _ in range(20):
            client.receive(event * 1000, SECOND_US)


def test_media_of_a_stream_that_does_not_publish_is_no_event() -> None:
    peer = Peer()
    stream_id = peer.open_stream()
    assert peer.say(Message(MessageType.VIDEO, stream_id, 0, b"v")) == []
    peer.call(stream_id, "publish", 5.0, None, "cam", "live")
    assert peer.say(Message(MessageType.VIDEO, stream_id, 0, b"v")) == []  # not accepted yet
    peer.server.accept_publish(stream_id)
    assert len(peer.say(Message(MessageType.VIDEO, stream_id, 0, b"v"))) == 1


@pytest.mark.parametrize(
    "values",
    [
        ("connect", 1.0),
        ("connect", 1.0, None),
        ("connect", 1.0, {}),
        ("connect", 1.0, {"app": 7.0}),
        (None, 1.0),
        (5.0,),
        ("createStream", 1.0, None),
        ("publish", 5.0, None, "cam", "live"),
    ],
)
def test_command_of_the_wrong_type_or_order_ends_the_connection(values: Sequence[Value]) -> None:
    """R17, R18."""
    with pytest.raises(PeerError):
        Peer(connected=False).call(0, *values)


def test_second_connect_ends_the_connection() -> None:
    with pytest.raises(PeerError):
        Peer().call(0, "connect", 1.0, {"app": "live"})


@pytest.mark.parametrize("name", [False, 7.0, None, {}, ["cam"]])
@pytest.mark.parametrize(("command", "code"), [
    ("publish", "NetStream.Publish.BadName"), ("play", "NetStream.Play.Failed"),
])  # fmt: skip
def test_name_that_is_no_string_is_refused_in_words(name: Value, command: str, code: str) -> None:
    peer = Peer()
    stream_id = peer.open_stream()
    assert peer.call(stream_id, command, 5.0, None, name) == []
    assert peer.codes()[-1] == code
    assert peer.call(stream_id, command, 6.0, None, "cam")  # and may try again


@pytest.mark.parametrize("stream_id", [0, 2, 0xFFFF_FFFF])
def test_publish_on_a_stream_that_is_not_there_is_refused_in_words(stream_id: int) -> None:
    peer = Peer()
    peer.open_stream()
    assert peer.call(stream_id, "publish", 5.0, None, "cam") == []
    assert peer.codes()[-1] == "NetStream.Publish.BadName"


def test_one_stream_does_one_thing() -> None:
    peer = Peer()
    stream_id = peer.open_stream()
    peer.call(stream_id, "publish", 5.0, None, "cam")
    assert peer.call(stream_id, "play", 6.0, None, "cam") == []
    assert peer.codes()[-1] == "NetStream.Play.Failed"


def test_streams_of_a_connection_are_bounded() -> None:
    peer = Peer()
    for _ in range(MAX_STREAMS):
        peer.open_stream()
    with pytest.raises(PeerError):
        peer.call(0, "createStream", 5.0, None)
    peer = Peer()
    for _ in range(3 * MAX_STREAMS):  # given back, they may be had again
        peer.call(0, "deleteStream", 0.0, None, float(peer.open_stream()))


def test_acknowledgements_are_neither_missing_nor_a_storm() -> None:
    """R12: windows of 0, 1 and all ones."""
    for window, expected in ((0, 6), (1, 6), (20_000, 5), (0xFFFF_FFFF, 0)):
        peer = Peer()
        window_bytes = window.to_bytes(4, "big")
        peer.say(Message(MessageType.WINDOW_ACK_SIZE, 0, 0, window_bytes))
        for _ in range(100):
            peer.say(Message(MessageType.DATA, 0, 0, bytes(1000)))
        acks = [message for message in peer.heard if message.kind == MessageType.ACK]
        assert abs(len(acks) - expected) <= 1


def test_pings_are_answered_at_a_bounded_rate() -> None:
    """R14."""
    peer = Peer()
    for number in range(100):
        peer.say(user_event(UserEvent.PING_REQUEST, number))
    for payload in (b"", b"\0\4", b"\xff\xff\0\0\0\0"):
        peer.say(Message(MessageType.USER_CONTROL, 0, 0, payload))
    pongs = [message for message in peer.heard if message.payload[:2] == b"\0\7"]
    assert len(pongs) == 10
    peer.say(user_event(UserEvent.PING_REQUEST, 7), now_us=2 * SECOND_US)
    assert peer.heard[-1].payload == b"\0\7\0\0\0\7"


def test_aggregate_is_split_with_its_own_time() -> None:
    def part(kind: int, stamp_ms: int, payload: bytes) -> bytes:
        head = bytes((kind,)) + len(payload).to_bytes(3, "big") + stamp_ms.to_bytes(3, "big")
        return head + bytes(4) + payload + (11 + len(payload)).to_bytes(4, "big")

    payload = part(9, 100, b"picture") + part(8, 123, b"sound") + part(8, 140, b"")
    found = split_aggregate(Message(MessageType.AGGREGATE, 1, 5_000, payload))
    assert [(m.kind, m.timestamp_ms, m.payload) for m in found] == [
        (9, 5_000, b"picture"),
        (8, 5_023, b"sound"),
        (8, 5_040, b""),
    ]


@pytest.mark.parametrize(
    "payload",
    [
        bytes.fromhex("09 ffffff 000000 00 000000 00"),
        bytes.fromhex("09 000000" + "00" * 11) * 5000,
        bytes.fromhex("77 000000" + "00" * 11) * 5000,  # nor may what is no media
    ],
)
def test_aggregate_that_leads_nowhere_is_refused(payload: bytes) -> None:
    """R23: beyond its end; without end."""
    with pytest.raises(PeerError):
        split_aggregate(Message(MessageType.AGGREGATE, 1, 0, payload))


def test_server_mutated_raises_only_peer_error() -> None:
    writer = ChunkWriter()
    said = [
        ("connect", 1.0, {"app": "live", "tcUrl": "rtmp://h/live"}),
        ("createStream", 2.0, None),
        ("publish", 3.0, None, "cam", "live"),
    ]
    messages = [
        Message(MessageType.COMMAND, int(name == "publish"), 0, encode(name, *rest))
        for name, *rest in said
    ]
    stream = b"".join(writer.write(message, 3) for message in messages)

    def parse(data: bytes) -> None:
        server = RtmpServer(NOISE)
        server.receive(b"\x03" + bytes(2 * 1536), 0)
        for start in range(0, len(data), 40):
            for event in server.receive(data[start : start + 40], 0):
                match event:
                    case ConnectAsked():
                        server.accept_connect()
                    case PublishAsked():
                        server.accept_publish(event.stream_id)
                    case PlayAsked():
                        server.accept_play(event.stream_id)
            server.take_output()

    assert_only_peer_error(parse, [stream])
