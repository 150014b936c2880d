"""Our own tracks as media sections, for those who play from us."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from appliance.errors import CodecUnsupported
from appliance.media.aac import AacConfig
from appliance.media.av1 import Av1Config
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.l16 import L16Config
from appliance.media.opus import CLOCK_HZ, OpusConfig
from appliance.media.track import Codec, CodecConfig, Track
from appliance.wire.rtp.formats.av1 import Av1Packetizer
from appliance.wire.rtp.formats.contract import DEFAULT_PAYLOAD_BYTES, Packetizer
from appliance.wire.rtp.formats.h264 import H264Packetizer
from appliance.wire.rtp.formats.h265 import H265Packetizer
from appliance.wire.rtp.formats.mpeg4_generic import Mpeg4GenericPacketizer
from appliance.wire.rtp.formats.opus import OpusPacketizer
from appliance.wire.rtp.formats.pcm import PcmPacketizer
from appliance.wire.sdp.parameter_sets import h264_fmtp, h265_fmtp
from appliance.wire.sdp.session import STATIC, Connection, Media, RtpMap, Session

VIDEO_CLOCK_HZ = 90_000
FIRST_DYNAMIC = 96  # RFC 3551 §6


def rtp_clock_rate_hz(config: CodecConfig) -> int:
    """Of the stamps of a track in RTP. Raises: CodecUnsupported if we cannot send it."""
    match config:
        case AacConfig() | G711Config() | L16Config():
            return config.sample_rate_hz
        case OpusConfig():
            return CLOCK_HZ
        case H264Config() | H265Config() | Av1Config():
            return VIDEO_CLOCK_HZ
    raise CodecUnsupported(f"{config.codec} in RTP")


def session_of(tracks: Iterable[Track], name: str) -> Session:
    """A live description: one media section per track, controls ``trackID=`` and its id.

    Raises: CodecUnsupported if a track is one that we cannot send.
    """
    session = Session(name=name or "-", connection=Connection("0.0.0.0"))
    session.add("control", "*")
    session.add("range", "npt=now-")
    session.media = [
        describe(track, payload_type, f"trackID={track.id}")
        for payload_type, track in enumerate(tracks, FIRST_DYNAMIC)
    ]
    return session


def describe(track: Track, payload_type: int, control: str) -> Media:
    """A media section for one track. Raises: CodecUnsupported if we cannot send it.

    payload_type: one that is free; codecs with a number of their own take that instead.
    """
    rtpmap, fmtp = _encoding(track.config, payload_type)
    media = Media(kind=track.kind.value, formats=(str(rtpmap.payload_type),))
    media.add("rtpmap", rtpmap.value())
    if fmtp:
        media.add("fmtp", f"{rtpmap.payload_type} {fmtp}")
    media.add("control", control)
    return media


def _encoding(config: CodecConfig, payload_type: int) -> tuple[RtpMap, str]:
    rate_hz = rtp_clock_rate_hz(config)
    match config:
        case H264Config():
            return RtpMap(payload_type, "H264", rate_hz), h264_fmtp(config)
        case H265Config():
            return RtpMap(payload_type, "H265", rate_hz), h265_fmtp(config)
        case Av1Config():
            return RtpMap(payload_type, "AV1", rate_hz), _av1_fmtp(config)
        case AacConfig():
            name, fmtp = "mpeg4-generic", _aac_fmtp(config)
            return RtpMap(payload_type, name, rate_hz, config.channels), fmtp
        case OpusConfig():
            if config.mapping_family:
                raise CodecUnsupported("Opus of more than two channels in RTP")
            stereo = f"sprop-stereo={int(config.channels == 2)}"
            return RtpMap(payload_type, "opus", rate_hz, 2), stereo  # 2: RFC 7587 §7
        case G711Config():
            return _pcm(config.codec.upper(), payload_type, rate_hz, config.channels), ""
        case L16Config():
            return _pcm("L16", payload_type, rate_hz, config.channels), ""
    raise CodecUnsupported(f"{config.codec} in RTP")


def _pcm(name: str, payload_type: int, rate_hz: int, channels: int) -> RtpMap:
    for static in STATIC.values():
        if (static.encoding, static.clock_rate_hz, static.channels) == (name, rate_hz, channels):
            return static
    return RtpMap(payload_type, name, rate_hz, channels)


def _aac_fmtp(config: AacConfig) -> str:
    """profile-level-id 1: Main Audio Profile L1, which senders write for whatever they send."""
    fixed = f"streamtype=5;profile-level-id=1;{Mpeg4GenericPacketizer.fmtp}"
    return f"{fixed};config={config.asc.hex().upper()}"


def _av1_fmtp(config: Av1Config) -> str:
    """AV1 RTP §7.1."""
    head = config.active
    return f"profile={head.profile};level-idx={head.level_idx};tier={head.tier}"


def packetizer(config: CodecConfig, max_bytes: int = DEFAULT_PAYLOAD_BYTES) -> Packetizer:
    """What turns a track's units into payloads. Raises: CodecUnsupported if we cannot send it."""
    match config:
        case G711Config() | L16Config():
            return PcmPacketizer(config, max_bytes)
        case OpusConfig():
            return OpusPacketizer()
    makers: dict[Codec, Callable[[int], Packetizer]] = {
        Codec.H264: H264Packetizer,
        Codec.H265: H265Packetizer,
        Codec.AV1: Av1Packetizer,
        Codec.AAC: Mpeg4GenericPacketizer,
    }
    if (make := makers.get(config.codec)) is None:
        raise CodecUnsupported(f"{config.codec} in RTP")
    return make(max_bytes)
