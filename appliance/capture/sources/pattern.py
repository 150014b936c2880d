"""`pattern:` — the test card with its sound, encoded for real.

Theory of operation: pictures and sound frames have due times on CLOCK_MONOTONIC, computed from
their numbers and never from the previous one, so nothing drifts. The loop sleeps until the
earlier of the two. A picture that is a whole interval late is left out and counted, as a camera
would have overwritten it. Pictures lie on the grid of the wall clock's seconds, so the flash, the
beep and the clock's turning second are one event.
"""

from __future__ import annotations

from fractions import Fraction

import av

from appliance.capture.clock import monotonic_us, sleep_until_us, unix_offset_us
from appliance.capture.commands import Commands
from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.capture.encoders.h264 import BT709, LIMITED_RANGE, H264Encoder
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.pattern.testcard import Caption, TestCard
from appliance.capture.pattern.tone import Tone
from appliance.capture.picture.canvas import Canvas, Plane
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason

VIDEO_ID, AUDIO_ID = 1, 2
RATE_HZ = 48_000
SECOND_US = 1_000_000
MAX_AUDIO_LATE_US = 500_000  # what is older is left out: nobody would hear it in time
ENCODER_FRAMES = 2
CLOCK_STEP_US = 100_000  # the wall clock was set, not slewed


def create(rest: str, options: Options) -> PatternSource:
    if rest:
        raise SourceFault(Reason.SOURCE_INVALID, "write pattern: alone, nothing follows it")
    return PatternSource(options)


class WallClock:
    """Monotonic → wall time by one offset, which follows only real steps of the clock."""

    def __init__(self) -> None:
        self._offset_us = unix_offset_us()

    def unix_us(self, time_us: int) -> int:
        return time_us + self._offset_us

    def follow(self) -> None:
        offset_us = unix_offset_us()
        if abs(offset_us - self._offset_us) > CLOCK_STEP_US:
            self._offset_us = offset_us


class PatternVideo:
    """Draws and encodes pictures; `due_us` is when the next one is taken."""

    def __init__(self, options: Options, clock: WallClock) -> None:
        self._fps = options.fps
        self._clock = clock
        self._encoder = H264Encoder(
            VIDEO_ID,
            options.width,
            options.height,
            Fraction(options.fps),
            bitrate_bps=options.bitrate_bps,
            keyframe_us=options.keyframe_us,
        )
        self._card = TestCard(options.width, options.height, _caption(options))
        self._frame = av.VideoFrame(options.width, options.height, "yuv420p")
        self._frame.colorspace, self._frame.color_range = BT709, LIMITED_RANGE
        self._canvas = _canvas(self._frame)
        self._card.paint(self._canvas)
        self._number = 0
        now_us = monotonic_us()
        within_us = clock.unix_us(now_us) % SECOND_US
        self._second_us = now_us - within_us  # slots are counted from here
        self._slot = within_us * self._fps // SECOND_US + 1

    @property
    def track(self) -> Track | None:
        return self._encoder.track

    @property
    def due_us(self) -> int:
        return self._second_us + -(-self._slot * SECOND_US // self._fps)

    def skip_missed(self) -> int:
        """Leave out the pictures whose time has passed; how many."""
        newest = (monotonic_us() - self._second_us) * self._fps // SECOND_US
        missed = max(0, newest - self._slot)
        self._slot += missed
        self._number += missed
        return missed

    def next_units(self, commands: Commands) -> list[AccessUnit]:
        due_us = self.due_us
        self._clock.follow()
        self._card.draw(self._canvas, self._number, self._clock.unix_us(due_us))
        self._slot += 1
        self._number += 1
        bitrate_bps = commands.take_bitrate_bps()
        if bitrate_bps is not None:
            self._encoder.set_bitrate(bitrate_bps)
        return self._encoder.encode(self._frame, due_us, key=commands.take_keyframe())


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

    def run(self, sink: Sink, commands: Commands) -> None:
        clock = WallClock()
        video = PatternVideo(self._options, clock)
        audio = PatternAudio(self._options, clock) if self._options.audio != "none" else None
        described: Track | None = None
        while True:
            if audio is not None and described is not None and audio.due_us < video.due_us:
                sleep_until_us(audio.due_us)
                audio.skip_missed()
                units = audio.next_units()
            else:
                sleep_until_us(video.due_us)
                sink.drop(video.skip_missed())
                units = video.next_units(commands)
            if video.track is not None and video.track is not described:
                described = video.track
                sink.describe((described, audio.track) if audio is not None else (described,))
            for unit in units:
                sink.write(unit)


def _canvas(frame: av.VideoFrame) -> Canvas:
    return Canvas(
        [
            Plane(memoryview(plane).cast("B"), plane.line_size, plane.width, plane.height)
            for plane in frame.planes
        ]
    )


def _caption(options: Options) -> Caption:
    rate = f"{options.bitrate_bps / 1_000_000:.1f} Mbit/s"
    if options.bitrate_bps < 1_000_000:
        rate = f"{options.bitrate_bps // 1000} kbit/s"
    codecs = "H.264" if options.audio == "none" else "H.264 + AAC"
    figures = f"{options.width}x{options.height}  {options.fps} fps  {rate}  {codecs}"
    return Caption(options.device, options.stream, figures)
