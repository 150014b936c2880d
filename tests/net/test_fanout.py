"""The fan-out over socket pairs and loopback, with FLV-like chunks in a small ring."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
from http_site import until

from appliance.net.fanout import (
    FILE_BYTES,
    FILE_VIEWERS,
    End,
    FanOut,
    FanOutSettings,
    Viewer,
)
from appliance.net.fanout_sink import NOTSENT_LOWAT_BYTES, SocketSink, TransportSink, sink_of

SMALL = 32 << 10  # bytes of socket buffer that a few tags of 50 kB fill


@dataclass
class Tag:
    data: bytes
    key: bool
    header: bytes
    dts_us: int


class Wake:
    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        self.waiters.append(asyncio.get_running_loop().create_future())
        await self.waiters[-1]

    def fire(self) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Tags:
    """A ring of at most `keep` tags, numbered, 40 ms apart; the number is in the tag's bytes."""

    def __init__(self, keep: int = 1000) -> None:
        self.keep = keep
        self.first = 0
        self.tags: list[Tag] = []
        self.closed = False
        self.signal = Wake()
        self.header = b"<header 0>"

    @property
    def next(self) -> int:
        return self.first + len(self.tags)

    def __getitem__(self, sequence: int) -> Tag:
        assert sequence >= self.first
        return self.tags[sequence - self.first]

    def since(self, sequence: int) -> list[Tag]:
        return self.tags[max(0, sequence - self.first) :]

    def keys(self) -> Iterator[int]:
        return (self.first + index for index, tag in enumerate(self.tags) if tag.key)

    def last_key(self) -> int | None:
        return max(self.keys(), default=None)

    def next_key(self, sequence: int) -> int | None:
        return min((key for key in self.keys() if key >= sequence), default=None)

    def lag_us(self, sequence: int) -> int:
        return (self.next - 1 - max(sequence, self.first)) * 40_000

    def push(self, *, key: bool = False, size: int = 0) -> int:
        number = self.next
        mark = f"<{'key' if key else 'tag'} {number}>".encode()
        self.tags.append(Tag(mark + bytes(max(0, size - len(mark))), key, self.header, number))
        if len(self.tags) > self.keep:
            del self.tags[0]
            self.first += 1
        self.signal.fire()
        return number

    def close(self) -> None:
        self.closed = True
        self.signal.fire()


class Dummy:
    """A sink that takes everything."""

    def send(self, data: bytes | memoryview, /) -> int:
        return len(data)

    def watch(self, callback: object) -> None:
        raise AssertionError

    def unwatch(self) -> None: ...
    def close(self) -> None: ...


@asynccontextmanager
async def running(ring: Tags, settings: FanOutSettings | None = None) -> AsyncIterator[FanOut]:
    fanout = FanOut(ring, settings, renew=lambda header: b"<renewed " + header[1:])
    task = asyncio.create_task(fanout.run())
    try:
        yield fanout
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert not fanout.viewers


