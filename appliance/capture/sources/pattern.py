"""`pattern:` — the test card with its sound, encoded for real.

Theory of operation: pictures and sound frames have due times on CLOCK_MONOTONIC, computed from
their numbers and never from the previous one, so nothing drifts. The loop sleeps until the
earlier of the two. A picture that is a whole interval late is left out and counted, as a camera
would have overwritten it. Pictures lie on the grid of the wall clock's seconds, so the flash, the
beep and the clock's turning second are one event. An ALSA device named in the options takes the
tone's place.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

import av

from appliance.capture.clock import WallClock, monotonic_us, sleep_until_us
from appliance.capture.commands import Commands
from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.capture.fault import ChangeRefused, SourceFault
from appliance.capture.microphone.microphone import ANY_DEVICE, NO_DEVICE, Microphone
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.pattern.controls import CardControls
from appliance.capture.pattern.testcard import Caption, TestCard
from appliance.capture.pattern.tone import Tone
from appliance.capture.picture.frames import blank_frame, canvas_of
from appliance.capture.pipeline.line import Pipeline
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import AUDIO_ID, Reason, Rung

log = logging.getLogger(__name__)

RATE_HZ = 48_000
SECOND_US = 1_000_000
MAX_AUDIO_LATE_US = 500_000  # what is older is left out: nobody would hear it in time
ENCODER_FRAMES = 2


def create(rest: str, options: Options) -> PatternSource:
    if rest:
        raise SourceFault(Reason.SOURCE_INVALID, "write pattern: alone, nothing follows it")
    return PatternSource(options)


class PatternVideo:
    """Draws pictures; `due_us` is when the next one is taken."""

    def __init__(self, options: Options, clock: WallClock, controls: CardControls) -> None:
        self._fps = options.fps
        self._clock = clock
        self._card = TestCard(options.width, options.height, _caption(options), controls)
        self.frame = blank_frame(options.width, options.height)
        self._canvas = canvas_of(self.frame)
        self._card.paint(self._canvas)
        self._number = 0
        now_us = monotonic_us()
        within_us = clock.unix_us(now_us) % SECOND_US
        self._second_us = now_us - within_us  # slots are counted from here
        self._slot = within_us * self._fps // SECOND_US + 1

    @property
    def due_us(self) -> int:
        return self._second_us + -(-self._slot * SECOND_US // self._fps)

    def skip_missed(self) -> int:
        """Leave out the pictures whose time has passed; how many."""
        newest = (monotonic_us() - self._second_us) * self._fps // SECOND_US
        missed = max(0, newest - self._slot)
        self.skip(missed)
        return missed

    def skip(self, count: int = 1) -> None:
        self._slot += count
        self._number += count

    def draw(self) -> None:
        """The picture that is due, on `frame`."""
        self._clock.follow()
        self._card.draw(self._canvas, self._number, self._clock.unix_us(self.due_us))
        self.skip()


class PatternAudio:
    """Encodes the tone; `due_us` is when the next frame must go into the encoder.

    That is before its sound would be heard: the encoder holds ENCODER_FRAMES back, and what comes
    out shall be beside the pictures of the same time.
    """

    def __init__(self, options: Options, clock: WallClock) -> None:
        self._clock = clock
        self._tone = Tone(RATE_HZ)
        self._encoder = AacEncoder(AUDIO_ID, RATE_HZ, 1, bitrate_bps=options.audio_bitrate_bps)
        self._frame = av.AudioFrame("fltp", "mono", FRAME_SAMPLES)
        self._frame.sample_rate = RATE_HZ
        self._frame.time_base = Fraction(1, RATE_HZ)
        self._origin_us = monotonic_us()
        self._samples = 0

    @property
    def track(self) -> Track:
        return self._encoder.track

    @property
    def due_us(self) -> int:
        return self._time_us(self._samples + (1 - ENCODER_FRAMES) * FRAME_SAMPLES)

    def _time_us(self, samples: int) -> int:
        return self._origin_us + samples * SECOND_US // RATE_HZ

    def skip_missed(self) -> None:
        late_us = monotonic_us() - self.due_us
        if late_us > MAX_AUDIO_LATE_US:
            self._samples += late_us * RATE_HZ // SECOND_US // FRAME_SAMPLES * FRAME_SAMPLES

    def next_units(self) -> list[AccessUnit]:
        within_us = self._clock.unix_us(self._time_us(self._samples)) % SECOND_US
        first = (within_us * RATE_HZ + SECOND_US // 2) // SECOND_US
        self._frame.planes[0].update(bytes(self._tone.samples(first, FRAME_SAMPLES)))
        self._frame.pts = self._samples
        self._samples += FRAME_SAMPLES
        return self._encoder.encode(self._frame, self._origin_us)


class PatternSource:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._controls = CardControls()
        self._told_us = 0
        self._refusals: list[str] = []
        for name, value in options.controls.items():
            try:
                self._controls.set({name: value})
            except ChangeRefused as refusal:  # a wrong word must not cost the picture
                log.warning("%s", refusal)
                self._refusals.append(str(refusal))

    def run(self, sink: Sink, commands: Commands) -> None:
        clock = WallClock()
        is_recording = self._options.audio not in {NO_DEVICE, ANY_DEVICE}
        pipeline = Pipeline(self._options, sink, commands, awaits_audio=is_recording)
        microphone: Microphone | None = None
        if is_recording:
            microphone = Microphone(self._options, pipeline.set_audio_track, pipeline.write_audio)
            microphone.start()
        self._tell(pipeline, microphone)
        video = PatternVideo(self._options, clock, self._controls)
        audio = PatternAudio(self._options, clock) if self._options.audio == ANY_DEVICE else None
        if audio is not None:
            pipeline.set_audio_track(audio.track)
        while True:
            if audio is not None and pipeline.has_begun and audio.due_us < video.due_us:
                sleep_until_us(audio.due_us)
                audio.skip_missed()
                pipeline.write_audio(audio.next_units())
                continue
            sleep_until_us(video.due_us)
            sink.drop(video.skip_missed())
            if pipeline.obey() is Rung.CAMERA:
                video = PatternVideo(self._options, clock, self._controls)
                continue
            if microphone is not None and monotonic_us() - self._told_us >= SECOND_US:
                self._tell(pipeline, microphone)
            self._feed(pipeline, video)

    def _tell(self, pipeline: Pipeline, microphone: Microphone | None) -> None:
        self._told_us = monotonic_us()
        document: dict[str, Any] = {
            "device": "pattern", "name": "test pattern", "driver": "pattern", "format": "I420",
        }  # fmt: skip
        if self._refusals:
            document["why"] = "; ".join(self._refusals)
        if microphone is not None:
            document["sound"] = microphone.status()
        pipeline.set_device(document, self._controls)

    def _feed(self, pipeline: Pipeline, video: PatternVideo) -> None:
        due_us = video.due_us
        if not pipeline.is_due(due_us):
            video.skip()
            return
        began_us = monotonic_us()
        video.draw()
        pipeline.feed(video.frame, due_us, keep=True, spent_us=monotonic_us() - began_us)


def _caption(options: Options) -> Caption:
    rate = f"{options.bitrate_bps / 1_000_000:.1f} Mbit/s"
    if options.bitrate_bps < 1_000_000:
        rate = f"{options.bitrate_bps // 1000} kbit/s"
    codecs = "H.264" if options.audio == "none" else "H.264 + AAC"
    figures = f"{options.width}x{options.height}  {options.fps} fps  {rate}  {codecs}"
    return Caption(options.device, options.stream, figures)
