"""A slate: a still picture that says what is wrong, and silence, repeated in place of media.

Encoded once by a worker of its own and kept; from then on the same coded picture is sent once a
second and the same coded silence at its pace, which costs nothing worth measuring. `Pace` is
sans-IO; `SlatePress` runs the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.aac import TYPE_LC, AacConfig
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.net.worker_process import WorkerFault, WorkerProcess
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import AUDIO_ID, VIDEO_ID, Fault

log = logging.getLogger(__name__)

SOURCE = "slate:"
PRESS_S = 30.0  # a Pi Zero loads libav in some seconds
RETRY_S = 60.0  # after a slate that could not be made
MAX_KEPT = 8  # of so many texts and sizes; against faults that put numbers into their words
MAX_BYTES = 2 << 20  # of one slate, against a worker that has gone mad
MAX_TEXT_CHARS = 120
KEY_US = 1_000_000
SETTLE_US = 40_000  # between the last pictures of a slate, so that what follows begins in time
MAX_BEHIND_US = 5_000_000  # a longer standstill is left out, not made up for


@dataclass(frozen=True, slots=True)
class SlateKey:
    """What tells one slate from another. rate_hz: 0 for no sound."""

    text: str
    width: int
    height: int
    rate_hz: int = 0
    channels: int = 1


@dataclass(frozen=True, slots=True)
class Slate:
    """One coded picture and, if it has sound, one coded frame of silence."""

    tracks: tuple[Track, ...]
    picture: AccessUnit
    silence: AccessUnit | None


class Pace:
    """The units of a slate by the clock; its stamps run on from `start_us`."""

    def __init__(self, slate: Slate, tracks: tuple[Track, ...], start_us: int) -> None:
        self._slate = slate
        self._tracks = {track.id: track for track in tracks}
        self._picture_us = start_us
        self._sound_start_us = start_us
        self._sounds = 0
        self._newest_us = start_us - SETTLE_US  # of the newest picture

    def change(self, slate: Slate, tracks: tuple[Track, ...]) -> None:
        """Another picture from now on, in the same time."""
        self._slate, self._tracks = slate, {track.id: track for track in tracks}
        self._picture_us = self._newest_us + SETTLE_US

    def take(self, until_us: int) -> list[AccessUnit]:
        """What is due until then, in order of decoding."""
        if until_us - self._picture_us > MAX_BEHIND_US:
            self._picture_us = self._sound_start_us = until_us
            self._sounds = 0
        units: list[AccessUnit] = []
        while self._picture_us <= until_us:
            units.append(self._picture(self._picture_us))
            self._picture_us += KEY_US
        return sorted(units + self._silence(until_us), key=lambda unit: unit.dts_us)

    def finish(self, at_us: int) -> list[AccessUnit]:
        """The last ones before media that begins then: the picture's end is where that begins.

        The two that see to it are not called keys, so that nothing is cut there.
        """
        units = self.take(at_us - 1)
        step_us = min(SETTLE_US, (at_us - self._newest_us) // 3)
        if step_us > 0:
            units += [self._picture(at_us - n * step_us, key=False) for n in (2, 1)]
        return sorted(units, key=lambda unit: unit.dts_us)

    def _picture(self, at_us: int, *, key: bool = True) -> AccessUnit:
        self._newest_us = at_us
        unit = self._slate.picture
        return AccessUnit(self._tracks[unit.track.id], at_us, at_us, key, unit.parts)

    def _silence(self, until_us: int) -> list[AccessUnit]:
        unit = self._slate.silence
        if unit is None:
            return []
        config = unit.track.config
        assert isinstance(config, AacConfig)
        units: list[AccessUnit] = []
        while True:
            samples = self._sounds * config.frame_samples
            at_us = self._sound_start_us + samples * 1_000_000 // config.sample_rate_hz
            if at_us > until_us:
                return units
            self._sounds += 1
            track = self._tracks[unit.track.id]
            units.append(AccessUnit(track, at_us, at_us, True, unit.parts))


class SlatePress:
    """Makes slates and keeps the last few. One at a time: it competes with the cameras."""

    def __init__(self, device_name: str, nice: int) -> None:
        self._device_name = device_name
        self._nice = nice
        self._kept: OrderedDict[SlateKey, Slate] = OrderedDict()
        self._failed_s: float | None = None
        self._busy = asyncio.Lock()

    async def make(self, key: SlateKey) -> Slate | None:
        """None if it cannot be made now, which is told once."""
        async with self._busy:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            now_s = asyncio.get_running_loop().time()
            if self._failed_s is not None and now_s - self._failed_s < RETRY_S:
                return None
            try:
                slate = await self._press(key)
            except (WorkerFault, PeerError, TimeoutError) as error:
                level = logging.WARNING if self._failed_s is None else logging.DEBUG
                log.log(
                    level, "no slate for viewers who wait: %s", str(error) or "it took too long"
                )
                self._failed_s = now_s
                return None
            self._failed_s = None
            self._kept[key] = slate
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
            return slate

    async def _press(self, key: SlateKey) -> Slate:
        output = bytearray()
        worker = await WorkerProcess.spawn(
            SOURCE,
            slate_options(key, self._device_name),
            nice=self._nice,
            on_output=lambda data: output.extend(data) if len(output) < MAX_BYTES else None,
            on_error_output=lambda data: None,
        )
        try:
            worker.write(Pipe(Role.APPLIANCE).take_output())
            async with asyncio.timeout(PRESS_S):
                await worker.ended.wait()
        finally:
            await worker.end(gently=False)
        return read_slate(bytes(output), with_sound=bool(key.rate_hz))


def slate_options(key: SlateKey, device_name: str) -> dict[str, str | int]:
    """What `appliance.capture.options` reads, for `slate:`."""
    return {
        "device": device_name,
        "slate_text": key.text,
        "width": min(max(key.width, 64), 4096) & ~1,
        "height": min(max(key.height, 64), 4096) & ~1,
        "audio": "auto" if key.rate_hz else "none",
        "audio_rate_hz": key.rate_hz or 48_000,
        "audio_channels": key.channels,
    }


def read_slate(data: bytes, *, with_sound: bool) -> Slate:
    """Of the frames a slate's worker wrote. Raises: PeerError if they are none; WorkerFault."""
    pictures: list[AccessUnit] = []
    sounds: list[AccessUnit] = []
    tracks: dict[int, Track] = {}
    for event in Pipe(Role.APPLIANCE).receive(data):
        match event:
            case tuple():
                tracks = {track.id: track for track in event}
            case AccessUnit():
                (pictures if event.track.kind is Kind.VIDEO else sounds).append(event)
            case Fault():
                raise WorkerFault(event.reason.value, event.text)
            case _:
                pass
    if not pictures or not pictures[0].key or VIDEO_ID not in tracks:
        raise PeerError("the slate's worker made no picture")
    kept = [tracks[VIDEO_ID]]
    silence = None
    sound = tracks.get(AUDIO_ID)
    if with_sound and sounds and sound is not None and isinstance(sound.config, AacConfig):
        silence = sounds[-1]  # the first holds the encoder's priming
        kept.append(sound)
    return Slate(tuple(kept), pictures[0], silence)


