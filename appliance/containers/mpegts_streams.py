"""Elementary streams of a transport stream: from PES packets to tracks and access units.

H.264 (ISO/IEC 13818-1 §2.14), HEVC (§2.17), AAC in ADTS, Opus behind control headers. A PES packet
of video is taken for one access unit, as all live encoders make it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from appliance.containers.mpegts import (
    CLOCK_HZ,
    DESCRIPTOR_REGISTRATION,
    STAMP_BITS,
    STAMP_MASK,
    ElementaryStream,
    StreamType,
    descriptors_by_tag,
    opus_config,
    read_opus_packet,
)
from appliance.containers.mpegts_pes import MAX_AUDIO_PES_BYTES, MAX_VIDEO_PES_BYTES, Pes
from appliance.errors import PeerError
from appliance.media import h264, h265
from appliance.media.aac import AdtsSplitter
from appliance.media.bits import Reader
from appliance.media.clock import Unroller, ticks_to_us
from appliance.media.nal import split_annexb
from appliance.media.opus import packet_duration_us
from appliance.media.sps import NalSplit
from appliance.media.track import CodecConfig, Track
from appliance.media.unit import AccessUnit

UNSUPPORTED: dict[int, str] = {
    StreamType.MPEG1_VIDEO: "MPEG-1 video",
    StreamType.MPEG2_VIDEO: "MPEG-2 video",
    StreamType.MPEG1_AUDIO: "MPEG audio",
    StreamType.MPEG2_AUDIO: "MPEG audio",
    StreamType.AAC_LATM: "AAC in LATM",
    StreamType.AC3: "AC-3",
    StreamType.EAC3: "E-AC-3",
}


class StreamReader(ABC):
    """One PID. track: None until the stream has told its configuration."""

    MAX_PES_BYTES = MAX_AUDIO_PES_BYTES

    def __init__(self, stream: ElementaryStream, clock: Unroller) -> None:
        self.stream = stream
        self.track: Track | None = None
        self._clock = clock  # shared by the program's streams, whose stamps wrap together

    @abstractmethod
    def read(self, pes: Pes) -> list[AccessUnit]:
        """The units of a PES packet, whose payload now belongs to them. Raises: PeerError."""

    def _set_config(self, config: CodecConfig) -> Track:
        """A new Track only if the configuration differs in value."""
        if self.track is None or self.track.config != config:
            self.track = Track(self.stream.pid, config, CLOCK_HZ)
        return self.track

    def _stamps_us(self, pes: Pes) -> tuple[int, int] | None:
        """Decoding and presentation time, if the packet has any."""
        if pes.pts is None or pes.dts is None:
            return None
        dts = self._clock.unroll(pes.dts)
        reorder = (pes.pts - pes.dts) & STAMP_MASK
        if reorder >> STAMP_BITS - 1:
            reorder -= STAMP_MASK + 1
        return ticks_to_us(dts, CLOCK_HZ), ticks_to_us(dts + reorder, CLOCK_HZ)


class VideoReader(StreamReader):
    """H.264 or HEVC in Annex B form."""

    MAX_PES_BYTES = MAX_VIDEO_PES_BYTES

    def __init__(self, stream: ElementaryStream, clock: Unroller) -> None:
        super().__init__(stream, clock)
        self._sets = (
            h264.ParameterSets() if stream.stream_type == StreamType.H264 else h265.ParameterSets()
        )

    def read(self, pes: Pes) -> list[AccessUnit]:
        stamps = self._stamps_us(pes)
        if stamps is None:
            raise PeerError("a picture without time stamp")
        split = self._split(pes)
        if self.track is None or not split.media:
            return []
        parts = tuple(split.media)
        return [AccessUnit(self.track, *stamps, split.key, parts, pes.discontinuity)]

    def _split(self, pes: Pes) -> NalSplit:
        nals = split_annexb(pes.payload)
        if isinstance(self._sets, h264.ParameterSets):
            split = h264.split_parameter_sets(nals)
        else:
            split = h265.split_parameter_sets(nals)
        config: CodecConfig | None = self._sets.update(split)
        if config is not None:
            self._set_config(config)
        return split


class AacReader(StreamReader):
    """AAC in ADTS; frames may be cut anywhere by PES packets, which stamp the first that begins
    in them (§2.4.3.7)."""

    def __init__(self, stream: ElementaryStream, clock: Unroller) -> None:
        super().__init__(stream, clock)
        self._splitter = AdtsSplitter()
        self._anchor_us: int | None = None  # a stamped frame, and how many follow it so far
        self._count = 0

    def read(self, pes: Pes) -> list[AccessUnit]:
        is_carried_over = self._splitter.pending_bytes > 0
        if pes.discontinuity:
            self._splitter, is_carried_over = AdtsSplitter(), False
        stamps = self._stamps_us(pes)
        units: list[AccessUnit] = []
        frames = self._splitter.receive(pes.payload)
        if not is_carried_over and stamps is not None:
            self._anchor_us, self._count = stamps[1], 0
        for frame in frames:
            track = self._set_config(frame.config)
            if self._anchor_us is not None:
                step = self._count * frame.config.frame_samples * 1_000_000
                us = self._anchor_us + step // frame.config.sample_rate_hz
                discontinuity = pes.discontinuity and not units
                units.append(AccessUnit(track, us, us, True, (frame.raw,), discontinuity))
            self._count += 1
            if is_carried_over and stamps is not None:
                self._anchor_us, self._count = stamps[1], 0
            is_carried_over = False
        return units


class OpusReader(StreamReader):
    """Opus: several packets in one PES packet follow each other without a gap."""

    def read(self, pes: Pes) -> list[AccessUnit]:
        stamps = self._stamps_us(pes)
        if stamps is None:
            raise PeerError("Opus without time stamp")
        us = stamps[1]
        units: list[AccessUnit] = []
        reader = Reader(pes.payload)
        while reader.remaining:
            packet, start_trim = read_opus_packet(reader)
            duration_us = packet_duration_us(packet)
            track = self.track or self._set_config(opus_config(self.stream.descriptors, start_trim))
            discontinuity = pes.discontinuity and not units
            units.append(AccessUnit(track, us, us, True, (packet,), discontinuity))
            us += duration_us
        return units


def make_stream_reader(stream: ElementaryStream, clock: Unroller) -> StreamReader | None:
    """What reads the stream, None if nothing here does. Raises: PeerError."""
    if stream.stream_type in {StreamType.H264, StreamType.H265}:
        return VideoReader(stream, clock)
    if stream.stream_type == StreamType.AAC_ADTS:
        return AacReader(stream, clock)
    if (
        stream.stream_type == StreamType.PRIVATE_PES
        and descriptors_by_tag(stream.descriptors).get(DESCRIPTOR_REGISTRATION) == b"Opus"
    ):
        return OpusReader(stream, clock)
    return None
