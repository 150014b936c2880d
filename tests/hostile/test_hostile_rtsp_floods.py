"""RTSP asked for more than anybody needs, slower than anybody does, and through half a tunnel."""

from __future__ import annotations

import base64
import contextlib
import itertools
import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from rtsp_pusher import Onlooker, Pusher
from rtsp_siege import RECORD, SDP_TYPE, count_rejects, count_sessions, metrics, rtsp_siege
from rtsp_talk import TCP, RtspTalk
from siege import count_fds, dial, eventually

from appliance.wire.rtp.rtcp import ReceiverReport

SETTINGS = (
    'rtsp.session="2s"',
    'rtsp.wait="1s"',
    'rtsp.multicast="239.255.77.0/30"',
    'auth.publish="open"',
)
SLOW = 30
KIND = "application/x-rtsp-tunnelled"
SDP_OF_MANY = b"v=0\r\ns=-\r\nt=0 0\r\n" + b"".join(
    b"m=audio 0 RTP/AVP 0\r\na=control:trackID=%d\r\n" % n for n in range(16)
)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("floods")
    with appliance_process(folder, *SETTINGS, config=SMALL_PATTERN) as process:
        process.wait_line("live/camera is live")
        yield process
        assert "Traceback" not in process.log


def udp(port: int) -> str:
    return f"Transport: RTP/AVP;unicast;client_port={port}-{port + 1}"


