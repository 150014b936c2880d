"""Boxes of an fMP4 initialisation segment (ISO/IEC 14496-12), written only, never parsed.

One function per box, named after it; what a movie without fragments would need (edit lists,
sample tables with entries) is not here.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from appliance.errors import CodecUnsupported
from appliance.media.track import Codec, Kind, Track

if TYPE_CHECKING:
    from appliance.media.aac import AacConfig
    from appliance.media.ac3 import Ac3Config
    from appliance.media.av1 import Av1Config
    from appliance.media.flac import FlacConfig
    from appliance.media.h264 import H264Config
    from appliance.media.h265 import H265Config
    from appliance.media.mp3 import Mp3Config
    from appliance.media.opus import OpusConfig
    from appliance.media.vp9 import Vp9Config

    VideoConfig = H264Config | H265Config | Av1Config | Vp9Config
    AudioConfig = AacConfig | OpusConfig | FlacConfig | Ac3Config | Mp3Config

VIDEO_TIMESCALE_HZ = 90_000
MOVIE_TIMESCALE_HZ = 1000

# ISO/IEC 14496-12 §8.8.3.1 sample flags: depends_on and is_non_sync_sample.
SYNC_SAMPLE = 0x0200_0000
NON_SYNC_SAMPLE = 0x0101_0000

_ONE = 0x10000  # 16.16
_IDENTITY = struct.pack(">9i", _ONE, 0, 0, 0, _ONE, 0, 0, 0, 0x40000000)
_NO_ENTRIES = bytes(4)
_LANGUAGE_UND = 0x55C4  # "und" as three 5-bit letters, §8.4.2.3


def box(kind: bytes, *parts: bytes) -> bytes:
    """Size, type and body (§4.2)."""
    return struct.pack(">I4s", 8 + sum(map(len, parts)), kind) + b"".join(parts)


def full_box(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def timescale_hz(track: Track) -> int:
    """Ticks of the track in the file: 90 kHz for video, one per sample for audio."""
    if track.kind is Kind.VIDEO:
        return VIDEO_TIMESCALE_HZ
    if track.codec is Codec.OPUS:
        return 48_000  # Encapsulation of Opus in ISOBMFF §4.3.2: always 48 kHz
    return cast("AudioConfig", track.config).sample_rate_hz


def init_segment(tracks: Sequence[Track]) -> bytes:
    """ftyp and moov for fragments with track_ID 1, 2 … in the order of `tracks`.

    Raises: CodecUnsupported if one of them has no sample entry here.
    """
    numbered = list(enumerate(tracks, 1))
    return b"".join(
        (
            box(b"ftyp", b"iso6", bytes(4), b"iso6", b"iso5", b"mp41"),
            box(
                b"moov",
                _mvhd(len(tracks) + 1),
                *(_trak(track_id, track) for track_id, track in numbered),
                box(b"mvex", *(_trex(track_id, track) for track_id, track in numbered)),
            ),
        )
    )


def _mvhd(next_track_id: int) -> bytes:
    """§8.2.2"""
    return full_box(
        b"mvhd",
        0,
        0,
        struct.pack(">4I", 0, 0, MOVIE_TIMESCALE_HZ, 0),
        struct.pack(">IH10x", 0x10000, 0x100),
        _IDENTITY,
        struct.pack(">24xI", next_track_id),
    )


def _trex(track_id: int, track: Track) -> bytes:
    """§8.8.3; the muxer overrides the flags of a fragment's first sample when it is a key."""
    flags = NON_SYNC_SAMPLE if track.kind is Kind.VIDEO else SYNC_SAMPLE
    return full_box(b"trex", 0, 0, struct.pack(">5I", track_id, 1, 0, 0, flags))


def _trak(track_id: int, track: Track) -> bytes:
    """§8.3.1"""
    return box(b"trak", _tkhd(track_id, track), _mdia(track))


def _tkhd(track_id: int, track: Track) -> bytes:
    """§8.3.2; flags: enabled, in movie, in preview. The size is the one before the matrix."""
    width = height = 0
    matrix = _IDENTITY
    if track.kind is Kind.VIDEO:
        config = cast("H264Config", track.config)
        width, height = config.width_px << 16, config.height_px << 16
        matrix = _matrix(track.rotation_deg, width, height)
    return full_box(
        b"tkhd",
        0,
        7,
        struct.pack(">5I8x", 0, 0, track_id, 0, 0),
        struct.pack(">3Hxx", 0, 0, 0 if track.kind is Kind.VIDEO else 0x100),
        matrix,
        struct.pack(">II", width, height),
    )


def _matrix(rotation_deg: int, width: int, height: int) -> bytes:
    """a b u c d v x y w (§6.2.2): a turn clockwise, and the shift that brings the picture back
    to where its upper left corner was; sizes in 16.16."""
    a, b, c, d, x, y = {
        90: (0, _ONE, -_ONE, 0, height, 0),
        180: (-_ONE, 0, 0, -_ONE, width, height),
        270: (0, -_ONE, _ONE, 0, 0, width),
    }.get(rotation_deg, (_ONE, 0, 0, _ONE, 0, 0))
    return struct.pack(">9i", a, b, 0, c, d, 0, x, y, 0x40000000)