@contextmanager
def pair(buffer_bytes: int = 0) -> Iterator[tuple[SocketSink, socket.socket]]:
    """A sink and the viewer's end of it; a small buffer makes it full soon."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as viewer:
        if buffer_bytes:
            viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        viewer.connect(listener.getsockname())
        served, _ = listener.accept()
        viewer.setblocking(False)
        with served:
            yield SocketSink(served), viewer


async def a_turn() -> None:
    """Long enough for the fan-out to send and a viewer to read."""
    for _ in range(6):
        await asyncio.sleep(0)


async def read_until(viewer: socket.socket, mark: bytes) -> bytes:
    """What arrives, padding dropped, up to a mark."""
    loop = asyncio.get_running_loop()
    data = b""
    async with asyncio.timeout(10):
        while mark not in data:
            received = await loop.sock_recv(viewer, 1 << 20)
            assert received, data
            data += received.replace(b"\0", b"")
    return data


async def read_all(viewer: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while received := await loop.sock_recv(viewer, 1 << 20):
        data += received.replace(b"\0", b"")
    return data


async def test_fanout_joiner_starts_with_header_and_newest_key() -> None:
    ring = Tags()
    for key in (True, False, True, False):
        ring.push(key=key)
    with pair() as (sink, viewer):
        async with running(ring) as fanout:
            fanout.add(sink)
            assert await read_until(viewer, b"<tag 3>") == b"<header 0><key 2><tag 3>"
            ring.push()
            assert await read_until(viewer, b"<tag 4>") == b"<tag 4>"


async def test_fanout_joiner_of_a_ring_without_key_waits_for_the_next() -> None:
    ring = Tags()
    ring.push()
    with pair() as (sink, viewer):
        async with running(ring) as fanout:
            joined = fanout.add(sink)
            ring.push()
            await asyncio.sleep(0)
            ring.push()
            ring.push(key=True)
            ring.push()
            assert await read_until(viewer, b"<tag 4>") == b"<header 0><key 3><tag 4>"
            assert joined.lost_units == 0


async def test_fanout_many_viewers_all_get_every_byte_once() -> None:
    ring = Tags()
    ring.push(key=True)
    viewers: list[socket.socket] = []
    async with running(ring, FanOutSettings(few_viewers=5, many_viewers=10)) as fanout:
        for _ in range(150):  # more than one turn of the flush
            served, viewer = socket.socketpair()
            viewer.setblocking(False)
            viewers.append(viewer)
            fanout.add(SocketSink(served))
        assert fanout.interval_us == 100_000
        for _ in range(30):
            ring.push(size=100)
            await asyncio.sleep(0.005)
        ring.close()
        await until(lambda: not fanout.viewers)
    expected = b"<header 0><key 0>" + b"".join(b"<tag %d>" % n for n in range(1, 31))
    for viewer in viewers:
        assert await read_all(viewer) == expected
        viewer.close()


def refuse(*_: object) -> int:
    raise OSError("no descriptor is left")


@pytest.mark.parametrize("has_files", [True, False])
async def test_fanout_crowd_is_sent_from_a_file_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, has_files: bool
) -> None:
    """One whose socket takes a part of it gets the rest as the others do."""
    taken: list[int] = []

    def sendfile(*arguments: int, send: Callable[..., int] = os.sendfile) -> int:
        taken.append(send(*arguments))
        return taken[-1]

    monkeypatch.setattr(os, "sendfile", sendfile)
    if not has_files:
        monkeypatch.setattr(os, "memfd_create", refuse)
    ring = Tags()
    ring.push(key=True)
    size = 20 * FILE_BYTES  # more than the slow one's buffers hold, less than the others' do
    with pair(SMALL) as (slow, reader), ExitStack() as opened:
        readers = [reader]
        async with running(ring, FanOutSettings(few_viewers=FILE_VIEWERS + 1)) as fanout:
            fanout.add(slow)
            for _ in range(FILE_VIEWERS):
                served, viewer = socket.socketpair()
                viewer.setblocking(False)
                readers.append(opened.enter_context(viewer))
                fanout.add(SocketSink(served))
            for _ in range(2):
                ring.push(size=size)
                await a_turn()
            ring.close()
            everything = await asyncio.gather(*map(read_all, readers))
    assert set(everything) == {b"<header 0><key 0><tag 1><tag 2>"}
    assert bool(taken) == has_files
    assert not has_files or (max(taken) == size and any(0 < count < size for count in taken))


async def test_fanout_batches_are_joined_once_for_viewers_at_one_place() -> None:
    ring = Tags()
    ring.push(key=True)
    seen: list[int] = []

    class Recorder(Dummy):
        def send(self, data: bytes | memoryview) -> int:
            seen.append(id(data))
            return len(data)

    async with running(ring) as fanout:
        for _ in range(20):
            fanout.add(Recorder())
        seen.clear()
        ring.push()
        ring.push()
        await until(lambda: len(seen) == 20)
        assert len(set(seen)) == 1


@pytest.mark.parametrize(("count", "interval_us"), [(1, 0), (20, 0), (85, 50_000), (900, 100_000)])
async def test_fanout_interval_grows_with_viewers(count: int, interval_us: int) -> None:
    fanout = FanOut(Tags())
    for _ in range(count):
        fanout.viewers[Viewer(Dummy(), 0, 0)] = None
    assert fanout.interval_us == interval_us


async def test_fanout_tells_when_its_next_flush_is_worth_a_read() -> None:
    settings = FanOutSettings(few_viewers=0, many_viewers=1, max_interval_us=1000_000_000)
    ring = Tags()
    async with running(ring, settings) as fanout:
        assert fanout.patience_us() == 0  # nobody watches
        fanout.add(Dummy())
        assert 900e6 < fanout.patience_us() < 1000e6  # what comes now is sent, and then it rests
        ring.push(key=True)
        await until(lambda: next(iter(fanout.viewers)).position == 1)
        assert 0 < fanout.patience_us() < 1000e6
        fanout.settings = FanOutSettings()
    few = FanOut(Tags())
    few.add(Dummy())
    assert few.patience_us() == 0


async def test_fanout_slow_viewer_keeps_its_backlog_in_the_ring_and_gets_all_of_it() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair(SMALL) as (sink, viewer):
        async with running(ring) as fanout:
            slow = fanout.add(sink)
            for _ in range(60):
                ring.push(size=50_000)
                await asyncio.sleep(0)
            assert slow.rest is not None
            assert len(slow.rest) <= 50_000
            data = await read_until(viewer, b"<tag 60>")
            assert data == b"<header 0><key 0>" + b"".join(b"<tag %d>" % n for n in range(1, 61))
            await until(lambda: slow.stuck_since_s is None)
            assert slow.lost_units == 0
            ring.push()
            assert await read_until(viewer, b"<tag 61>") == b"<tag 61>"


async def test_fanout_viewer_too_late_jumps_to_the_newest_key_between_whole_tags() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair(SMALL) as (sink, viewer), pair() as (quick_sink, quick):
        async with running(ring) as fanout:
            late = fanout.add(sink)
            fanout.add(quick_sink)
            reading = asyncio.create_task(read_until(quick, b"<tag 102>"))
            for _ in range(100):  # 4 s
                ring.push(size=50_000)
                await a_turn()
            key = ring.push(key=True, size=100)
            ring.push()
            assert (await reading).count(b"<tag") == 101, "the other misses nothing"
            data = await read_until(viewer, b"<tag 102>")
    tags = data.split(b">")
    jump = tags.index(b"<key %d" % key)
    assert late.lost_units == key - (jump - 1) > 0
    assert tags[:jump] == [b"<header 0", b"<key 0", *[b"<tag %d" % n for n in range(1, jump - 1)]]
    assert tags[jump:] == [b"<key 101", b"<tag 102", b""], "no header again: it is the same"


async def test_fanout_jump_over_a_change_of_header_gets_the_new_one() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair(SMALL) as (sink, viewer), pair() as (quick_sink, quick):
        async with running(ring) as fanout:
            fanout.add(sink)
            fanout.add(quick_sink)
            reading = asyncio.create_task(read_until(quick, b"<key 101>"))
            for _ in range(100):
                ring.push(size=50_000)
                await a_turn()
            ring.header = b"<header 1>"
            ring.push(key=True)
            data = await read_until(viewer, b"<key 101>")
            assert data.endswith(b">" + b"<renewed header 1><key 101>")
            assert b"header 1" not in await reading, "in its tags already"


async def test_fanout_viewer_overtaken_by_eviction_goes_to_the_next_key_held() -> None:
    ring = Tags(keep=20)
    ring.push(key=True)
    with pair(SMALL) as (sink, viewer):
        settings = FanOutSettings(max_lag_us=10**12)
        async with running(ring, settings) as fanout:
            late = fanout.add(sink)
            for number in range(1, 101):
                ring.push(key=number % 10 == 0, size=50_000)
                await asyncio.sleep(0)
            data = await read_until(viewer, b"<key 100>")
    assert b"<key 90>" in data
    assert late.lost_units > 0
    assert late.lost_units + data.count(b"<tag") + data.count(b"<key") == 101


async def test_fanout_stalled_viewer_is_ended_and_the_others_go_on() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair(SMALL) as (sink, _), pair() as (good_sink, good):
        async with running(ring, FanOutSettings(stall_us=200_000)) as fanout:
            stalled = fanout.add(sink)
            fanout.add(good_sink)
            reading = asyncio.create_task(read_until(good, b"<tag 41>"))
            for _ in range(40):
                ring.push(size=50_000)
                await a_turn()
            async with asyncio.timeout(5):
                assert await stalled.wait() is End.STALLED
            assert len(fanout.viewers) == 1
            ring.push()
            assert (await reading).count(b"<tag") == 41


async def test_fanout_viewer_that_leaves_is_ended() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair() as (sink, viewer):
        async with running(ring) as fanout:
            gone = fanout.add(sink)
            viewer.close()
            while gone.end is None:
                ring.push(size=1000)
                await asyncio.sleep(0.001)
            assert gone.end is End.GONE


async def test_fanout_removed_viewer_gets_nothing_more() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair() as (sink, viewer):
        async with running(ring) as fanout:
            removed = fanout.add(sink)
            fanout.remove(removed)
            fanout.remove(removed)
            assert removed.end is End.REMOVED
            ring.push()
        assert await read_all(viewer) == b"<header 0><key 0>"


async def test_fanout_closed_ring_is_sent_to_its_end_even_to_slow_viewers() -> None:
    ring = Tags()
    ring.push(key=True)
    with pair(SMALL) as (sink, viewer), pair() as (quick_sink, quick):
        fanout = FanOut(ring)
        running = asyncio.create_task(fanout.run())
        slow, fast = fanout.add(sink), fanout.add(quick_sink)
        reading = asyncio.create_task(read_all(quick))
        for _ in range(40):
            ring.push(size=50_000)
            await a_turn()
        ring.close()
        assert await fast.wait() is End.STREAM
        assert slow.end is None
        assert (await read_all(viewer)).endswith(b"<tag 40>")
        assert await slow.wait() is End.STREAM
        assert (await reading).endswith(b"<tag 40>")
        async with asyncio.timeout(5):
            await running


async def test_fanout_viewer_of_an_asyncio_server_keeps_its_transport() -> None:
    """As a service takes a viewer out of aiohttp: the transport still notices the end."""
    ring = Tags()
    ring.push(key=True)
    left = asyncio.Event()
    ends = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"<head>")
        viewer = fanout.add(sink_of(writer.transport))
        sock = writer.get_extra_info("socket")
        level = socket.IPPROTO_TCP
        assert sock.getsockopt(level, socket.TCP_NODELAY)
        assert sock.getsockopt(level, socket.TCP_NOTSENT_LOWAT) == NOTSENT_LOWAT_BYTES
        assert await reader.read() == b""
        fanout.remove(viewer)
        ends.append(viewer.end)
        writer.close()
        left.set()

    async with running(ring) as fanout:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET\n")
        assert await reader.readuntil(b"<key 0>") == b"<head><header 0><key 0>"
        ring.push()
        assert await reader.readuntil(b">") == b"<tag 1>"
        writer.close()
        await left.wait()
        assert ends == [End.REMOVED]
        server.close()
        await server.wait_closed()


async def test_fanout_transport_sink_is_fed_no_faster_than_it_is_read() -> None:
    ring = Tags()
    ring.push(key=True)
    arrived: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()
    held = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            arrived.set_result(transport)  # type: ignore[arg-type]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Server, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=16 << 10)
    async with running(ring) as fanout:
        transport = await arrived
        viewer = fanout.add(TransportSink(transport))
        for _ in range(60):
            ring.push(size=100_000)
            await asyncio.sleep(0)
            held.append(transport.get_write_buffer_size())
        assert viewer.stuck_since_s is not None
        assert max(held) <= 128 << 10
        data = b""
        while b"<tag 60>" not in data:
            data += (await reader.read(1 << 20)).replace(b"\0", b"")
        assert data == b"<header 0><key 0>" + b"".join(b"<tag %d>" % n for n in range(1, 61))
        writer.close()
        await until(transport.is_closing)
        ring.push()
        assert await viewer.wait() is End.GONE
    server.close()
    await server.wait_closed()


async def test_fanout_descriptors_are_all_given_back() -> None:
    ring = Tags()
    ring.push(key=True)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    async with running(ring) as fanout:
        for _ in range(50):
            with pair() as (sink, _):
                fanout.remove(fanout.add(sink))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_fanout_viewer_full_at_its_first_flush_gets_no_second_header() -> None:
    ring = Tags()
    ring.push(key=True)

    class Fickle(Dummy):
        """Takes the first bytes, then nothing, until told."""

        def __init__(self) -> None:
            self.data = b""
            self.is_full = False
            self.callback: Callable[[], object] | None = None

        def send(self, data: bytes | memoryview, /) -> int:
            if self.is_full:
                raise BlockingIOError
            self.data += data
            return len(data)

        def watch(self, callback: Callable[[], object]) -> None:
            self.callback = callback

    async with running(ring) as fanout:
        sink = Fickle()
        viewer = fanout.add(sink)
        sink.is_full = True
        ring.push()
        await until(lambda: sink.callback)
        ring.push()
        await a_turn()
        sink.is_full = False
        assert sink.callback is not None
        sink.callback()
        assert sink.data == b"<header 0><key 0><tag 1><tag 2>"
        assert viewer.sent_bytes == len(sink.data)


async def test_fanout_loop_held_up_beyond_the_ring_finds_the_next_key() -> None:
    ring = Tags(keep=5)
    ring.push(key=True)
    with pair() as (sink, viewer):
        async with running(ring) as fanout:
            late = fanout.add(sink)
            for number in range(1, 21):  # with no turn for the fan-out in between
                ring.push(key=number == 18)
            data = await read_until(viewer, b"<tag 20>")
    assert data == b"<header 0><key 0><key 18><tag 19><tag 20>"
    assert late.lost_units == 17
    assert late.sent_bytes == len(data)
