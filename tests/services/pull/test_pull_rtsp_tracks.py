"""Media of a camera on their way into the intake."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from appliance.media.unit import AccessUnit
from appliance.services.pull.faults import PullFault
from appliance.services.pull.rtsp_notes import Notes
from appliance.services.pull.rtsp_tracks import Publishing, choose_tracks
from appliance.wire.rtp.packet import header
from appliance.wire.rtsp.client import Described
from appliance.wire.rtsp.rtp_info import parse_rtp_info

SDP = b"v=0\r\nm=audio 0 RTP/AVP 8\r\na=control:sound\r\n"
SILENCE_US = 5_000_000


class Basket:
    """Stands where the intake stands."""

    def __init__(self) -> None:
        self.units: list[AccessUnit] = []
        self.postponed = 0

    def take(self, events: Iterable[Any]) -> None:
        self.units += [event for event in events if isinstance(event, AccessUnit)]

    def begin(self, tracks: list[Any]) -> None: ...

    def count(self, received_bytes: int) -> None: ...

    def postpone(self) -> None:
        self.postponed += 1

    def tell_wall_offset(self, offset_us: int) -> None: ...


def test_media_before_the_answer_to_play_are_published() -> None:
    _, tracks = choose_tracks(Described(SDP, "rtsp://camera/"), patience_us=0)
    basket = Basket()
    publishing = Publishing(tracks, basket, Notes(), SILENCE_US)
    for number in range(3):
        packet = header(8, number, number * 160, 7, number == 0) + bytes(160)
        tracks[0].incoming.receive(packet, now_us=number * 20_000)
        publishing.take(now_us=number * 20_000)
        if number == 1:
            publishing.begin(now_us=30_000)
    assert [unit.size_bytes for unit in basket.units] == [160] * 3


def test_beginnings_belong_to_tracks_by_name_whatever_the_camera_calls_itself() -> None:
    sdp = SDP + b"m=video 0 RTP/AVP 26\r\na=control:picture\r\n"
    _, tracks = choose_tracks(Described(sdp, "rtsp://camera/"), patience_us=0)
    publishing = Publishing(tracks, Basket(), Notes(), SILENCE_US)
    publishing.note_beginnings(
        parse_rtp_info("url=rtsp://10.0.0.9/picture;rtptime=900,url=sound/;rtptime=80")
    )
    video, audio = (track.incoming.clock for track in tracks)
    video_us = video.us(video.stamps.unroll(900), 5_000_000)
    assert audio.us(audio.stamps.unroll(240), 5_100_000) == video_us + 20_000


def test_packets_of_which_no_unit_comes_are_no_silence() -> None:
    """As after a loss, until the next keyframe: whoever waits for units is told to wait longer."""
    _, tracks = choose_tracks(Described(SDP, "rtsp://camera/"), patience_us=0)
    basket = Basket()
    publishing = Publishing(tracks, basket, Notes(), SILENCE_US)
    publishing.begin(now_us=0)
    publishing.check(now_us=100_000)
    assert basket.postponed == 0
    tracks[0].incoming.receive(header(8, 1, 160, 7, True) + bytes(160), now_us=200_000)
    publishing.take(now_us=200_000)
    publishing.check(now_us=SILENCE_US)
    assert basket.postponed == 1
    tracks[0].incoming.receive(header(9, 2, 320, 7, True) + bytes(160), now_us=SILENCE_US)
    with pytest.raises(PullFault):
        publishing.check(now_us=2 * SILENCE_US + 1)
    assert basket.postponed == 1
