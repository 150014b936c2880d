"""Where one camera's pictures are made: each once, for all who ask for the same at about one time.

Theory of operation: what was made a moment ago is handed out again; who asks for what is being
made gets that; everything else queues. The camera is asked for one picture at a time, and no
sooner than its share of a second after the one before, so strangers can keep it as busy as the
settings allow and no more. Whoever begins a picture sees it through; should they leave meanwhile,
the next who waits for it begins it again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from appliance.errors import ApplianceError, CodecUnsupported, LimitExceeded, StreamNotFound
from appliance.hub.cameras import Cameras, PictureAsk
from appliance.hub.clock import Clock
from appliance.hub.stats import Counters

DEADLINE_S = 5.0
MAX_AGE_US = 5_000_000  # an older picture is not passed off as the present
MAX_KEPT = 8  # pictures kept for a moment; against askers of ever new sizes
MAX_KEPT_BYTES = 8 << 20  # the newest is kept in any case, which the worker's pipe bounds
MAX_WAITING = 256  # against a crowd of askers


class NoPicture(ApplianceError):
    """There is none now, and the text says why; there may be one later."""


@dataclass(frozen=True, slots=True)
class Made:
    """A picture; taken_us: CLOCK_MONOTONIC of its exposure, made_us: of its arrival here."""

    jpeg: bytes
    taken_us: int
    made_us: int


class Darkroom:
    """camera: its stream's name. shapes: different asks that may queue."""

    def __init__(
        self,
        cameras: Cameras,
        camera: str,
        clock: Clock,
        counters: Counters,
        *,
        max_fps: int,
        shapes: int,
    ) -> None:
        self.camera = camera
        self.made = 0
        self._cameras = cameras
        self._clock = clock
        self._counters = counters
        self._interval_us = 1_000_000 // max_fps
        self._shapes = shapes
        self._not_before_us = 0
        self._turn = asyncio.Lock()
        self._making: dict[PictureAsk, asyncio.Future[Made | None]] = {}
        self._kept: OrderedDict[PictureAsk, Made] = OrderedDict()
        self.waiting = 0

    async def picture(self, ask: PictureAsk, max_age_us: int, newer_than_us: int = 0) -> Made:
        """One that arrived no longer than max_age_us ago, or else a new one.

        newer_than_us: when the picture was taken that the asker has already. Raises: NoPicture,
        CodecUnsupported, LimitExceeded.
        """
        if self.waiting >= MAX_WAITING:
            raise LimitExceeded("too many wait for a picture of this camera")
        self.waiting += 1
        try:
            while True:
                kept = self._find(ask, max_age_us, newer_than_us)
                if kept is not None:
                    return kept
                begun = self._making.get(ask)
                made = await (self._begin(ask) if begun is None else asyncio.shield(begun))
                if made is not None:
                    return made
        finally:
            self.waiting -= 1

    def _find(self, ask: PictureAsk, max_age_us: int, newer_than_us: int) -> Made | None:
        kept = self._kept.get(ask)
        if kept is None or kept.taken_us <= newer_than_us:
            return None
        return kept if self._clock.monotonic_us() - kept.made_us <= max_age_us else None

    async def _begin(self, ask: PictureAsk) -> Made:
        if len(self._making) >= self._shapes:
            raise LimitExceeded("this camera is asked for too many different pictures")
        begun = asyncio.get_running_loop().create_future()
        self._making[ask] = begun
        try:
            made = await self._make(ask)
        except Exception as error:
            begun.set_exception(error)
            begun.exception()  # told to whoever waits; nobody need
            raise
        else:
            begun.set_result(made)
            self._keep(ask, made)
            return made
        finally:
            del self._making[ask]
            if not begun.done():  # who began it has left
                begun.set_result(None)

    async def _make(self, ask: PictureAsk) -> Made:
        async with self._turn:
            wait_us = self._not_before_us - self._clock.monotonic_us()
            await asyncio.sleep(max(0, wait_us) / 1e6)
            self._not_before_us = self._clock.monotonic_us() + self._interval_us
            try:
                async with asyncio.timeout(DEADLINE_S):
                    still = await self._cameras.find(self.camera).picture(ask)
            except StreamNotFound as error:
                raise NoPicture(str(error)) from error
            except CodecUnsupported as error:
                if not self.made:
                    raise
                raise NoPicture(str(error)) from error  # it could before, so it will again
            except TimeoutError:
                raise NoPicture("the camera does not answer") from None
        now_us = self._clock.monotonic_us()
        if now_us - still.taken_us > MAX_AGE_US:
            raise NoPicture("the camera's newest picture is too old to be shown")
        self.made += 1
        self._counters.add("pictures_total", stream=self.camera)
        return Made(still.jpeg, still.taken_us, now_us)

    def _keep(self, ask: PictureAsk, made: Made) -> None:
        self._kept.pop(ask, None)
        self._kept[ask] = made
        while len(self._kept) > 1 and (
            len(self._kept) > MAX_KEPT or self.kept_bytes > MAX_KEPT_BYTES
        ):
            self._kept.popitem(last=False)

    @property
    def kept_bytes(self) -> int:
        return sum(len(made.jpeg) for made in self._kept.values())
