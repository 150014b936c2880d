"""What a description offers to a player: for each payload type its codec and its depacketizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.media.aac import AacConfig
from appliance.media.bits import BitReader
from appliance.media.g711 import G711Config
from appliance.media.l16 import L16Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Kind
from appliance.wire.rtp.formats.av1 import Av1Depacketizer
from appliance.wire.rtp.formats.contract import Depacketizer
from appliance.wire.rtp.formats.h264 import H264Depacketizer
from appliance.wire.rtp.formats.h265 import H265Depacketizer
from appliance.wire.rtp.formats.jpeg import JpegDepacketizer
from appliance.wire.rtp.formats.latm import LatmDepacketizer
from appliance.wire.rtp.formats.mpeg4_generic import AuHeaderShape, Mpeg4GenericDepacketizer
from appliance.wire.rtp.formats.opus import OpusDepacketizer
from appliance.wire.rtp.formats.pcm import PcmDepacketizer
from appliance.wire.rtp.formats.stream_mux import parse_stream_mux
from appliance.wire.sdp.parameter_sets import h264_config, h265_config
from appliance.wire.sdp.session import Direction, Media, RtpMap, Session, number

MAX_FORMATS = 32  # per media section: browsers list some 20; against 128 with parameters each
_MAX_HEX_DIGITS = 2048


@dataclass(slots=True)
class Format:
    """One payload type that we can take.

    config: as far as the description tells; else the depacketizer's `config` will.
    depacketizer: makes a new one, for each SSRC.
    """

    payload_type: int
    encoding: str
    codec: Codec
    clock_rate_hz: int
    channels: int
    config: CodecConfig | None
    depacketizer: Callable[[], Depacketizer]


@dataclass(slots=True)
class Offer:
    """One media section that a player can ask for.

    formats: by payload type, in the sender's order: it may send any of them, and means the first.
    refused: why the other payload types are not there, for whoever explains a camera.
    """

    media: Media
    kind: Kind
    formats: dict[int, Format]
    refused: dict[int, str]

    @property
    def format(self) -> Format | None:
        return next(iter(self.formats.values()), None)


def offers(session: Session) -> list[Offer]:
    """The audio and video of a description, in its order, without what flows the other way.

    An offer may have no format that we know; metadata and the like make none.
    """
    return [
        _offer(media, Kind(media.kind))
        for media in session.media
        if media.kind in {"audio", "video"} and not _is_back_channel(session, media)
    ]


def _is_back_channel(session: Session, media: Media) -> bool:
    """ONVIF's sound to the camera is ``sendonly`` (Streaming Specification §5.3), and stands beside
    media that are not. If all are, the sender wrote from its own view, as WebRTC does."""
    if session.direction_of(media) is Direction.INACTIVE:
        return True
    directions = {session.direction_of(other) for other in session.media}
    return session.direction_of(media) is Direction.SENDONLY and len(directions) > 1


def _offer(media: Media, kind: Kind) -> Offer:
    formats: dict[int, Format] = {}
    refused: dict[int, str] = {}
    for payload_type in _payload_types(media):
        try:
            found = format_of(media, payload_type)
        except PeerError as error:
            refused[payload_type] = str(error)
        else:
            formats[payload_type] = found
    return Offer(media, kind, formats, refused)


def _payload_types(media: Media) -> list[int]:
    """Those of the m= line, and those that only an rtpmap names: cameras get one of them wrong."""
    heads = (number(value.strip().partition(" ")[0], 127) for value in media.values("rtpmap"))
    named = (head for head in heads if head is not None)
    return list(dict.fromkeys((*media.payload_types, *named)))[:MAX_FORMATS]


def format_of(media: Media, payload_type: int) -> Format:
    """What a section says of one payload type. Raises: PeerError if we do not know the encoding, or
    its parameters forbid it."""
    rtpmap = media.rtpmap(payload_type)
    if rtpmap is None:
        raise PeerError("a payload type without rtpmap")
    make = _MAKERS.get(rtpmap.encoding.upper())
    if make is None:
        raise PeerError(f"the encoding {rtpmap.encoding[:32]!r} is not one we know")
    codec, config, depacketizer = make(rtpmap, media.fmtp(payload_type), media)
    return Format(
        payload_type,
        rtpmap.encoding,
        codec,
        rtpmap.clock_rate_hz,
        rtpmap.channels,
        config,
        depacketizer,
    )


_Made = tuple[Codec, CodecConfig | None, Callable[[], Depacketizer]]
_Fmtp = Mapping[str, str]


def _mpeg4_generic(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    shape = AuHeaderShape.from_fmtp(fmtp)
    text = fmtp.get("config", "")
    config = AacConfig(_hex(text)) if text else AacConfig.lc(rtpmap.clock_rate_hz, rtpmap.channels)
    rate_hz = rtpmap.clock_rate_hz
    return Codec.AAC, config, lambda: Mpeg4GenericDepacketizer(config, rate_hz, shape)


def _latm(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    """cpresent is 1 where it is not said (RFC 6416 §7.3), but senders who give a configuration and
    nothing else mean 0, and players take it so."""
    text = fmtp.get("config", "")
    # GStreamer 1.22's rtpmp4apay leaves the last bits out, which are zeros but for a buffer's size
    mux = parse_stream_mux(BitReader(_hex(text) + bytes(2))) if text else None
    has_mux = fmtp.get("cpresent", "0" if mux else "1") != "0"
    rate_hz = rtpmap.clock_rate_hz
    if not mux and not has_mux:
        raise PeerError("LATM without a configuration, in band or out of it")
    return (
        Codec.AAC,
        mux.config if mux else None,
        lambda: LatmDepacketizer(mux, rate_hz, has_mux=has_mux),
    )


def _g711(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    config = G711Config(Codec(rtpmap.encoding.lower()), rtpmap.clock_rate_hz, rtpmap.channels)
    return config.codec, config, lambda: PcmDepacketizer(config)


def _l16(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    config = L16Config(rtpmap.clock_rate_hz, rtpmap.channels)
    return Codec.L16, config, lambda: PcmDepacketizer(config)


def _opus(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    """Always 48 kHz and two channels in rtpmap (RFC 7587 §4); only sprop-stereo tells of one."""
    if rtpmap.clock_rate_hz != 48_000:
        raise PeerError(f"Opus with a clock of {rtpmap.clock_rate_hz} Hz")
    config = OpusConfig(1 if fmtp.get("sprop-stereo") == "0" else 2, pre_skip_samples=0)
    return Codec.OPUS, config, lambda: OpusDepacketizer(config)


def _av1(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    return Codec.AV1, None, Av1Depacketizer


def _h264(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    if fmtp.get("packetization-mode") == "2":
        raise PeerError("H.264 in interleaved packets")
    config = h264_config(fmtp)
    return Codec.H264, config, lambda: H264Depacketizer(config)


def _h265(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    if fmtp.get("sprop-max-don-diff", "0") != "0":
        raise PeerError("HEVC in interleaved packets")
    config = h265_config(fmtp)
    return Codec.H265, config, lambda: H265Depacketizer(config)


def _jpeg(rtpmap: RtpMap, fmtp: _Fmtp, media: Media) -> _Made:
    size = next(_sizes(media, rtpmap.payload_type, fmtp), None)
    return Codec.MJPEG, None, lambda: JpegDepacketizer(size)


def _sizes(media: Media, payload_type: int, fmtp: _Fmtp) -> Iterator[tuple[int, int]]:
    """``a=x-dimensions:2592,1944`` (Axis), ``a=framesize:26 2592-1944`` (3GPP), and the former
    among the format parameters, where other names of GStreamer's caps go."""
    texts = (*media.values("x-dimensions"), fmtp.get("x-dimensions", ""))
    pairs = [text.partition(",") for text in texts]
    for value in media.values("framesize"):
        head, _, text = value.partition(" ")
        if number(head, 127) == payload_type:
            pairs.append(text.partition("-"))
    for first, _, second in pairs:
        width, height = number(first.strip(), 65_535), number(second.strip(), 65_535)
        if width and height:
            yield width, height


def _hex(text: str) -> bytes:
    """Raises: PeerError if it is not a hexadecimal configuration, or too long."""
    if len(text) > _MAX_HEX_DIGITS:
        raise PeerError(f"a configuration of {len(text)} digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise PeerError("a configuration that is not hexadecimal") from None


_MAKERS: Mapping[str, Callable[[RtpMap, _Fmtp, Media], _Made]] = {
    "H264": _h264,
    "H265": _h265,
    "HEVC": _h265,  # as some cameras spell it
    "MPEG4-GENERIC": _mpeg4_generic,
    "MP4A-LATM": _latm,
    "PCMA": _g711,
    "PCMU": _g711,
    "L16": _l16,
    "OPUS": _opus,
    "AV1": _av1,
    "JPEG": _jpeg,
}
