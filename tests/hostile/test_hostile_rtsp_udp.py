"""Viewers and publishers by UDP and multicast who vanish, lie or want too much."""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from rtsp_pusher import Onlooker, Pusher
from rtsp_siege import HASTY, bound_pair, count_rejects, count_sessions, rtsp_siege, udp
from rtsp_talk import TCP, RtspTalk
from siege import count_fds, eventually

from appliance.wire.rtp.rtcp import ReceiverReport


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("udp"), *HASTY, config=SMALL_PATTERN) as process:
        process.wait_line("live/camera is live")
        yield process
        assert "Traceback" not in process.log


def test_viewers_by_udp_who_vanish_are_ended_and_those_who_report_are_not(
    device: ApplianceProcess,
) -> None:
    """Nothing is closed: the machine has lost its power. A request that is never whole is no sign
    of life, nor is what strangers send."""
    with (
        rtsp_siege(device),
        bound_pair() as (rtp, rtcp, port),
        bound_pair() as (_, _, gone),
        bound_pair() as (_, _, slow),
        RtspTalk(device.rtsp_port) as stays,
        RtspTalk(device.rtsp_port) as vanishes,
        RtspTalk(device.rtsp_port) as dribbles,
        RtspTalk(device.rtsp_port) as listens,
    ):
        stays.play(udp(port))
        vanishes.play(udp(gone))
        dribbles.play(udp(slow))
        listens.play("Transport: RTP/AVP;multicast")
        code, text = vanishes.ask("SETUP", udp(gone + 2), url=f"{vanishes.url}/trackID=2")
        assert code == 455, text
        with RtspTalk(device.rtsp_port) as asks:
            _, told = asks.ask("SETUP", udp(40_000), url=f"{asks.url}/trackID=1")
        found = re.search(r"server_port=(\d+)-(\d+)", told)
        assert found is not None and "timeout=2" in told
        report = ReceiverReport(1).pack()
        ended: set[RtspTalk] = set()

        def live() -> bool:
            """Who is there says so; the others dribble or do nothing."""
            rtcp.sendto(report, ("127.0.0.1", int(found[2])))
            rtp.sendto(report, ("127.0.0.2", int(found[1])))
            for one in (vanishes, dribbles, listens):
                one.sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    try:
                        if not one.sock.recv(65_536):
                            ended.add(one)
                    except ConnectionError:
                        ended.add(one)
            with contextlib.suppress(OSError):
                dribbles.sock.send(b"O")
            return len(ended) == 3

        assert eventually(live)
        for _ in range(20):
            assert rtp.recv(2048)[0] == 0x80
        assert stays.ask("GET_PARAMETER")[0] == 200
        assert count_rejects(device, "silent for 2 s") >= 3


def test_media_by_udp_goes_to_who_asked_alone(device: ApplianceProcess) -> None:
    """Not where strangers call from, nor where `destination` says; a stranger's report is not
    the player's."""
    with (
        rtsp_siege(device),
        bound_pair() as (rtp, _, port),
        bound_pair("127.0.0.2") as (stranger, _, _),
        RtspTalk(device.rtsp_port) as talk,
    ):
        talk.play(f"{udp(port)};destination=127.0.0.2;source=127.0.0.2")
        packet = rtp.recv(2048)
        server = rtp.recvfrom(2048)[1]
        stranger.settimeout(0.5)
        for _ in range(20):
            for _ in range(500):
                stranger.sendto(packet, server)
            assert rtp.recv(2048)[0] == 0x80
        with pytest.raises(TimeoutError):
            stranger.recv(2048)
        assert talk.ask("TEARDOWN")[0] == 200


def test_groups_are_the_devices_own_choice_and_bounded(device: ApplianceProcess) -> None:
    """There are four; a group is left with its last player."""
    asked = "Transport: RTP/AVP;multicast;destination=224.0.0.1;port=53-54;ttl=255"
    with rtsp_siege(device), ExitStack() as stack:
        pushers = [stack.enter_context(Pusher(device.rtsp_port, f"live/g{n}")) for n in range(5)]
        for pusher in pushers:
            assert pusher.record() == 200
            pusher.send_some()
        codes = []
        for number in range(5):
            talk = stack.enter_context(RtspTalk(device.rtsp_port, f"live/g{number}"))
            assert talk.ask("DESCRIBE")[0] == 200
            code, text = talk.ask("SETUP", asked, url=f"{talk.url}/trackID=1")
            codes.append(code)
            if code == 200:
                assert re.search(r"multicast;destination=239\.255\.77\.[0-3];port=22\d+-", text)
                assert "ttl=1;" in text
        assert codes == [200] * 4 + [453]


@pytest.mark.parametrize("way", ["udp", "multicast"])
def test_descriptors_that_run_out_leave_tcp_to_play_by(way: str, tmp_path: Path) -> None:
    """A way that needs a socket is refused as one that there is not."""
    transport = udp(45_000) if way == "udp" else "Transport: RTP/AVP;multicast"
    with appliance_process(tmp_path, *HASTY, config=SMALL_PATTERN) as device:
        device.wait_line("live/camera is live")
        with RtspTalk(device.rtsp_port) as talk, RtspTalk(device.rtsp_port) as other:
            assert talk.ask("DESCRIBE")[0] == 200
            soft, hard = resource.prlimit(device.pid, resource.RLIMIT_NOFILE)
            highest = max(int(one.name) for one in Path(f"/proc/{device.pid}/fd").iterdir())
            spare = highest + 1 - count_fds(device.pid)
            assert spare < 3, "numbers below the limit are free"
            resource.prlimit(device.pid, resource.RLIMIT_NOFILE, (highest + 1 - spare, hard))
            url = f"{talk.url}/trackID=1"
            assert talk.ask("SETUP", transport, url=url)[0] in {453, 461}
            resource.prlimit(device.pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert talk.ask("SETUP", TCP, url=url)[0] == 200
            assert other.ask("SETUP", transport, url=url)[0] == 200
        assert eventually(lambda: count_sessions(device) == 0)
        assert "Traceback" not in device.log


def test_ipv6_players_and_publishers_by_udp_have_the_addresses_they_asked_from(
    tmp_path: Path,
) -> None:
    settings = ('rtsp.listen=["[::1]:0"]', 'auth.publish="open"')
    with appliance_process(tmp_path, *settings, config=SMALL_PATTERN) as device:
        device.wait_line("live/camera is live")
        with (
            bound_pair("::1") as (rtp, _, port),
            RtspTalk(device.rtsp_port, host="::1") as talk,
        ):
            talk.play(f"{udp(port)};destination=::2")
            data, server = rtp.recvfrom(2048)
            assert (data[0], server[0]) == (0x80, "::1")
            assert talk.ask("TEARDOWN")[0] == 200
        with Pusher(device.rtsp_port, "live/six", host="::1", by_udp=True) as pusher:
            assert pusher.record() == 200
            pusher.send_some()
            with Onlooker(device.rtsp_port, "live/six", host="::1") as onlooker:
                pusher.send_round()
                assert eventually(lambda: len(onlooker.pictures) > 60)
        assert "Traceback" not in device.log
