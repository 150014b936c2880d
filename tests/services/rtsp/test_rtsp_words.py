"""What players are told beside the media: where it begins, what time it is, that it is over."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from recording import wait_until
from rtsp_talk import TCP, RtspTalk

from appliance.wire.rtp import rtcp
from appliance.wire.rtp.clock import ntp_to_unix_us
from appliance.wire.rtp.packet import parse


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("words"), config=SMALL_PATTERN) as process:
        process.wait_line("is live")
        yield process
        assert "Traceback" not in process.log


def rtp_info(answer: str) -> tuple[int, int]:
    found = re.search(r"RTP-Info: url=\S+;seq=(\d+);rtptime=(\d+)", answer)
    assert found is not None, answer
    return int(found[1]), int(found[2])


def set_up(talk: RtspTalk, transport: str = TCP) -> None:
    code, described = talk.ask("DESCRIBE")
    assert code == 200
    found = re.search(r"m=video.*?a=control:(\S+)", described, re.DOTALL)
    assert found is not None
    code, answer = talk.ask("SETUP", transport, url=f"{talk.url}/{found[1]}")
    assert code == 200, answer


def test_play_tells_the_first_packet_and_goes_on_without_a_gap(device: ApplianceProcess) -> None:
    with RtspTalk(device.rtsp_port) as talk:
        set_up(talk)
        code, answer = talk.ask("PLAY")
        assert code == 200
        sequence, stamp = rtp_info(answer)
        packets = []
        while len(packets) < 40:
            channel, data = talk.frame()
            if channel == 0:
                packets.append(parse(data))
        assert [p.sequence for p in packets] == [(sequence + n) & 0xFFFF for n in range(40)]
        assert 0 <= (packets[0].timestamp - stamp) & 0xFFFFFFFF < 90_000
        assert len({packet.ssrc for packet in packets}) == 1


def test_sender_report_tells_the_time_of_a_stamp(device: ApplianceProcess) -> None:
    with RtspTalk(device.rtsp_port) as talk:
        set_up(talk)
        assert talk.ask("PLAY")[0] == 200
        newest = None
        while True:
            channel, data = talk.frame()
            if channel == 1:
                break
            newest = parse(data)
        report, name = rtcp.parse(data)
        assert isinstance(report, rtcp.SenderReport)
        assert isinstance(name, rtcp.SourceDescription)
        assert abs(ntp_to_unix_us(report.ntp) - time.time() * 1e6) < 5_000_000
        newest = newest or parse(talk.frame()[1])
        assert report.ssrc == name.ssrc == newest.ssrc
        ahead = (report.timestamp - newest.timestamp + 2**31) % 2**32 - 2**31
        assert abs(ahead) < 3 * 90_000


def test_pause_stops_and_play_goes_on_with_a_key(device: ApplianceProcess) -> None:
    with RtspTalk(device.rtsp_port) as talk:
        set_up(talk)
        assert talk.ask("PLAY")[0] == 200
        for _ in range(5):
            talk.frame()
        assert talk.ask("PAUSE")[0] == 200
        talk.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            talk.frame()
        talk.sock.settimeout(20)
        assert talk.ask("GET_PARAMETER")[0] == 200
        code, answer = talk.ask("PLAY")
        assert code == 200
        sequence, _ = rtp_info(answer)
        channel, data = talk.frame()
        while channel != 0:
            channel, data = talk.frame()
        packet = parse(data)
        assert packet.sequence == sequence
        assert packet.payload[0] & 0x1F in {7, 24}, "parameter sets come before a key"


def test_description_asked_again_leaves_what_is_set_up(device: ApplianceProcess) -> None:
    with RtspTalk(device.rtsp_port) as talk:
        set_up(talk)
        assert talk.ask("DESCRIBE")[0] == 200
        assert talk.ask("PLAY")[0] == 200
        assert talk.frame()[0] in {0, 1}


def test_goodbye_is_said_by_udp_when_the_device_stops(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        appliance_process(tmp_path_factory.mktemp("bye"), config=SMALL_PATTERN) as other,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        RtspTalk(other.rtsp_port) as talk,
    ):
        other.wait_line("is live")
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        port = receiver.getsockname()[1]
        set_up(talk, f"Transport: RTP/AVP;unicast;client_port={port - 1}-{port}")
        assert talk.ask("PLAY")[0] == 200
        assert isinstance(rtcp.parse(receiver.recv(2048))[0], rtcp.SenderReport)
        other.stop()
        packets = rtcp.parse(receiver.recv(2048))
        assert [type(packet) for packet in packets][-1] is rtcp.Goodbye


def playing(device: ApplianceProcess) -> bool:
    with urlopen(device.url + "metrics") as reply:
        return re.search(rb'porthole_sessions\{kind="rtsp-play"\} [1-9]', reply.read()) is not None


def test_player_that_leaves_is_no_fault(device: ApplianceProcess) -> None:
    told = len(device.lines)
    for _ in range(3):
        with RtspTalk(device.rtsp_port) as talk:
            set_up(talk)
            assert talk.ask("PLAY")[0] == 200
            talk.frame()
    wait_until(lambda: not playing(device), "all have left")
    assert not [line for line in device.lines[told:] if "warning" in line]
