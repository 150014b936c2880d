"""FLV: the vocabulary of tags and their framing, also the language of RTMP's media messages.

Adobe Flash Video File Format 10.1, Annex E, and Enhanced RTMP v2 (Veovera) for FourCC codecs.
"""

from __future__ import annotations

import struct
from enum import Enum, IntEnum

from appliance.media.unit import Buffer

FILE_HEADER_BYTES = 9
TAG_HEADER_BYTES = 11
BACK_POINTER_BYTES = 4  # PreviousTagSize
MAX_MEDIA_TAG_BYTES = (4 << 20) + 4096  # a peer whose access unit has no end
MAX_SCRIPT_TAG_BYTES = 256 << 10  # a peer that describes instead of sending

EX_VIDEO = 0x80  # isExVideoHeader
HAS_AUDIO = 0x04
HAS_VIDEO = 0x01


class TagType(IntEnum):
    """§E.4.1; as message types of RTMP the same numbers."""

    AUDIO = 8
    VIDEO = 9
    SCRIPT = 18


class FrameType(IntEnum):
    """§E.4.3.1."""

    KEY = 1
    INTER = 2
    DISPOSABLE = 3
    GENERATED_KEY = 4
    COMMAND = 5


class AvcPacket(IntEnum):
    """AVCPacketType (§E.4.3.1), also used by the legacy HEVC form."""

    SEQUENCE_HEADER = 0
    NALU = 1
    END = 2


class ExPacket(IntEnum):
    """VideoPacketType and AudioPacketType of Enhanced RTMP; audio has no CODED_FRAMES_X."""

    SEQUENCE_START = 0
    CODED_FRAMES = 1
    SEQUENCE_END = 2
    CODED_FRAMES_X = 3
    METADATA = 4  # of audio: the channel configuration
    MPEG2TS_SEQUENCE_START = 5  # of video; MULTITRACK of audio
    MULTITRACK = 6  # of video
    MOD_EX = 7


AUDIO_MULTITRACK = 5


class Multitrack(IntEnum):
    """AvMultitrackType of Enhanced RTMP v2."""

    ONE_TRACK = 0
    MANY_TRACKS = 1
    MANY_TRACKS_MANY_CODECS = 2


class FourCc(bytes, Enum):
    """The codecs we carry, by their Enhanced RTMP names; G.711 has none, so the name is ours."""

    AVC = b"avc1"
    HEVC = b"hvc1"
    AV1 = b"av01"
    VP9 = b"vp09"
    AAC = b"mp4a"
    OPUS = b"Opus"
    PCMA = b"alaw"
    PCMU = b"ulaw"
    MP3 = b".mp3"
    FLAC = b"fLaC"
    AC3 = b"ac-3"
    EAC3 = b"ec-3"


AVC_ID = 7
HEVC_ID = 12  # never standardised, yet what many encoders of Chinese make send
AAC_FORMAT = 10
MP3_FORMAT = 2
MP3_8_KHZ_FORMAT = 14
PCMA_FORMAT = 7
PCMU_FORMAT = 8
EX_AUDIO_FORMAT = 9

LEGACY_VIDEO = {
    2: b"h263",
    3: b"scr1",
    4: b"vp6f",
    5: b"vp6a",
    6: b"scr2",
    AVC_ID: FourCc.AVC.value,
    HEVC_ID: FourCc.HEVC.value,
    13: FourCc.AV1.value,
}
LEGACY_AUDIO = {
    0: b"pcm ",
    1: b"adpc",
    MP3_FORMAT: FourCc.MP3.value,
    3: b"pcml",
    4: b"nell",
    5: b"nell",
    6: b"nell",
    PCMA_FORMAT: FourCc.PCMA.value,
    PCMU_FORMAT: FourCc.PCMU.value,
    AAC_FORMAT: FourCc.AAC.value,
    11: b"spex",
    MP3_8_KHZ_FORMAT: FourCc.MP3.value,
}

_TAG_HEADER = struct.Struct(">II3x")


def file_header(*, has_audio: bool, has_video: bool) -> bytes:
    """§E.2, with the zero back pointer that precedes the first tag."""
    flags = (HAS_AUDIO if has_audio else 0) | (HAS_VIDEO if has_video else 0)
    return struct.pack(">3sBBII", b"FLV", 1, flags, FILE_HEADER_BYTES, 0)


def in_band(header: bytes) -> bytes:
    """A muxer's header for a viewer that had another one before: without the file's beginning."""
    return header[FILE_HEADER_BYTES + BACK_POINTER_BYTES :]


def tag(kind: TagType, timestamp_ms: int, *body: Buffer) -> bytes:
    """A whole tag with the back pointer after it; the stamp wraps at 32 bits (§E.4.1)."""
    size = sum(map(len, body))
    stamp = (timestamp_ms & 0xFFFFFF) << 8 | timestamp_ms >> 24 & 0xFF
    header = _TAG_HEADER.pack(kind << 24 | size, stamp)
    return b"".join((header, *body, (size + TAG_HEADER_BYTES).to_bytes(4, "big")))


def us_to_ms(us: int) -> int:
    """Half up, so that equal stamps stay equal and order is kept."""
    return (us + 500) // 1000
