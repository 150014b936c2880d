"""In which form a viewer gets a stream, by what it offers and what the stream has."""

from __future__ import annotations

import pytest
from framehash import clip_units
from webrtc_site import NAME, OFFER, Film

from appliance.errors import CodecUnsupported
from appliance.hub.clock import Clock
from appliance.hub.hub import Hub
from appliance.services.webrtc.forms import ENOUGH_PICTURES, WebRtcMuxer, choose_form
from appliance.wire.sdp.webrtc_offer import parse_offer


def film(kind: str, units: int) -> Film:
    made = Film(Hub(clock=Clock()).publish(NAME, "test#1", stamped=True), kind)
    made.write(units)
    return made


@pytest.mark.parametrize(
    ("kind", "units", "rendition"),
    [
        ("h264-small", ENOUGH_PICTURES, "rtp"),
        ("h264-small", 5, "rtp-forward"),  # not enough to tell
        ("h264-b", ENOUGH_PICTURES, "rtp-forward"),
        ("h264-b", 10, "rtp-forward"),
    ],
)
def test_form_leaves_out_what_browsers_cannot_show(kind: str, units: int, rendition: str) -> None:
    stream = film(kind, units).publisher.stream
    assert choose_form(stream, parse_offer(OFFER)).rendition == rendition


def test_stream_that_the_offer_takes_nothing_of_is_refused() -> None:
    stream = film("h265", 5).publisher.stream
    with pytest.raises(CodecUnsupported, match="which has h265"):
        choose_form(stream, parse_offer(OFFER))


def test_forward_muxer_drops_pictures_that_go_back_and_counts_them() -> None:
    tracks, units = clip_units("h264-b")
    muxer = WebRtcMuxer(is_opus=False, is_forward=True)
    muxer.header(tracks)
    sent = [unit for unit in units if muxer.feed(unit)]
    assert [unit.pts_us for unit in sent] == sorted(unit.pts_us for unit in sent)
    assert muxer.dropped_units == len(units) - len(sent)
    assert len(units) // 3 < muxer.dropped_units < len(units)
    assert sum(unit.key for unit in sent) == sum(unit.key for unit in units)
