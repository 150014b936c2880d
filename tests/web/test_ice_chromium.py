"""Chromium's ICE against our agent, by UDP and by TCP: it takes our answer and connects."""

from __future__ import annotations

import asyncio

from chromium import Chromium
from ice_port import Port, TcpPort, UdpPort, answered
from webrtc_offers import OFFERS, offer

from appliance.wire.ice.agent import IceAgent, IceState, Remote
from appliance.wire.ice.candidate import Candidate, host_candidates
from appliance.wire.ice.credentials import Credentials
from appliance.wire.sdp.webrtc import Answer
from appliance.wire.sdp.webrtc_offer import parse_offer

TAKE = """
const [sdp, done] = arguments;
pc.setRemoteDescription({type: 'answer', sdp}).then(() => done('taken'), (e) => done(String(e)));
"""
RESTART = """
const done = arguments[0];
pc.restartIce();
pc.setLocalDescription().then(() => done(pc.localDescription.sdp), (e) => done(String(e)));
"""


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
    await port.until(lambda: agent.selected is not None)
    connected = "['connected', 'completed'].includes(pc.iceConnectionState)"
    await asyncio.to_thread(browser.wait, connected)
    return agent, answer, remote


def agree(browser: Chromium) -> list[str]:
    """The directions that Chromium found, section by section."""
    found: list[str] = browser.run("return pc.getTransceivers().map((t) => t.currentDirection)")
    return found


async def by_udp(browser: Chromium, kind: str, host: str) -> Answer:
    """To one socket for IPv4 and IPv6."""
    port = Port()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: UdpPort(port), local_addr=("::", 0))
    try:
        number = transport.get_extra_info("sockname")[1]
        candidates = host_candidates([host], number, None)
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
    answer = await by_udp(browser, "chromium_play_data", "127.0.0.1")
    assert [section.codec.encoding for section in answer.sections] == ["H264", "OPUS"]


async def test_publisher_in_chromium_connects_by_udp(browser: Chromium) -> None:
    answer = await by_udp(browser, "chromium_publish", "::1")
    assert [section.codec.encoding for section in answer.sections] == ["H264", "OPUS"]


async def test_chromium_restarts_its_ice(browser: Chromium) -> None:
    port = Port()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: UdpPort(port), local_addr=("127.0.0.1", 0)
    )
    try:
        ours = host_candidates(["127.0.0.1"], transport.get_extra_info("sockname")[1], None)
        agent, answer, _ = await connect(browser, port, "chromium_play", ours)
        former, fresh = agent.local, Credentials("frsh", "freshPassword0123456789")
        again = await asyncio.to_thread(browser.driver.execute_async_script, RESTART)
        assert parse_offer(again).sections, "an offer again"
        port.directory.restart(agent, fresh)
        text = answer.session.pack().decode().replace(former.ufrag, fresh.ufrag)
        text = text.replace(former.password, fresh.password)
        taken = await asyncio.to_thread(browser.driver.execute_async_script, TAKE, text)
        assert taken == "taken", text
        await port.until(lambda: agent.former is None)
        assert agent.state is IceState.CONNECTED
    finally:
        browser.run("pc.close()")
        transport.close()


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
