"""How often a publisher is read, and how much of it at a time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from relay_site import CAM, Place, place, until
from rtmp_peer import RtmpPeer, clip_tags

from appliance.net.tcp import READ_EARLY_BYTES, TcpConnection
from appliance.services.rtmp.core import RtmpCore
from appliance.services.rtmp.session import RtmpSession
from appliance.services.rtmp.settings import TURN_BYTES
from appliance.wire.rtmp.events import Event
from appliance.wire.rtmp.message import MessageType

TAGS = clip_tags("h264-small+aac")


def least_read() -> int:
    """Of how many bytes the kernel tells the publisher's session."""
    connections = (
        one for one in gc.get_objects() if isinstance(one, TcpConnection) and one.pace is not None
    )
    sock = next(connections).socket
    assert sock is not None
    return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))


@contextlib.contextmanager
def publishing(at: Place) -> Iterator[None]:
    """A tag each few milliseconds, from a thread."""
    over = threading.Event()

    def run() -> None:
        with RtmpPeer(at.rtmp_port) as peer:
            assert peer.publish("cam") == "NetStream.Publish.Start"
            shift_ms = 0
            while True:
                for kind, timestamp_ms, body in TAGS:
                    if over.wait(0.005):
                        return
                    peer.send_tags([(kind, timestamp_ms + shift_ms, body)])
                shift_ms += TAGS[-1][1] + 33

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.asynccontextmanager
async def published() -> AsyncIterator[Place]:
    async with place() as here:
        with publishing(here):
            await until(lambda: CAM in here.hub.streams and here.stream.units.items)
            yield here


async def test_publisher_that_nobody_watches_is_read_seldom() -> None:
    async with published():
        await until(lambda: least_read() == READ_EARLY_BYTES)


@pytest.mark.parametrize("form", ["rtmp", "flv"])
async def test_publisher_is_read_at_once_for_few_and_seldom_for_a_crowd(form: str) -> None:
    async with published() as here:
        if form == "rtmp":
            player = await asyncio.to_thread(RtmpPeer, here.rtmp_port)
            await asyncio.to_thread(player.play, "cam")
            sock = player.sock
        else:
            sock = socket.create_connection(("127.0.0.1", here.http_port))
            sock.sendall(b"GET /live/cam.flv HTTP/1.1\r\nHost: h\r\n\r\n")
        with sock:
            await until(lambda: here.stream.demand.viewers == 1)
            assert here.stream.patience_us() == 0
            rendition = next(one for one in here.stream.renditions.values() if one.demand.viewers)
            assert rendition.patience_us is not None
            for service in here.services:
                pools = [*getattr(service, "pools", {}).values(), getattr(service, "pool", None)]
                for pool in filter(None, pools):
                    pool.use(type(pool._settings)(few_viewers=0, many_viewers=1))
            assert here.stream.patience_us() > 0


async def test_publisher_that_has_gone_is_noticed_at_once_though_it_is_read_seldom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RtmpSession, "_pace_s", lambda _: 3600.0)
    async with place() as here:
        with await asyncio.to_thread(RtmpPeer, here.rtmp_port) as peer:
            await asyncio.to_thread(peer.publish, "cam")
            peer.send_tags(TAGS[:20])
            await until(lambda: least_read() == READ_EARLY_BYTES)
        await until(lambda: here.stream.publisher is None)


async def test_publisher_of_tiny_messages_leaves_others_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[int] = []
    receive = RtmpCore.receive

    def receive_turn(core: RtmpCore, data: bytes) -> list[Event]:
        turns.append(len(data))
        return receive(core, data)

    monkeypatch.setattr(RtmpCore, "receive", receive_turn)
    async with place() as here:
        with await asyncio.to_thread(RtmpPeer, here.rtmp_port) as peer:
            await asyncio.to_thread(peer.publish, "cam")
            peer.send_tags(TAGS[:2])
            tiny = 40_000 * [(MessageType.AUDIO, 0, b"\xaf\x01\x01\x01\x01")]
            await asyncio.to_thread(peer.send_tags, tiny)
            await until(lambda: sum(turns) > 12 * len(tiny))
    assert max(turns) == TURN_BYTES
