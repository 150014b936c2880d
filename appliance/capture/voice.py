"""Sound onto one even grid of samples on CLOCK_MONOTONIC, and into an encoder.

Theory of operation: what goes into the encoder is `rate_hz` samples per second of CLOCK_MONOTONIC
from the first one on, whatever the device's rate and however it drifts, so stamps are plain
multiplication. Sound that was decoded has no device: the clock of its stamps is in its place.
libav's `aresample` is told when each stretch of samples was heard and bends its output towards
that, by at most MAX_BEND, which nobody hears; an error of HARD_S it cuts at once. After a gap a
new resampler is made: it fills with silence, or leaves out, what lies between the grid and the
first sample heard. While a device is away its place is filled with silence, so the grid has no
hole, and a return is only another gap.
"""

from __future__ import annotations

from fractions import Fraction

import av
from av.filter import Graph

from appliance.capture.encoders.sound import SAMPLE_BYTES, SoundEncoder
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

US_PER_S = 1_000_000
MAX_BEND = 0.002  # of the speed: 3.5 cents
BEND_S = 1  # in which an error is to be gone
HARD_S = 0.03  # of error, below the 40 ms that are noticed
MAX_FILL_US = 5_000_000  # of silence at once; after a longer absence of ours the grid has a hole
LAYOUTS = {1: "mono", 2: "stereo"}


class Voice:
    """What the encoder makes never changes in rate and channels, whichever device speaks."""

    def __init__(self, encoder: SoundEncoder) -> None:
        self._rate_hz = encoder.rate_hz
        self._encoder = encoder
        planes = encoder.channels if encoder.is_planar else 1
        self._step_bytes = SAMPLE_BYTES * encoder.channels // planes  # of one moment in a plane
        self._pending = [bytearray() for _ in range(planes)]  # of less than a frame
        self._origin_us: int | None = None
        self._placed = 0  # samples on the grid since its origin
        self._graph: Graph | None = None
        self._begun_us = 0.0
        self._input = ("s16", "mono", self._rate_hz)

    @property
    def track(self) -> Track:
        return self._encoder.track

    @property
    def end_us(self) -> float:
        """The time of the next sample on the grid."""
        return (self._origin_us or 0) + self._placed * US_PER_S / self._rate_hz

    def connect(self, sample_format: str, channels: int, rate_hz: int) -> None:
        """What is fed from now on: interleaved, "s16" or "s32", one or two channels."""
        self._connect(sample_format, LAYOUTS[channels], rate_hz)

    def _connect(self, sample_format: str, layout: str, rate_hz: int) -> None:
        self._input = (sample_format, layout, rate_hz)
        self.cut()

    def cut(self) -> None:
        """What is fed next does not follow what was fed before."""
        self._graph = None

    def feed(self, data: bytes, samples: int, heard_us: float) -> list[AccessUnit]:
        """Samples of which the first was heard at heard_us."""
        sample_format, layout, rate_hz = self._input
        frame = av.AudioFrame(sample_format, layout, samples)
        frame.sample_rate = rate_hz
        frame.planes[0].update(data)
        return self._feed(frame, heard_us)

    def feed_frame(self, frame: av.AudioFrame, heard_us: float) -> list[AccessUnit]:
        """As a decoder made it; of another form than the one before, it connects anew."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._input:
            self._connect(*form)
        return self._feed(frame, heard_us)

    def _feed(self, frame: av.AudioFrame, heard_us: float) -> list[AccessUnit]:
        if self._origin_us is None:
            self._origin_us = int(heard_us)
        units = []
        if self._graph is None:
            if heard_us - self.end_us > MAX_FILL_US:
                units = self._leap(heard_us)
            self._graph, self._begun_us = self._make_graph(), self.end_us
        frame.time_base = Fraction(1, US_PER_S)
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
        self._add_silence(-self._placed % self._encoder.frame_samples)
        units = self._encode()
        frame_samples = self._encoder.frame_samples
        frames = int((time_us - self.end_us) * self._rate_hz / US_PER_S) // frame_samples
        self._placed += frames * frame_samples
        return units

    def _make_graph(self) -> Graph:
        sample_format, layout, rate_hz = self._input
        graph, encoder = Graph(), self._encoder
        source = graph.add(
            "abuffer",
            f"sample_rate={rate_hz}:sample_fmt={sample_format}:"
            f"channel_layout={layout}:time_base=1/{US_PER_S}",
        )
        resampler = graph.add(
            "aresample",
            f"out_sample_rate={self._rate_hz}:out_sample_fmt={encoder.sample_format}:"
            f"out_chlayout={encoder.layout}:rematrix_maxval=1:"
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
                pending += memoryview(plane)[: frame.samples * self._step_bytes]
            self._placed += frame.samples

    def _add_silence(self, samples: int) -> None:
        for pending in self._pending:
            pending += bytes(samples * self._step_bytes)
        self._placed += samples

    def _encode(self) -> list[AccessUnit]:
        """All whole frames of what is pending."""
        units: list[AccessUnit] = []
        encoder = self._encoder
        frame_bytes = encoder.frame_samples * self._step_bytes
        while len(self._pending[0]) >= frame_bytes:
            frame = av.AudioFrame(encoder.sample_format, encoder.layout, encoder.frame_samples)
            frame.sample_rate, frame.time_base = self._rate_hz, Fraction(1, self._rate_hz)
            frame.pts = self._placed - len(self._pending[0]) // self._step_bytes
            for pending, plane in zip(self._pending, frame.planes, strict=True):
                plane.update(bytes(pending[:frame_bytes]))
                del pending[:frame_bytes]
            units += encoder.encode(frame, self._origin_us or 0)
        return units
