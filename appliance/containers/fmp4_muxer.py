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

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from appliance.containers.fmp4_boxes import SYNC_SAMPLE, init_segment, timescale_hz
from appliance.errors import CodecUnsupported, PeerError
from appliance.media.aac import AacConfig
from appliance.media.clock import ticks_to_us, us_to_ticks
from appliance.media.opus import packet_duration_us
from appliance.media.track import Codec, Kind, Track
from appliance.media.unit import AccessUnit, Buffer, Chunk

VIDEO_CODECS = (Codec.H264, Codec.H265)
AUDIO_CODECS = (Codec.AAC, Codec.OPUS)

MAX_SILENCE_US = 1_000_000
MAX_CHUNK_BYTES = 4 << 20  # against keyless streams of any bitrate; one unit may still pass it
MAX_JITTER_US = 3_000  # stamps of audio that came in milliseconds (RTMP) are off by up to one
DEFAULT_FRAME_TICKS = 3000  # 30 fps, for a video track's only frame
DEFAULT_OPUS_TICKS = 960  # 20 ms

_LENGTHS = tuple(size.to_bytes(4, "big") for size in range(256))  # small NAL units are common

# ISO/IEC 14496-12 §8.8.7, §8.8.8
_DEFAULT_BASE_IS_MOOF = 0x02_0000
_DEFAULT_DURATION = 0x8
_TRUN_OFFSET = 0x1
_TRUN_FIRST_FLAGS = 0x4
_TRUN_DURATION = 0x100
_TRUN_SIZE = 0x200
_TRUN_COMPOSITION = 0x800
_TRUN_VERSION_1 = 1 << 24


def carried_tracks(tracks: Sequence[Track]) -> tuple[Track, ...]:
    """The first video and the first audio track among those that fMP4 carries here, in order."""
    chosen: list[Track] = []
    for kind, codecs in ((Kind.VIDEO, VIDEO_CODECS), (Kind.AUDIO, AUDIO_CODECS)):
        chosen += [t for t in tracks if t.kind is kind and t.codec in codecs][:1]
    return tuple(chosen)


class _Lane:
    """One track inside the chunk that is being filled."""

    __slots__ = ("_pending", "_pending_ticks", "first_key", "first_ticks", "payload", "rate_hz",
                 "samples", "size_bytes", "step_ticks", "track", "track_id")  # fmt: skip

    def __init__(self, track_id: int, track: Track) -> None:
        self.track_id = track_id
        self.track = track
        self.rate_hz = timescale_hz(track)
        self.step_ticks = DEFAULT_FRAME_TICKS
        self._pending: AccessUnit | None = None
        self._pending_ticks = 0
        self.first_ticks = 0
        self.first_key = False
        self.samples: list[int] = []  # as many values per sample as `trun` packs
        self.payload: list[Buffer] = []
        self.size_bytes = 0

    def push(self, unit: AccessUnit) -> None:
        """Hold this unit back; the one before it is finished."""
        ticks = self._ticks(unit)
        if self._pending is not None:
            ticks = max(ticks, self._pending_ticks + 1)
            self._finish(self._pending, ticks - self._pending_ticks)
        self._pending = unit
        self._pending_ticks = ticks

    def drain(self) -> int:
        """Finish the unit held back with the duration that is usual; returns its end, 0 if none."""
        unit = self._pending
        if unit is None:
            return 0
        ticks = self._usual_ticks(unit)
        self._finish(unit, ticks)
        self._pending = None
        return unit.dts_us + ticks_to_us(ticks, self.rate_hz)

    def drain_before(self, dts_us: int) -> None:
        """The same, but only if the unit held back is older than `dts_us`."""
        if self._pending is not None and self._pending.dts_us < dts_us:
            self.drain()

    def clear(self) -> None:
        """The samples were written."""
        self.samples = []
        self.payload = []
        self.size_bytes = 0

    def _finish(self, unit: AccessUnit, duration_ticks: int) -> None:
        if not self.samples:
            self.first_ticks = self._pending_ticks
            self.first_key = unit.key
        self._add(unit, duration_ticks)

    def _ticks(self, unit: AccessUnit) -> int:
        raise NotImplementedError

    def _usual_ticks(self, unit: AccessUnit) -> int:
        raise NotImplementedError

    def _add(self, unit: AccessUnit, duration_ticks: int) -> None:
        raise NotImplementedError

    def traf(self) -> bytes:
        """The box of the samples so far; its data offset is 0 still."""
        raise NotImplementedError


