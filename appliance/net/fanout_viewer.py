"""A fan-out's viewers and the batches that are sent to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Protocol

from appliance.net.fanout_sink import Sink


class FanChunk(Protocol):
    """What is sent; see `appliance.media.unit.Chunk`."""

    data: bytes
    key: bool
    header: bytes


class End(Enum):
    """Why a viewer ended."""

    STREAM = "stream ended"
    GONE = "viewer has gone"
    STALLED = "viewer stopped reading"
    REMOVED = "removed"


Dressed = bytes | bytearray


class Viewer:
    """A cursor and a socket. end: why it ended; its sink is closed by then.

    dress: makes this viewer's own bytes of a batch, always the same ones and as long as the batch;
        None if everybody is sent the same.
    lost_units: chunks jumped over, because the viewer was too slow for them.
    on_end: called once, at the end; for who would rather not have a task wait for it.
    """

    __slots__ = (
        *("_waiters", "dress", "end", "header", "is_stuck", "lost_units", "needs_key", "on_end"),
        *("position", "rest", "send", "sent_bytes", "sink", "stuck_since_s"),
    )

    def __init__(self, sink: Sink, key: int | None, now: int, dress: Dress | None = None) -> None:
        self.sink = sink
        self.dress = dress
        self.send = sink.send
        self.end: End | None = None
        self.on_end: Callable[[End], object] | None = None
        self._waiters: tuple[asyncio.Future[None], ...] = ()
        self.needs_key = key is None
        self.position = now if key is None else key
        self.header: bytes | None = None  # of the last chunk it got
        self.rest: memoryview | None = None  # of a chunk or header that was sent in part
        self.is_stuck = False  # its socket is full and watched
        self.stuck_since_s: float | None = None  # since when it takes nothing
        self.lost_units = 0
        self.sent_bytes = 0

    async def wait(self) -> End:
        """Returns when the viewer has ended; being cancelled meanwhile ends nothing."""
        while self.end is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters += (waiter,)
            try:
                await waiter
            finally:
                self._waiters = tuple(other for other in self._waiters if other is not waiter)
        return self.end

    def finish(self, why: End) -> None:
        self.end = why
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self.on_end is not None:
            self.on_end(why)


class Batch:
    """Joined chunks, with what is needed to find the place where a socket stopped taking them.

    memo: what dressing needs to know, made by the first who does.
    """

    __slots__ = ("chunks", "data", "end", "header", "memo", "prefix", "start")

    def __init__(self, prefix: bytes, chunks: Sequence[FanChunk], start: int) -> None:
        self.prefix = prefix
        self.chunks = chunks
        self.start = start
        self.end = start + len(chunks)
        self.header = chunks[-1].header if chunks else b""
        self.data = b"".join([prefix, *[chunk.data for chunk in chunks]])
        self.memo: object = None

    def put_cut(self, viewer: Viewer, data: Dressed, sent: int) -> None:
        """`sent` bytes were taken: the cursor goes behind the part that was cut, whose rest the
        viewer keeps; the parts after it stay in the ring. data: as they were sent.
        """
        part, header, position = self.prefix, self.chunks[0].header, self.start
        start = 0
        for chunk in self.chunks:
            if sent < start + len(part):
                break
            start += len(part)
            part, header = chunk.data, chunk.header
            position += 1
        viewer.position, viewer.header = position, header
        if viewer.dress is None:
            viewer.rest = memoryview(part)[sent - start :]
        else:  # a copy, or it would hold the whole batch
            viewer.rest = memoryview(bytes(data[sent : start + len(part)]))

    @contextlib.contextmanager
    def as_file(self) -> Iterator[int | None]:
        """The data in a memory file, for as long as the block; None where no descriptor is left.

        Pages that sockets still hold outlive it, shared by all that hold them.
        """
        try:
            descriptor = os.memfd_create("batch", os.MFD_CLOEXEC)
        except OSError:
            yield None
            return
        try:
            whole = os.write(descriptor, self.data) == len(self.data)
            yield descriptor if whole else None
        finally:
            os.close(descriptor)


Dress = Callable[[Batch], Dressed]