def _mdia(track: Track) -> bytes:
    """§8.4"""
    is_video = track.kind is Kind.VIDEO
    return box(
        b"mdia",
        full_box(b"mdhd", 0, 0, struct.pack(">4IHxx", 0, 0, timescale_hz(track), 0, _LANGUAGE_UND)),
        full_box(
            b"hdlr",
            0,
            0,
            struct.pack(">I4s12x", 0, b"vide" if is_video else b"soun"),
            b"video\x00" if is_video else b"audio\x00",
        ),
        _minf(track),
    )


def _minf(track: Track) -> bytes:
    """§8.4.4, with the empty sample tables that fragments need (§8.8)."""
    head = full_box(b"vmhd", 0, 1, bytes(8))
    if track.kind is Kind.AUDIO:
        head = full_box(b"smhd", 0, 0, bytes(4))
    self_contained = full_box(b"url ", 0, 1)
    return box(
        b"minf",
        head,
        box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), self_contained)),
        box(
            b"stbl",
            full_box(b"stsd", 0, 0, struct.pack(">I", 1), _sample_entry(track)),
            full_box(b"stts", 0, 0, _NO_ENTRIES),
            full_box(b"stsc", 0, 0, _NO_ENTRIES),
            full_box(b"stsz", 0, 0, bytes(8)),
            full_box(b"stco", 0, 0, _NO_ENTRIES),
        ),
    )


def _sample_entry(track: Track) -> bytes:
    match track.codec:
        case Codec.H264:
            avc = cast("H264Config", track.config)
            return _visual_entry(b"avc1", avc, box(b"avcC", avc.to_avcc()))
        case Codec.H265:
            hevc = cast("H265Config", track.config)
            return _visual_entry(b"hvc1", hevc, box(b"hvcC", hevc.to_hvcc()))
        case Codec.AV1:
            av1 = cast("Av1Config", track.config)
            return _visual_entry(b"av01", av1, box(b"av1C", av1.to_av1c()))
        case Codec.VP9:
            vp9 = cast("Vp9Config", track.config)
            return _visual_entry(b"vp09", vp9, box(b"vpcC", vp9.to_vpcc()))
    return _sound_entry(track)


def _sound_entry(track: Track) -> bytes:
    match track.codec:
        case Codec.AAC:
            aac = cast("AacConfig", track.config)
            return _audio_entry(b"mp4a", aac, _esds(0x40, aac.asc))
        case Codec.MP3:
            mp3 = cast("Mp3Config", track.config)
            return _audio_entry(b"mp4a", mp3, _esds(mp3.object_type, b""))
        case Codec.OPUS:
            opus = cast("OpusConfig", track.config)
            return _audio_entry(b"Opus", opus, _dops(opus))
        case Codec.FLAC:
            flac = cast("FlacConfig", track.config)
            blocks = full_box(b"dfLa", 0, 0, flac.to_blocks())
            return _audio_entry(b"fLaC", flac, blocks, sample_bits=flac.sample_bits)
        case Codec.AC3 | Codec.EAC3:
            ac3 = cast("Ac3Config", track.config)
            kinds = (b"ac-3", b"dac3") if track.codec is Codec.AC3 else (b"ec-3", b"dec3")
            return _audio_entry(kinds[0], ac3, box(kinds[1], ac3.to_box_body()))
    raise CodecUnsupported(f"fMP4 does not carry {track.codec} here")


def _visual_entry(kind: bytes, config: VideoConfig, description: bytes) -> bytes:
    """§12.1.3: 72 dpi, one frame per sample, 24 bits."""
    return box(
        kind,
        struct.pack(">6xH16x", 1),
        struct.pack(">HH", config.width_px, config.height_px),
        struct.pack(">IIIH32sHh", 0x480000, 0x480000, 0, 1, b"", 24, -1),
        description,
    )


def _audio_entry(
    kind: bytes, config: AudioConfig, description: bytes, *, sample_bits: int = 16
) -> bytes:
    """§12.2.3; a rate that does not fit 16 bits is left 0, the decoder takes it from the config."""
    rate = config.sample_rate_hz << 16 if config.sample_rate_hz < 0x10000 else 0
    return box(
        kind,
        struct.pack(">6xH8x", 1),
        struct.pack(">HHHHI", config.channels, sample_bits, 0, 0, rate),
        description,
    )


def _esds(object_type: int, asc: bytes) -> bytes:
    """ISO/IEC 14496-14 §5.6: ES, decoder config and, if there is one, its specific descriptor."""
    decoder = struct.pack(">BBBHII", object_type, 0x15, 0, 0, 0, 0)
    decoder += _descriptor(0x05, asc) if asc else b""
    stream = struct.pack(">HB", 0, 0) + _descriptor(0x04, decoder) + _descriptor(0x06, b"\x02")
    return full_box(b"esds", 0, 0, _descriptor(0x03, stream))


def _descriptor(tag: int, body: bytes) -> bytes:
    """ISO/IEC 14496-1 §8.3.3; the length in four bytes of seven bits, as most writers do."""
    size = len(body)
    lengths = (0x80 | size >> 21 & 0x7F, 0x80 | size >> 14 & 0x7F, 0x80 | size >> 7 & 0x7F)
    return bytes((tag, *lengths, size & 0x7F)) + body


def _dops(config: OpusConfig) -> bytes:
    """Encapsulation of Opus in ISOBMFF §4.3.2: OpusHead in big-endian, version 0."""
    fixed = struct.pack(
        ">BBHIhB",
        0,
        config.channels,
        config.pre_skip_samples,
        config.input_rate_hz,
        config.gain_q8,
        config.mapping_family,
    )
    return box(b"dOps", fixed, config.mapping if config.mapping_family else b"")
