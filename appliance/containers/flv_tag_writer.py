"""FLV tag bodies of our tracks and units, for FLV files and RTMP messages alike.

AVC, AAC, MP3 and G.711 take the legacy form that every peer reads; all others the FourCC form of
Enhanced RTMP.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.containers.flv import (
    AAC_FORMAT,
    AVC_ID,
    EX_AUDIO_FORMAT,
    EX_VIDEO,
    MP3_8_KHZ_FORMAT,
    MP3_FORMAT,
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
from appliance.media.ac3 import Ac3Config
from appliance.media.amf0 import EcmaArray, Value, encode
from appliance.media.av1 import Av1Config
from appliance.media.flac import FlacConfig
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.mp3 import Mp3Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Buffer
from appliance.media.vp9 import Vp9Config

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
_FOURCCS = {
    Codec.H265: FourCc.HEVC,
    Codec.AV1: FourCc.AV1,
    Codec.VP9: FourCc.VP9,
    Codec.OPUS: FourCc.OPUS,
    Codec.FLAC: FourCc.FLAC,
    Codec.AC3: FourCc.AC3,
    Codec.EAC3: FourCc.EAC3,
}
# Neither has NAL units or pictures out of order, so there is no composition time (ER v2, "Ex Video
# Tag Body")
_PLAIN_FRAME = {
    (codec, key): bytes((EX_VIDEO | kind << 4 | ExPacket.CODED_FRAMES,)) + _FOURCCS[codec]
    for codec in (Codec.AV1, Codec.VP9)
    for key, kind in ((True, FrameType.KEY), (False, FrameType.INTER))
}
_SOUND_FRAME = {
    codec: bytes((EX_AUDIO_FORMAT << 4 | ExPacket.CODED_FRAMES,)) + _FOURCCS[codec]
    for codec in (Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.EAC3)
} | {Codec.AAC: _AAC_FRAME}
_CARRIED = (
    *(H264Config, H265Config, Av1Config, Vp9Config),
    *(AacConfig, OpusConfig, FlacConfig, Ac3Config, Mp3Config),
)


def can_carry(config: CodecConfig) -> bool:
    """Whether FLV has a form for it."""
    if isinstance(config, G711Config):
        return config.sample_rate_hz == G711_RATE_HZ and config.channels <= 2
    return isinstance(config, _CARRIED)


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
            return _sequence_start(config, config.to_hvcc())
        case Av1Config():
            return _sequence_start(config, config.to_av1c())
        case Vp9Config():
            return _sequence_start(config, config.to_vpcc())
        case AacConfig():
            return bytes((_AAC_FLAGS, 0)) + config.asc
        case OpusConfig():
            return _sequence_start(config, config.to_opus_head())
        case FlacConfig():
            # Alone, as FFmpeg 8 and mpegts.js have it; Enhanced RTMP puts "fLaC" before it
            return _sequence_start(config, config.streaminfo)
    return None


def _sequence_start(config: CodecConfig, record: bytes) -> bytes:
    head = EX_AUDIO_FORMAT << 4 if config.kind is Kind.AUDIO else EX_VIDEO | FrameType.KEY << 4
    return bytes((head | ExPacket.SEQUENCE_START,)) + _FOURCCS[config.codec] + record


def tag_body(unit: AccessUnit) -> bytes:
    """The tag body of a video or audio unit of a track that `can_carry`."""
    return b"".join(tag_pieces(unit))


def tag_pieces(unit: AccessUnit) -> list[Buffer]:
    """The tag body in pieces to join, for those who put more around it."""
    codec = unit.track.codec
    head = _SOUND_FRAME.get(codec)
    if head is None and unit.track.kind is Kind.AUDIO:
        head = _legacy_sound_head(unit.track.config)
    if head is None:
        head = _PLAIN_FRAME.get((codec, unit.key))
    if head is not None:
        return [head, *unit.parts]
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


def _legacy_sound_head(config: CodecConfig) -> bytes:
    """SoundFormat, SoundRate, SoundSize and SoundType (§E.4.2.1)."""
    if isinstance(config, Mp3Config):
        rate_hz = config.sample_rate_hz
        if rate_hz == 8000:
            return bytes((MP3_8_KHZ_FORMAT << 4 | 0x02 | config.channels - 1,))
        rate = 3 if rate_hz > 24_000 else 2 if rate_hz > 12_000 else 1  # the nearest: frames tell
        return bytes((MP3_FORMAT << 4 | rate << 2 | 0x02 | config.channels - 1,))
    if not isinstance(config, G711Config):
        raise MisuseError(f"FLV has no form for {config.codec}")
    sound_format = PCMA_FORMAT if config.codec is Codec.PCMA else PCMU_FORMAT
    return bytes((sound_format << 4 | 0x02 | config.channels - 1,))


def metadata_body(tracks: Sequence[Track]) -> bytes:
    """The onMetaData script tag (§E.5). `tracks`: what is carried."""
    facts: dict[str, Value] = {}
    for track in tracks:
        match track.config:
            case H264Config() | H265Config() | Av1Config() | Vp9Config() as video:
                is_legacy = video.codec is Codec.H264
                facts["videocodecid"] = AVC_ID if is_legacy else _fourcc_number(video.codec)
                facts |= {"width": video.width_px, "height": video.height_px}
                if video.fps:
                    facts["framerate"] = video.fps
            case (
                AacConfig() | OpusConfig() | G711Config() | FlacConfig() | Ac3Config() | Mp3Config()
            ) as audio:
                facts["audiocodecid"] = _AUDIO_IDS[audio.codec]
                facts |= {"audiosamplerate": audio.sample_rate_hz, "audiosamplesize": 16}
                facts["stereo"] = audio.channels == 2
    return encode("onMetaData", EcmaArray(facts))


def _fourcc_number(codec: Codec) -> int:
    """How Enhanced RTMP writes a FourCC where a number is expected."""
    return int.from_bytes(_FOURCCS[codec], "big")


_AUDIO_IDS = {
    Codec.AAC: AAC_FORMAT,
    Codec.PCMA: PCMA_FORMAT,
    Codec.PCMU: PCMU_FORMAT,
    Codec.MP3: MP3_FORMAT,
} | {c: _fourcc_number(c) for c in (Codec.OPUS, Codec.FLAC, Codec.AC3, Codec.EAC3)}
