"""Random walks through a server's states: every request is answered once, whatever the order."""

from __future__ import annotations

import random

import pytest
from rtsp_pair import SDP, URL, accept, make_server

from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.interleaved import Frames, InterleavedReader, format_frame
from appliance.wire.rtsp.message import Response, format_request
from appliance.wire.rtsp.server import MAX_TRACKS, RtspServer, State

METHODS = (
    *("OPTIONS", "DESCRIBE", "ANNOUNCE", "SETUP", "SETUP", "SETUP", "PLAY", "PLAY", "RECORD"),
    *("RECORD", "PAUSE", "GET_PARAMETER", "TEARDOWN", "BOGUS"),
)
TRANSPORTS = (
    "RTP/AVP/TCP;unicast;interleaved=0-1",
    "RTP/AVP/TCP",
    "RTP/AVP;unicast;client_port=5000-5001",
    "RTP/AVP;multicast",
    "nonsense",
)
STEPS = 60


class Walk:
    """One peer that does anything; `answers` counts what it got."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.server = make_server()
        self.session = ""
        self.asked = 0
        self.answered: list[int | None] = []
        self.reader = InterleavedReader(is_tolerant=False)

    def step(self) -> None:
        method = self.rng.choice(METHODS)
        url = self.rng.choice((URL, URL, URL, "rtsp://h/live/other"))
        headers = [("CSeq", str(self.asked)), ("Content-Type", "application/sdp")]
        if self.session and self.rng.random() < 0.9:
            headers.append(("Session", self.session))
        if method == "SETUP":
            url += f"/trackID={self.rng.randrange(20)}"
            headers.append(("Transport", self.rng.choice(TRANSPORTS)))
        body = SDP.encode() if method == "ANNOUNCE" else b""
        data = format_request(method, url, headers, body)
        self.asked += 1
        has_channels = any(track.channels for track in self.server.tracks.values())
        if has_channels and self.rng.random() < 0.3:
            data += format_frame(self.rng.randrange(4), b"media")
        self.handle(self.server.receive(data, 0))
        self.look()

    def handle(self, events: list[e.Event]) -> None:
        while events:
            assert sum(isinstance(event, e.Asked) for event in events) <= 1
            for event in events:
                if isinstance(event, Frames):
                    assert self.server.state in {State.PLAYING, State.RECORDING}
                elif isinstance(event, e.Asked) and self.rng.random() < 0.1:
                    self.server.refuse(403)
                else:
                    accept(self.server, event)
            events = self.server.proceed()

    def look(self) -> None:
        for item in self.reader.receive(self.server.take_output()):
            assert isinstance(item, Response)
            self.answered.append(item.cseq)
            if session := item.headers.get("session"):
                self.session = session.partition(";")[0]
        check(self.server)


def check(server: RtspServer) -> None:
    assert bool(server.tracks) == (server.state is not State.INIT)
    assert len(server.tracks) <= MAX_TRACKS
    channels = [channel for track in server.tracks.values() for channel in track.channels or ()]
    assert len(channels) == len(set(channels))


@pytest.mark.parametrize("first", range(0, 100, 50))
def test_every_request_is_answered_once_and_in_order(first: int) -> None:
    visited: set[State] = set()
    for seed in range(first, first + 50):
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()
            visited.add(walk.server.state)
        assert walk.answered == list(range(STEPS))
    assert visited == set(State)
