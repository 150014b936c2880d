from __future__ import annotations

import pytest

from appliance.errors import PeerError
from appliance.media.l16 import L16Config
from appliance.media.mjpeg import MjpegConfig
from appliance.media.track import Codec, Kind


def test_config_tells_its_stream() -> None:
    config = L16Config()
    assert (config.kind, config.codec, config.rfc6381) == (Kind.AUDIO, Codec.L16, "twos")
    assert (config.sample_rate_hz, config.channels) == (44_100, 1)
    assert config == L16Config(44_100, 1) != L16Config(44_100, 2)


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(0, 1), (999, 1), (192_001, 1), (8000, 0), (8000, 9)]
)
def test_config_out_of_range_raises(rate_hz: int, channels: int) -> None:
    with pytest.raises(PeerError):
        L16Config(rate_hz, channels)


def test_mjpeg_config_tells_its_stream() -> None:
    config = MjpegConfig(64, 48)
    assert (config.kind, config.codec, config.rfc6381) == (Kind.VIDEO, Codec.MJPEG, "mp4v.6C")
    assert (config.width_px, config.height_px) == (64, 48)


@pytest.mark.parametrize(("width_px", "height_px"), [(0, 48), (64, 0), (65_536, 48), (64, -1)])
def test_mjpeg_config_without_a_size_raises(width_px: int, height_px: int) -> None:
    with pytest.raises(PeerError):
        MjpegConfig(width_px, height_px)
