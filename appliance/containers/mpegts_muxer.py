"""Access units to MPEG-TS in chunks of about 200 ms; a key chunk has all a joining viewer needs.

Theory of operation: the leading lane (video if there is any) decides where chunks end: before each
key or interruption, and otherwise at its first unit that is `interval_us` past the chunk's start.
Audio gathers until then. Should the leading lane fall silent the others cut after MAX_SILENCE_US,
so that lost video neither holds back audio nor fills memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.containers.mpegts import PAT_PID, Pmt, make_pat, make_pmt
from appliance.containers.mpegts_lanes import AudioLane, VideoLane, can_carry, make_audio_lane
from appliance.containers.mpegts_packets import (
    DISCONTINUITY,
    RANDOM_ACCESS,
    PacketWriter,
    adaptation_field,
)
from appliance.errors import CodecUnsupported
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk

PMT_PID = 0x1000
VIDEO_PID = 0x100
AUDIO_PID = 0x110
PROGRAM = 1
MAX_AUDIO_TRACKS = 4

MAX_CLOCK_GAP_US = 80_000  # §2.7.2 asks for a PCR at least every 100 ms
MAX_TABLES_GAP_US = 500_000  # for receivers of UDP and SRT, who join anywhere
MAX_AUDIO_PES_US = 250_000
MAX_SILENCE_US = 1_000_000
MAX_CHUNK_BYTES = 4 << 20  # against keyless streams of any bitrate; one unit may still pass it


def carried_tracks(tracks: Sequence[Track]) -> tuple[Track, ...]:
    """The first video track and MAX_AUDIO_TRACKS of audio that MPEG-TS can carry."""
    possible = [track for track in tracks if can_carry(track.config)]
    video = [track for track in possible if track.kind is Kind.VIDEO][:1]
    audio = [track for track in possible if track.kind is Kind.AUDIO][:MAX_AUDIO_TRACKS]
    return (*video, *audio)


class MpegTsMuxer:
    """Carries what `carried_tracks` says.

    Continuity counters go on through all chunks and descriptions. A viewer that misses some sees
    them jump at the key where it goes on, as it does on any lossy path.
    """

    def __init__(self, interval_us: int = 200_000) -> None:
        self._interval_us = interval_us
        self._writers: dict[int, PacketWriter] = {}  # by PID, of which there are 7 at most
        self._video: VideoLane | None = None
        self._video_id: int | None = None
        self._audio: dict[int, AudioLane] = {}  # by track id
        self._lead_id: int | None = None
        self._configs: tuple[CodecConfig, ...] = ()
        self._is_changed = False
        self._pmt: Pmt | None = None
        self._version = -1
        self._sections = (b"", b"")
        self._tables_us: int | None = None  # when they were last written
        self._clock_us = 0  # the newest PCR
        self._clock_flags = 0  # to go with the next PCR
        self._chunk: Chunk | None = None  # the open one, still without data
        self._waiting_us: int | None = None  # since when audio waits for one to open
        self._pieces: list[bytes] = []
        self._size_bytes = 0
        self._last_us = 0  # the leading lane's newest unit, and the step to it
        self._step_us = 0

    # -- description ---------------------------------------------------------------------------

    def takes(self, config: CodecConfig) -> bool:
        """Whether sound of this kind needs no other form."""
        return can_carry(config)

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Empty: chunks that are key bring their tables. Raises: CodecUnsupported."""
        carried = carried_tracks(tracks)
        if not carried:
            raise CodecUnsupported("MPEG-TS carries none of these tracks")
        self._video, self._video_id, self._audio = None, None, {}
        for track in carried:
            self._make_lane(track)
        self._lead_id = next(iter(self._audio)) if self._video is None else self._video_id
        configs = tuple(track.config for track in carried)
        if configs != self._configs:
            self._is_changed = bool(self._configs)
            self._configs = configs
        self._describe()
        return b""

    def _make_lane(self, track: Track) -> None:
        config = track.config
        if isinstance(config, H264Config | H265Config):
            self._video, self._video_id = VideoLane(config, self._writer(VIDEO_PID)), track.id
        else:
            writer = self._writer(AUDIO_PID + len(self._audio))
            self._audio[track.id] = make_audio_lane(config, writer)

    def _writer(self, pid: int) -> PacketWriter:
        return self._writers.setdefault(pid, PacketWriter(pid))

    def _describe(self) -> None:
        """New tables, with a new version if they differ."""
        lanes = ([self._video] if self._video else []) + list(self._audio.values())
        pmt = Pmt(lanes[0].stream.pid, tuple(lane.stream for lane in lanes))
        if pmt != self._pmt:
            self._pmt = pmt
            self._version += 1
            pmt_section = make_pmt(self._version, PROGRAM, pmt)
            self._sections = (make_pat(0, PROGRAM, PMT_PID), pmt_section)
            self._tables_us = None

    # -- units ---------------------------------------------------------------------------------

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        track_id, dts_us = unit.track.id, unit.dts_us
        leads = track_id == self._lead_id
        video = self._video if track_id == self._video_id else None
        lane = self._audio.get(track_id)
        if video is None and lane is None:
            return []
        chunks = self._advance(unit, leads)
        if leads:
            self._step_us = max(0, dts_us - self._last_us)
            self._last_us = dts_us
            self._clock_flags |= DISCONTINUITY if unit.discontinuity else 0
        if video is not None:
            flags = RANDOM_ACCESS if unit.key else 0
            video.write(self._pieces, unit, self._clock_field(flags, dts_us))
        elif lane is not None:
            self._add_audio(lane, unit, leads)
        self._size_bytes += unit.size_bytes
        return chunks

    def _add_audio(self, lane: AudioLane, unit: AccessUnit, leads: bool) -> None:
        longest_us = MAX_CLOCK_GAP_US if leads else MAX_AUDIO_PES_US
        if lane.first_us is not None and (
            unit.dts_us - lane.first_us >= longest_us or not lane.fits(unit)
        ):
            self._flush_audio(lane, leads)
        lane.add(unit)
        if not leads and unit.dts_us - self._clock_us >= MAX_CLOCK_GAP_US and self._video:
            self._clock_us = unit.dts_us  # a slow picture rate leaves the clock to audio
            self._video.writer.write_clock(self._pieces, unit.dts_us)

    def _flush_audio(self, lane: AudioLane, leads: bool) -> int:
        """Returns when the lane's newest frame ends."""
        field = b""
        if leads and lane.first_us is not None:
            field = self._clock_field(RANDOM_ACCESS, lane.first_us)
        return lane.flush(self._pieces, field)

    def _clock_field(self, flags: int, us: int) -> bytes:
        """An adaptation field with PCR, which only an interruption may set back."""
        if self._clock_flags & DISCONTINUITY:
            self._clock_us = us
        else:
            self._clock_us = max(self._clock_us, us)
        flags, self._clock_flags = flags | self._clock_flags, 0
        return adaptation_field(flags, self._clock_us)

    # -- chunks --------------------------------------------------------------------------------

    def flush(self) -> list[Chunk]:
        """What is gathered; it lasts until its newest frame ends."""
        if self._chunk is None:
            if self._waiting_us is None:
                return []
            self._open(self._waiting_us)
        return self._cut(None)

    def _advance(self, unit: AccessUnit, leads: bool) -> list[Chunk]:
        """Close and open chunks as this unit demands before it is written."""
        dts_us = unit.dts_us
        chunks = self._cut(dts_us) if self._is_due(unit, leads) else []
        if self._chunk is not None:
            return chunks
        if leads:
            key = unit.key or self._video is None
            for chunk in chunks:
                chunk.before_key = key and not unit.discontinuity
            self._open(dts_us, key=key, discontinuity=unit.discontinuity)
        elif self._waiting_us is None:
            self._waiting_us = dts_us
        elif dts_us - self._waiting_us > MAX_SILENCE_US or self._size_bytes > MAX_CHUNK_BYTES:
            self._open(self._waiting_us)
        return chunks

    def _is_due(self, unit: AccessUnit, leads: bool) -> bool:
        if self._chunk is None:
            return False
        elapsed_us = unit.dts_us - self._chunk.dts_us
        if self._size_bytes > MAX_CHUNK_BYTES:
            return True
        if not leads:
            return elapsed_us > MAX_SILENCE_US + self._interval_us
        is_key = unit.key and self._video is not None
        return is_key or unit.discontinuity or elapsed_us >= self._interval_us

    def _open(self, dts_us: int, *, key: bool = False, discontinuity: bool = False) -> None:
        self._chunk = Chunk(b"", dts_us, 0, key, b"", discontinuity or self._is_changed)
        self._is_changed, self._waiting_us = False, None
        if key or self._tables_us is None or dts_us - self._tables_us >= MAX_TABLES_GAP_US:
            self._tables_us = dts_us
            tables: list[bytes] = []
            for pid, section in zip((PAT_PID, PMT_PID), self._sections, strict=True):
                self._writer(pid).write_section(tables, section)
            self._pieces[:0] = tables  # before audio that waited

    def _cut(self, end_us: int | None) -> list[Chunk]:
        """The open chunk, which ends where the next begins, or with its newest frame."""
        ends_us = [self._flush_audio(a, i == self._lead_id) for i, a in self._audio.items()]
        chunk = self._chunk
        if chunk is None:
            return []
        if end_us is None:
            leads = self._video is not None and self._last_us >= chunk.dts_us
            end_us = self._last_us + self._step_us if leads else max(ends_us, default=0)
        chunk.duration_us = max(0, end_us - chunk.dts_us)
        chunk.data = b"".join(self._pieces)
        self._chunk, self._pieces, self._size_bytes = None, [], 0
        return [chunk]
