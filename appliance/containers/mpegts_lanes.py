"""One track's way into a transport stream: its line in the PMT and its PES packets.

H.264 as ISO/IEC 13818-1 §2.14, HEVC §2.17, AAC in ADTS, Opus behind control headers, MPEG audio as
it is, AC-3 and E-AC-3 as ATSC A/53 part 3 §6.7 has them. AV1, VP9 and FLAC have no form here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from appliance.containers.mpegts import (
    STAMP_MASK,
    ElementaryStream,
    StreamType,
    opus_control_header,
    opus_descriptors,
    registration,
)
from appliance.containers.mpegts_packets import PacketWriter
from appliance.containers.mpegts_pes import (
    STREAM_AUDIO,
    STREAM_PRIVATE_1,
    STREAM_VIDEO,
    make_pes_header,
)
from appliance.errors import CodecUnsupported, PeerError
from appliance.media.aac import AacConfig, adts_header
from appliance.media.ac3 import Ac3Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.mp3 import Mp3Config
from appliance.media.nal import START_CODE, join_annexb
from appliance.media.opus import OpusConfig, packet_duration_us
from appliance.media.track import Codec, CodecConfig
from appliance.media.unit import AccessUnit, Buffer

DECODE_DELAY_US = 500_000  # stamps run this far ahead of PCR: what a decoder may buffer
MAX_PES_BYTES = 32_768  # of audio; the length field holds 65535
MAX_JITTER_US = 3_000  # stamps of audio that came in milliseconds (RTMP) are off by up to one
DEFAULT_OPUS_US = 20_000
MAX_ADTS_FRAME_BYTES = 0x1FFF - 7
MAX_OPUS_PACKET_BYTES = 61_440  # 48 frames of 1275 bytes and then some (RFC 6716 §3.4)

_H264_DELIMITER = START_CODE + b"\x09\xf0"  # slices of any type may follow
_H265_DELIMITER = START_CODE + b"\x46\x01\x50"


def stamp(us: int) -> int:
    """PTS or DTS of a moment: 33 bits that wrap, half up."""
    return ((us + DECODE_DELAY_US) * 9 + 50) // 100 & STAMP_MASK


class VideoLane:
    """Each access unit becomes a PES packet with delimiter, a key also with parameter sets."""

    __slots__ = ("_delimiter", "_sets", "stream", "writer")

    def __init__(self, config: H264Config | H265Config, writer: PacketWriter) -> None:
        self.writer = writer
        if isinstance(config, H264Config):
            self.stream = ElementaryStream(writer.pid, StreamType.H264)
            self._delimiter = _H264_DELIMITER
            self._sets = join_annexb((*config.sps, *config.pps))
        else:
            self.stream = ElementaryStream(writer.pid, StreamType.H265, registration(b"HEVC"))
            self._delimiter = _H265_DELIMITER
            self._sets = join_annexb((*config.vps, *config.sps, *config.pps))

    def write(self, out: list[bytes], unit: AccessUnit, adaptation: bytes) -> None:
        prefix = self._delimiter + self._sets if unit.key else self._delimiter
        size = len(prefix) + unit.size_bytes + len(START_CODE) * len(unit.parts)
        header = make_pes_header(STREAM_VIDEO, size, stamp(unit.pts_us), stamp(unit.dts_us))
        pieces: list[Buffer] = [header, prefix]
        for part in unit.parts:
            pieces += (START_CODE, part)
        self.writer.write(out, b"".join(pieces), adaptation)


class AudioLane(ABC):
    """Frames gather until they are flushed as one PES packet, which has the first one's stamp."""

    __slots__ = (
        "_count",
        "_next_us",
        "_pieces",
        "_size_bytes",
        "_stream_id",
        "first_us",
        "stream",
        "writer",
    )

    def __init__(
        self, stream: ElementaryStream, writer: PacketWriter, stream_id: int = STREAM_AUDIO
    ) -> None:
        self.stream = stream
        self._stream_id = stream_id
        self.writer = writer
        self._pieces: list[Buffer] = []
        self._size_bytes = 0
        self._count = 0
        self._next_us = 0  # where the next frame must be to go along
        self.first_us: int | None = None  # None: nothing gathered

    def fits(self, unit: AccessUnit) -> bool:
        """Whether a demuxer that counts on from the first stamp finds this unit's own."""
        return self.first_us is None or (
            abs(unit.dts_us - self._next_us) <= MAX_JITTER_US
            and self._size_bytes + unit.size_bytes <= MAX_PES_BYTES
            and not unit.discontinuity
        )

    def add(self, unit: AccessUnit) -> None:
        framing = self._framing(unit)
        if framing is None:
            return
        if self.first_us is None:
            self.first_us = unit.dts_us
        self._pieces += (framing, *unit.parts)
        self._size_bytes += len(framing) + unit.size_bytes
        self._count += 1
        self._next_us = self.first_us + self._gathered_us(unit)

    @abstractmethod
    def _framing(self, unit: AccessUnit) -> bytes | None:
        """What goes before the frame, None if it cannot be carried and is left out."""

    @abstractmethod
    def _gathered_us(self, newest: AccessUnit) -> int:
        """How long everything gathered plays."""

    def flush(self, out: list[bytes], adaptation: bytes) -> int:
        """Write what is gathered, if anything; returns when it ends."""
        if self.first_us is not None:
            pts = stamp(self.first_us)
            header = make_pes_header(self._stream_id, self._size_bytes, pts, pts)
            self.writer.write(out, b"".join((header, *self._pieces)), adaptation)
            self._pieces, self._size_bytes, self._count, self.first_us = [], 0, 0, None
        return self._next_us