class _VideoLane(_Lane):
    """Samples are NAL units behind four-byte lengths; per sample: duration, size, composition."""

    __slots__ = ()

    def _ticks(self, unit: AccessUnit) -> int:
        return us_to_ticks(unit.dts_us, self.rate_hz)

    def _usual_ticks(self, unit: AccessUnit) -> int:
        return self.step_ticks

    def _add(self, unit: AccessUnit, duration_ticks: int) -> None:
        self.step_ticks = duration_ticks
        payload = self.payload
        for nal in unit.parts:
            size = len(nal)
            payload.append(_LENGTHS[size] if size < 256 else size.to_bytes(4, "big"))
            payload.append(nal)
        size = unit.size_bytes + 4 * len(unit.parts)
        self.size_bytes += size
        offset = us_to_ticks(unit.pts_us, self.rate_hz) - self._pending_ticks
        self.samples += (duration_ticks, size, offset & 0xFFFFFFFF)

    def traf(self) -> bytes:
        flags = _TRUN_OFFSET | _TRUN_DURATION | _TRUN_SIZE | _TRUN_COMPOSITION | _TRUN_VERSION_1
        count = len(self.samples) // 3
        if self.first_key:
            return _traf(self, flags | _TRUN_FIRST_FLAGS, count, (SYNC_SAMPLE, *self.samples))
        return _traf(self, flags, count, self.samples)


class _AudioLane(_Lane):
    """Samples are raw frames; per sample: duration, size.

    A frame lasts as long as its samples do: stamps that are off by less than MAX_JITTER_US are
    taken to mean the frame before's end, so that milliseconds on the way in do not become gaps.
    """

    __slots__ = ("_jitter_ticks",)

    def __init__(self, track_id: int, track: Track) -> None:
        super().__init__(track_id, track)
        self._jitter_ticks = us_to_ticks(MAX_JITTER_US, self.rate_hz)
        self.step_ticks = DEFAULT_OPUS_TICKS
        if track.codec is Codec.AAC:
            self.step_ticks = cast("AacConfig", track.config).frame_samples

    def _ticks(self, unit: AccessUnit) -> int:
        ticks = us_to_ticks(unit.dts_us, self.rate_hz)
        if self._pending is None:
            return ticks
        expected = self._pending_ticks + self._usual_ticks(self._pending)
        return expected if abs(ticks - expected) <= self._jitter_ticks else ticks

    def _usual_ticks(self, unit: AccessUnit) -> int:
        if self.track.codec is Codec.OPUS:
            with suppress(PeerError):  # a packet without a duration lasts as long as the last one
                self.step_ticks = us_to_ticks(packet_duration_us(unit.parts[0]), self.rate_hz)
        return self.step_ticks

    def _add(self, unit: AccessUnit, duration_ticks: int) -> None:
        self.payload += unit.parts
        self.size_bytes += unit.size_bytes
        self.samples += (duration_ticks, unit.size_bytes)

    def traf(self) -> bytes:
        durations = self.samples[::2]
        count = len(durations)
        if durations.count(durations[0]) == count:
            return _traf(self, _TRUN_OFFSET | _TRUN_SIZE, count, self.samples[1::2])
        return _traf(self, _TRUN_OFFSET | _TRUN_DURATION | _TRUN_SIZE, count, self.samples)


