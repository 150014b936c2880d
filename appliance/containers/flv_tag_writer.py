"""FLV tag bodies of our tracks and units, for FLV files and RTMP messages alike.

AVC, AAC and G.711 take the legacy form that every peer reads; HEVC and Opus the FourCC form of
Enhanced RTMP.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.containers.flv import (
    AAC_FORMAT,
    AVC_ID,
    EX_AUDIO_FORMAT,
    EX_VIDEO,
    PCMA_FORMAT,
    PCMU_FORMAT,
    AvcPacket,
    ExPacket,
    FourCc,
    FrameType,
    us_to_ms,
)
from appliance.errors import MisuseError
from appliance.media.aac import AacConfig
from appliance.media.amf0 import EcmaArray, Value, encode
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Buffer

G711_RATE_HZ = 8000  # the only rate FLV has for it (§E.4.2.1)
MAX_COMPOSITION_MS = 0x7FFFFF

_AVC_FRAME = {
    True: bytes((FrameType.KEY << 4 | AVC_ID, AvcPacket.NALU)),
    False: bytes((FrameType.INTER << 4 | AVC_ID, AvcPacket.NALU)),
}
_HEVC_FRAME = {
    (key, packet): bytes((EX_VIDEO | kind << 4 | packet,)) + FourCc.HEVC
    for key, kind in ((True, FrameType.KEY), (False, FrameType.INTER))
    for packet in (ExPacket.CODED_FRAMES, ExPacket.CODED_FRAMES_X)
}
_AAC_FLAGS = AAC_FORMAT << 4 | 0x0F  # 44 kHz stereo 16 bit, always (§E.4.2.1); the ASC tells
_AAC_FRAME = bytes((_AAC_FLAGS, 1))
_OPUS_FRAME = bytes((EX_AUDIO_FORMAT << 4 | ExPacket.CODED_FRAMES,)) + FourCc.OPUS


def can_carry(config: CodecConfig) -> bool:
    """Whether FLV has a form for it."""
    if isinstance(config, G711Config):
        return config.sample_rate_hz == G711_RATE_HZ and config.channels <= 2
    return isinstance(config, H264Config | H265Config | AacConfig | OpusConfig)


def carried_tracks(tracks: Sequence[Track]) -> tuple[Track, ...]:
    """The first video and the first audio track that FLV can carry, in the order given."""
    chosen: dict[Kind, Track] = {}
    for track in tracks:
        if can_carry(track.config):
            chosen.setdefault(track.kind, track)
    return tuple(chosen.values())


def sequence_header_body(config: CodecConfig) -> bytes | None:
    """The tag body that introduces the track, None for codecs that need none."""
    match config:
        case H264Config():
            head = bytes((FrameType.KEY << 4 | AVC_ID, AvcPacket.SEQUENCE_HEADER, 0, 0, 0))
            return head + config.to_avcc()
        case H265Config():
            kind = EX_VIDEO | FrameType.KEY << 4 | ExPacket.SEQUENCE_START
            return bytes((kind,)) + FourCc.HEVC + config.to_hvcc()
        case AacConfig():
            return bytes((_AAC_FLAGS, 0)) + config.asc
        case OpusConfig():
            kind = EX_AUDIO_FORMAT << 4 | ExPacket.SEQUENCE_START
            return bytes((kind,)) + FourCc.OPUS + config.to_opus_head()
    return None


def tag_body(unit: AccessUnit) -> bytes:
    """The tag body of a video or audio unit of a track that `can_carry`."""
    return b"".join(tag_pieces(unit))


def tag_pieces(unit: AccessUnit) -> list[Buffer]:
    """The tag body in pieces to join, for those who put more around it."""
    codec = unit.track.codec
    if codec is Codec.AAC:
        return [_AAC_FRAME, *unit.parts]
    if codec is Codec.OPUS:
        return [_OPUS_FRAME, *unit.parts]
    if unit.track.kind is Kind.AUDIO:
        return [_g711_head(unit.track.config), *unit.parts]
    pieces = _video_head(codec, unit)
    for part in unit.parts:
        pieces += (len(part).to_bytes(4, "big"), part)
    return pieces


def _video_head(codec: Codec, unit: AccessUnit) -> list[Buffer]:
    composition_ms = us_to_ms(unit.pts_us) - us_to_ms(unit.dts_us)
    composition = (min(composition_ms, MAX_COMPOSITION_MS) & 0xFFFFFF).to_bytes(3, "big")
    if codec is Codec.H264:
        return [_AVC_FRAME[unit.key], composition]
    if codec is not Codec.H265:
        raise MisuseError(f"FLV has no form for {codec}")
    if composition_ms:
        return [_HEVC_FRAME[unit.key, ExPacket.CODED_FRAMES], composition]
    return [_HEVC_FRAME[unit.key, ExPacket.CODED_FRAMES_X]]


def _g711_head(config: CodecConfig) -> bytes:
    if not isinstance(config, G711Config):
        raise MisuseError(f"FLV has no form for {config.codec}")
    sound_format = PCMA_FORMAT if config.codec is Codec.PCMA else PCMU_FORMAT
    return bytes((sound_format << 4 | 0x02 | config.channels - 1,))


def metadata_body(tracks: Sequence[Track]) -> bytes:
    """The onMetaData script tag (§E.5). `tracks`: what is carried."""
    facts: dict[str, Value] = {}
    for track in tracks:
        match track.config:
            case H264Config() | H265Config() as video:
                is_legacy = video.codec is Codec.H264
                facts["videocodecid"] = AVC_ID if is_legacy else _fourcc_number(FourCc.HEVC)
                facts |= {"width": video.width_px, "height": video.height_px}
                if video.fps:
                    facts["framerate"] = video.fps
            case AacConfig() | OpusConfig() | G711Config() as audio:
                facts["audiocodecid"] = _AUDIO_IDS[audio.codec]
                facts |= {"audiosamplerate": audio.sample_rate_hz, "audiosamplesize": 16}
                facts["stereo"] = audio.channels == 2
    return encode("onMetaData", EcmaArray(facts))


def _fourcc_number(fourcc: FourCc) -> int:
    """How Enhanced RTMP writes a FourCC where a number is expected."""
    return int.from_bytes(fourcc, "big")


_AUDIO_IDS = {
    Codec.AAC: AAC_FORMAT,
    Codec.OPUS: _fourcc_number(FourCc.OPUS),
    Codec.PCMA: PCMA_FORMAT,
    Codec.PCMU: PCMU_FORMAT,
}
