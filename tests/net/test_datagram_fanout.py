"""The fan-out of datagrams: with scripted receivers, and to a socket that cuts them up."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from http_site import until
from test_fanout import Tags

from appliance.net.datagram_fanout import BURST_BYTES, DatagramFanOut
from appliance.net.datagrams import DatagramSender
from appliance.net.fanout import End, FanOutSettings


class Receiver:
    """Takes what it is sent; room: how many chunks more it has room for; fault: of the network."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.room = 1_000_000
        self.fault: int | None = None

    def __call__(self, data: bytes) -> None:
        if self.fault is not None:
            raise OSError(self.fault, "cannot")
        if not self.room:
            raise BlockingIOError
        self.room -= 1
        self.got.append(data)


@asynccontextmanager
async def running(tags: Tags, **settings: int) -> AsyncIterator[DatagramFanOut]:
    fanout = DatagramFanOut(tags, lambda tag: tag.data, FanOutSettings(**settings))
    task = asyncio.create_task(fanout.run())
    try:
        yield fanout
    finally:
        task.cancel()
        await asyncio.wait([task])


def data_of(tags: Tags, start: int = 0) -> list[bytes]:
    return [tag.data for tag in tags.tags[start:]]


async def test_viewers_get_all_from_the_newest_key_on() -> None:
    tags = Tags()
    for number in range(5):
        tags.push(key=number in {0, 3})
    async with running(tags) as fanout:
        first, second = Receiver(), Receiver()
        fanout.add(first)
        fanout.add(second)
        assert first.got == second.got == data_of(tags, 3)
        tags.push()
        await until(lambda: len(second.got) == 3)
        assert first.got == second.got == data_of(tags, 3)


async def test_joiner_without_a_key_waits_for_one() -> None:
    tags = Tags()
    tags.push()
    async with running(tags) as fanout:
        receiver = Receiver()
        viewer = fanout.add(receiver)
        tags.push()
        await asyncio.sleep(0)
        assert viewer.needs_key
        tags.push(key=True)
        await until(lambda: len(receiver.got) == 1)
        assert receiver.got == data_of(tags, 2)
        assert viewer.lost_units == 0


async def test_backlog_goes_out_in_bursts() -> None:
    tags = Tags()
    for number in range(20):
        tags.push(key=not number, size=10_000)
    async with running(tags) as fanout:
        receiver = Receiver()
        fanout.add(receiver)
        assert len(receiver.got) * 10_000 <= BURST_BYTES + 10_000
        await until(lambda: len(receiver.got) == 20)
        assert receiver.got == data_of(tags)


async def test_full_socket_is_tried_again_with_the_same_chunk() -> None:
    tags = Tags()
    tags.push(key=True)
    async with running(tags) as fanout:
        receiver = Receiver()
        receiver.room = 0
        viewer = fanout.add(receiver)
        tags.push()
        assert not receiver.got
        receiver.room = 10
        await until(lambda: len(receiver.got) == 2)
        assert receiver.got == data_of(tags)
        assert viewer.lost_units == 0


async def test_late_viewer_jumps_to_the_newest_key() -> None:
    tags = Tags()
    tags.push(key=True)
    async with running(tags, max_lag_us=200_000) as fanout:
        receiver = Receiver()
        receiver.room = 0
        viewer = fanout.add(receiver)
        for number in range(1, 20):
            tags.push(key=number == 15)
        await asyncio.sleep(0)
        receiver.room = 100
        await until(lambda: len(receiver.got) == 5)
        assert receiver.got == data_of(tags, 15)
        assert viewer.lost_units == 15


async def test_fault_of_the_network_loses_a_chunk_and_no_viewer() -> None:
    tags = Tags()
    tags.push(key=True)
    async with running(tags) as fanout:
        receiver = Receiver()
        receiver.fault = errno.ENETUNREACH
        viewer = fanout.add(receiver)
        receiver.fault = None
        tags.push()
        await until(lambda: len(receiver.got) == 1)
        assert (viewer.lost_units, viewer.end) == (1, None)


async def test_end_of_the_ring_ends_its_viewers_and_removal_tells_nobody() -> None:
    tags = Tags()
    tags.push(key=True)
    ends: list[End] = []
    async with running(tags) as fanout:
        stays, leaves = fanout.add(Receiver()), fanout.add(Receiver())
        stays.on_end = leaves.on_end = ends.append
        fanout.remove(leaves)
        tags.close()
        await until(lambda: stays.end is not None)
    assert ends == [End.STREAM]
    assert leaves.end is End.REMOVED


@dataclass(frozen=True)
class Cut:
    start: int
    end: int
    size: int


async def test_sender_cuts_up_what_the_kernel_cuts_up_and_what_it_does_not() -> None:
    data = bytearray(range(250))
    cuts = [Cut(0, 10, 10), Cut(10, 250, 100)]
    expected = [bytes(data[a:b]) for a, b in ((0, 10), (10, 110), (110, 210), (210, 250))]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        sender = DatagramSender(sock)
        for can_segment in (True, False):
            sender.can_segment = can_segment
            sender.send(data, cuts, receiver.getsockname())
            assert [receiver.recv(2048) for _ in expected] == expected
