"""GStreamer's ICE (libnice) against our agent: it takes our answer, connects, names its path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ice_port import Port, UdpPort, answered

from appliance.wire.ice.agent import IceState
from appliance.wire.ice.candidate import host_candidates

PEER = Path(__file__).parent / "gst_webrtc.py"


class Peer:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def hear(self) -> Any:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            return json.loads(await self.process.stdout.readline())

    def say(self, value: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")


@asynccontextmanager
async def gstreamer(role: str) -> AsyncIterator[Peer]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", PEER, role, stdin=pipe, stdout=pipe, limit=1 << 20
    )
    try:
        yield Peer(process)
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize("role", ["play", "publish"])
async def test_gstreamer_connects_by_udp(role: str) -> None:
    port = Port()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: UdpPort(port), local_addr=("127.0.0.1", 0)
    )
    number = transport.get_extra_info("sockname")[1]
    try:
        async with gstreamer(role) as peer:
            text = await peer.hear()
            ours = host_candidates(["127.0.0.1"], number, None)
            agent, answer = answered(port, text, ours, publishing=role == "publish")
            peer.say(answer.session.pack().decode())
            while await peer.hear() not in {"connected", "completed"}:
                pass
            await port.until(lambda: agent.selected is not None)
            async with asyncio.timeout(30):
                remote = await port.dtls.get()
            assert agent.state is IceState.CONNECTED
            assert port.directory.agent_of(remote) is agent
    finally:
        transport.close()
