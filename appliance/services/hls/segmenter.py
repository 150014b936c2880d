"""Chunks gathered into segments: where to cut, and nothing else."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from appliance.media.unit import Chunk

TOLERANCE_US = 100_000  # a keyframe interval of "2 s" may be a frame or two shorter
# Against sources without keyframes, or with one every minute: a segment ends anyway.
MAX_SEGMENT_US = 10_000_000
MAX_SEGMENT_BYTES = 16 << 20
KEPT_INTERVALS = 4  # between keyframes


@dataclass(slots=True)
class Cut:
    """A finished segment: its chunks in order, and when it starts and ends.

    header: what precedes it for a decoder that starts here (fMP4's initialisation segment).
    independent: it starts with a key.
    """

    header: bytes
    start_us: int
    independent: bool
    discontinuity: bool
    end_us: int = 0
    parts: list[bytes] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def duration_us(self) -> int:
        return self.end_us - self.start_us


class Segmenter:
    """A segment ends before the key that is nearest to `target_us`, or the first one after it.

    It ends at an earlier key if the next one, judging by the last few, would make it longer than
    `limit_us`, which is 0 while there is no limit: a keyframe that a joining viewer had an encoder
    make shortens one segment, rather than lengthen the playlist's target duration for ever.

    It ends too before a discontinuity or a new header, and at MAX_SEGMENT_US or MAX_SEGMENT_BYTES
    whatever follows (which makes the next one dependent).
    """

    def __init__(self, target_us: int) -> None:
        self._target_us = target_us
        self._enough_us = target_us - min(TOLERANCE_US, target_us // 10)
        self.limit_us = 0
        self._key_us: int | None = None  # the newest key
        self._key_intervals_us: deque[int] = deque(maxlen=KEPT_INTERVALS)
        self._open: Cut | None = None
        self._interrupted = False

    def feed(self, chunk: Chunk) -> Cut | None:
        """The segment that ends before this chunk, if one does."""
        finished = None
        if chunk.discontinuity:
            self._key_us = None
        if chunk.key:
            self._note_key(chunk.dts_us)
        if self._open is not None and self._ends_before(chunk, self._open):
            finished = self._finish(chunk)
        if self._open is None:
            self._open = Cut(
                chunk.header,
                chunk.dts_us,
                chunk.key,
                chunk.discontinuity or self._interrupted,
                chunk.dts_us,
            )
            self._interrupted = False
        segment = self._open
        segment.parts.append(chunk.data)
        segment.size_bytes += len(chunk.data)
        segment.end_us = max(segment.end_us, chunk.dts_us + chunk.duration_us)
        return finished

    def close(self, chunk: Chunk) -> Cut | None:
        """The segment that ends with this chunk, which was fed, as a key is known to follow."""
        if not chunk.before_key or self._open is None:
            return None
        key_us = chunk.dts_us + chunk.duration_us
        self._note_key(key_us)
        if not self._ends_at_key(key_us - self._open.start_us):
            return None
        finished = self.flush()
        if finished is not None:
            finished.end_us = max(finished.start_us, key_us)
        return finished

    def flush(self) -> Cut | None:
        """What is left: the stream ended."""
        finished, self._open = self._open, None
        return finished

    def interrupt(self) -> Cut | None:
        """Chunks are missing from here on: ends the segment, the next one is a discontinuity."""
        self._interrupted = True
        return self.flush()

    def _note_key(self, key_us: int) -> None:
        if self._key_us is not None and key_us > self._key_us:
            self._key_intervals_us.append(key_us - self._key_us)
        self._key_us = key_us

    def _ends_before(self, chunk: Chunk, segment: Cut) -> bool:
        if chunk.discontinuity or chunk.header is not segment.header:
            return True
        length_us = chunk.dts_us - segment.start_us
        if chunk.key and self._ends_at_key(length_us):
            return True
        return (
            length_us + chunk.duration_us > MAX_SEGMENT_US
            or segment.size_bytes + len(chunk.data) > MAX_SEGMENT_BYTES
        )

    def _ends_at_key(self, length_us: int) -> bool:
        if not self._key_intervals_us:
            return length_us >= self._enough_us
        if length_us >= self._enough_us:
            short_us = self._target_us - length_us
            return short_us <= abs(self._key_intervals_us[-1] - short_us)  # the next is no nearer
        return 0 < self.limit_us < length_us + max(self._key_intervals_us)

    def _finish(self, chunk: Chunk) -> Cut:
        """Segments tile the timeline: one ends where the next starts, unless it was interrupted."""
        segment = self._open
        assert segment is not None
        self._open = None
        if not chunk.discontinuity:
            segment.end_us = max(segment.start_us, chunk.dts_us)
        return segment
