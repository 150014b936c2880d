"""Codec configurations as bytes: in their own standard form (avcC, hvcC, ASC, OpusHead) where they
have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from appliance.errors import MisuseError, PeerError
from appliance.media.aac import AacConfig
from appliance.media.bits import Reader
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.l16 import L16Config
from appliance.media.mp3 import Mp3Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig


def _g711(codec: Codec) -> Callable[[bytes], CodecConfig]:
    def decode(data: bytes) -> CodecConfig:
        reader = Reader(data)
        return G711Config(codec, sample_rate_hz=reader.u32(), channels=reader.u8())

    return decode


def _l16(data: bytes) -> CodecConfig:
    reader = Reader(data)
    return L16Config(sample_rate_hz=reader.u32(), channels=reader.u8())


def _mp3(data: bytes) -> CodecConfig:
    reader = Reader(data)
    rate_hz, channels, frame_samples = reader.u32(), reader.u8(), reader.u16()
    if not 8_000 <= rate_hz <= 48_000 or channels not in {1, 2} or not frame_samples:
        raise PeerError(f"MP3 at {rate_hz} Hz with {channels} channels")
    return Mp3Config(rate_hz, channels, frame_samples, bool(reader.u8()))


DECODERS: Mapping[str, Callable[[bytes], CodecConfig]] = {
    Codec.H264: H264Config.from_avcc,
    Codec.H265: H265Config.from_hvcc,
    Codec.AAC: AacConfig,
    Codec.OPUS: OpusConfig.from_opus_head,
    Codec.PCMA: _g711(Codec.PCMA),
    Codec.PCMU: _g711(Codec.PCMU),
    Codec.L16: _l16,
    Codec.MP3: _mp3,
}


def config_bytes(config: CodecConfig) -> bytes:
    """What `DECODERS` has the reverse of.

    Raises: MisuseError for a codec that no worker delivers or takes yet.
    """
    match config:
        case H264Config():
            return config.to_avcc()
        case H265Config():
            return config.to_hvcc()
        case AacConfig():
            return config.asc
        case OpusConfig():
            return config.to_opus_head()
        case G711Config() | L16Config():
            return config.sample_rate_hz.to_bytes(4, "big") + bytes((config.channels,))
        case Mp3Config():
            head = config.sample_rate_hz.to_bytes(4, "big") + bytes((config.channels,))
            return head + config.frame_samples.to_bytes(2, "big") + bytes((config.is_mpeg1,))
    raise MisuseError(f"{config.codec} cannot go through the pipe")
