"""Chromium's ICE against our agent, by UDP and by TCP: it takes our answer and connects."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

from chromium import Chromium
from webrtc_offers import OFFERS, offer

from appliance.media.h264 import H264Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Track
from appliance.wire.ice.agent import IceAgent, IceState, Remote
from appliance.wire.ice.candidate import Candidate, host_candidates
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.demux import PacketKind, packet_kind
from appliance.wire.ice.directory import IceDirectory
from appliance.wire.ice.framing import FrameReader, format_frame
from appliance.wire.sdp.webrtc import (
    Answer,
    LocalTransport,
    Sending,
    answer_player,
    answer_publisher,
)
from appliance.wire.sdp.webrtc_offer import Fingerprint, parse_offer

SPS = bytes.fromhex("6764001facd940a02ff97011000003000100000300320f183196")  # High 3.1
PPS = bytes.fromhex("68ebe3cb22c0")
SENDINGS = [
    Sending(Track(1, H264Config((SPS,), (PPS,))), 1111, 1112),
    Sending(Track(2, OpusConfig()), 2222, 2223),
]
TAKE = """
const [sdp, done] = arguments;
pc.setRemoteDescription({type: 'answer', sdp}).then(() => done('taken'), (e) => done(String(e)));
"""


@dataclass
class Port:
    """One UDP or TCP port with our agents behind it. dtls: where handshakes came from. named: a
    path was."""

    directory: IceDirectory = field(default_factory=IceDirectory)
    dtls: asyncio.Queue[Remote] = field(default_factory=asyncio.Queue)
    named: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, data: bytes, remote: Remote) -> bytes | None:
        match packet_kind(data):
            case PacketKind.STUN:
                checked = self.directory.receive(data, remote, time.monotonic_ns() // 1000)
                if checked and checked.is_moved:
                    self.named.set()
                return checked and checked.answer
            case PacketKind.DTLS:
                self.dtls.put_nowait(remote)
        return None


class UdpPort(asyncio.DatagramProtocol):
    def __init__(self, port: Port) -> None:
        self.port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if answer := self.port.answer(data, Remote(*address)):
            self.transport.sendto(answer, address)


class TcpPort(asyncio.Protocol):
    def __init__(self, port: Port) -> None:
        self.port, self.reader = port, FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.remote = Remote(*transport.get_extra_info("peername"), is_tcp=True)

    def data_received(self, data: bytes) -> None:
        for packet in self.reader.receive(data):
            if answer := self.port.answer(packet, self.remote):
                self.transport.write(format_frame(answer))


def answered(
    port: Port, text: str, candidates: list[Candidate], *, publishing: bool = False
) -> tuple[IceAgent, Answer]:
    credentials = Credentials("ourF", "ourPassword0123456789ab")
    agent = port.directory.add(credentials, time.monotonic_ns() // 1000)
    local = LocalTransport(credentials, Fingerprint("sha-256", bytes(32)), tuple(candidates))
    parsed = parse_offer(text)
    if publishing:
        return agent, answer_publisher(parsed, local, session_id=1)
    return agent, answer_player(parsed, local, SENDINGS, session_id=1, name="live/camera")


async def connect(
    browser: Chromium, port: Port, kind: str, candidates: list[Candidate]
) -> tuple[IceAgent, Answer, Remote]:
    """Once Chromium's handshake begins, which it does on a path it has found to work."""
    browser.open("data:text/html,<p>")
    text = await asyncio.to_thread(offer, browser, OFFERS[kind])
    agent, answer = answered(port, text, candidates, publishing=kind == "chromium_publish")
    sdp = answer.session.pack().decode()
    taken = await asyncio.to_thread(browser.driver.execute_async_script, TAKE, sdp)
    assert taken == "taken", sdp
    async with asyncio.timeout(30):
        remote = await port.dtls.get()
        await port.named.wait()
    connected = "['connected', 'completed'].includes(pc.iceConnectionState)"
    await asyncio.to_thread(browser.wait, connected)
    return agent, answer, remote


def agree(browser: Chromium) -> list[str]:
    """The directions that Chromium found, section by section."""
    found: list[str] = browser.run("return pc.getTransceivers().map((t) => t.currentDirection)")
    return found


async def by_udp(browser: Chromium, kind: str) -> Answer:
    port = Port()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: UdpPort(port), local_addr=("127.0.0.1", 0)
    )
    try:
        number = transport.get_extra_info("sockname")[1]
        candidates = host_candidates(["127.0.0.1"], number, None)
        agent, answer, remote = await connect(browser, port, kind, candidates)
        assert agent.state is IceState.CONNECTED
        assert port.directory.agent_of(remote) is agent
        assert agent.selected is not None and agent.selected.remote == remote
        assert port.directory.counters.damaged == port.directory.counters.refused == 0
        return answer
    finally:
        browser.run("pc.close()")
        transport.close()


async def test_player_in_chromium_connects_by_udp(browser: Chromium) -> None:
    answer = await by_udp(browser, "chromium_play_data")
    assert [section.codec.encoding for section in answer.sections] == ["H264", "OPUS"]


async def test_publisher_in_chromium_connects_by_udp(browser: Chromium) -> None:
    answer = await by_udp(browser, "chromium_publish")
    assert [section.codec.encoding for section in answer.sections] == ["H264", "OPUS"]


async def test_player_in_chromium_connects_by_tcp(browser: Chromium) -> None:
    port = Port()
    server = await asyncio.get_running_loop().create_server(lambda: TcpPort(port), "127.0.0.1", 0)
    try:
        number = server.sockets[0].getsockname()[1]
        candidates = host_candidates(["127.0.0.1"], None, number)
        agent, _, remote = await connect(browser, port, "chromium_play", candidates)
        assert remote.is_tcp
        assert agent.selected is not None and agent.selected.remote == remote
        assert agree(browser) == ["recvonly", "recvonly"]
    finally:
        browser.run("pc.close()")
        server.close()
        await server.wait_closed()