def sound_of(track: Track | None) -> tuple[int, int]:
    """(rate, channels) of silence that can stand for this track; rate 0 if none can."""
    if track is None or not isinstance(config := track.config, AacConfig):
        return 0, 1
    if config.object_type != TYPE_LC or config.frame_samples != 1024 or config.channels > 2:
        return 0, 1
    return config.sample_rate_hz, config.channels


def same_tracks(old: tuple[Track, ...], new: tuple[Track, ...]) -> tuple[Track, ...]:
    """`new`, with the objects of `old` where they say the same: those are not told anew."""
    kept = {track.id: track for track in old}
    return tuple(kept[track.id] if kept.get(track.id) == track else track for track in new)


def shorten(text: str) -> str:
    """For a picture: one line of so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"


def key_of(text: str, last: tuple[Track, ...], width: int, height: int, sound: int) -> SlateKey:
    """The slate that follows media of these tracks, or comes before any.

    width, height: of the settings, for when there was no media; sound: channels, 0 for none.
    """
    video = next((track for track in last if track.kind is Kind.VIDEO), None)
    if video is None:
        return SlateKey(shorten(text), width, height, 48_000 if sound else 0, sound or 1)
    config = video.config
    width, height = getattr(config, "width_px", width), getattr(config, "height_px", height)
    if video.rotation_deg in {90, 270}:
        width, height = height, width
    rate_hz, channels = sound_of(next((t for t in last if t.kind is Kind.AUDIO), None))
    return SlateKey(shorten(text), width, height, rate_hz, channels)
