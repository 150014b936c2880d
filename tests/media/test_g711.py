from __future__ import annotations

import pytest

from appliance.errors import MisuseError, PeerError
from appliance.media.g711 import G711Config
from appliance.media.track import Codec, Kind


@pytest.mark.parametrize(("codec", "name"), [(Codec.PCMA, "alaw"), (Codec.PCMU, "ulaw")])
def test_config_tells_its_stream(codec: Codec, name: str) -> None:
    config = G711Config(codec)
    assert (config.kind, config.codec, config.rfc6381) == (Kind.AUDIO, codec, name)
    assert (config.sample_rate_hz, config.channels) == (8000, 1)
    assert config == G711Config(codec, 8000, 1)


def test_config_of_another_codec_is_a_mistake_of_ours() -> None:
    with pytest.raises(MisuseError):
        G711Config(Codec.AAC)


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(0, 1), (999, 1), (192_001, 1), (8000, 0), (8000, 9)]
)
def test_config_out_of_range_raises(rate_hz: int, channels: int) -> None:
    with pytest.raises(PeerError):
        G711Config(Codec.PCMU, rate_hz, channels)
