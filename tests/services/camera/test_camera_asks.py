"""Questions to a worker: shared, bounded, and forgotten once answered."""

from __future__ import annotations

import asyncio

import pytest

from appliance.errors import LimitExceeded, StreamNotFound
from appliance.hub.cameras import PictureAsk
from appliance.services.camera.asks import MAX_PICTURES, Asks
from appliance.wire.pipe.messages import Command, Picture, RequestPicture


def make() -> tuple[Asks, list[RequestPicture]]:
    sent: list[RequestPicture] = []

    def send(command: Command) -> None:
        assert isinstance(command, RequestPicture)
        sent.append(command)

    return Asks(send), sent


def picture(request: RequestPicture) -> Picture:
    return Picture(request.serial, request.serial, 320, 180, b"\xff\xd8" + bytes(8))


async def begin(asks: Asks, *wanted: PictureAsk) -> list[asyncio.Task[object]]:
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(asks.picture(ask)) for ask in wanted]
    await asyncio.sleep(0)
    return tasks


async def test_asks_pictures_one_after_the_other_never_fill_the_table() -> None:
    asks, sent = make()
    for count in range(10 * MAX_PICTURES):
        (task,) = await begin(asks, PictureAsk(width=count + 1))
        asks.deliver(picture(sent[-1]))
        await task
    assert len(sent) == 10 * MAX_PICTURES


async def test_asks_equal_at_one_time_are_one_and_later_a_new_one() -> None:
    asks, sent = make()
    tasks = await begin(asks, PictureAsk(), PictureAsk())
    assert len(sent) == 1
    asks.deliver(picture(sent[0]))
    assert len(set(map(id, await asyncio.gather(*tasks)))) == 1
    (later,) = await begin(asks, PictureAsk())
    assert len(sent) == 2
    asks.deliver(picture(sent[1]))
    await later


async def test_asks_too_many_at_once_are_refused() -> None:
    asks, sent = make()
    tasks = await begin(asks, *(PictureAsk(width=width) for width in range(1, MAX_PICTURES + 1)))
    with pytest.raises(LimitExceeded):
        await asks.picture(PictureAsk())
    for request in sent:
        asks.deliver(picture(request))
    await asyncio.gather(*tasks)


async def test_asks_end_with_their_worker() -> None:
    asks, _ = make()
    (task,) = await begin(asks, PictureAsk())
    asks.close()
    with pytest.raises(StreamNotFound):
        await task


async def test_asks_answers_to_nobody_are_dropped() -> None:
    asks, sent = make()
    (task,) = await begin(asks, PictureAsk())
    asks.deliver(Picture(999, 0, 0, 0, b"", "never asked"))
    asks.deliver(picture(sent[0]))
    asks.deliver(picture(sent[0]))
    await task
