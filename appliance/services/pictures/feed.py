"""Moving pictures in one shape: made once, sent to all who watch them.

Theory of operation: a loop asks for the next picture at its pace and puts it into a ring that
holds one. A fan-out sends it to every viewer whose socket is free; who is still busy with an
earlier picture finishes that one and then gets the newest, so nothing queues. While there is no
picture to be had nothing is sent, and viewers stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.errors import ApplianceError, CodecUnsupported
from appliance.hub.cameras import PictureAsk
from appliance.hub.ring import Ring
from appliance.hub.sessions import Session
from appliance.hub.signal import Signal
from appliance.hub.stream import Stream
from appliance.media.unit import Chunk
from appliance.net.fanout import End, FanOut, FanOutSettings, Viewer
from appliance.net.fanout_sink import Sink
from appliance.net.http_takeover import stream_head
from appliance.services.pictures.darkroom import MAX_AGE_US, Darkroom, Made, NoPicture
from appliance.services.pictures.settings import Settings

BOUNDARY = "porthole-next-picture"
CONTENT_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
RETRY_S = 1.0
MAX_HELD_BYTES = 8 << 20  # of pictures that stalled viewers have had in part


@dataclass(frozen=True, slots=True)
class Shape:
    """What viewers have in common who share a feed."""

    stream: str
    ask: PictureAsk
    fps: int


class Feed:
    """`run` is its task. error: why there is no first picture."""

    def __init__(
        self, shape: Shape, stream: Stream, darkroom: Darkroom, settings: Settings
    ) -> None:
        self.shape = shape
        self.users = 0  # who watches or is about to
        self.pictures = 0
        self.error: ApplianceError | None = None
        self.task: asyncio.Task[None] | None = None
        self.stream = stream
        self._darkroom = darkroom
        self._clock = stream.clock
        self._period_us = 1_000_000 // shape.fps
        self._ring: Ring[Chunk] = Ring(max_bytes=1, max_duration_us=1)  # the newest alone
        self._head = stream_head(CONTENT_TYPE, settings.fields) + f"--{BOUNDARY}\r\n".encode()
        self._taken_us = 0
        self._largest_bytes = 1  # of the pictures so far
        self._changed = Signal()
        self._sessions: dict[Viewer, Session] = {}
        # One step behind is too late: the newest picture or none.
        limits = FanOutSettings(max_lag_us=0, stall_us=settings.stall_us)
        self.fanout = FanOut(self._ring, limits)

    async def run(self) -> None:
        """Until the task is cancelled, the stream ends or its camera can make no pictures."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fanout.run())
                try:
                    await self._ask_for_ever()
                finally:
                    self._ring.close()
        finally:
            self._changed.fire()

    async def _ask_for_ever(self) -> None:
        due_us = self._clock.monotonic_us()
        while not self.stream.closed:
            if absence(self.stream):
                await self.stream.changed.wait()
                continue
            try:
                made = await self._darkroom.picture(
                    self.shape.ask, self._period_us // 2, self._taken_us
                )
            except CodecUnsupported as error:
                self.error = error
                return
            except ApplianceError as error:  # there is none now
                self.error = error
                self._changed.fire()
                await asyncio.sleep(RETRY_S)
                continue
            if made.taken_us != self._taken_us:
                self._append(made)
            now_us = self._clock.monotonic_us()
            due_us = max(due_us + self._period_us, now_us)
            await asyncio.sleep((due_us - now_us) / 1e6)

    def _append(self, made: Made) -> None:
        self._count()
        self._limit_held()
        self._taken_us = made.taken_us
        taken_s = unix_us(self.stream, made.taken_us) / 1e6
        head = (
            f"Content-Type: image/jpeg\r\nContent-Length: {len(made.jpeg)}\r\n"
            f"X-Timestamp: {taken_s:.6f}\r\n\r\n"
        )
        # The next boundary goes along at once, because browsers show a picture when they see it.
        part = b"".join((head.encode("latin-1"), made.jpeg, f"\r\n--{BOUNDARY}\r\n".encode()))
        self._largest_bytes = max(self._largest_bytes, len(part))
        self._ring.append(Chunk(part, made.taken_us, 0, key=True, header=self._head))
        self.pictures += 1
        self.error = None
        self._changed.fire()

    def _count(self) -> None:
        now_us = self._clock.monotonic_us()
        for viewer, session in self._sessions.items():
            session.count_sent(viewer.sent_bytes, viewer.lost_units, now_us)

    def _limit_held(self) -> None:
        """End those who have stalled for longest, when all hold on to too much together.

        A viewer that has had part of a picture keeps all of it in memory.
        """
        stuck = [viewer for viewer in self.fanout.viewers if viewer.rest is not None]
        stuck.sort(key=lambda viewer: -(viewer.stuck_since_s or 0.0))
        for viewer in stuck[MAX_HELD_BYTES // self._largest_bytes :]:
            self.fanout.remove(viewer, End.STALLED)

    @property
    def is_over(self) -> bool:
        return self._ring.closed

    # -- viewers -------------------------------------------------------------------------------

    async def wait_first(self, timeout_s: float) -> None:
        """Returns when there is a picture. Raises: NoPicture, CodecUnsupported, LimitExceeded."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (is_current := self._is_current()) and not self.error:
                    if self.is_over:
                        break
                    await self._changed.wait()
        except TimeoutError:
            raise NoPicture("no picture comes from the camera") from None
        if not is_current:
            raise self.error or NoPicture("the stream has ended")

    def _is_current(self) -> bool:
        """Whether who joins now begins with a picture of the present."""
        return bool(self._ring.items) and is_present(self.stream, self._taken_us)

    @contextmanager
    def viewing(self, sink: Sink, session: Session) -> Iterator[Viewer]:
        """A viewer that is removed at the end of the block, or was by then."""
        with self.fanout.viewing(sink) as viewer:
            self._sessions[viewer] = session
            session.kick = lambda: self.fanout.remove(viewer)
            try:
                yield viewer
            finally:
                self._count()
                del self._sessions[viewer]
                session.kick = None


def absence(stream: Stream) -> str:
    """Why no picture of this stream is the present; empty if one can be had."""
    if stream.placeholder:
        return stream.placeholder
    if stream.publisher is None or not stream.tracks:
        return "the camera does not deliver"
    return ""


def is_present(stream: Stream, taken_us: int) -> bool:
    return stream.clock.monotonic_us() - taken_us <= MAX_AGE_US


def unix_us(stream: Stream, taken_us: int) -> int:
    return stream.clock.unix_us() - stream.clock.monotonic_us() + taken_us
