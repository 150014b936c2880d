"""Lanes that decode and encode anew: whatever libav can read becomes H.264 and AAC."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

import av

from appliance.capture.clock import monotonic_us, unix_offset_us
from appliance.capture.commands import Commands
from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.capture.lanes.lane import Packet, Stamps, stamp_us
from appliance.capture.options import Options
from appliance.capture.pipeline.changes import Wishes
from appliance.capture.pipeline.encoding import Coding, Encoding, Words
from appliance.capture.pipeline.shaping import Shaper
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
    """Pictures no larger than the stream's settings, in their own shape and rate, with its masks
    and words on them."""

    def __init__(self, track_id: int, stream: Any, options: Options) -> None:
        fps = Fraction(stream.average_rate or options.fps)
        if not 1 <= fps <= MAX_FPS:
            fps = Fraction(options.fps)
        self._shaper = Shaper(options)
        self._words = Words.of(options.overlay, options.device)
        self._encoding = Encoding(
            Coding(
                track_id, options.encoder, fps, ceil(fps), options.bitrate_bps, options.keyframe_us,
                options.threads, rotation_deg=self._shaper.rotation_deg,
            ),
            self._words,
        )  # fmt: skip
        self.stamps = Stamps(Kind.VIDEO, stream.time_base, int(1_000_000 / fps))
        self._last_us: int | None = None
        self._key_wanted = False
        self._is_behind = False
        self._dropped_frames = 0
        self._decoder = _decoder(stream)

    @property
    def track(self) -> Track | None:
        return self._encoding.track

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
        if bitrate_bps is not None:
            self._encoding.set_bitrate(bitrate_bps)

    def change(self, wishes: Wishes) -> None:
        """What concerns the encoder and the words on the picture."""
        if wishes.bitrate_bps is not None:
            self._encoding.set_bitrate(wishes.bitrate_bps)
        if wishes.keyframe_us is not None:
            self._encoding.set_keyframe_us(wishes.keyframe_us)
        if wishes.text is not None:
            self._words.text = wishes.text
        if wishes.shown is not None:
            self._words.shown = wishes.shown

    def restart(self) -> None:
        """The next picture opens an encoder."""
        self._encoding.close()

    def figures(self) -> dict[str, Any]:
        """For the document of State."""
        encoder, coding = self._encoding.encoder, self._encoding.coding
        width, height = self._encoding.size
        figures: dict[str, Any] = {
            "bitrate_bps": coding.bitrate_bps,
            "keyframe_us": coding.keyframe_us,
            "overlay": {"shown": self._words.shown, "text": self._words.text},
        }
        if encoder is not None:
            figures |= {
                "encoder": encoder.name, "threads": encoder.threads,
                "width": width, "height": height,
            }  # fmt: skip
        return figures

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
            if self._is_behind and self._encoding.encoder is not None:
                self._dropped_frames += 1  # decoding goes on: others refer to this picture
                continue
            self._last_us = at_us
            shaped = self._shaper.shape(frame, keep=False)
            unix_us = monotonic_us() + unix_offset_us()
            units += self._encoding.encode(shaped, at_us, unix_us, key=self._key_wanted)
            self._key_wanted = False
        return units


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


def _decoder(stream: Any) -> Any:
    decoder = stream.codec_context
    decoder.thread_count = DECODER_THREADS
    return decoder
