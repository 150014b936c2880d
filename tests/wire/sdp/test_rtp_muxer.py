"""Which sound a stream's RTP needs in another form."""

from __future__ import annotations

from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.mp3 import Mp3Config
from appliance.media.track import Codec
from appliance.wire.sdp.rtp_muxer import RtpMuxer

MP3 = Mp3Config(44_100, 2, 1152, is_mpeg1=True)


def test_sound_without_a_payload_format_is_wanted_in_another_form() -> None:
    muxer = RtpMuxer()
    assert not muxer.takes(MP3)
    assert muxer.takes(AacConfig.lc(48_000, 2))
    assert muxer.takes(G711Config(Codec.PCMA, 8_000, 1))


def test_picture_alone_wants_no_sound_in_any_form() -> None:
    assert RtpMuxer([1], has_sound=False).takes(MP3)
