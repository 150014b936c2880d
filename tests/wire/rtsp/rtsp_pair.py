"""A client and a server core joined in memory, and what tests of both need."""

from __future__ import annotations

from collections.abc import Callable

from appliance.wire.rtsp import client as c
from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.client import RtspClient
from appliance.wire.rtsp.credentials import ClientAuth
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.rtsp.server import RtspServer
from appliance.wire.rtsp.target import parse_rtsp_address

SDP = (
    "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
    "m=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\n"
)
URL = "rtsp://cam.local/live/camera"
NOISE = bytes(range(32))

Answer = Callable[[RtspServer, e.Event], None]


def make_client(url: str = URL, auth: ClientAuth | None = None) -> RtspClient:
    return RtspClient(parse_rtsp_address(url), noise=NOISE, agent="test", auth=auth)


def make_server() -> RtspServer:
    return RtspServer(NOISE, agent="test", now_us=0)


def accept(server: RtspServer, event: e.Event) -> None:
    """Says yes to everything."""
    match event:
        case e.DescribeAsked():
            server.answer_describe(SDP)
        case e.AnnounceAsked():
            server.accept_announce()
        case e.SetupAsked():
            server.accept_setup(event.transports[0])
        case e.PlayAsked():
            server.accept_play([RtpInfo(server.track_url("trackID=0"), 1, 2)])
        case e.RecordAsked():
            server.accept_record()


class Pair:
    """Carries bytes both ways in pieces of `piece_bytes` until nothing moves."""

    def __init__(
        self, client: RtspClient, server: RtspServer, answer: Answer = accept, piece_bytes: int = 0
    ) -> None:
        self.client = client
        self.server = server
        self.answer = answer
        self.piece_bytes = piece_bytes
        self.asked: list[e.Event] = []

    def run(self, now_us: int = 0) -> list[c.Event]:
        told: list[c.Event] = []
        while True:
            up, down = self.client.take_output(), self.server.take_output()
            if not up and not down:
                return told
            for piece in self._cut(up):
                self._serve(self.server.receive(piece, now_us))
            for piece in self._cut(down):
                told += self.client.receive(piece, now_us)

    def _serve(self, events: list[e.Event]) -> None:
        while events:
            self.asked += events
            for event in events:
                self.answer(self.server, event)
            events = self.server.proceed()

    def _cut(self, data: bytes) -> list[bytes]:
        size = self.piece_bytes or len(data) or 1
        return [data[at : at + size] for at in range(0, len(data), size)]