def _traf(lane: _Lane, trun_flags: int, count: int, values: Sequence[int]) -> bytes:
    """tfhd, tfdt and trun (§8.8.6 to §8.8.8, §8.8.12) in one go.

    The default duration is that of the first sample, for a trun whose samples all last as long.
    """
    trun_bytes = 20 + 4 * len(values)
    return struct.pack(
        f">I4sI4sIIII4sIQI4sIII{len(values)}I",
        8 + 20 + 20 + trun_bytes,
        b"traf",
        20,
        b"tfhd",
        _DEFAULT_BASE_IS_MOOF | _DEFAULT_DURATION,
        lane.track_id,
        lane.samples[0],
        20,
        b"tfdt",
        1 << 24,
        lane.first_ticks,
        trun_bytes,
        b"trun",
        trun_flags,
        count,
        0,
        *values,
    )


_OFFSET_IN_TRAF = 8 + 20 + 20 + 16


def fragment(sequence: int, lanes: Sequence[_Lane]) -> bytes:
    """A moof with one traf per lane and the mdat with their samples (§8.8.4, §8.1.1)."""
    trafs = [lane.traf() for lane in lanes]
    moof_bytes = 24 + sum(map(len, trafs))
    moof = bytearray(
        struct.pack(">I4sI4sII", moof_bytes, b"moof", 16, b"mfhd", 0, sequence & 0xFFFFFFFF)
    )
    payload: list[Buffer] = []
    data_offset = moof_bytes + 8
    for lane, traf in zip(lanes, trafs, strict=True):
        position = len(moof) + _OFFSET_IN_TRAF
        moof += traf
        struct.pack_into(">I", moof, position, data_offset)
        payload += lane.payload
        data_offset += lane.size_bytes
    mdat_head = struct.pack(">I4s", data_offset - moof_bytes, b"mdat")
    return b"".join((moof, mdat_head, *payload))


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
        self._sequence = 0

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
        self._start_us = None
        return self._init

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        """The chunk that this unit completes, if it does.

        Units of tracks that are not carried, empty ones, and video before a key are dropped.
        """
        lane = self._lanes.get(unit.track.id)
        if lane is None or not unit.size_bytes:
            return []
        if lane is not self._leader:
            return self._follow(lane, unit)
        chunks: list[Chunk] = []
        if unit.discontinuity:
            chunks = self.flush()
            self._discontinuity = True
            self._needs_key = self._leads_video
        if self._needs_key and not unit.key:
            return chunks
        self._needs_key = False
        lane.push(unit)
        dts_us = unit.dts_us
        start_us = self._start_us
        if start_us is None or (not lane.samples and dts_us < start_us + self.interval_us):
            self._start_us = dts_us if start_us is None else min(start_us, dts_us)
        elif (
            dts_us >= start_us + self.interval_us
            or (unit.key and self._leads_video)
            or lane.size_bytes >= MAX_CHUNK_BYTES
        ):
            chunks += self._cut(dts_us)
        return chunks

    def _follow(self, lane: _Lane, unit: AccessUnit) -> list[Chunk]:
        """A unit of the track that does not decide, unless the one that does is silent."""
        if unit.discontinuity:
            lane.drain()
        lane.push(unit)
        if self._start_us is None:
            self._start_us = unit.dts_us
        elif unit.dts_us >= self._start_us + MAX_SILENCE_US:
            return self._cut(unit.dts_us)
        return []

    def flush(self) -> list[Chunk]:
        """What is left, with the durations that are usual."""
        end_us = max((lane.drain() for lane in self._lanes.values()), default=0)
        chunks = self._cut(end_us)
        self._start_us = None
        return chunks

    def _cut(self, end_us: int) -> list[Chunk]:
        """The chunk of everything finished; the next one starts at `end_us`."""
        for lane in self._lanes.values():
            if lane is not self._leader:
                lane.drain_before(end_us - MAX_SILENCE_US)
        start_us, self._start_us = self._start_us, end_us
        lanes = [lane for lane in self._lanes.values() if lane.samples]
        if not lanes or start_us is None:
            return []
        self._sequence += 1
        chunk = Chunk(
            data=fragment(self._sequence, lanes),
            dts_us=start_us,
            duration_us=max(0, end_us - start_us),
            key=lanes[0] is self._leader and lanes[0].first_key,
            header=self._init,
            discontinuity=self._discontinuity,
        )
        self._discontinuity = False
        for lane in lanes:
            lane.clear()
        return [chunk]
