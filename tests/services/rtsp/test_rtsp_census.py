"""Peers that leave in any state, by any end, leave nothing behind: no object, task or file."""

from __future__ import annotations

import asyncio
import base64
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
from relay_site import filming, place, until
from rtsp_talk import TCP, RtspTalk

from appliance.hub.stream import Stream
from appliance.net import tcp_sessions
from appliance.net.datagram_fanout import DatagramFanOut, DatagramViewer
from appliance.net.fanout import FanOut, Viewer
from appliance.net.tcp import TcpConnection
from appliance.services import rtsp
from appliance.services.rtsp.announced import Announced
from appliance.services.rtsp.groups import Group, GroupPlaying
from appliance.services.rtsp.player import Player
from appliance.services.rtsp.playing import Playing
from appliance.services.rtsp.publishing import Publishing
from appliance.services.rtsp.session import RtspSession
from appliance.services.rtsp.viewing import Viewing
from appliance.wire.rtp.incoming import IncomingTrack
from appliance.wire.rtsp.server import RtspServer

COUNTED = (
    *(Stream, Viewer, FanOut, DatagramViewer, DatagramFanOut, TcpConnection, RtspSession, Player),
    *(RtspServer, Viewing, Announced, Playing, Group, GroupPlaying, Publishing, IncomingTrack),
)
SETTINGS = rtsp.Settings(listen=("127.0.0.1:0",), multicast="239.255.78.0/28")
KIND = "application/x-rtsp-tunnelled"
SDP = b"v=0\r\ns=-\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\n"
RECORD = f"{TCP};mode=record"
UDP = "Transport: RTP/AVP;unicast;client_port=46000-46001"
GROUP = "Transport: RTP/AVP;multicast"
VOICE = b"\x80\x00\x00\x01" + bytes(8) + b"\x55" * 160


def census() -> Counter[str]:
    """What there is of what a peer may make: our objects, tasks, descriptors."""
    gc.collect()
    found = Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, COUNTED))
    found["task"] = len(asyncio.all_tasks())
    found["descriptor"] = sum(1 for _ in Path(f"/proc/{os.getpid()}/fd").iterdir())
    return found


def nothing(_: RtspTalk) -> None:
    pass


def half_request(talk: RtspTalk) -> None:
    talk.sock.sendall(talk.format("OPTIONS")[:20])


def options(talk: RtspTalk) -> None:
    assert talk.ask("OPTIONS")[0] == 200


def described(talk: RtspTalk) -> None:
    assert talk.ask("DESCRIBE")[0] == 200


def waiting(talk: RtspTalk) -> None:
    talk.write("DESCRIBE", url=talk.url.replace("/cam", "/nobody"))


def set_up(way: str) -> Callable[[RtspTalk], None]:
    def run(talk: RtspTalk) -> None:
        described(talk)
        assert talk.ask("SETUP", way, url=f"{talk.url}/trackID=1")[0] == 200

    return run


def playing(way: str) -> Callable[[RtspTalk], None]:
    def run(talk: RtspTalk) -> None:
        talk.play(way)
        if way == TCP:
            talk.frame()

    return run


def paused(talk: RtspTalk) -> None:
    playing(TCP)(talk)
    assert talk.ask("PAUSE")[0] == 200


def announced(talk: RtspTalk) -> None:
    talk.url = talk.url.replace("/cam", "/pushed")
    code, _ = talk.ask("ANNOUNCE", "Content-Type: application/sdp", body=SDP)
    assert code == 200


def recording(way: str, *frames: bytes) -> Callable[[RtspTalk], None]:
    def run(talk: RtspTalk) -> None:
        announced(talk)
        assert talk.ask("SETUP", f"{way};mode=record", url=f"{talk.url}/trackID=1")[0] == 200
        assert talk.ask("RECORD")[0] == 200
        talk.sock.sendall(b"".join(b"$\0" + len(f).to_bytes(2, "big") + f for f in frames))

    return run