@contextmanager
def bound_pair(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Sockets for RTP and RTCP, and the port of the first."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        first, second = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        first.bind((host, 0))
        port = first.getsockname()[1]
        with contextlib.suppress(OSError):
            second.bind((host, port + 1))
            break
        first.close()
        second.close()
    with first, second:
        for sock in (first, second):
            sock.settimeout(20)
        yield first, second, port


def is_cut(sock: socket.socket) -> bool:
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_thousands_of_setups_leave_nothing(device: ApplianceProcess) -> None:
    """By each way, torn down or left open by who goes; the same ports are free for the next."""
    ways = (TCP, udp(5000), "Transport: RTP/AVP;multicast")
    with rtsp_siege(device):
        with RtspTalk(device.rtsp_port) as talk:
            for number in range(1500):
                url = f"{talk.url}/trackID={1 + number % 2}"
                assert talk.ask("SETUP", ways[number % 3], url=url)[0] == 200
                assert talk.ask("TEARDOWN")[0] == 200
                talk.session = ""
        with ExitStack() as stack:
            crowd = [stack.enter_context(RtspTalk(device.rtsp_port)) for _ in range(60)]
            for number, talk in enumerate(crowd):
                for track in (1, 2):
                    way = (TCP, udp(6000 + 4 * number + 2 * track), ways[2])[number % 3]
                    url = f"{talk.url}/trackID={track}"
                    assert talk.ask("SETUP", way, url=url)[0] == 200
                    assert talk.ask("SETUP", way, url=url)[0] == 455
                    assert talk.ask("SETUP", way, url=f"{talk.url}/trackID=9")[0] == 404
        for number in range(300):
            with RtspTalk(device.rtsp_port) as talk:
                talk.write("SETUP", ways[number % 3], url=f"{talk.url}/trackID=1")
        with RtspTalk(device.rtsp_port) as talk:
            assert eventually(
                lambda: talk.ask("SETUP", ways[1], url=f"{talk.url}/trackID=1")[0] == 200
            )


def test_player_who_pauses_without_end_costs_nothing(device: ApplianceProcess) -> None:
    """And one who asks for all of it at once is told that this is too much."""
    with rtsp_siege(device):
        for way in (TCP, udp(5100), "Transport: RTP/AVP;multicast"):
            with RtspTalk(device.rtsp_port) as talk:
                talk.play(way)
                for _ in range(300):
                    assert talk.ask("PAUSE")[0] == 200
                    assert talk.ask("PLAY")[0] == 200
                if way == TCP:
                    talk.frame()
                again = talk.format("PAUSE") + talk.format("PLAY")
                with contextlib.suppress(ConnectionError):
                    talk.sock.sendall(again * 2000)
                assert talk.is_closed()


def test_announced_tracks_are_bounded(device: ApplianceProcess) -> None:
    with rtsp_siege(device), RtspTalk(device.rtsp_port, "live/many") as talk:
        assert talk.ask("ANNOUNCE", SDP_TYPE, body=SDP_OF_MANY)[0] == 200
        codes = [talk.ask("SETUP", RECORD, url=f"{talk.url}/trackID={n}")[0] for n in range(16)]
        assert codes == [200] * 8 + [404] * 8
        with RtspTalk(device.rtsp_port, "live/many") as other:
            body = SDP_OF_MANY * 60
            assert other.ask("ANNOUNCE", SDP_TYPE, body=body[:60_000])[0] == 400


def test_names_of_nothing_are_waited_for_and_forgotten(device: ApplianceProcess) -> None:
    """By many at once, by one connection again and again, and by those who do not wait."""
    streams = r"^porthole_streams (\d+)"
    before = re.search(streams, metrics(device), re.MULTILINE)
    with rtsp_siege(device), ExitStack() as stack:
        crowd = [
            stack.enter_context(RtspTalk(device.rtsp_port, f"live/nothing-{n}")) for n in range(200)
        ]
        for talk in crowd:
            talk.write("DESCRIBE")
        for talk in crowd[100:]:
            talk.sock.close()
        assert {talk.read()[0] for talk in crowd[:100]} == {404}
        with RtspTalk(device.rtsp_port) as talk:
            asked = [talk.format("DESCRIBE", url=f"{talk.url}-{n}") for n in range(40)]
            talk.sock.sendall(b"".join(asked))
            assert talk.read()[0] == 400
            assert talk.is_closed()
    after = re.search(streams, metrics(device), re.MULTILINE)
    assert (before and before[0]) == (after and after[0])
    assert count_rejects(device, "DESCRIBE refused") >= 100


def test_requests_that_dribble_in_are_given_up(device: ApplianceProcess) -> None:
    """Byte by byte, and never all of them: nobody is heard of until a request is whole."""
    heads = (b"OPTIONS * RTSP/1.0\r\n", b"GET /x HTTP/1.0\r\nx-a: ", b"DESCRIBE rtsp://h/live/c")
    with rtsp_siege(device), ExitStack() as stack:
        silent = count_rejects(device, "silent for 2 s")
        socks = [stack.enter_context(dial(device.rtsp_port)) for _ in range(SLOW)]
        steps = itertools.count()

        def are_given_up() -> bool:
            step = next(steps)
            for number, sock in enumerate(socks):
                with contextlib.suppress(OSError):
                    sock.send(heads[number % len(heads)][step : step + 1] or b"x")
            return count_rejects(device, "silent for 2 s") - silent >= SLOW

        assert eventually(are_given_up)
        assert all(is_cut(sock) for sock in socks)


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


def get(cookie: str) -> bytes:
    return (
        f"GET /live/camera HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nAccept: {KIND}\r\n\r\n".encode()
    )


def post(cookie: str) -> bytes:
    lines = f"POST / HTTP/1.0\r\nx-sessioncookie: {cookie}\r\nContent-Type: {KIND}\r\n\r\n"
    return lines.encode()


def test_tunnels_without_their_other_half_are_bounded(device: ApplianceProcess) -> None:
    with rtsp_siege(device), ExitStack() as stack:
        getters = [stack.enter_context(dial(device.rtsp_port)) for _ in range(24)]
        for number, getter in enumerate(getters):
            getter.sendall(get(f"alone-{number}"))
        answered = [b"200 OK" in getter.recv(4096) for getter in getters]
        assert answered == [True] * 24, "each is told, and the last ones are closed"
        assert all(is_cut(getter) for getter in getters[16:])
        with RtspTalk(device.rtsp_port, source="127.0.0.9") as other:
            other.sock.sendall(get("other"))
            assert b"200 OK" in other.sock.recv(4096)
            with RtspTalk(device.rtsp_port, source="127.0.0.9") as half:
                half.sock.sendall(post("other") + base64.b64encode(half.format("OPTIONS")))
                assert b"RTSP/1.0 200" in other.sock.recv(4096), "others have their tunnels"
        for cookie in ("alone-1", "unknown"):  # of an other address, and of none
            with socket.create_connection(
                ("127.0.0.1", device.rtsp_port), 20, source_address=("127.0.0.3", 0)
            ) as poster:
                poster.sendall(post(cookie) + base64.b64encode(b"OPTIONS * RTSP/1.0\r\n\r\n"))
                assert is_cut(poster)
        with dial(device.rtsp_port) as second:
            second.sendall(get("alone-1"))
            assert is_cut(second)
        with dial(device.rtsp_port) as first, dial(device.rtsp_port) as second:
            first.sendall(post("alone-2"))
            with RtspTalk(device.rtsp_port) as talk:
                first.sendall(base64.b64encode(talk.format("OPTIONS")))
            assert b"RTSP/1.0 200" in getters[2].recv(4096)
            second.sendall(post("alone-2"))
            assert is_cut(second)
    assert count_rejects(device, "protocol error") >= 8


def test_floods_through_a_tunnel_take_turns_with_everybody_else(device: ApplianceProcess) -> None:
    """A megabyte of empty frames, of a publisher who brings nothing else; then of requests."""
    with (
        rtsp_siege(device),
        dial(device.rtsp_port) as getter,
        dial(device.rtsp_port) as poster,
        Pusher(device.rtsp_port, "live/tunnel") as pusher,
    ):
        getter.sendall(get("flood"))
        assert b"200 OK" in getter.recv(4096)
        poster.sendall(post("flood"))
        tunnelled = RtspTalk(device.rtsp_port, "live/tunnel")
        with tunnelled:
            sdp = pusher.film.describe().pack()
            url = f"{tunnelled.url}/trackID=1"
            for data in (
                tunnelled.format("ANNOUNCE", SDP_TYPE, body=sdp),
                tunnelled.format("SETUP", RECORD, url=url),
            ):
                poster.sendall(base64.b64encode(data))
                answer = getter.recv(4096)
                assert b"RTSP/1.0 200" in answer
            found = re.search(rb"Session: (\w+)", answer)
            assert found is not None
            tunnelled.session = found[1].decode()
            poster.sendall(base64.b64encode(tunnelled.format("RECORD")))
            assert b"RTSP/1.0 200" in getter.recv(4096)
            poster.sendall(base64.b64encode(b"$\0\0\0" * (1 << 18)))
            poster.sendall(base64.b64encode(b"$\0\0\3abc") * 20_000)
            poster.sendall(base64.b64encode(tunnelled.format("GET_PARAMETER")))
            while b"RTSP/1.0 200" not in getter.recv(4096):
                """A report of how its packets are received."""
            with contextlib.suppress(ConnectionError):
                poster.sendall(base64.b64encode(tunnelled.format("OPTIONS") * 20_000))
            assert is_cut(getter)


@pytest.mark.parametrize("way", ["udp", "multicast"])
def test_descriptors_that_run_out_leave_tcp_to_play_by(way: str, tmp_path: Path) -> None:
    """A way that needs a socket is refused as one that there is not."""
    transport = udp(45_000) if way == "udp" else "Transport: RTP/AVP;multicast"
    with appliance_process(tmp_path, *SETTINGS, config=SMALL_PATTERN) as device:
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
