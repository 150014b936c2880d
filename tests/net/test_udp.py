"""The UDP pump with a toy core: echoes, resends on its own timer, refuses what is odd."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from http_site import until

from appliance.errors import PeerError
from appliance.net.address import bind_udp
from appliance.net.udp import DATAGRAMS_PER_TURN, UdpAddress, UdpPump


@dataclass
class Echo:
    """``later`` is echoed 50 ms later, ``bad`` is refused, all else is echoed at once."""

    output: list[tuple[bytes, UdpAddress]] = field(default_factory=list)
    delayed: list[tuple[int, UdpAddress]] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)

    def receive(self, data: bytes, peer: UdpAddress, now_us: int) -> list[bytes]:
        self.times_us.append(now_us)
        if data == b"bad":
            raise PeerError("odd")
        if data == b"bug":
            raise RuntimeError("ours")
        if data == b"late bug":
            self.delayed.append((now_us, ("", 0)))
            return []
        if data == b"later":
            self.delayed.append((now_us + 50_000, peer))
        else:
            self.output.append((data, peer))
        return [data]

    def handle_deadline(self, now_us: int) -> list[bytes]:
        assert self.delayed[0][0] <= now_us
        if not self.delayed[0][1][1]:
            raise RuntimeError("ours")
        self.output.append((b"now", self.delayed.pop(0)[1]))
        return [b"timer"]

    def deadline_us(self) -> int | None:
        return self.delayed[0][0] if self.delayed else None

    def take_output(self, now_us: int) -> list[tuple[bytes, UdpAddress]]:
        output, self.output = self.output, []
        return output


@dataclass
class Here:
    pump: UdpPump[bytes]
    client: socket.socket
    events: list[bytes]
    faults: list[tuple[str, str, str]]


@contextmanager
def echo_service() -> Iterator[Here]:
    (sock,) = bind_udp("127.0.0.1:0")
    events: list[bytes] = []
    faults: list[tuple[str, str, str]] = []
    address = sock.getsockname()
    pump = UdpPump("toy", sock, Echo(), events.append, lambda *fault: faults.append(fault))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        client.connect(address)
        try:
            yield Here(pump, client, events, faults)
        finally:
            pump.close()


async def test_udp_datagrams_are_handled_in_order_and_answered() -> None:
    loop = asyncio.get_running_loop()
    with echo_service() as here:
        sent = [bytes([n]) * n for n in range(200)]
        for data in sent:
            here.client.send(data)
        assert [await loop.sock_recv(here.client, 65536) for _ in sent] == sent
        assert here.events == sent
        assert here.pump.received_datagrams == 200 > DATAGRAMS_PER_TURN


async def test_udp_largest_datagram_is_whole() -> None:
    loop = asyncio.get_running_loop()
    with echo_service() as here:
        here.client.send(b"x" * 65_507)
        assert len(await loop.sock_recv(here.client, 65536)) == 65_507


async def test_udp_refused_datagram_is_counted_and_forgotten() -> None:
    loop = asyncio.get_running_loop()
    with echo_service() as here:
        for data in (b"bad", b"bad", b"good"):
            here.client.send(data)
        assert await loop.sock_recv(here.client, 65536) == b"good"
        assert here.faults == [("toy", "protocol error", "odd")] * 2


async def test_udp_fault_of_ours_costs_one_datagram_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of the core, as a datagram comes, or at its deadline, which stays due."""
    loop = asyncio.get_running_loop()
    with echo_service() as here:
        for data in (b"bug", b"bug", b"late bug", b"good"):
            here.client.send(data)
        assert await loop.sock_recv(here.client, 65536) == b"good"
        await until(lambda: len(here.faults) >= 3)
        assert {fault[:2] for fault in here.faults} == {("toy", "internal error")}
        assert caplog.text.count("please report it") == 1
        here.client.send(b"better")
        assert await loop.sock_recv(here.client, 65536) == b"better"
        assert len(here.faults) < 10, "what is due is not looked at without end"


async def test_udp_deadline_of_the_core_is_kept() -> None:
    loop = asyncio.get_running_loop()
    with echo_service() as here:
        started_s = loop.time()
        for _ in range(3):
            here.client.send(b"later")
        assert [await loop.sock_recv(here.client, 65536) for _ in range(3)] == [b"now"] * 3
        assert loop.time() - started_s >= 0.05
        assert here.events.count(b"timer") == 3


async def test_udp_peer_that_has_gone_is_no_fault_of_the_others() -> None:
    loop = asyncio.get_running_loop()
    with echo_service() as here:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            for _ in range(20):
                gone.sendto(b"x", here.client.getpeername())
        await until(lambda: here.pump.received_datagrams == 20)
        here.client.send(b"y")
        assert await loop.sock_recv(here.client, 65536) == b"y"
