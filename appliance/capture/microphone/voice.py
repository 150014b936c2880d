"""Sound of a device onto one even grid of samples on CLOCK_MONOTONIC, and into AAC.

Theory of operation: what goes into the encoder is `rate_hz` samples per second of CLOCK_MONOTONIC
from the first one on, whatever the device's rate and however it drifts, so stamps are plain
multiplication. libav's `aresample` is told when each stretch of samples was heard and bends its
output towards that, by at most MAX_BEND, which nobody hears; an error of HARD_S it cuts at once.
After a gap a new resampler is made: it fills with silence, or leaves out, what lies between the
grid and the first sample heard. While a device is away its place is filled with silence, so the
grid has no hole, and a return is only another gap.
"""

from __future__ import annotations

from fractions import Fraction

import av
from av.filter import Graph

from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

US_PER_S = 1_000_000
MAX_BEND = 0.002  # of the speed: 3.5 cents
BEND_S = 1  # in which an error is to be gone
HARD_S = 0.03  # of error, below the 40 ms that are noticed
MAX_FILL_US = 5_000_000  # of silence at once; after a longer absence of ours the grid has a hole
SAMPLE_BYTES = 4
LAYOUTS = {1: "mono", 2: "stereo"}


class Voice:
    """rate_hz, channels: of the AAC; they never change, whichever device speaks."""

    def __init__(self, track_id: int, rate_hz: int, channels: int, *, bitrate_bps: int) -> None:
        self._rate_hz = rate_hz
        self._encoder = AacEncoder(track_id, rate_hz, channels, bitrate_bps=bitrate_bps)
        self._pending = [bytearray() for _ in range(channels)]  # planes of less than a frame
        self._origin_us: int | None = None
        self._placed = 0  # samples on the grid since its origin
        self._graph: Graph | None = None
        self._begun_us = 0.0
        self._input = ("s16", 1, rate_hz)

    @property
    def track(self) -> Track:
        return self._encoder.track

    @property
    def end_us(self) -> float:
        """The time of the next sample on the grid."""
        return (self._origin_us or 0) + self._placed * US_PER_S / self._rate_hz

    def connect(self, sample_format: str, channels: int, rate_hz: int) -> None:
        """What is fed from now on: interleaved, "s16" or "s32", one or two channels."""
        self._input = (sample_format, channels, rate_hz)
        self.cut()

    def cut(self) -> None:
        """What is fed next does not follow what was fed before."""
        self._graph = None

    def feed(self, data: bytes, samples: int, heard_us: float) -> list[AccessUnit]:
        """Samples of which the first was heard at heard_us."""
        if self._origin_us is None:
            self._origin_us = int(heard_us)
        units = []
        if self._graph is None:
            if heard_us - self.end_us > MAX_FILL_US:
                units = self._leap(heard_us)
            self._graph, self._begun_us = self._make_graph(), self.end_us
        frame = av.AudioFrame(self._input[0], LAYOUTS[self._input[1]], samples)
        frame.sample_rate, frame.time_base = self._input[2], Fraction(1, US_PER_S)
        frame.planes[0].update(data)
        frame.pts = round(heard_us - self._begun_us)
        self._graph.push(frame)
        self._collect(self._graph)
        return units + self._encode()

    def fill(self, time_us: float) -> list[AccessUnit]:
        """Silence on the grid up to time_us, if it has not come that far."""
        if self._origin_us is None or time_us <= self.end_us:
            return []
        self.cut()
        units = self._leap(time_us) if time_us - self.end_us > MAX_FILL_US else []
        self._add_silence(int((time_us - self.end_us) * self._rate_hz / US_PER_S))
        return units + self._encode()

    def _leap(self, time_us: float) -> list[AccessUnit]:
        """Go on at most a frame before time_us, after a whole frame."""
        self._add_silence(-self._placed % FRAME_SAMPLES)
        units = self._encode()
        frames = int((time_us - self.end_us) * self._rate_hz / US_PER_S) // FRAME_SAMPLES
        self._placed += frames * FRAME_SAMPLES
        return units

    def _make_graph(self) -> Graph:
        sample_format, channels, rate_hz = self._input
        graph = Graph()
        source = graph.add(
            "abuffer",
            f"sample_rate={rate_hz}:sample_fmt={sample_format}:"
            f"channel_layout={LAYOUTS[channels]}:time_base=1/{US_PER_S}",
        )
        resampler = graph.add(
            "aresample",
            f"out_sample_rate={self._rate_hz}:out_sample_fmt=fltp:out_chlayout={self._encoder.layout}:rematrix_maxval=1:"
            f"min_comp=0.00001:max_soft_comp={MAX_BEND}:comp_duration={BEND_S}:"
            f"min_hard_comp={HARD_S}:first_pts=0:flags=res",  # from the first sample on
        )
        sink = graph.add("abuffersink")
        source.link_to(resampler)
        resampler.link_to(sink)
        graph.configure()
        return graph

    def _collect(self, graph: Graph) -> None:
        while True:
            try:
                frame = graph.pull()
            except av.BlockingIOError:
                return
            assert isinstance(frame, av.AudioFrame)
            for pending, plane in zip(self._pending, frame.planes, strict=True):
                pending += memoryview(plane)[: frame.samples * SAMPLE_BYTES]
            self._placed += frame.samples

    def _add_silence(self, samples: int) -> None:
        for pending in self._pending:
            pending += bytes(samples * SAMPLE_BYTES)
        self._placed += samples

    def _encode(self) -> list[AccessUnit]:
        """All whole frames of what is pending."""
        units: list[AccessUnit] = []
        frame_bytes = FRAME_SAMPLES * SAMPLE_BYTES
        while len(self._pending[0]) >= frame_bytes:
            frame = av.AudioFrame("fltp", self._encoder.layout, FRAME_SAMPLES)
            frame.sample_rate, frame.time_base = self._rate_hz, Fraction(1, self._rate_hz)
            frame.pts = self._placed - len(self._pending[0]) // SAMPLE_BYTES
            for pending, plane in zip(self._pending, frame.planes, strict=True):
                plane.update(bytes(pending[:frame_bytes]))
                del pending[:frame_bytes]
            units += self._encoder.encode(frame, self._origin_us or 0)
        return units
