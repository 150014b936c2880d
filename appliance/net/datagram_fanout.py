"""One loop that sends a ring's chunks as datagrams to many viewers.

Theory of operation: as `FanOut`, but a chunk is sent whole or again, and nothing comes back from a
socket that all viewers share. So a viewer with much to catch up is sent a little at a time, as no
receiver's buffer holds seconds of media; where the socket has no room, the same chunk is tried
again. Who falls too far behind jumps to the newest key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from appliance.net.fanout import FanOutSettings, FanRing
from appliance.net.fanout_viewer import End, FanChunk

BURST_BYTES = 48 << 10  # to one viewer at a time: what the smallest of receive buffers holds
PACE_S = 0.005
VIEWERS_PER_TURN = 64  # others of the loop get their turn within a flush

SendTo = Callable[[Any], None]
"""Sends one chunk, as `prepare` made it. Raises: BlockingIOError, OSError."""


class DatagramViewer:
    """A cursor. end: why it ended; on_end: called then, but not by `remove`.

    lost_units: chunks jumped over, or that could not be sent.
    """

    __slots__ = (
        *("end", "lost_units", "needs_key", "on_end", "position", "send", "sent_bytes", "timer"),
    )

    def __init__(self, send: SendTo, key: int | None, now: int) -> None:
        self.send = send
        self.needs_key = key is None
        self.position = now if key is None else key
        self.end: End | None = None
        self.on_end: Callable[[End], object] | None = None
        self.timer: asyncio.TimerHandle | None = None  # while it catches up
        self.lost_units = 0
        self.sent_bytes = 0


class DatagramFanOut:
    """The viewers of one ring. prepare: makes of a chunk what is sent, once for all viewers."""

    def __init__(
        self,
        ring: FanRing,
        prepare: Callable[[Any], object],
        settings: FanOutSettings | None = None,
    ) -> None:
        self.ring = ring
        self.settings = settings or FanOutSettings()
        self.viewers: dict[DatagramViewer, None] = {}  # bounded by who lets them in
        self._prepare = prepare
        self._loop = asyncio.get_running_loop()
        self._flushed = ring.next

    def add(self, send: SendTo, position: int | None = None) -> DatagramViewer:
        """A viewer from `position` on, which must be a key, or the ring's next: for the next key to
        come. None: the newest, or the next to come."""
        key = self.ring.last_key() if position is None else position
        viewer = DatagramViewer(send, None if key == self.ring.next else key, self.ring.next)
        self.viewers[viewer] = None
        self._catch_up(viewer)
        return viewer

    def remove(self, viewer: DatagramViewer, why: End = End.REMOVED) -> None:
        """Safe to call again."""
        if viewer not in self.viewers:
            return
        del self.viewers[viewer]
        if viewer.timer is not None:
            viewer.timer.cancel()
        viewer.end = why
        if viewer.on_end is not None and why is not End.REMOVED:
            viewer.on_end(why)

    async def run(self) -> None:
        """Send what comes until the ring is closed, then end the viewers."""
        ring = self.ring
        try:
            while True:
                while ring.next == self._flushed and not ring.closed:
                    await ring.signal.wait()
                if ring.next == self._flushed:
                    break
                await self._flush()
        finally:
            self.close()

    def close(self) -> None:
        for viewer in tuple(self.viewers):
            self.remove(viewer, End.STREAM)

    async def _flush(self) -> None:
        start, self._flushed = self._flushed, self.ring.next
        for number, chunk in enumerate(self.ring.since(start), max(start, self.ring.first)):
            made = self._prepare(chunk)
            for index, viewer in enumerate(tuple(self.viewers), 1):
                if viewer.position == number and not viewer.needs_key and viewer.timer is None:
                    if self._send(viewer, chunk, made):
                        continue
                elif viewer.position > number or viewer.timer is not None:
                    continue
                self._catch_up(viewer)
                if index % VIEWERS_PER_TURN == 0:
                    await asyncio.sleep(0)

    def _catch_up(self, viewer: DatagramViewer) -> None:
        """Send a burst of what is there; the next one a little later."""
        viewer.timer = None
        start_bytes = viewer.sent_bytes
        while viewer in self.viewers:
            self._jump(viewer)
            if viewer.needs_key or viewer.position >= self._flushed:
                return
            chunk = self.ring[viewer.position]
            has_room = viewer.sent_bytes - start_bytes < BURST_BYTES
            if not has_room or not self._send(viewer, chunk, self._prepare(chunk)):
                viewer.timer = self._loop.call_later(PACE_S, self._catch_up, viewer)
                return

    def _send(self, viewer: DatagramViewer, chunk: FanChunk, made: object) -> bool:
        """False if the socket has no room."""
        try:
            viewer.send(made)
        except BlockingIOError:
            return False
        except OSError:  # no route now, or a firewall of ours: whoever owns it knows if it is gone
            viewer.lost_units += 1
        else:
            viewer.sent_bytes += len(chunk.data)
        viewer.position += 1
        return True

    def _jump(self, viewer: DatagramViewer) -> None:
        """As FanOut's: move a cursor that waits for a key, was overtaken, or is too late."""
        ring = self.ring
        if viewer.needs_key or viewer.position < ring.first:
            has_begun = not viewer.needs_key
            key = ring.next_key(max(viewer.position, ring.first))
            viewer.needs_key = key is None
            target = ring.next if key is None else key
        elif ring.lag_us(viewer.position) > self.settings.max_lag_us:
            newest = ring.last_key()
            if newest is None or newest <= viewer.position:
                return
            has_begun, target = True, newest
        else:
            return
        if has_begun:
            viewer.lost_units += target - viewer.position
        viewer.position = target


class DatagramFanOuts:
    """By the ring they send: made with the first viewer, gone when the ring ends.

    spawn: keeps a coroutine running, under a name.
    """

    def __init__(
        self, spawn: Callable[[str, Any], object], prepare: Callable[[Any], object]
    ) -> None:
        self._spawn = spawn
        self._prepare = prepare
        self.fanouts: dict[int, DatagramFanOut] = {}  # by identity of the ring; one per rendition

    def of(self, ring: FanRing, settings: FanOutSettings) -> DatagramFanOut:
        fanout = self.fanouts.get(id(ring))
        if fanout is None:
            fanout = self.fanouts[id(ring)] = DatagramFanOut(ring, self._prepare, settings)
            self._spawn("datagram fan-out", self._run(fanout))
        return fanout

    async def _run(self, fanout: DatagramFanOut) -> None:
        try:
            await fanout.run()
        finally:
            with contextlib.suppress(KeyError):
                del self.fanouts[id(fanout.ring)]

    def close(self) -> None:
        for fanout in list(self.fanouts.values()):
            fanout.close()
