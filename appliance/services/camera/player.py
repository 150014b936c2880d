"""Shows a slate on one stream for as long as its camera gives nothing, then gets out of the way.

Theory of operation: every half second the player looks whether media has been missing for long
enough, or the camera is off. If so, it takes the stream's lease as a placeholder (from a worker
that is silent, or nobody) and writes what `Pace` says is due. The first picture that a viewer can
join at takes the lease back; the slate's last pictures are then placed so that it ends where the
media begins. Time in which this whole process stood still is no time without media.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.errors import StreamError
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.signal import Signal
from appliance.media.track import Codec, Kind, Track
from appliance.services.camera.slate import (
    SETTLE_US,
    Pace,
    Slate,
    SlateKey,
    SlatePress,
    key_of,
    same_tracks,
)
from appliance.services.contract import StreamSettings

if TYPE_CHECKING:
    from appliance.services.camera.output import Output

log = logging.getLogger(__name__)

TICK_S = 0.5
LOST_US = 3_000_000  # longer without a picture is worth telling viewers
RETRY_US = 10_000_000  # after a slate that could not be made
LAG_US = 500_000  # behind the clock, so that the pictures of a camera that comes back are later


@dataclass(frozen=True, slots=True)
class Absence:
    """Why there may be no media. text: empty if there should be; at_once: it is no fault."""

    text: str = ""
    at_once: bool = False


class SlatePlayer:
    """`run` until cancelled.

    output: the worker's, from which the lease is taken when it is silent; None without a worker.
    slack_us: patience for a source of slow pictures. last_tracks: of the newest media.
    """

    def __init__(
        self,
        hub: Hub,
        settings: StreamSettings,
        press: SlatePress,
        absence: Callable[[], Absence],
    ) -> None:
        self.stream = hub.declare(settings.name)
        self.slack_us = 0
        self.last_tracks: tuple[Track, ...] = ()
        self.output: Output | None = None
        self._hub = hub
        self._settings = settings
        self._press = press
        self._absence = absence
        self._clock = self.stream.clock
        self._woken = Signal()
        self._ticked_us = self._clock.monotonic_us()
        self._newest_us: int | None = None  # of the media, when last looked at
        self._silent_us = 0
        self._publisher: Publisher | None = None
        self._pace: Pace | None = None
        self._key: SlateKey | None = None  # of what is shown
        self._start_us = self._shown_us = self._retry_us = 0
        self._pressing: tuple[SlateKey, asyncio.Task[Slate | None]] | None = None

    async def run(self) -> None:
        try:
            while True:
                self._look()
                await self._sleep()
        finally:
            self._hide()
            if self._pressing is not None:
                self._pressing[1].cancel()
                await asyncio.wait({self._pressing[1]})

    def wake(self) -> None:
        """Something changed that should be seen before the next tick."""
        self._woken.fire()

    def give_way(self, at_us: int) -> None:
        """Media begins at this stamp: the slate ends there, and the lease is free."""
        self._silent_us = 0
        if self._publisher is not None and self._pace is not None:
            self._write(self._pace, at_us, is_last=True)
        self._hide()

    async def _sleep(self) -> None:
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._woken.wait())}
        if self._pressing is not None and not self._pressing[1].done():
            waits.add(asyncio.ensure_future(asyncio.wait({self._pressing[1]})))
        try:
            await asyncio.wait(waits, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # -- whether -------------------------------------------------------------------------------

    def _look(self) -> None:
        self._count_silence()
        absence = self._absence()
        if not self._is_wanted(absence):
            self._hide()
            return
        self._show(key_of(
            absence.text,
            self.last_tracks,
            self._settings.video.width,
            self._settings.video.height,
            self._settings.audio.channels if self._settings.audio.device != "none" else 0,
        ))  # fmt: skip
        if self._publisher is not None and self._pace is not None:
            due_us = self._start_us + self._clock.monotonic_us() - self._shown_us
            self._write(self._pace, due_us)

    def _count_silence(self) -> None:
        now_us, newest_us = self._clock.monotonic_us(), self.stream.last_unit_us()
        if newest_us != self._newest_us:
            self._newest_us, self._silent_us = newest_us, 0
        else:
            self._silent_us += min(now_us - self._ticked_us, 2 * int(TICK_S * 1_000_000))
        self._ticked_us = now_us

    def _is_wanted(self, absence: Absence) -> bool:
        if not absence.text or not self._can_stand_in():
            return False
        if self._settings.on_demand and not self.stream.demand.viewers:
            return False
        return absence.at_once or self._silent_us >= LOST_US + self.slack_us

    def _can_stand_in(self) -> bool:
        """Viewers of sound alone, or of another codec, are better off with nothing."""
        holder = self.stream.publisher
        ours = (None, self._publisher, self.output.publisher if self.output else None)
        if holder not in ours:
            return False  # somebody else publishes here
        video = [track for track in self.last_tracks if track.kind is Kind.VIDEO]
        return not self.last_tracks or (bool(video) and video[0].codec is Codec.H264)

    # -- what ----------------------------------------------------------------------------------

    def _show(self, key: SlateKey) -> None:
        if self._pressing is not None and self._pressing[1].done():
            made, task = self._pressing
            self._pressing = None
            slate = task.result()
            if slate is not None:
                self._put(made, slate)
            else:
                self._retry_us = self._clock.monotonic_us() + RETRY_US
        is_time = self._clock.monotonic_us() >= self._retry_us
        if key != self._key and self._pressing is None and is_time:
            self._pressing = (key, asyncio.create_task(self._press.make(key)))

    def _put(self, key: SlateKey, slate: Slate) -> None:
        try:
            if self._publisher is None:
                if self.output is not None:
                    self.output.pause()
                self._publisher = self._hub.publish(
                    self.stream.name, "slate", stamped=True, placeholder=key.text
                )
                self._begin(slate)
            else:
                self._change(self._publisher, key, slate)
        except StreamError:  # somebody publishes here, and that is better than any slate
            self._hide()
            return
        self._key = key
        log.info('%s: viewers see "%s"', self.stream.name, key.text)

    def _begin(self, slate: Slate) -> None:
        assert self._publisher is not None
        now_us = self._clock.monotonic_us()
        newest_us = self.stream.newest_dts_us
        self._start_us = max(now_us - LAG_US, 0 if newest_us is None else newest_us + SETTLE_US)
        self._shown_us = now_us
        tracks = same_tracks(self.stream.tracks, slate.tracks)
        self._publisher.describe(tracks)
        self._pace = Pace(slate, tracks, self._start_us)

    def _change(self, publisher: Publisher, key: SlateKey, slate: Slate) -> None:
        assert self._pace is not None
        tracks = same_tracks(self.stream.tracks, slate.tracks)
        publisher.describe(tracks)
        self._pace.change(slate, tracks)
        publisher.placeholder = key.text
        self.stream.changed.fire()

    def _write(self, pace: Pace, until_us: int, *, is_last: bool = False) -> None:
        assert self._publisher is not None
        try:
            for unit in pace.finish(until_us) if is_last else pace.take(until_us):
                self._publisher.write(unit)
        except StreamError:  # taken over
            self._hide()

    def _hide(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
        self._publisher, self._pace, self._key = None, None, None
