"""Which of the codecs that a browser offers suits our stream, or suits us best to be sent.

H.264: RFC 6184 §8.2.2; HEVC: RFC 7798 §7.2.2; AV1 RTP §7.2; VP9: RFC 9628 §6; Opus: RFC 7587 §6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from appliance.media.av1 import Av1Config
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.opus import CLOCK_HZ, OpusConfig
from appliance.media.track import CodecConfig
from appliance.media.vp9 import Vp9Config
from appliance.wire.sdp.webrtc_offer import OfferedCodec

VIDEO_ENCODINGS = ("H264", "H265", "AV1", "VP9", "VP8")
AUDIO_ENCODINGS = ("OPUS", "PCMU", "PCMA")
HIGHEST_H264_LEVEL = 0x34  # 5.2: what a peer may send us, as we decode nothing

_BASELINE, _MAIN, _HIGH = 66, 77, 100
_CONSTRAINED = 0x40  # constraint_set1: Baseline without what nobody has
_DEFAULT_PROFILE = (_BASELINE, 0, 10)  # RFC 6184 §8.1: without profile-level-id

# What else a browser that offers it will decode, best first, when it does not offer the stream's
# own profile. Chromium 156 never offers High, and decodes it by any of these numbers.
_INSTEAD = {
    _BASELINE: (_MAIN, _HIGH),
    _MAIN: (_HIGH, _BASELINE),
    _HIGH: (_MAIN, _BASELINE),
}


def best_match(codecs: Iterable[OfferedCodec], config: CodecConfig) -> OfferedCodec | None:
    """The codec by which a track can be sent; None if the peer has none for it."""
    match config:
        case H264Config():
            return _best_h264(codecs, config)
        case H265Config():
            return _first(codecs, "H265", lambda codec: _is_h265_of(codec, config))
        case Av1Config():
            profile = config.active.profile
            same = _first(codecs, "AV1", lambda c: _parameter(c, "profile", 0) == profile)
            return same or _first(codecs, "AV1", lambda c: _parameter(c, "profile", 0) > profile)
        case Vp9Config():
            return _first(codecs, "VP9", lambda c: _parameter(c, "profile-id", 0) == config.profile)
        case OpusConfig():
            return None if config.mapping_family else _first(codecs, "OPUS", _is_opus)
        case G711Config():
            rate_hz, channels = config.sample_rate_hz, config.channels
            return _first(
                codecs,
                config.codec.upper(),
                lambda c: (c.clock_rate_hz, c.channels) == (rate_hz, channels),
            )
    return None


def best_to_take(codecs: Sequence[OfferedCodec], encodings: Iterable[str]) -> OfferedCodec | None:
    """The codec that a peer shall send us: the first of `encodings` that it has, in the form it
    prefers."""
    for encoding in encodings:
        if found := _first(codecs, encoding, _FIT_TO_TAKE.get(encoding, _is_any)):
            return found
        if encoding == "H264" and (found := _first(codecs, encoding, _is_any)):
            return found  # single NAL units only
    return None


def answered_fmtp(codec: OfferedCodec, config: CodecConfig | None) -> str:
    """Format parameters of our answer. config: of what we send; None if the peer sends."""
    if codec.encoding == "OPUS":
        return _opus_fmtp(config)
    if codec.encoding != "H264":
        # As offered: they say what the receiver can do, or what the sender has.
        return ";".join(f"{name}={value}" for name, value in sorted(codec.fmtp.items()))
    profile, constraints, level = h264_profile(codec)
    if codec.fmtp.get("level-asymmetry-allowed") == "1":
        level = config.level_idc if isinstance(config, H264Config) else HIGHEST_H264_LEVEL
    mode = codec.fmtp.get("packetization-mode", "1" if config else "0")
    identity = bytes((profile, constraints, level)).hex()
    return f"level-asymmetry-allowed=1;packetization-mode={mode};profile-level-id={identity}"


def h264_profile(codec: OfferedCodec) -> tuple[int, int, int]:
    """profile_idc, constraint flags and level_idc of a codec that is H.264."""
    text = codec.fmtp.get("profile-level-id", "")
    try:
        numbers = bytes.fromhex(text)
    except ValueError:
        numbers = b""
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else _DEFAULT_PROFILE


def _best_h264(codecs: Iterable[OfferedCodec], config: H264Config) -> OfferedCodec | None:
    """Our packets are of packetization mode 1; a receiver of mode 0 takes no fragments. One who
    says neither (GStreamer 1.22, where the RFC has 0 as the default) takes them."""
    all_h264 = [c for c in codecs if c.encoding == "H264"]
    fit = [c for c in all_h264 if _is_mode_1(c)]
    fit = fit or [c for c in all_h264 if "packetization-mode" not in c.fmtp]
    wanted = (config.profile_idc, config.constraint_flags & _CONSTRAINED)
    exact = [c for c in fit if _h264_identity(c) == wanted]
    if exact:
        return exact[0]
    for profile in (config.profile_idc, *_INSTEAD.get(config.profile_idc, ())):
        near = [c for c in fit if h264_profile(c)[0] == profile]
        if near:
            return max(near, key=lambda c: h264_profile(c)[1] & _CONSTRAINED)
    return fit[0] if fit else None


def _h264_identity(codec: OfferedCodec) -> tuple[int, int]:
    profile, constraints, _ = h264_profile(codec)
    return profile, constraints & _CONSTRAINED


def _is_mode_1(codec: OfferedCodec) -> bool:
    return codec.fmtp.get("packetization-mode") == "1"


def _is_h265_of(codec: OfferedCodec, config: H265Config) -> bool:
    return (
        _parameter(codec, "profile-id", 1) == config.profile_idc
        and codec.fmtp.get("tx-mode", "SRST").upper() == "SRST"
    )


def _is_opus(codec: OfferedCodec) -> bool:
    """Two channels by RFC 7587 §7, whatever is in them; GStreamer leaves them out."""
    return codec.clock_rate_hz == CLOCK_HZ and codec.channels in {1, 2}


def _is_any(codec: OfferedCodec) -> bool:
    return True


def _is_telephone(codec: OfferedCodec) -> bool:
    return codec.clock_rate_hz == 8000 and codec.channels == 1


_FIT_TO_TAKE: dict[str, Callable[[OfferedCodec], bool]] = {
    "H264": _is_mode_1,
    "OPUS": _is_opus,
    "PCMU": _is_telephone,
    "PCMA": _is_telephone,
}


def _opus_fmtp(config: CodecConfig | None) -> str:
    """Of what the peer sends us we take two channels; of what we send we say how many it has."""
    always = "minptime=10;useinbandfec=1"
    if isinstance(config, OpusConfig):
        return f"{always};stereo=1;sprop-stereo=1" if config.channels == 2 else always
    return f"{always};stereo=1"


def _first(
    codecs: Iterable[OfferedCodec], encoding: str, is_fit: Callable[[OfferedCodec], bool]
) -> OfferedCodec | None:
    return next((c for c in codecs if c.encoding == encoding and is_fit(c)), None)


def _parameter(codec: OfferedCodec, name: str, default: int) -> int:
    """A small number, or the default if it is none."""
    text = codec.fmtp.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else default
