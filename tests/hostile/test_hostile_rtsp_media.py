"""Publishers by RTSP whose packets are torn, lost, or none: pictures are whole or missing."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from camera_film import weather
from fault_camera import frames
from rtmp_peer import RtmpPeer, clip_tags
from rtp_vectors import PICTURES, RTCP, RTP
from rtsp_pusher import Onlooker, Pusher
from rtsp_siege import rtsp_siege
from rtsp_talk import RtspTalk
from siege import eventually

from appliance.wire.rtp.rtcp import Goodbye

CONFIG = (
    SMALL_PATTERN + '[auth]\npublish = "open"\n[[stream]]\nname = "live/door"\ntakeover = true\n'
)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("media"), config=CONFIG) as process:
        process.wait_line("live/camera is live")
        yield process
        assert "Traceback" not in process.log


def assert_ends_with_a_round(pusher: Pusher, onlooker: Onlooker) -> None:
    """After whatever was sent before, a round of the film comes through whole, in order; of its
    last picture the end may not be known yet."""
    wanted = pusher.pictures

    def is_there() -> bool:
        found = onlooker.pictures
        return found[-len(wanted) :] == wanted or found[1 - len(wanted) :] == wanted[:-1]

    assert eventually(lambda: is_there() or onlooker.is_over)
    assert is_there()
    assert not onlooker.is_over
    assert set(onlooker.pictures) <= set(wanted), "something was pieced together"


def test_pictures_by_udp_through_bad_weather_are_whole_or_missing(device: ApplianceProcess) -> None:
    """Lost, late and doubled packets; each picture is in several."""
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/storm", by_udp=True) as pusher:
        assert pusher.record() == 200
        pusher.send_some()
        with Onlooker(device.rtsp_port, "live/storm") as onlooker:
            wind = weather(11, loss=0.02, duplicate=0.05, late=0.05)(0)
            pusher.send_round(wind)
            pusher.send_round()
            assert_ends_with_a_round(pusher, onlooker)
            assert len(onlooker.pictures) < 3 * len(pusher.takes), "the weather was good"


def test_packets_and_reports_that_are_none_cost_no_picture(device: ApplianceProcess) -> None:
    """U9 and U13, behind every picture."""
    rows = [frames(0, RTP[at : at + 4]) + frames(1, RTCP) for at in range(0, len(RTP), 4)]
    strangers = b"".join(
        frames(0, [b"\x80\x60\0\1" + bytes(4) + (0xF0000 + n).to_bytes(4, "big") + b"\x65"])
        for n in range(20_000)
    )
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/odd") as pusher:
        assert pusher.record() == 200
        pusher.send_some()
        with Onlooker(device.rtsp_port, "live/odd") as onlooker:
            pusher.send_round(between=[strangers, *rows * 8])
            pusher.send_round()
            assert_ends_with_a_round(pusher, onlooker)
            assert onlooker.pictures.count(pusher.pictures[50]) == 2
        assert pusher.talk.ask("GET_PARAMETER")[0] == 200


def test_pictures_that_never_end_are_given_up(device: ApplianceProcess) -> None:
    """U10: their packets are in order, what they carry makes no sense."""
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/torn") as pusher:
        assert pusher.record() == 200
        pusher.send_some()
        with Onlooker(device.rtsp_port, "live/torn") as onlooker:
            last = pusher.takes[-1]
            for number, payloads in enumerate(PICTURES):
                pusher.send(pusher.packets(payloads, last, number + 1))
                pusher.send(pusher.packets(pusher.takes[0].payloads, last, number + 100))
            pusher.send_round()
            assert_ends_with_a_round(pusher, onlooker)


def test_publisher_is_understood_byte_by_byte(device: ApplianceProcess) -> None:
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/bytes") as pusher:
        assert pusher.record() == 200
        pusher.send_some()
        with Onlooker(device.rtsp_port, "live/bytes") as onlooker:
            pusher.talk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            asked = pusher.talk.format("GET_PARAMETER")
            for number, take in enumerate(pusher.takes):
                data = frames(0, pusher.packets(take.payloads, take)) + asked
                size = 1 if number < 4 else 251
                for at in range(0, len(data), size):
                    pusher.talk.sock.send(data[at : at + size])
                assert pusher.talk.read()[0] == 200
            assert_ends_with_a_round(pusher, onlooker)


def test_player_who_asks_byte_by_byte_is_answered(device: ApplianceProcess) -> None:
    with rtsp_siege(device), RtspTalk(device.rtsp_port) as talk:
        talk.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        channels = "Transport: RTP/AVP/TCP;unicast;interleaved=254-255"
        steps = (
            ("OPTIONS", (), ""),
            ("DESCRIBE", (), ""),
            ("SETUP", (channels,), f"{talk.url}/trackID=1"),
            ("SETUP", (channels,), f"{talk.url}/trackID=2"),
            ("PLAY", (), ""),
        )
        answers = []
        for method, lines, url in steps:
            for byte in talk.format(method, *lines, url=url):
                talk.sock.send(bytes((byte,)))
            answers.append(talk.read())
        assert [code for code, _ in answers] == [200] * 5
        assert "interleaved=254-255" in answers[2][1]
        assert "interleaved=0-1" in answers[3][1], "channels of two tracks are never the same"
        assert {talk.frame()[0] for _ in range(40)} >= {254, 0}
        assert talk.ask("TEARDOWN")[0] == 200


def test_requests_within_frames_are_no_requests(device: ApplianceProcess) -> None:
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/nested") as pusher:
        assert pusher.record() == 200
        teardown = pusher.talk.format("TEARDOWN")
        pusher.talk.sock.sendall(frames(0, [teardown]) + frames(1, [teardown]))
        assert pusher.talk.ask("GET_PARAMETER")[0] == 200
        pusher.send_some()
        with Onlooker(device.rtsp_port, "live/nested") as onlooker:
            pusher.send_round()
            assert_ends_with_a_round(pusher, onlooker)
        torn = frames(0, [bytes(100)])
        pusher.talk.sock.sendall(torn[:50] + pusher.talk.format("OPTIONS") + torn[50:])
        assert pusher.talk.read()[0] == 400
        assert pusher.talk.is_closed()


def test_publishers_take_over_from_each_other_by_any_protocol(device: ApplianceProcess) -> None:
    """Where it is allowed; whoever plays goes on. Where it is not, the first one stays."""
    name = "live/door"
    with rtsp_siege(device), Pusher(device.rtsp_port, name) as first:
        assert first.record() == 200
        first.send_some()
        with (
            Onlooker(device.rtsp_port, name) as onlooker,
            Pusher(device.rtsp_port, name) as second,
            RtmpPeer(device.rtmp_port) as third,
            Pusher(device.rtsp_port, name) as fourth,
        ):
            assert second.record() == 200
            assert first.talk.is_closed()
            second.send_round()
            assert_ends_with_a_round(second, onlooker)
            assert third.publish("door") == "NetStream.Publish.Start"
            assert second.talk.is_closed()
            seen = len(onlooker.pictures)
            third.send_tags(clip_tags("h264-small"))
            assert eventually(lambda: len(onlooker.pictures) > seen)
            assert fourth.record() == 200
            third.hear_all()
            assert third.is_closed
            fourth.send_round()
            assert_ends_with_a_round(fourth, onlooker)
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/mine") as first:
        assert first.record() == 200
        with Pusher(device.rtsp_port, "live/mine") as second, RtmpPeer(device.rtmp_port) as third:
            assert second.record() == 409
            assert third.publish("mine") == "NetStream.Publish.BadName"
        assert first.talk.ask("GET_PARAMETER")[0] == 200


def test_publisher_who_says_goodbye_is_not_waited_for(device: ApplianceProcess) -> None:
    """By RTCP, and leaves everything open; somebody else's goodbye is nothing."""
    with rtsp_siege(device), Pusher(device.rtsp_port, "live/bye") as pusher:
        assert pusher.record() == 200
        pusher.talk.sock.sendall(frames(1, [Goodbye((0xBEEF,)).pack()]))
        pusher.send_some()
        pusher.talk.sock.sendall(frames(1, [Goodbye((pusher.sender.ssrc,)).pack()]))
        assert pusher.talk.is_closed()
        device.wait_line("live/bye ended.*the publisher said goodbye")
