"""Lanes that decode and encode anew: whatever libav can read becomes H.264 and AAC."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from appliance.capture.commands import Commands
from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.capture.encoders.h264 import H264Encoder
from appliance.capture.lanes.lane import Packet, Stamps, stamp_us
from appliance.capture.options import MIN_SIDE_PX, Options
from appliance.media.clock import us_to_ticks
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit

AAC_RATES_HZ = frozenset({32_000, 44_100, 48_000})
DEFAULT_RATE_HZ = 48_000
DECODER_THREADS = 2
LATE_US = 400_000  # from here on pictures are not encoded, until a quarter of it
MAX_SKEW_US = 40_000  # sound further than this from where its samples put it is placed anew
MAX_FPS = 120


class VideoTranscode:
    """Pictures no larger than the stream's settings, in their own shape and rate."""

    def __init__(self, track_id: int, stream: Any, options: Options) -> None:
        self._id = track_id
        self._options = options
        self._encoder: H264Encoder | None = None
        self._size = (0, 0)
        self._fps = Fraction(stream.average_rate or options.fps)
        if not 1 <= self._fps <= MAX_FPS:
            self._fps = Fraction(options.fps)
        self.stamps = Stamps(Kind.VIDEO, stream.time_base, int(1_000_000 / self._fps))
        self._last_us: int | None = None
        self._key_wanted = False
        self._is_behind = False
        self._dropped_frames = 0
        self._decoder = _decoder(stream)

    @property
    def track(self) -> Track | None:
        return None if self._encoder is None else self._encoder.track

    def reopen(self, stream: Any) -> None:
        self.stamps.restart(stream.time_base)
        self._decoder = _decoder(stream)

    def feed(self, packet: Packet) -> list[AccessUnit]:
        self.stamps.take(packet)
        return self._encode(self._decoder.decode(packet))

    def flush(self) -> list[AccessUnit]:
        return self._encode(self._decoder.decode(None))

    def obey(self, commands: Commands, late_us: int) -> None:
        self._is_behind = late_us > (LATE_US if not self._is_behind else LATE_US // 4)
        self._key_wanted = commands.take_keyframe() or self._key_wanted
        bitrate_bps = commands.take_bitrate_bps()
        if bitrate_bps is not None and self._encoder is not None:
            self._encoder.set_bitrate(bitrate_bps)

    def take_dropped(self) -> int:
        dropped, self._dropped_frames = self._dropped_frames, 0
        return dropped

    def _encode(self, frames: list[av.VideoFrame]) -> list[AccessUnit]:
        units: list[AccessUnit] = []
        for frame in frames:
            if frame.pts is None or frame.time_base is None:
                continue
            at_us = stamp_us(frame.pts, frame.time_base) + self.stamps.shift_us
            if self._last_us is not None and at_us <= self._last_us:
                continue
            if self._is_behind and self._encoder is not None:
                self._dropped_frames += 1  # decoding goes on: others refer to this picture
                continue
            self._last_us = at_us
            encoder = self._fitting_encoder(frame)
            width, height = self._size
            picture = frame.reformat(width, height, "yuv420p")
            units += encoder.encode(picture, at_us, key=self._key_wanted)
            self._key_wanted = False
        return units

    def _fitting_encoder(self, frame: av.VideoFrame) -> H264Encoder:
        """One for the input's size; made at its first picture, kept though the size may change."""
        if self._encoder is None:
            self._size = fit(frame.width, frame.height, self._options.width, self._options.height)
            self._encoder = H264Encoder(
                self._id,
                *self._size,
                self._fps,
                bitrate_bps=self._options.bitrate_bps,
                keyframe_us=self._options.keyframe_us,
            )
        return self._encoder


class AudioTranscode:
    """One or two channels of AAC at a usual rate.

    Stamps count samples, so that they are smooth whatever the input's packets say; where the
    input itself jumps (a gap, a loop's joint) counting starts anew.
    """

    def __init__(self, track_id: int, stream: Any, options: Options) -> None:
        context = stream.codec_context
        rate_hz = context.sample_rate if context.sample_rate in AAC_RATES_HZ else DEFAULT_RATE_HZ
        channels = 1 if context.channels == 1 else 2
        self._encoder = AacEncoder(
            track_id, rate_hz, channels, bitrate_bps=options.audio_bitrate_bps
        )
        self.track: Track | None = self._encoder.track
        self.stamps = Stamps(Kind.AUDIO, stream.time_base, 20_000)
        self._next: int | None = None  # sample number of the next frame
        self._decoder = _decoder(stream)
        self._resampler = self._make_resampler()

    def _make_resampler(self) -> av.AudioResampler:
        encoder = self._encoder
        return av.AudioResampler("fltp", encoder.layout, encoder.rate_hz, frame_size=FRAME_SAMPLES)

    def reopen(self, stream: Any) -> None:
        self.stamps.restart(stream.time_base)
        self._decoder = _decoder(stream)
        self._resampler = self._make_resampler()

    def feed(self, packet: Packet) -> list[AccessUnit]:
        self.stamps.take(packet)
        return self._encode(self._decoder.decode(packet))

    def flush(self) -> list[AccessUnit]:
        """The decoder's rest; less than a frame of it is lost, as the joint of a loop would
        otherwise need half a frame."""
        return self._encode(self._decoder.decode(None))

    def obey(self, commands: Commands, late_us: int) -> None:
        pass

    def take_dropped(self) -> int:
        return 0

    def _encode(self, frames: list[av.AudioFrame]) -> list[AccessUnit]:
        units: list[AccessUnit] = []
        for frame in frames:
            for block in self._resampler.resample(frame):
                if block.samples == FRAME_SAMPLES and self._place(block):
                    units += self._encoder.encode(block, 0)
        return units

    def _place(self, block: av.AudioFrame) -> bool:
        """Give the block its sample number; False if all of it was heard already."""
        rate_hz = self._encoder.rate_hz
        if block.pts is not None and block.time_base is not None:
            at_us = stamp_us(block.pts, block.time_base) + self.stamps.shift_us
            at = us_to_ticks(at_us, rate_hz)
            if self._next is None or at - self._next > us_to_ticks(MAX_SKEW_US, rate_hz):
                self._next = at
            elif self._next - at >= FRAME_SAMPLES:
                return False
        block.pts = self._next = self._next or 0
        block.time_base = Fraction(1, rate_hz)
        self._next += FRAME_SAMPLES
        return True


def fit(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The size that fits without becoming larger or another shape, in even numbers."""
    scale = min(1.0, max_width / width, max_height / height)
    sides = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    return max(MIN_SIDE_PX, sides[0]), max(MIN_SIDE_PX, sides[1])


def _decoder(stream: Any) -> Any:
    decoder = stream.codec_context
    decoder.thread_count = DECODER_THREADS
    return decoder
