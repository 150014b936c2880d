"""Changes and pictures that a worker was asked for and has not answered yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from appliance.errors import CodecUnsupported, ConfigError, LimitExceeded, StreamNotFound
from appliance.hub.cameras import PictureAsk, StillPicture
from appliance.wire.pipe.messages import (
    Answer,
    Change,
    Command,
    Event,
    Picture,
    RequestPicture,
)

MAX_PICTURES = 8  # different ones at once, against a crowd of askers
MAX_CHANGES = 8
PATIENCE_S = 3.0


class Asks:
    """send: to the worker. Equal asks for pictures at one time are one."""

    def __init__(self, send: Callable[[Command], None]) -> None:
        self._send = send
        self._serial = 0
        self._pictures: dict[int, asyncio.Future[StillPicture]] = {}
        self._shared: dict[PictureAsk, asyncio.Future[StillPicture]] = {}
        self._changes: dict[int, asyncio.Future[None]] = {}
        self._is_over = False

    def next_serial(self) -> int:
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        return self._serial

    async def change(self, values: Mapping[str, Any]) -> None:
        """Raises: ConfigError (the worker refused), TimeoutError, LimitExceeded, StreamNotFound."""
        self._check_there()
        if len(self._changes) >= MAX_CHANGES:
            raise LimitExceeded(f"{MAX_CHANGES} changes wait for this camera already")
        serial, future = self.next_serial(), self._future()
        self._changes[serial] = future
        try:
            self._send(Change(serial, dict(values)))
            async with asyncio.timeout(PATIENCE_S):
                await future
        finally:
            del self._changes[serial]

    async def picture(self, ask: PictureAsk) -> StillPicture:
        """Raises: CodecUnsupported (the worker cannot), TimeoutError, LimitExceeded,
        StreamNotFound (it has ended).
        """
        self._check_there()
        future = self._shared.get(ask)
        if future is None or future.done():
            if len(self._pictures) >= MAX_PICTURES:
                raise LimitExceeded(f"{MAX_PICTURES} pictures of this camera are being made")
            serial, future = self.next_serial(), self._future()
            self._pictures[serial] = self._shared[ask] = future
            future.add_done_callback(partial(self._forget, serial, ask))
            asyncio.get_running_loop().call_later(PATIENCE_S, self._give_up, serial)
            self._send(RequestPicture(serial, ask.width, ask.quality, ask.sub))
        return await asyncio.shield(future)

    def expects(self, event: Event) -> bool:
        """Whether it is an answer that somebody waits for."""
        match event:
            case Answer():
                return event.serial in self._changes
            case Picture():
                return event.serial in self._pictures
        return False

    def answer(self, answer: Answer) -> None:
        future = self._changes.get(answer.serial)
        if future is None or future.done():
            return  # too late, or never asked for
        if answer.error:
            future.set_exception(ConfigError(answer.error))
        else:
            future.set_result(None)

    def deliver(self, picture: Picture) -> None:
        future = self._pictures.get(picture.serial)
        if future is None or future.done():
            return
        if picture.error:
            _fail(future, CodecUnsupported(picture.error))
        else:
            future.set_result(
                StillPicture(picture.jpeg, picture.time_us, picture.width, picture.height)
            )

    def close(self) -> None:
        """The worker is gone, or as good as gone."""
        self._is_over = True
        waiting: list[asyncio.Future[Any]] = [*self._pictures.values(), *self._changes.values()]
        for future in waiting:
            if not future.done():
                _fail(future, StreamNotFound("the camera has stopped"))

    def _check_there(self) -> None:
        if self._is_over:
            raise StreamNotFound("the camera has stopped")

    def _give_up(self, serial: int) -> None:
        future = self._pictures.get(serial)
        if future is not None and not future.done():
            _fail(future, TimeoutError(f"no picture within {PATIENCE_S:g} s"))

    def _forget(self, serial: int, ask: PictureAsk, future: asyncio.Future[StillPicture]) -> None:
        """It is answered: there is room for another, and the next who asks wants a newer one."""
        del self._pictures[serial]
        if self._shared.get(ask) is future:
            del self._shared[ask]

    def _future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # looked at: whoever asked may have left meanwhile
