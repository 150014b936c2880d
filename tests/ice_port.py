"""A UDP or TCP port with our ICE agents behind it, and our answer to a peer's offer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from appliance.media.h264 import H264Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Track
from appliance.wire.ice.agent import IceAgent, Remote
from appliance.wire.ice.candidate import Candidate
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.demux import PacketKind, packet_kind
from appliance.wire.ice.directory import Checked, IceDirectory
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


@dataclass
class Port:
    """One UDP or TCP port with our agents behind it. dtls: where handshakes came from."""

    directory: IceDirectory = field(default_factory=IceDirectory)
    dtls: asyncio.Queue[Remote] = field(default_factory=asyncio.Queue)
    checks: asyncio.Queue[Checked] = field(default_factory=asyncio.Queue)

    def answer(self, data: bytes, remote: Remote) -> bytes | None:
        match packet_kind(data):
            case PacketKind.STUN:
                checked = self.directory.receive(data, remote, time.monotonic_ns() // 1000)
                if checked:
                    self.checks.put_nowait(checked)
                return checked and checked.answer
            case PacketKind.DTLS:
                self.dtls.put_nowait(remote)
        return None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Looked at again after each check that was answered."""
        async with asyncio.timeout(30):
            while not condition():
                await self.checks.get()


class UdpPort(asyncio.DatagramProtocol):
    def __init__(self, port: Port) -> None:
        self.port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if answer := self.port.answer(data, Remote(*address[:2])):
            self.transport.sendto(answer, address)


class TcpPort(asyncio.Protocol):
    def __init__(self, port: Port) -> None:
        self.port, self.reader = port, FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.remote = Remote(*transport.get_extra_info("peername")[:2], is_tcp=True)

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
