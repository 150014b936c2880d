"""FLV over WebSocket: messages whole, pings answered between them, pages of other sites refused."""

from __future__ import annotations

import asyncio
import os

import aiohttp
import pytest
from live_site import NAME, VIDEO, LiveSite, Viewer, live_site, until

from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.media.unit import AccessUnit
from appliance.net import fanout
from appliance.net.fanout_sink import Buffer
from appliance.services.httpflv import Settings
from appliance.services.httpflv.websocket import WebSocketSink
from appliance.wire.websocket import ViewerFrames

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
BINARY, CLOSE = aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.CLOSE
PING = b"\x89\x82\0\0\0\0hi"


async def open_raw(site: LiveSite, *fields: str, target: str = f"/{NAME}.flv") -> Viewer:
    return await site.get(target, *UPGRADE, f"Sec-WebSocket-Key: {KEY}", *fields)


async def read_frame(viewer: Viewer) -> tuple[int, bytes]:
    first, size = await viewer.read(2)
    if size >= 126:
        size = int.from_bytes(await viewer.read(2 if size == 126 else 8), "big")
    return first, await viewer.read(size)


async def test_websocket_carries_what_http_carries() -> None:
    async with live_site() as site:
        show = site.publish()
        show.write(12)
        viewer = await site.get(f"/{NAME}.flv")
        async with site.socket() as socket:
            await until(lambda: len(site.live._watching) == 2)
            show.write(60)
            body = b""
            while b"<000071>" not in body:
                message = await socket.receive(20)
                assert message.type is BINARY
                body += message.data
            plain = await viewer.read(len(body))
        assert body[: len(plain)] == plain
        events = FlvDemuxer().receive(body)
        assert sum(isinstance(event, AccessUnit) for event in events) >= 120
        await until(lambda: len(site.sessions()) == 1)


