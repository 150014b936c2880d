"""R27: peers that leave in any state, by any end, leave nothing behind: no object, task or file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from relay_site import Place, filming, place, until
from rtmp_peer import RtmpPeer, clip_tags

from appliance.hub.stream import Stream
from appliance.net import tcp_sessions
from appliance.net.fanout import FanOut, Viewer
from appliance.net.tcp import TcpConnection
from appliance.services.rtmp.player import Player
from appliance.services.rtmp.session import RtmpSession
from appliance.wire.rtmp.server import RtmpServer

TAGS = clip_tags("h264-small+aac")
COUNTED = (Stream, Viewer, FanOut, TcpConnection, RtmpSession, Player, RtmpServer)


def census() -> Counter[str]:
    """What there is of what a peer may make: our objects, tasks, descriptors."""
    gc.collect()
    found = Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, COUNTED))
    found["task"] = len(asyncio.all_tasks())
    found["descriptor"] = sum(1 for _ in Path(f"/proc/{os.getpid()}/fd").iterdir())
    return found


def nothing(_: RtmpPeer) -> None:
    pass


def half_greeting(peer: RtmpPeer) -> None:
    peer.sock.sendall(b"\x03" + bytes(700))


def greeting(peer: RtmpPeer) -> None:
    peer.greet()


def connect(peer: RtmpPeer) -> None:
    peer.greet()
    peer.connect()


def stream(peer: RtmpPeer) -> None:
    connect(peer)
    peer.create_stream()


def publishing(count: int) -> Callable[[RtmpPeer], None]:
    def run(peer: RtmpPeer) -> None:
        peer.greet()
        assert peer.publish("leaves") == "NetStream.Publish.Start"
        peer.send_tags(TAGS[:count])

    return run


def half_picture(peer: RtmpPeer) -> None:
    publishing(20)(peer)
    peer.sock.sendall(bytes.fromhex("06 000000 00ffff 09 01000000") + bytes(100))


def playing(name: str) -> Callable[[RtmpPeer], None]:
    def run(peer: RtmpPeer) -> None:
        peer.greet()
        peer.play(name)
        if name == "cam":
            peer.wait_status("NetStream.Play.Start")

    return run


def paused(peer: RtmpPeer) -> None:
    playing("cam")(peer)
    peer.call(1, "pause", 0.0, None, True, 0.0)
    peer.wait_status("NetStream.Pause.Notify")


STATES: dict[str, Callable[[RtmpPeer], None]] = {
    "connected": nothing,
    "half a greeting": half_greeting,
    "greeted": greeting,
    "an app": connect,
    "a stream": stream,
    "publishing nothing": publishing(0),
    "publishing headers": publishing(2),
    "publishing": publishing(50),
    "publishing half a picture": half_picture,
    "waiting": playing("nobody"),
    "playing": playing("cam"),
    "paused": paused,
}


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_close(sock: socket.socket) -> None:
    """And reads until the server has closed, too, or for as long as it shows something."""
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(0.2)
    try:
        while sock.recv(1 << 16):
            pass
    except OSError:
        pass
    sock.close()


ENDS = (reset, socket.socket.close, half_close)


def visit(
    at: Place, state: Callable[[RtmpPeer], None], end: Callable[[socket.socket], None]
) -> None:
    peer = RtmpPeer(at.rtmp_port, greet=False)
    state(peer)
    end(peer.sock)


@pytest.mark.parametrize("state", STATES)
async def test_peer_that_leaves_in_any_state_leaves_nothing(
    state: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_sessions, "TICK_S", 0.001)  # every visit is looked at
    caplog.set_level(logging.ERROR, "asyncio")  # its words on slow turns hold the task they tell of
    async with place() as here, filming(here):
        await asyncio.to_thread(visit, here, STATES[state], reset)  # what is made once, is made
        here.hub.sweep()
        await until(lambda: not here.context.sessions.active)
        counts = [census()]

        def is_steady() -> bool:
            """The film and the first visit have made what they make, three looks long."""
            counts.append(census())
            return counts[-3:] == 3 * [counts[-1]]

        await until(is_steady)
        before = counts[-1]
        for end in ENDS:
            await asyncio.to_thread(visit, here, STATES[state], end)

        left: Counter[str] = Counter()

        def is_as_before() -> bool:
            here.hub.remove("live/leaves")
            left.clear()
            left.update(census() - before)
            return not left

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await until(is_as_before)
        assert not left
        assert not here.context.sessions.active
        assert not here.context.faults.counts["rtmp", "internal error"]
