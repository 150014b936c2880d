"""What askers share, and for how long."""

from __future__ import annotations

from pictures_site import NAME, HandCamera, label_of

from appliance.hub.cameras import Cameras, PictureAsk
from appliance.hub.clock import Clock
from appliance.hub.stats import Counters
from appliance.services.pictures.darkroom import MAX_KEPT_BYTES, Darkroom


class HeldClock(Clock):
    """Moves only when told."""

    def __init__(self) -> None:
        self.now_us = super().monotonic_us()

    def monotonic_us(self) -> int:
        return self.now_us


def make(clock: Clock) -> tuple[Darkroom, HandCamera]:
    cameras, camera = Cameras(), HandCamera()
    cameras.add(camera)
    return Darkroom(cameras, NAME, clock, Counters(), max_fps=60, shapes=64), camera


async def test_darkroom_picture_is_shared_for_as_long_as_asked_and_no_longer() -> None:
    clock = HeldClock()
    darkroom, camera = make(clock)
    assert label_of((await darkroom.picture(PictureAsk(), 100_000)).jpeg) == "1"
    clock.now_us += 100_000
    assert label_of((await darkroom.picture(PictureAsk(), 100_000)).jpeg) == "1"
    clock.now_us += 1
    assert label_of((await darkroom.picture(PictureAsk(), 100_000)).jpeg) == "2"
    assert len(camera.asks) == 2


async def test_darkroom_pictures_of_different_shapes_are_not_mixed_up() -> None:
    darkroom, _ = make(HeldClock())
    asks = [PictureAsk(quality=quality) for quality in range(1, 9)]
    first = [(await darkroom.picture(ask, 100_000)).jpeg for ask in asks]
    assert [(await darkroom.picture(ask, 100_000)).jpeg for ask in asks] == first


async def test_darkroom_keeps_few_pictures_and_few_bytes() -> None:
    darkroom, camera = make(HeldClock())
    for quality in range(1, 12):
        await darkroom.picture(PictureAsk(quality=quality), 0)
    assert darkroom.kept_bytes < 9 * 20_000
    camera.padding_bytes = 3_000_000
    for quality in range(1, 12):
        await darkroom.picture(PictureAsk(quality=quality), 0)
        assert darkroom.kept_bytes < MAX_KEPT_BYTES + 3_100_000
    camera.padding_bytes = 2 * MAX_KEPT_BYTES
    huge = await darkroom.picture(PictureAsk(), 0)
    assert darkroom.kept_bytes == len(huge.jpeg)


async def test_darkroom_picture_that_the_asker_has_is_not_given_again() -> None:
    """Else a viewer at the camera's own pace would get every second picture only."""
    clock = HeldClock()
    darkroom, camera = make(clock)
    first = await darkroom.picture(PictureAsk(), 100_000)
    camera.age_us = -1_000_000
    second = await darkroom.picture(PictureAsk(), 100_000, newer_than_us=first.taken_us)
    assert label_of(second.jpeg) == "2"
    assert await darkroom.picture(PictureAsk(), 100_000, newer_than_us=first.taken_us) is second
