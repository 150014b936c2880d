"""Accepting under caps, and with no descriptors left."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from http_site import LOOPBACK, echo_path, site, status, until

from appliance.net.accept import RESERVED_FDS, Caps, Doorkeeper
from appliance.net.http import HttpSettings


def test_doorkeeper_caps_one_peer_and_all() -> None:
    door = Doorkeeper(Caps(total=5, per_ip=2))
    assert [door.enter("192.0.2.1", 3) for _ in range(3)] == [
        None,
        None,
        "too many connections of one peer",
    ]
    assert [door.enter(f"192.0.2.{n}", 3) for n in (2, 3, 4)] == [None, None, None]
    assert door.enter("192.0.2.5", 3) == "too many connections"
    door.leave("192.0.2.1")
    assert door.enter("192.0.2.1", 3) is None


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.9.9.9", "::1", "10.0.0.2"])
def test_doorkeeper_loopback_and_exempt_peers_count_only_in_the_total(ip: str) -> None:
    door = Doorkeeper(Caps(total=5, per_ip=2, is_exempt=lambda ip: ip == "10.0.0.2"))
    assert [door.enter(ip, 3) for _ in range(6)] == [None] * 5 + ["too many connections"]


def test_doorkeeper_table_is_empty_when_all_have_left() -> None:
    door = Doorkeeper(Caps())
    for n in range(100):
        door.enter(f"192.0.2.{n}", 3)
    for n in range(100):
        door.leave(f"192.0.2.{n}")
    assert door.inside == 0
    assert not door.per_ip
    for _ in range(100):
        door.enter("192.0.2.1", 10**6)  # refused for want of descriptors
    assert not door.per_ip


@contextmanager
def descriptor_limit(free: int) -> Iterator[None]:
    """Only so many descriptors can still be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    fill = []
    while (fd := os.dup(0)) < highest:  # no gaps below
        fill.append(fd)
    fill.append(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 1 + free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fill:
            os.close(fd)


async def test_http_keeps_descriptors_in_reserve() -> None:
    with descriptor_limit(RESERVED_FDS + 40):
        async with site() as here:
            here.router.exact("GET", "/", echo_path)
            sockets = [socket.create_connection(("127.0.0.1", here.server.port)) for _ in range(30)]
            refused = None
            async with asyncio.timeout(5):
                while not refused:
                    sockets.append(socket.create_connection(("127.0.0.1", here.server.port)))
                    await asyncio.sleep(0)
                    refused = next(
                        (f for f in here.faults if f[1] == "descriptors exhausted"), None
                    )
            free = [os.dup(0) for _ in range(10)]  # what others open still works
            for fd in free:
                os.close(fd)
            for sock in sockets:
                sock.close()


async def test_http_without_descriptors_is_quiet_and_recovers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site(HttpSettings(listen=LOOPBACK)) as here:
        here.router.exact("GET", "/", echo_path)
        with socket.socket() as client, descriptor_limit(0):
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", here.server.port))
            await loop.sock_sendall(
                client, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            until_s = loop.time() + 1.2
            await until(lambda: loop.time() > until_s)
            assert 1 <= len(here.faults) <= 4
            assert {fault[1] for fault in here.faults} == {"descriptors exhausted"}
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            async with asyncio.timeout(5):
                answer = await loop.sock_recv(client, 4096)
            assert status(answer) == 200
    assert not [record for record in caplog.records if record.exc_info]
