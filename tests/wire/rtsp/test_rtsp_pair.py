"""Both cores speak with each other, in pieces of every size."""

from __future__ import annotations

import pytest
from rtsp_pair import SDP, URL, Pair, make_client, make_server

from appliance.wire.rtsp import client as c
from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.rtsp.server import State
from appliance.wire.rtsp.target import resolve_control
from appliance.wire.rtsp.transport import Delivery, Mode, Transport


@pytest.mark.parametrize("piece_bytes", [0, 1, 2, 3, 7, 100])
def test_client_plays_from_server_whatever_the_pieces(piece_bytes: int) -> None:
    pair = Pair(make_client(), make_server(), piece_bytes=piece_bytes)
    pair.client.begin(0)
    [described] = pair.run()
    assert isinstance(described, c.Described)
    assert described.sdp.decode() == SDP
    told: list[c.Event] = []
    for number in range(2):
        url = resolve_control(described.base_url, f"trackID={number}")
        channels = (2 * number, 2 * number + 1)
        pair.client.setup(url, Transport(Delivery.TCP, channels=channels))
        told += pair.run()
    assert [event.transport.channels for event in told if isinstance(event, c.SetUp)] == [
        (0, 1),
        (2, 3),
    ]
    pair.client.play()
    [playing] = pair.run()
    assert playing == c.Playing((RtpInfo(f"{URL}/trackID=0", 1, 2),))
    assert pair.server.state is State.PLAYING
    setups = [event for event in pair.asked if isinstance(event, e.SetupAsked)]
    assert [event.control for event in setups] == ["trackID=0", "trackID=1"]
    frames = [(0, b"rtp"), (1, b""), (2, bytes(0xFFFF))]
    pair.server.send_frames(frames)
    got = [frame for event in pair.run() if isinstance(event, Frames) for frame in event.frames]
    assert got == frames
    pair.client.send_frames([(1, b"rtcp")])
    pair.client.teardown()
    pair.run()
    assert pair.asked[-2:] == [Frames([(1, b"rtcp")]), e.TornDown()]


def test_client_records_to_server() -> None:
    pair = Pair(make_client(), make_server())
    pair.client.begin_record(SDP.encode(), 0)
    assert pair.run() == [c.Announced()]
    transport = Transport(Delivery.TCP, channels=(0, 1), mode=Mode.RECORD)
    pair.client.setup(f"{URL}/streamid=0", transport)
    [setup] = pair.run()
    assert isinstance(setup, c.SetUp)
    assert setup.transport.mode is Mode.RECORD
    pair.client.record()
    assert pair.run() == [c.Recording()]
    pair.client.send_frames([(0, b"media")])
    pair.run()
    announce = pair.asked[0]
    assert isinstance(announce, e.AnnounceAsked)
    assert announce.sdp.decode() == SDP
    assert pair.asked[-1] == Frames([(0, b"media")])