async def test_websocket_viewer_in_a_crowd_gets_its_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To most of a crowd the kernel copies; messages still need their heads."""
    monkeypatch.setattr(fanout, "FILE_VIEWERS", 2)
    monkeypatch.setattr(fanout, "FILE_BYTES", 1)
    async with live_site() as site:
        show = site.publish()
        show.write(12)
        viewer = await site.get(f"/{NAME}.flv")
        async with site.socket() as socket:
            await until(lambda: len(site.live._watching) == 2)
            body = b""
            while b"<000020>" not in body:
                show.write(1)
                message = await socket.receive(20)
                assert message.type is BINARY
                body += message.data
            assert await viewer.read(len(body)) == body


async def test_websocket_message_larger_than_the_socket_arrives_whole() -> None:
    async with live_site(Settings(max_lag_us=60_000_000)) as site:
        show = site.publish(VIDEO, size_bytes=900_000)
        show.write(3)
        async with site.socket() as socket:
            body = b""
            for number in range(3, 12):
                await socket.ping(b"amid it all")
                while b"<%06d>" % (number - 1) not in body[-40:]:
                    message = await socket.receive(20)
                    assert message.type is BINARY
                    body += message.data
                show.write()
        assert len([e for e in FlvDemuxer().receive(body) if isinstance(e, AccessUnit)]) == 11


async def test_websocket_pings_are_answered_while_nothing_is_sent() -> None:
    async with live_site() as site:
        viewer = await open_raw(site)
        assert viewer.status == 101
        viewer.writer.write(PING)
        assert await read_frame(viewer) == (0x8A, b"hi")
        site.publish().write()
        assert (await read_frame(viewer))[0] == 0x82
        viewer.writer.write(PING[:3])
        viewer.writer.write(PING[3:])
        while (frame := await read_frame(viewer))[0] != 0x8A:
            pass
        assert frame == (0x8A, b"hi")


async def test_websocket_that_says_goodbye_is_answered_and_over() -> None:
    async with live_site() as site:
        site.publish().write()
        async with site.socket() as socket:
            await socket.receive(20)
            await socket.close()
            assert socket.close_code == 1000
        await site.gone()


async def test_websocket_that_says_goodbye_while_it_waits_is_over() -> None:
    async with live_site() as site:
        async with site.socket() as socket:
            await until(site.sessions)
            await socket.close()
            assert socket.close_code == 1000
        await site.gone()


async def test_websocket_ends_with_the_stream_and_says_so() -> None:
    async with live_site() as site:
        site.publish().write(3)
        async with site.socket() as socket:
            await socket.receive(20)
            site.hub.remove(NAME)
            while (message := await socket.receive(20)).type is BINARY:
                pass
            assert (message.type, message.data) == (CLOSE, 1001)
        await site.gone()


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x82\x00", b"\x82\xff" + b"\xff" * 12]
)
async def test_websocket_that_breaks_the_rules_is_ended(garbage: bytes) -> None:
    async with live_site() as site:
        site.publish().write(3)
        viewer = await open_raw(site)
        viewer.writer.write(garbage)
        assert (await viewer.rest()).endswith(b"\x88\x02\x03\xea")
        assert site.context.faults.counts["live", "malformed WebSocket frame"] == 1
        await site.gone()


async def test_websocket_that_uploads_small_messages_for_ever_costs_nothing() -> None:
    async with live_site() as site:
        show = site.publish()
        show.write(3)
        viewer = await open_raw(site)
        viewer.writer.write((b"\x82\xfe\x40\x00" + os.urandom(4) + bytes(0x4000)) * 100)
        async with asyncio.timeout(20):
            await viewer.writer.drain()
        show.write()
        await viewer.read_to(b"<000003>")


@pytest.mark.parametrize(
    ("origin", "public", "status"),
    [
        ("", False, 101),
        ("http://127.0.0.1", False, 101),
        ("http://evil.example", False, 403),
        ("http://127.0.0.1:81", False, 403),
        ("null", False, 403),
        ("http://evil.example", True, 101),
    ],
)
async def test_websocket_of_another_sites_page_is_refused_unless_public(
    origin: str, public: bool, status: int
) -> None:
    async with live_site(Settings(public=public)) as site:
        viewer = await open_raw(site, *([f"Origin: {origin}"] if origin else []))
        assert viewer.status == status
        if status == 101:
            assert viewer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        else:
            assert not site.sessions()


@pytest.mark.parametrize(
    ("offered", "taken"), [(None, None), ("flv, binary", "flv"), ("no token at all", None)]
)
async def test_websocket_takes_the_first_protocol_of_a_viewer(
    offered: str | None, taken: str | None
) -> None:
    async with live_site() as site:
        fields = [] if offered is None else [f"Sec-WebSocket-Protocol: {offered}"]
        viewer = await open_raw(site, *fields)
        assert viewer.headers.get("sec-websocket-protocol") == taken


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (UPGRADE, 400),
        ((*UPGRADE, "Sec-WebSocket-Key: short"), 400),
        ((*UPGRADE[:2], "Sec-WebSocket-Version: 8", f"Sec-WebSocket-Key: {KEY}"), 426),
        ((*UPGRADE[:2], f"Sec-WebSocket-Key: {KEY}"), 426),
    ],
)
async def test_websocket_handshake_that_is_none_is_refused(
    fields: tuple[str, ...], status: int
) -> None:
    async with live_site() as site:
        assert (await site.get(f"/{NAME}.flv", *fields)).status == status
        await site.gone()


async def test_websocket_that_stalls_is_ended() -> None:
    async with live_site(Settings(stall_us=1_000_000, max_lag_us=60_000_000)) as site:
        show = site.publish(VIDEO, size_bytes=200_000)
        show.write()
        viewer = await open_raw(site)
        transport = viewer.writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()
        await until(lambda: site.live._watching)
        while site.sessions():
            show.write()
            await asyncio.sleep(0.01)
        await site.gone()


class SmallSink:
    """Takes `room` bytes at a time."""

    def __init__(self) -> None:
        self.taken = b""
        self.room = 0
        self.callback: object = None
        self.closed = False

    def send(self, data: Buffer, /) -> int:
        count = min(self.room, len(data))
        if not count:
            raise BlockingIOError
        self.room -= count
        self.taken += bytes(data[:count])
        return count

    def watch(self, callback: object) -> None:
        assert self.callback is None
        self.callback = callback

    def unwatch(self) -> None:
        assert self.callback is not None
        self.callback = None

    def close(self) -> None:
        self.closed = True


def test_websocket_sink_sends_nothing_amid_a_message() -> None:
    small = SmallSink()
    sink = WebSocketSink(small)
    small.room = 3
    assert sink.send(b"abcdef") == 6  # taken, as its rest goes first
    sink.send_pong(b"1")
    sink.send_pong(b"2")
    with pytest.raises(BlockingIOError):
        sink.send(b"ghi")
    assert small.callback is not None
    small.room = 100
    assert callable(small.callback)
    small.callback()
    assert small.callback is None
    assert sink.send(b"ghi") == 3
    sink.close()
    assert small.taken == b"\x82\x06abcdef\x8a\x012\x82\x03ghi\x88\x02\x03\xe9"
    assert small.closed


def test_websocket_sink_that_is_full_closes_without_a_word() -> None:
    small = SmallSink()
    sink = WebSocketSink(small)
    small.room = 4
    sink.send(b"abcdef")
    sink.close()
    sink.send_pong(b"late")
    sink.close()
    assert small.taken == b"\x82\x06ab"
    assert small.callback is None


def test_viewer_frames_of_a_pong_are_not_events() -> None:
    assert ViewerFrames().receive(b"\x8a\x80\0\0\0\0", 0) == []