class AacLane(AudioLane):
    __slots__ = ("_frame_samples", "_header", "_rate_hz")

    def __init__(self, config: AacConfig, writer: PacketWriter) -> None:
        """Raises: CodecUnsupported if ADTS cannot say what the configuration says."""
        super().__init__(ElementaryStream(writer.pid, StreamType.AAC_ADTS), writer)
        self._header = int.from_bytes(adts_header(config, 0), "big")
        self._frame_samples = config.frame_samples
        self._rate_hz = config.sample_rate_hz

    def _framing(self, unit: AccessUnit) -> bytes | None:
        if unit.size_bytes > MAX_ADTS_FRAME_BYTES:
            return None
        return (self._header + (unit.size_bytes << 13)).to_bytes(7, "big")  # aac_frame_length

    def _gathered_us(self, newest: AccessUnit) -> int:
        return self._count * self._frame_samples * 1_000_000 // self._rate_hz


class OpusLane(AudioLane):
    __slots__ = ("_duration_us",)

    def __init__(self, config: OpusConfig, writer: PacketWriter) -> None:
        """Raises: CodecUnsupported if there is no code for the channel mapping."""
        descriptors = opus_descriptors(config)
        if descriptors is None:
            raise CodecUnsupported(f"MPEG-TS has no code for Opus mapped {config.mapping.hex()}")
        stream = ElementaryStream(writer.pid, StreamType.PRIVATE_PES, descriptors)
        super().__init__(stream, writer, STREAM_PRIVATE_1)
        self._duration_us = 0

    def _framing(self, unit: AccessUnit) -> bytes | None:
        if unit.size_bytes > MAX_OPUS_PACKET_BYTES:
            return None
        return opus_control_header(unit.size_bytes)

    def _gathered_us(self, newest: AccessUnit) -> int:
        try:
            packet_us = packet_duration_us(newest.parts[0])
        except PeerError:  # no duration to be had from it: the next one's stamp decides
            packet_us = DEFAULT_OPUS_US
        self._duration_us = packet_us + (self._duration_us if self._count > 1 else 0)
        return self._duration_us


class FrameLane(AudioLane):
    """Frames that find each other by their own sync words: MPEG audio, AC-3, E-AC-3."""

    __slots__ = ("_frame_samples", "_rate_hz")

    def __init__(self, config: Mp3Config | Ac3Config, writer: PacketWriter) -> None:
        stream_type, descriptors, stream_id = StreamType.MPEG1_AUDIO, b"", STREAM_AUDIO
        if isinstance(config, Ac3Config):
            is_old = config.codec is Codec.AC3
            stream_type = StreamType.AC3 if is_old else StreamType.EAC3
            descriptors = registration(b"AC-3" if is_old else b"EAC3")
            stream_id = STREAM_PRIVATE_1
        elif not config.is_mpeg1:
            stream_type = StreamType.MPEG2_AUDIO
        stream = ElementaryStream(writer.pid, stream_type, descriptors)
        super().__init__(stream, writer, stream_id)
        self._frame_samples = config.frame_samples
        self._rate_hz = config.sample_rate_hz

    def _framing(self, unit: AccessUnit) -> bytes | None:
        return b"" if unit.size_bytes <= MAX_PES_BYTES else None

    def _gathered_us(self, newest: AccessUnit) -> int:
        return self._count * self._frame_samples * 1_000_000 // self._rate_hz


def make_audio_lane(config: CodecConfig, writer: PacketWriter) -> AudioLane:
    """Raises: CodecUnsupported if MPEG-TS cannot carry it."""
    if isinstance(config, AacConfig):
        return AacLane(config, writer)
    if isinstance(config, OpusConfig):
        return OpusLane(config, writer)
    if isinstance(config, Mp3Config | Ac3Config):
        return FrameLane(config, writer)
    raise CodecUnsupported(f"MPEG-TS has no form for {config.codec}")


def can_carry(config: CodecConfig) -> bool:
    """Whether MPEG-TS has a form for it."""
    if isinstance(config, H264Config | H265Config):
        return True
    try:
        make_audio_lane(config, PacketWriter(0))
    except CodecUnsupported:
        return False
    return True