def half_frame(talk: RtspTalk) -> None:
    recording(TCP, VOICE)(talk)
    talk.sock.sendall(b"$\0\x04\0" + VOICE)


def half_tunnel(talk: RtspTalk) -> None:
    lines = f"GET / HTTP/1.0\r\nx-sessioncookie: c\r\nAccept: {KIND}\r\n\r\n"
    talk.sock.sendall(lines.encode())
    assert b"200 OK" in talk.sock.recv(4096)


def tunnel(talk: RtspTalk) -> None:
    """Whose other half goes first."""
    half_tunnel(talk)
    port = talk.sock.getpeername()[1]
    lines = f"POST / HTTP/1.0\r\nx-sessioncookie: c\r\nContent-Type: {KIND}\r\n\r\n"
    with RtspTalk(port) as other:
        other.sock.sendall(lines.encode() + base64.b64encode(talk.format("DESCRIBE")))
        assert talk.read()[0] == 200
        url = f"{talk.url}/trackID=1"
        other.sock.sendall(base64.b64encode(talk.format("SETUP", TCP, url=url)))
        assert talk.read()[0] == 200
        other.sock.sendall(base64.b64encode(talk.format("PLAY")))
        assert talk.read()[0] == 200


STATES: dict[str, Callable[[RtspTalk], None]] = {
    "connected": nothing,
    "half a request": half_request,
    "options": options,
    "waiting": waiting,
    "described": described,
    "set up": set_up(TCP),
    "set up by UDP": set_up(UDP),
    "set up by multicast": set_up(GROUP),
    "playing": playing(TCP),
    "playing by UDP": playing(UDP),
    "playing by multicast": playing(GROUP),
    "paused": paused,
    "announced": announced,
    "recording nothing": recording(TCP),
    "recording": recording(TCP, VOICE, VOICE),
    "recording by UDP": recording(UDP),
    "half a frame": half_frame,
    "half a tunnel": half_tunnel,
    "tunnel": tunnel,
}


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def half_close(sock: socket.socket) -> None:
    """And reads until the server has closed, too, or for as long as it shows something."""
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(0.2)
    with contextlib.suppress(OSError):
        while sock.recv(1 << 16):
            pass
    sock.close()


def visit(
    port: int, state: Callable[[RtspTalk], None], end: Callable[[socket.socket], None]
) -> None:
    talk = RtspTalk(port, "live/cam")
    state(talk)
    end(talk.sock)


@pytest.mark.parametrize("state", STATES)
async def test_peer_that_leaves_in_any_state_leaves_nothing(
    state: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_sessions, "TICK_S", 0.001)  # every visit is looked at
    caplog.set_level(logging.ERROR, "asyncio")  # its words on slow turns hold the task they tell of
    async with place(serves=False, pulls=None) as here, filming(here):
        service = rtsp.create(SETTINGS, here.context)
        await service.start()
        port = int(service.addresses[0].rpartition(":")[2])
        try:
            await asyncio.to_thread(visit, port, STATES[state], reset)  # what is made once, is made
            await until(lambda: not here.context.sessions.active)
            counts: list[Counter[str]] = []

            def is_steady() -> bool:
                """The film and the first visit have made what they make, three looks long."""
                here.hub.remove("live/pushed")
                counts.append(census())
                return counts[-3:] == 3 * [counts[-1]]

            await until(is_steady)
            before = counts[-1]
            for end in (reset, socket.socket.close, half_close):
                await asyncio.to_thread(visit, port, STATES[state], end)
                await until(lambda: not here.context.sessions.active)
            left: Counter[str] = Counter()

            def is_as_before() -> bool:
                here.hub.remove("live/pushed")
                left.clear()
                left.update(census() - before)
                return not left

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await until(is_as_before)
            assert not left
            assert not here.context.faults.counts["rtsp", "internal error"]
        finally:
            await service.stop()
