"""Access units to fragmented MP4: one moof and mdat per chunk of about 200 ms.

ISO/IEC 14496-12 §8.8. Chunks are the parts of low-latency HLS as well as pieces of segments.

Theory of operation: each carried track is a lane that holds its newest unit back until the next one
tells how long it lasts, so durations are exact and decode times come from absolute stamps. The
leading lane (video if there is any) decides where chunks end: before each key, and otherwise at
the first unit that is `interval_us` past the chunk's start. The other lane's finished samples go
along. Should the leading lane fall silent the other one cuts after MAX_SILENCE_US, so that a lost
video track neither holds back audio nor fills memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, cast

from appliance.containers.fmp4_boxes import (
    SYNC_SAMPLE,
    init_segment,
    timescale_hz,
)
from appliance.containers.fmp4_fragment import (
    TRUN_COMPOSITION,
    TRUN_DURATION,
    TRUN_FIRST_FLAGS,
    TRUN_SIZE,
    TRUN_VERSION_1,
    Run,
    fragment,
    traf,
)
from appliance.errors import CodecUnsupported, PeerError
from appliance.media.clock import ticks_to_us, us_to_ticks
from appliance.media.opus import packet_duration_us
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Buffer, Chunk

if TYPE_CHECKING:
    from appliance.media.aac import AacConfig
    from appliance.media.ac3 import Ac3Config
    from appliance.media.flac import FlacConfig
    from appliance.media.mp3 import Mp3Config

    FramedConfig = AacConfig | Ac3Config | FlacConfig | Mp3Config  # of frames that last the same

VIDEO_CODECS = (Codec.H264, Codec.H265, Codec.AV1, Codec.VP9)
AUDIO_CODECS = (Codec.AAC, Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.EAC3, Codec.MP3)

MAX_SILENCE_US = 1_000_000
MAX_CHUNK_BYTES = 4 << 20  # against keyless streams of any bitrate; one unit may still pass it
MAX_JITTER_US = 3_000  # stamps of audio that came in milliseconds (RTMP) are off by up to one
DEFAULT_FRAME_TICKS = 3000  # 30 fps, for a video track's only frame
DEFAULT_OPUS_TICKS = 960  # 20 ms


def carried_tracks(tracks: Sequence[Track]) -> tuple[Track, ...]:
    """The first video and the first audio track among those that fMP4 carries here, in order."""
    chosen: list[Track] = []
    for kind, codecs in ((Kind.VIDEO, VIDEO_CODECS), (Kind.AUDIO, AUDIO_CODECS)):
        chosen += [t for t in tracks if t.kind is kind and t.codec in codecs][:1]
    return tuple(chosen)


class _Lane(ABC):
    """One track's units that no chunk holds yet; the newest waits for its successor.

    Only lists grow per unit; stamps become ticks when a chunk is made.
    """

    __slots__ = (
        "_first_ticks",
        "_taken_ticks",
        "drained",
        "rate_hz",
        "step_ticks",
        "track_id",
        "units",
    )

    def __init__(self, track_id: int, track: Track) -> None:
        self.track_id = track_id
        self.rate_hz = timescale_hz(track)
        self.step_ticks = DEFAULT_FRAME_TICKS
        self.units: list[AccessUnit] = []
        self.drained = False  # nothing follows the newest unit: it lasts as long as is usual
        self._first_ticks: int | None = None  # of units[0], where the chunk before ended
        self._taken_ticks = -1  # when the last unit taken starts

    @property
    def finished(self) -> int:
        """How many units have an end."""
        return len(self.units) if self.drained or not self.units else len(self.units) - 1

    def drain(self) -> int:
        """Wait for no successor; returns when the newest unit ends, in µs, 0 if there is none."""
        if not self.units:
            return 0
        self.drained = True
        newest = self.units[-1]
        return newest.dts_us + ticks_to_us(self._usual_ticks(newest), self.rate_hz)

    def take(self) -> Run:
        """The finished units, which leave the lane."""
        units, starts = self.units, self._starts()
        if self.drained:
            starts.append(starts[-1] + self._usual_ticks(units[-1]))
            self.units, self._first_ticks, self.drained = [], None, False
        else:
            self.units, self._first_ticks = [units.pop()], starts[-1]
        self._taken_ticks = starts[-2]
        return self._run(units, starts, [end - start for start, end in pairwise(starts)])

    @abstractmethod
    def _starts(self) -> list[int]:
        """When each unit starts, growing."""

    def _usual_ticks(self, unit: AccessUnit) -> int:
        return self.step_ticks

    @abstractmethod
    def _run(self, units: list[AccessUnit], starts: list[int], durations: list[int]) -> Run: ...


class _VideoLane(_Lane):
    """Samples are NAL units behind four-byte lengths, or of AV1 and VP9 the parts as they stand.

    Per sample: duration, size, composition.

    Stamps become ticks of 90 kHz as by `us_to_ticks`, written out because that is most of the work.
    """

    __slots__ = ("_has_lengths",)

    def __init__(self, track_id: int, track: Track) -> None:
        super().__init__(track_id, track)
        self._has_lengths = track.codec in {Codec.H264, Codec.H265}

    def _starts(self) -> list[int]:
        """Stamps of a track grow by more than a tick (media/timeline.py)."""
        return [(unit.dts_us * 9 + 50) // 100 for unit in self.units]

    def _usual_ticks(self, unit: AccessUnit) -> int:
        """As long as the one before it, be that here still or taken already."""
        if len(self.units) < 2:
            return self.step_ticks
        before, newest = self._starts()[-2:]
        return newest - before

    def _run(self, units: list[AccessUnit], starts: list[int], durations: list[int]) -> Run:
        payload: list[Buffer] = []
        values: list[int] = []
        payload_bytes = 0
        for unit, start, duration in zip(units, starts, durations, strict=False):
            parts, size = unit.parts, unit.size_bytes
            if self._has_lengths:
                for nal in parts:
                    payload += (len(nal).to_bytes(4, "big"), nal)
                size += 4 * len(parts)
            else:
                payload += parts
            payload_bytes += size
            values += (duration, size, (unit.pts_us * 9 + 50) // 100 - start & 0xFFFFFFFF)
        self.step_ticks = durations[-1]
        flags = TRUN_DURATION | TRUN_SIZE | TRUN_COMPOSITION | TRUN_VERSION_1
        if units[0].key:
            flags |= TRUN_FIRST_FLAGS
            values.insert(0, SYNC_SAMPLE)
        data = traf(self.track_id, starts[0], durations[0], flags, len(units), values)
        return Run(data, payload, payload_bytes)


class _AudioLane(_Lane):
    """Samples are raw frames; per sample: size, and duration if they differ.

    A frame lasts as long as its samples do: stamps that are off by less than MAX_JITTER_US are
    taken to mean the frame before's end, so that milliseconds on the way in do not become gaps.
    """

    __slots__ = ("_is_opus", "_jitter_ticks")

    def __init__(self, track_id: int, track: Track) -> None:
        super().__init__(track_id, track)
        self._jitter_ticks = us_to_ticks(MAX_JITTER_US, self.rate_hz)
        self._is_opus = track.codec is Codec.OPUS
        if self._is_opus:
            self.step_ticks = DEFAULT_OPUS_TICKS
        else:
            self.step_ticks = cast("FramedConfig", track.config).frame_samples

    def _starts(self) -> list[int]:
        starts: list[int] = []
        expected, before = self._first_ticks, self._taken_ticks
        jitter_ticks, rate_hz = self._jitter_ticks, self.rate_hz
        is_opus, frame_ticks = self._is_opus, self.step_ticks
        for unit in self.units:
            ticks = us_to_ticks(unit.dts_us, rate_hz)
            if expected is not None and -jitter_ticks <= ticks - expected <= jitter_ticks:
                ticks = expected
            elif ticks <= before:  # which lay ahead of its stamp
                ticks = before + 1
            starts.append(ticks)
            before = ticks
            expected = ticks + (self._usual_ticks(unit) if is_opus else frame_ticks)
        return starts

    def _usual_ticks(self, unit: AccessUnit) -> int:
        if not self._is_opus:
            return self.step_ticks
        try:
            return us_to_ticks(packet_duration_us(unit.parts[0]), self.rate_hz)
        except PeerError:  # a packet without a duration; players conceal it
            return DEFAULT_OPUS_TICKS

    def _run(self, units: list[AccessUnit], starts: list[int], durations: list[int]) -> Run:
        count = len(units)
        values = [unit.size_bytes for unit in units]
        payload_bytes = sum(values)
        flags = TRUN_SIZE
        if durations.count(durations[0]) != count:
            flags |= TRUN_DURATION
            values = [value for pair in zip(durations, values, strict=True) for value in pair]
        data = traf(self.track_id, starts[0], durations[0], flags, count, values)
        return Run(data, [part for unit in units for part in unit.parts], payload_bytes)


class Fmp4Muxer:
    """A Muxer (hub/rendition.py); of several video or audio tracks the first is carried.

    interval_us: how long a chunk is when no key ends it.
    """

    def __init__(self, interval_us: int = 200_000) -> None:
        self.interval_us = interval_us
        self._lanes: dict[int, _Lane] = {}
        self._leader: _Lane | None = None
        self._leads_video = False
        self._init = b""
        self._needs_key = False
        self._discontinuity = False
        self._start_us: int | None = None
        self._due_us = self._silent_us = -1  # when the leading lane, or another, ends the chunk
        self._size_bytes = 0
        self._sequence = 0

    def takes(self, config: CodecConfig) -> bool:
        """Whether sound of this kind needs no other form."""
        return config.codec in AUDIO_CODECS

    def header(self, tracks: Sequence[Track]) -> bytes:
        """The initialisation segment. Raises: CodecUnsupported if no track can be carried."""
        carried = carried_tracks(tracks)
        if not carried:
            raise CodecUnsupported(f"fMP4 carries none of {', '.join(t.codec for t in tracks)}")
        init = init_segment(carried)
        self._leads_video = carried[0].kind is Kind.VIDEO
        if init != self._init:
            self._discontinuity = bool(self._init)
            self._init = init
            self._needs_key = self._leads_video
        self._lanes = {
            track.id: (_VideoLane if track.kind is Kind.VIDEO else _AudioLane)(track_id, track)
            for track_id, track in enumerate(carried, 1)
        }
        self._leader = self._lanes[carried[0].id]
        self._forget_start()
        return self._init

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        """The chunk that this unit completes, if it does.

        Units of tracks that are not carried, empty ones, and video before a key are dropped.
        """
        lane = self._lanes.get(unit.track.id)
        if lane is None or not unit.size_bytes:
            return []
        leads = lane is self._leader
        chunks: list[Chunk] = []
        if leads and (unit.discontinuity or self._needs_key):
            if unit.discontinuity:
                chunks = self.flush()
                self._discontinuity = True
            if self._leads_video and not unit.key:
                self._needs_key = True
                return chunks
            self._needs_key = False
        lane.units.append(unit)
        self._size_bytes += unit.size_bytes
        if (
            unit.dts_us >= (self._due_us if leads else self._silent_us)
            or (leads and unit.key and self._leads_video)
            or self._size_bytes > MAX_CHUNK_BYTES
        ):
            chunks += self._advance(lane, unit, leads)
        return chunks

    def _advance(self, lane: _Lane, unit: AccessUnit, leads: bool) -> list[Chunk]:
        """This unit, in its lane already, starts a chunk: the first one, or one after another."""
        is_first_picture = leads and len(lane.units) == 1 and unit.dts_us < self._due_us
        if self._start_us is None or is_first_picture:  # which joins the audio just before it
            self._start(unit.dts_us)
            return []
        chunks = self._cut(unit.dts_us)
        for chunk in chunks:
            chunk.before_key = leads and unit.key
        return chunks

    def _start(self, dts_us: int) -> None:
        self._start_us = dts_us
        self._due_us = dts_us + self.interval_us
        self._silent_us = dts_us + MAX_SILENCE_US

    def flush(self) -> list[Chunk]:
        """What is left, with the durations that are usual."""
        end_us = max((lane.drain() for lane in self._lanes.values()), default=0)
        chunks = self._cut(end_us)
        self._forget_start()
        return chunks

    def _forget_start(self) -> None:
        """The next unit starts a chunk, whichever it is."""
        self._start_us, self._due_us, self._silent_us = None, -1, -1

    def _cut(self, end_us: int) -> list[Chunk]:
        """The chunk of everything finished; the next one starts at `end_us`."""
        for lane in self._lanes.values():
            is_silent = lane.units and lane.units[-1].dts_us < end_us - MAX_SILENCE_US
            if is_silent and lane is not self._leader:
                lane.drain()
        start_us = self._start_us
        self._start(end_us)
        lanes = [lane for lane in self._lanes.values() if lane.finished]
        if not lanes or start_us is None:
            return []
        self._sequence += 1
        self._size_bytes = 0
        key = lanes[0] is self._leader and lanes[0].units[0].key
        data = fragment(self._sequence, [lane.take() for lane in lanes])
        duration_us = max(0, end_us - start_us)
        discontinuity, self._discontinuity = self._discontinuity, False
        return [Chunk(data, start_us, duration_us, key, self._init, discontinuity)]
