"""One loop that sends a ring's chunks to many sockets.

Theory of operation: every viewer is a cursor into the ring. A flush joins what lies between a
cursor and the newest chunk into one buffer and hands it to the socket in one call; viewers at the
same place share the buffer, so joining happens once, and for a crowd it is a memory file, from
which the kernel sends without copying. A batch is whatever has come since the last flush, so
batches grow by themselves when flushes are further apart or a viewer is late; and the pause between
flushes grows with viewers and load, because the number of system calls decides what viewing costs.

A socket that is full is watched until it takes more. Meanwhile its viewer's backlog stays in the
ring: of its own it holds no more than the rest of one chunk. A viewer too far behind jumps to the
newest key, and one whose socket takes nothing for long is ended. Nobody waits for a viewer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from appliance.net.fanout_sink import Sink
from appliance.net.fanout_viewer import Batch, Dress, Dressed, End, FanChunk, Viewer

__all__ = ["End", "FanChunk", "FanOut", "FanOutSettings", "FanRing", "FanSignal", "Viewer"]

MAX_BATCH_BYTES = 256 << 10  # what is joined at a time for a viewer with much to catch up
MAX_SHARED = 8  # batches kept within a flush; viewers at yet other places join their own
FILE_VIEWERS = 50  # from here on a batch is worth a memory file (docs/decisions/0006)
FILE_BYTES = 8 << 10  # the least batch to be worth one
VIEWERS_PER_TURN = 128  # others of the loop get their turn within a flush
READ_LEAD_S = 0.005  # what a flush shall send is read so much before it
LOAD = 0.25  # the share of time that flushing may take before its pauses grow
STALL_CHECKS = 20  # per stall limit


class FanSignal(Protocol):
    async def wait(self) -> None: ...


class FanRing(Protocol):
    """What holds the chunks; see `appliance.hub.ring.Ring`."""

    first: int
    closed: bool

    @property
    def next(self) -> int: ...
    @property
    def signal(self) -> FanSignal: ...
    def __getitem__(self, sequence: int) -> FanChunk: ...
    def since(self, sequence: int) -> Sequence[FanChunk]: ...
    def last_key(self) -> int | None: ...
    def next_key(self, sequence: int) -> int | None: ...
    def lag_us(self, sequence: int) -> int: ...


@dataclass(frozen=True, slots=True)
class FanOutSettings:
    """Up to few_viewers each chunk is sent at once; from many_viewers on, flushes are
    max_interval_us apart. A viewer further than max_lag_us behind jumps; a socket that takes
    nothing for stall_us ends its viewer.
    """

    few_viewers: int = 20
    many_viewers: int = 150
    max_interval_us: int = 100_000
    max_lag_us: int = 3_000_000
    stall_us: int = 10_000_000


class FanOut:
    """The viewers of one ring.

    renew: what of a chunk's header a viewer gets that already had another one and jumped over
        the change (FLV: the sequence headers without the file header); default: all of it.
    """

    def __init__(
        self,
        ring: FanRing,
        settings: FanOutSettings | None = None,
        *,
        renew: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self.ring = ring
        self.settings = settings or FanOutSettings()
        self.viewers: dict[Viewer, None] = {}  # in order of joining; bounded by who lets them in
        self._stuck: set[Viewer] = set()
        self._renew = renew
        self._loop = asyncio.get_running_loop()
        self._flushed = ring.next  # where cursors that keep up are
        self._shared: dict[tuple[int, bytes], Batch] | None = None  # while flushing
        self._flush_s = 0.0  # how long a flush takes, smoothed
        self._next_s = 0.0  # there is no flush before
        self._stall_timer: asyncio.TimerHandle | None = None

    # -- viewers -------------------------------------------------------------------------------

    def add(self, sink: Sink, position: int | None = None, dress: Dress | None = None) -> Viewer:
        """A viewer from `position` on, which must be a key, or the ring's next: for the next key to
        come. None: the newest, or the next to come.

        The sink is owned from now on. The first bytes are sent at once.
        dress: see `Viewer`; for all viewers of a fan-out, or for none.
        """
        key = self.ring.last_key() if position is None else position
        viewer = Viewer(sink, None if key == self.ring.next else key, self.ring.next, dress)
        self.viewers[viewer] = None
        self._serve(viewer)
        return viewer

    @contextmanager
    def viewing(self, sink: Sink, position: int | None = None) -> Iterator[Viewer]:
        """A viewer that is removed at the end of the block, or was by then."""
        viewer = self.add(sink, position)
        try:
            yield viewer
        finally:
            self.remove(viewer)

    def remove(self, viewer: Viewer, why: End = End.REMOVED) -> None:
        """End a viewer; what its socket holds is still sent. Safe to call again."""
        if viewer not in self.viewers:
            return
        del self.viewers[viewer]
        self._unstick(viewer)
        viewer.rest = None
        viewer.sink.close()
        viewer.finish(why)

    def interject(self, viewer: Viewer, data: bytes) -> None:
        """Send one viewer bytes of its own between two chunks: its `rest` must be None."""
        viewer.rest = memoryview(data)
        if not viewer.is_stuck:
            self._serve(viewer)

    # -- the loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Flush until the ring is closed and its viewers have what was in it, then end them."""
        ring = self.ring
        try:
            while True:
                while ring.next == self._flushed and not ring.closed:
                    await ring.signal.wait()
                if ring.next == self._flushed:
                    break
                started_s = self._loop.time()
                await self._flush()
                took_s = self._loop.time() - started_s
                self._flush_s += (took_s - self._flush_s) / 8
                rest_s = max(0.0, self.interval_us / 1e6 - took_s)
                self._next_s = self._loop.time() + rest_s
                await asyncio.sleep(rest_s)
            await self._see_off()
        finally:
            self.close()

    async def _see_off(self) -> None:
        """The ring has ended: who is up to date ends now, the others when they are, or stall."""
        for viewer in tuple(self.viewers):
            if not viewer.is_stuck:
                self.remove(viewer, End.STREAM)
        for viewer in tuple(self._stuck):
            await viewer.wait()

    def close(self) -> None:
        """End all viewers now."""
        for viewer in tuple(self.viewers):
            self.remove(viewer, End.STREAM)

    @property
    def interval_us(self) -> int:
        """The time between flushes that the viewers and the load call for now."""
        settings = self.settings
        span = max(1, settings.many_viewers - settings.few_viewers)
        crowd = (len(self.viewers) - settings.few_viewers) / span
        by_load_us = self._flush_s / LOAD * 1e6
        return int(min(settings.max_interval_us, max(crowd * settings.max_interval_us, by_load_us)))

    def patience_us(self) -> int:
        """For how long what comes now would only wait for the next flush."""
        rest_s = self._next_s - self._loop.time() - READ_LEAD_S
        if rest_s <= READ_LEAD_S:  # it is about to flush, and then rests again
            rest_s = max(rest_s, -READ_LEAD_S) + self.interval_us / 1e6
        return max(0, int(rest_s * 1e6))

    async def _flush(self) -> None:
        """Bring every viewer whose socket is free to where the ring is now."""
        before, self._flushed = self._flushed, self.ring.next
        self._shared = {}
        try:
            batch = self._join(max(before, self.ring.first), b"", None)
            viewers = list(self.viewers)
            is_large = len(viewers) >= FILE_VIEWERS and len(batch.data) >= FILE_BYTES
            is_same = is_large and viewers[0].dress is None  # then none is dressed
            with batch.as_file() if is_same else nullcontext() as file:
                for index in range(0, len(viewers), VIEWERS_PER_TURN):
                    if index:
                        await asyncio.sleep(0)
                    self._send_batch(viewers[index : index + VIEWERS_PER_TURN], batch, file)
        finally:
            self._shared = None

    def _send_batch(self, viewers: list[Viewer], batch: Batch, file: int | None) -> None:
        """The hot path: to a viewer that keeps up it is one system call.

        file: the batch's data once more, for who may be sent to without copying.
        """
        sendfile = os.sendfile
        start, end, header = batch.start, batch.end, batch.header
        data: Dressed = batch.data
        size = len(data)
        for viewer in viewers:
            if viewer.is_stuck:
                continue
            if viewer.position != start or viewer.needs_key or viewer.header is None:
                self._serve(viewer)
                continue
            try:
                if (dress := viewer.dress) is not None:
                    data = dress(batch)
                    sent = viewer.send(data)
                elif file is None or (descriptor := viewer.sink.descriptor) is None:
                    sent = viewer.send(data)
                else:
                    sent = sendfile(descriptor, file, 0, size)
            except BlockingIOError:
                sent = 0
            except OSError:  # also of one removed since the flush began
                self.remove(viewer, End.GONE)
                continue
            viewer.sent_bytes += sent
            if sent == size:
                viewer.position = end
                viewer.header = header
            else:
                self._cut(viewer, batch, data, sent)

    # -- one viewer ----------------------------------------------------------------------------

    def _serve(self, viewer: Viewer) -> None:
        """Send until the viewer is where the last flush ended, or its socket is full."""
        while viewer in self.viewers:
            if viewer.rest is not None:
                if not self._send_rest(viewer, viewer.rest):
                    return
                continue
            batch = self._next_batch(viewer)
            if batch is None:
                self._unstick(viewer)
                if self.ring.closed and viewer.position >= self.ring.next:
                    self.remove(viewer, End.STREAM)
                return
            data = batch.data if viewer.dress is None else viewer.dress(batch)
            sent = self._send(viewer, data)
            if sent is None:
                return
            if sent < len(data):
                self._cut(viewer, batch, data, sent)
                return
            viewer.position = batch.end
            viewer.header = batch.header

    def _send(self, viewer: Viewer, data: bytes | bytearray | memoryview) -> int | None:
        """How much the socket took; None if the viewer has gone and is removed."""
        try:
            sent = viewer.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.remove(viewer, End.GONE)
            return None
        viewer.sent_bytes += sent
        if sent:
            viewer.stuck_since_s = None
        return sent

    def _send_rest(self, viewer: Viewer, rest: memoryview) -> bool:
        """Whether that was all of it."""
        sent = self._send(viewer, rest)
        if sent is None:
            return False
        if sent < len(rest):
            viewer.rest = rest[sent:]
            self._stick(viewer)
            return False
        viewer.rest = None
        return True

    def _cut(self, viewer: Viewer, batch: Batch, data: Dressed, sent: int) -> None:
        """The socket took part of a batch: keep the rest of one chunk, leave the others.

        data: the batch, as it was sent.
        """
        if sent:
            batch.put_cut(viewer, data, sent)
        self._stick(viewer)

    def _next_batch(self, viewer: Viewer) -> Batch | None:
        """What comes next for this viewer; None if it has all, or waits for a key."""
        has_jumped = self._jump(viewer)
        if viewer.needs_key or viewer.position >= self._flushed:
            return None
        header = self.ring[viewer.position].header
        prefix = b""
        if viewer.header is None:
            prefix = header
        elif has_jumped and header is not viewer.header:
            prefix = self._renew(header)
        return self._join(viewer.position, prefix, MAX_BATCH_BYTES)

    def _jump(self, viewer: Viewer) -> bool:
        """Move a cursor that waits for a key, was overtaken, or is too late."""
        ring = self.ring
        if viewer.needs_key or viewer.position < ring.first:
            key = ring.next_key(max(viewer.position, ring.first))
            viewer.needs_key = key is None
            target = ring.next if key is None else key
        elif ring.lag_us(viewer.position) > self.settings.max_lag_us:
            newest = ring.last_key()
            if newest is None or newest <= viewer.position:
                return False
            target = newest
        else:
            return False
        if viewer.header is not None:  # a joiner that waits for its first key loses nothing
            viewer.lost_units += target - viewer.position
        viewer.position = target
        return True

    def _join(self, start: int, prefix: bytes, max_bytes: int | None) -> Batch:
        """Chunks from `start` up to where this flush ends, or up to a bound."""
        key = (start, prefix)
        if self._shared is not None and max_bytes is not None and (got := self._shared.get(key)):
            return got
        chunks: list[FanChunk] = []
        size_bytes = 0
        for chunk in self.ring.since(start):
            if start + len(chunks) >= self._flushed or (max_bytes and size_bytes >= max_bytes):
                break
            chunks.append(chunk)
            size_bytes += len(chunk.data)
        batch = Batch(prefix, chunks, start)
        if self._shared is not None and len(self._shared) < MAX_SHARED:
            self._shared[key] = batch
        return batch

    # -- full sockets --------------------------------------------------------------------------

    def _stick(self, viewer: Viewer) -> None:
        """Its socket is full: serve it again when there is room."""
        if viewer.stuck_since_s is None:
            viewer.stuck_since_s = self._loop.time()
        if viewer.is_stuck:
            return
        viewer.is_stuck = True
        self._stuck.add(viewer)
        viewer.sink.watch(partial(self._serve, viewer))
        if self._stall_timer is None:
            self._check_stalls()

    def _unstick(self, viewer: Viewer) -> None:
        viewer.stuck_since_s = None
        if viewer.is_stuck:
            viewer.is_stuck = False
            self._stuck.remove(viewer)
            viewer.sink.unwatch()

    def _check_stalls(self) -> None:
        stall_s = self.settings.stall_us / 1e6
        now_s = self._loop.time()
        for viewer in tuple(self._stuck):
            if viewer.stuck_since_s is not None and now_s - viewer.stuck_since_s >= stall_s:
                self.remove(viewer, End.STALLED)
        self._stall_timer = (
            self._loop.call_later(stall_s / STALL_CHECKS, self._check_stalls)
            if self._stuck
            else None
        )
