"""Waiting for who was away: a connection is opened and ended at once, about every second.

A camera that has been off all night is shown a second after it listens, whatever the back-off has
grown to. One packet a second is nothing to a network; who listens is not knocked at again.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Who = TypeVar("Who")

KNOCK_S = 1.0  # at most, between two of them
PATIENCE_S = 2.0  # who swallows packets is asked anew; the system itself does once a second
MAX_ADDRESSES = 4  # of one name

SockAddress = tuple[Any, ...]  # as getaddrinfo gives it


async def first_listening(doors: Mapping[Who, tuple[str, int]]) -> Who:
    """Who of them listens, by host and port. Never returns if there is none."""
    knocks = {asyncio.create_task(_until_open(*at)): who for who, at in doors.items()}
    if not knocks:
        await asyncio.get_running_loop().create_future()
    return knocks[await _first(knocks)]


async def _first(knocks: Iterable[asyncio.Task[None]]) -> asyncio.Task[None]:
    try:
        done, _ = await asyncio.wait(knocks, return_when=asyncio.FIRST_COMPLETED)
        first = done.pop()
        first.result()
        return first
    finally:
        for one in knocks:
            one.cancel()
        await asyncio.gather(*knocks, return_exceptions=True)


async def _until_open(host: str, port: int) -> None:
    """The name is looked up once: a resolver is not asked every second."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        await loop.create_future()
    addresses = found[:MAX_ADDRESSES]
    await _first([asyncio.create_task(_until_listening(one[0], one[4])) for one in addresses])


async def _until_listening(family: int, at: SockAddress) -> None:
    loop = asyncio.get_running_loop()
    while True:
        next_s = loop.time() + KNOCK_S * random.uniform(0.8, 1.0)
        if await _is_listening(family, at):
            return
        await asyncio.sleep(next_s - loop.time())


async def _is_listening(family: int, at: SockAddress) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as knocking:
            knocking.setblocking(False)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.get_running_loop().sock_connect(knocking, at)
            # On loopback the system may have given us the very port that we knock at.
            return bool(knocking.getsockname() != knocking.getpeername())
    except (OSError, TimeoutError):
        return False
