"""The RTMP port of the running appliance under attack, while somebody publishes and plays."""

from __future__ import annotations

import contextlib
import random
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process
from rtmp_canary import RtmpCanary
from rtmp_peer import RtmpPeer, Tag, clip_tags
from siege import count_fds, dial, eventually, siege
from test_hostile_http import NAMES

from appliance.media.amf0 import encode
from appliance.wire.rtmp.message import Message, MessageType, UserEvent, user_event

pytestmark = pytest.mark.alone  # its canary is held to half a second
MAX_GAP_S = 0.5  # of which 0.1 s is how the canary publishes
RESET = struct.pack("ii", 1, 0)


@contextmanager
def rtmp_siege(device: ApplianceProcess, key: str) -> Iterator[RtmpCanary]:
    """Both canaries; nobody else is left afterwards."""
    with siege(device, key), RtmpCanary(device.rtmp_port, key) as canary:
        yield canary
    assert canary.longest_gap_s < MAX_GAP_S, canary.longest_gap_s
    assert eventually(lambda: count_sessions(device) == 0), count_sessions(device)


def count_sessions(device: ApplianceProcess) -> int:
    text = urlopen(device.url + "metrics").read().decode()
    kinds = r'^porthole_sessions\{kind="(?:rtmp-play|fmle-publish|flash-publish)"\} (\d+)'
    return sum(map(int, re.findall(kinds, text, re.MULTILINE)))


def is_closed(sock: socket.socket, deadline_s: float = 20.0) -> bool:
    sock.settimeout(deadline_s)
    try:
        while sock.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


# -- other protocols, slow and half handshakes --------------------------------------------------


def test_other_protocols_get_no_answer_and_are_closed(
    device: ApplianceProcess, owner_key: str
) -> None:
    """R1, R2 and the wrong-protocol matrix, of the port with TLS, too."""
    dice = random.Random(5)
    rtmps_port = int(device.wait_line(r"listening on rtmps://\S+:(\d+)/")[1])
    words = {
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(500),
        "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "rtsp": b"OPTIONS rtsp://h/live RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        "sip": b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n",
        "stun": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12),
        "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
        "zeros": bytes(4096),
        "random": b"\xa5" + dice.randbytes(4095),
        "six": b"\x06" + bytes(1536),
        "nothing": b"",
        "one": b"\x03",
        "half": b"\x03" + bytes(700),
        "no C2": b"\x03" + bytes(1536),
        "C2 in part": b"\x03" + bytes(3000),
    }
    with rtmp_siege(device, owner_key):
        began_s = time.monotonic()
        socks = {}
        for name, said in words.items():
            socks[name] = dial(device.rtmp_port)
            socks[name].sendall(said)
            socks[f"{name}, by TLS"] = dial(rtmps_port)
            socks[f"{name}, by TLS"].sendall(said)
        slow, half, torn = (dial(device.rtmp_port) for _ in range(3))
        half.shutdown(socket.SHUT_WR)
        reset(torn)
        reset(dial(rtmps_port))
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began_s < 30:  # a byte a second, for as long as it may
                slow.sendall(b"\x03")
                time.sleep(0.5)
        assert time.monotonic() - began_s < 30
        for name, sock in socks.items():
            answer = b""
            with contextlib.suppress(ConnectionError):
                while got := sock.recv(1 << 16):
                    answer += got
            if name.endswith("by TLS"):
                assert len(answer) < 16, "an alert at most"
            else:
                assert bool(answer) == (name in {"no C2", "C2 in part"}), name
            sock.close()
        assert is_closed(half)
        half.close()
        slow.close()


def test_rtmp_on_the_http_port_is_closed(device: ApplianceProcess) -> None:
    with dial(device.port) as sock:
        sock.sendall(b"\x03" + bytes(3072))
        assert is_closed(sock)


# -- bytes after the handshake --------------------------------------------------------------------


def chunk(kind: int, payload: bytes, length: int | None = None, stream_id: int = 0) -> bytes:
    """One whole message on chunk stream 2, or the beginning of a longer one."""
    length = len(payload) if length is None else length
    head = b"\x02\0\0\0" + length.to_bytes(3, "big") + bytes((kind,))
    return head + stream_id.to_bytes(4, "little") + payload


def command(*values: object) -> bytes:
    """In chunks of 128 bytes."""
    payload = encode(*values)  # type: ignore[arg-type]
    parts = [payload[place : place + 128] for place in range(0, len(payload), 128)]
    return chunk(0x14, parts[0], len(payload)) + b"".join(b"\xc2" + part for part in parts[1:])


CLOSED: dict[str, bytes] = {
    "R4 format 3": b"\xc5",
    "R4 format 1": b"\x45" + bytes(7),
    "R4 format 2": b"\x85" + bytes(3),
    "R5 chunk size 0": chunk(1, bytes(4)),
    "R6 chunk size 1": chunk(1, b"\0\0\0\1"),
    "R7 chunk size with its top bit": chunk(1, b"\x80\0\0\0"),
    "R7 chunk size of all ones": chunk(1, b"\xff" * 4),
    "R8 a command of 16 MB": chunk(0x14, b"\2", 0xFF_FFFF),
    "R8 metadata of 16 MB": chunk(0x12, b"\2", 0xFF_FFFF),
    "R8 a picture of 16 MB": chunk(9, b"\2", 0xFF_FFFF),
    "R9 messages on all chunk streams": b"".join(
        b"\x01" + n.to_bytes(2, "little") + b"\0\0\0\0\xff\xff\x09\1\0\0\0" + bytes(128)
        for n in range(65_000)
    ),
    "R10 a message within a message": b"\x03\0\0\0\0\1\0\x14"
    + bytes(4 + 128)
    + b"\x03"
    + bytes(11),
    "R11 an abort of three bytes": chunk(2, bytes(3)),
    "R15 a hundred thousand arrays": b"\x03\0\0\0\0\xff\xff\x14\0\0\0\0"
    + b"\xc3".join([b"\x0a\0\0\0\1" * 25 + b"\x0a\0\0"] * 512),
    "R16 a string that ends early": chunk(0x14, b"\2\xff\xff\1"),
    "R16 a long string that ends early": chunk(0x14, b"\x0c\xff\xff\xff\xff"),
    "R16 an array without its members": chunk(0x14, b"\x0a\xff\xff\xff\xff"),
    "R16 a map without its members": chunk(0x14, b"\x08\xff\xff\xff\xff"),
    "R16 a reference": chunk(0x14, b"\7\0\0"),
    "R16 no name": chunk(0x14, b""),
    "R17 connect without an object": command("connect", 1.0),
    "R17 connect to a number": command("connect", 1.0, {"app": 5.0}),
    "R17 a name that is null": command(None, 1.0, None),
    "R18 publish before connect": command("publish", 5.0, None, "cam", "live"),
    "R18 createStream before connect": command("createStream", 5.0, None),
}
CONNECT = command("connect", 1.0, {"app": "live", "tcUrl": "rtmp://h/live"})
CLOSED |= {
    "R18 a second connect": CONNECT * 2,
    "R18 a hundred thousand streams": CONNECT + command("createStream", 2.0, None) * 10_000,
    "R28 a URL of 64 KiB and more": command("connect", 1.0, {"app": "a", "tcUrl": "x" * 65_500}),
}
KEPT: dict[str, bytes] = {
    "R7 the largest chunk size": chunk(1, (65_536).to_bytes(4, "big")),
    "R11 an abort of nothing": chunk(2, b"\0\0\x12\x34"),
    "R11 an abort of a part": chunk(0x14, bytes(128), 200)[:0] + chunk(2, b"\0\0\0\3"),
    "R12 windows": b"".join(chunk(5, bytes([n]) * 4) for n in (0, 1, 255)),
    "R13 acknowledgements out of nowhere": chunk(3, b"\xff" * 4) * 100,
    "R14 events": b"".join(chunk(4, p) for p in (b"", b"\0", b"\0\6", b"\xff\xff\1")),
    "R14 pings": chunk(4, b"\0\6\0\0\0\1") * 100_000,
    "R16 odd transactions": command("FCSubscribe", float("nan"), None)
    + command("FCSubscribe", 1e308, None)
    + command("FCSubscribe", "7", {}),
    "R18 stopping what never was": command("deleteStream", 5.0, None, 9.0)
    + command("deleteStream", 5.0, None, float("inf"))
    + command("closeStream", 5.0, None)
    + command("FCUnpublish", 5.0, None, "x")
    + command("pause", 5.0, None, True, 0.0),
    "unknown messages": b"".join(chunk(kind, b"12345678") for kind in (0, 7, 16, 19, 22, 99, 255)),
    "media without a stream": chunk(9, b"\x17\1\0\0\0", stream_id=7),
}


def talk(port: int, said: bytes) -> RtmpPeer:
    """Sends from another thread, as one that never reads would wait for itself."""
    peer = RtmpPeer(port)

    def send() -> None:
        with contextlib.suppress(OSError):
            peer.sock.sendall(said)

    threading.Thread(target=send, daemon=True).start()
    return peer


def test_bytes_that_break_the_rules_end_their_connection(
    device: ApplianceProcess, owner_key: str
) -> None:
    with rtmp_siege(device, owner_key):
        for name, said in CLOSED.items():
            peer = talk(device.rtmp_port, said)
            assert is_closed(peer.sock, 8.0), name
            peer.sock.close()


def test_odd_bytes_that_real_peers_might_send_are_borne(
    device: ApplianceProcess, owner_key: str
) -> None:
    with rtmp_siege(device, owner_key):
        for name, said in KEPT.items():
            with talk(device.rtmp_port, CONNECT + said) as peer:
                peer.wait_answer(1.0)
                heard = len(peer.heard)
                peer.sock.sendall(command("getStreamLength", 77.0, None, "x"))
                assert peer.wait_answer(77.0), name
                assert len(peer.heard) - heard < 200, name


# -- names ---------------------------------------------------------------------------------------


def amf_text(raw: bytes) -> bytes:
    return b"\2" + len(raw).to_bytes(2, "big") + raw


@pytest.mark.parametrize("word", ["publish", "play"])
def test_names_that_are_none_are_refused_in_words(
    device: ApplianceProcess, owner_key: str, word: str
) -> None:
    """R17, R20: also as part of the app, and of other types than text."""
    key = b"?key=" + owner_key.encode()
    values = [
        amf_text(name + key) for name in NAMES if len(name) < 60_000 and b"camera" not in name
    ]
    values += [b"\1\1", b"\0" + bytes(8), b"\5", b"\3\0\0\x09", b"\x0a\0\0\0\0", key[:0] + b"\6"]
    fine = {b"/etc/passwd", b"CON"}  # names like others, below live/
    with rtmp_siege(device, owner_key):
        for value in values:
            if value[3:].removesuffix(key) in fine:
                continue
            with RtmpPeer(device.rtmp_port) as peer:
                peer.connect()
                stream_id = peer.create_stream()
                payload = encode(word, 5.0, None) + value + amf_text(b"live")
                peer.say(Message(MessageType.COMMAND, stream_id, 0, payload))
                assert peer.wait_status("NetStream.")["level"] == "error", value
        for app in ("live/../../../../tmp", "../x", "a//b/../..", "live?../../x", "x" * 4000):
            with RtmpPeer(device.rtmp_port) as peer:
                peer.connect(app, "rtmp://[::1" if len(app) < 9 else "rtmp://" + "h" * 20_000)
                peer.call(peer.create_stream(), word, 5.0, None, f"..?key={owner_key}", "live")
                assert peer.wait_status("NetStream.")["level"] == "error", app
        assert not Path("/tmp/pwned").exists()


# -- many at once ---------------------------------------------------------------------------------


def test_of_fifty_publishers_of_a_name_exactly_one_wins(
    device: ApplianceProcess, owner_key: str
) -> None:
    """R19."""
    gate = threading.Barrier(50)

    def run(_: int) -> tuple[RtmpPeer, str]:
        peer = RtmpPeer(device.rtmp_port)
        peer.connect()
        stream_id = peer.create_stream()
        gate.wait(20)
        peer.call(stream_id, "publish", 5.0, None, f"race?key={owner_key}", "live")
        return peer, peer.wait_status("NetStream.Publish")["code"]

    with rtmp_siege(device, owner_key):
        with ThreadPoolExecutor(50) as pool:
            results = list(pool.map(run, range(50)))
        codes = [code for _, code in results]
        assert codes.count("NetStream.Publish.Start") == 1
        assert codes.count("NetStream.Publish.BadName") == 49
        for peer, _ in results:
            peer.sock.close()


def test_thousands_of_connections_are_turned_away_or_forgotten(
    device: ApplianceProcess, owner_key: str
) -> None:
    """R26: connect and reset; then more idle ones than there is room for."""
    fds = count_fds(device.pid)
    with rtmp_siege(device, owner_key):
        for _ in range(2000):
            reset(dial(device.rtmp_port))
        with contextlib.ExitStack() as crowd:
            socks = [crowd.enter_context(dial(device.rtmp_port)) for _ in range(700)]
            for sock in socks:
                with contextlib.suppress(ConnectionError):
                    sock.sendall(b"\x03" + bytes(3072))
            assert all(is_closed(sock, 2.0) for sock in socks[550:])  # long before a deadline does
        assert eventually(lambda: count_fds(device.pid) < fds + 100)


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Programs started in the block may have so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def lets_in(port: int) -> bool:
    try:
        with RtmpPeer(port) as peer:
            peer.connect()
    except OSError:
        return False
    return True


def test_descriptors_that_run_out_are_told_quietly_and_harm_nobody_inside(tmp_path: Path) -> None:
    """R26: first those that strangers may have, then all there are."""
    with ExitStack() as stack:
        with descriptors(180):
            device = stack.enter_context(appliance_process(tmp_path, config=""))
        port, key = device.rtmp_port, device.owner_key
        canary = stack.enter_context(RtmpCanary(port, key))
        crowd = [stack.enter_context(dial(port)) for _ in range(150)]
        device.wait_line("rtmp: descriptors exhausted")
        assert 10 < sum(is_closed(sock, 0.01) for sock in crowd[100:]) <= 50
        assert count_fds(device.pid) <= 180 - 64 + 8
        _, hard = resource.prlimit(device.pid, resource.RLIMIT_NOFILE)
        lowest = count_fds(device.pid) - 4  # numbers below are taken
        resource.prlimit(device.pid, resource.RLIMIT_NOFILE, (lowest, hard))
        told = len(device.lines)
        more = [stack.enter_context(dial(port)) for _ in range(20)]
        device.wait_line("descriptors exhausted: .*Too many open files", since=told)
        canary.wait_pictures(30)
        assert len(device.lines) - told < 10
        resource.prlimit(device.pid, resource.RLIMIT_NOFILE, (180, hard))
        for sock in crowd + more:
            sock.close()
        assert eventually(lambda: lets_in(port))
        stack.pop_all().close()
        assert canary.longest_gap_s < MAX_GAP_S, canary.longest_gap_s
        assert "Traceback" not in device.log


def test_publisher_who_leaves_in_any_state_is_gone_exactly_once(
    device: ApplianceProcess, owner_key: str
) -> None:
    """R27."""
    tags = clip_tags("h264+aac")

    def live(peer: RtmpPeer, word: str, name: str, sends: int) -> None:
        peer.connect()
        stream_id = peer.create_stream()
        peer.call(stream_id, word, 5.0, None, f"{name}?key={owner_key}", "live")
        if word == "publish":
            peer.wait_status("NetStream.Publish.Start")
            peer.send_tags(tags[:sends])

    names = (f"leaves{number}" for number in range(9))
    states: list[Callable[[RtmpPeer], None]] = [
        lambda _: None,
        lambda peer: peer.greet(),
        lambda peer: (peer.greet(), peer.connect())[0],
        lambda peer: (peer.greet(), peer.connect(), peer.create_stream())[0],
        lambda peer: (peer.greet(), live(peer, "publish", next(names), 0))[0],
        lambda peer: (peer.greet(), live(peer, "publish", next(names), 2))[0],
        lambda peer: (peer.greet(), live(peer, "publish", next(names), 50))[0],
        lambda peer: (peer.greet(), live(peer, "play", "nobody", 0))[0],
        lambda peer: (peer.greet(), live(peer, "play", "canary", 0))[0],
    ]
    ends: list[Callable[[socket.socket], None]] = [
        reset,
        socket.socket.close,
        lambda sock: (sock.shutdown(socket.SHUT_WR), is_closed(sock), sock.close())[0],
    ]
    with rtmp_siege(device, owner_key) as canary:
        states[-1] = lambda peer: (peer.greet(), live(peer, "play", canary.name, 0))[0]
        for state in states:
            for end in ends:
                peer = RtmpPeer(device.rtmp_port, greet=False)
                state(peer)
                end(peer.sock)
                assert eventually(lambda: count_sessions(device) == 2)
        for name in (f"live/leaves{number}" for number in range(9)):
            assert device.log.count(f"{name} publishes") == 1
            assert device.log.count(f"{name} ended") == 1


# -- players -----------------------------------------------------------------------------------


@contextmanager
def flood(device: ApplianceProcess, key: str, name: str) -> Iterator[None]:
    """Somebody publishes far more than a slow player can take, until the block ends."""
    tags = [tag for tag in clip_tags("h264+aac") if tag[0] is MessageType.VIDEO]
    media: list[Tag] = [tag for tag in tags if tag[2][1:2] != b"\0"]
    stopped = threading.Event()
    with RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish(f"{name}?key={key}") == "NetStream.Publish.Start"
        peer.send_tags(tags)

        def run() -> None:
            shift_ms = 3000
            while not stopped.wait(0.02):
                peer.send_tags([(kind, stamp + shift_ms, body) for kind, stamp, body in media])
                shift_ms += 3000

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(20)


def test_players_who_never_read_are_ended_and_the_kernel_holds_nothing_for_them(
    device: ApplianceProcess, owner_key: str
) -> None:
    """R24."""
    with rtmp_siege(device, owner_key), flood(device, owner_key, "torrent"):
        players = [RtmpPeer(device.rtmp_port, receive_bytes=4096) for _ in range(20)]
        for player in players:
            player.play("torrent")
        ports = {player.sock.getsockname()[1] for player in players}
        assert eventually(lambda: count_sessions(device) == 3)
        assert eventually(lambda: not ports & set(peers_with_unsent(device.rtmp_port)))
        for player in players:
            player.sock.close()


def peers_with_unsent(port: int) -> list[int]:
    """Ports of peers for whom the kernel holds what this port sent."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues = line.split()[:5]
        if int(local.rpartition(":")[2], 16) == port and int(queues.partition(":")[0], 16):
            found.append(int(remote.rpartition(":")[2], 16))
    return found


@pytest.mark.parametrize("reads", [True, False])
def test_player_who_talks_without_end_is_ended(
    device: ApplianceProcess, owner_key: str, reads: bool
) -> None:
    """R25: calls that want an answer, and messages that want none."""
    call, event = command("getStreamLength", 9.0, None, "x"), chunk(0x14, encode("nothing", 0.0))
    with rtmp_siege(device, owner_key) as canary:
        for said in (call, event, chunk(9, bytes(100))):
            with RtmpPeer(device.rtmp_port) as player:
                player.play(canary.name)
                player.wait_status("NetStream.Play.Start")
                assert shout(player.sock, said * 5000, reads) < 1 << 30
            assert eventually(lambda: count_sessions(device) == 2)


def shout(sock: socket.socket, said: bytes, reads: bool) -> int:
    """How many bytes are taken until the server has had enough."""
    sent = 0
    with contextlib.suppress(ConnectionError, TimeoutError):
        while sent < 1 << 30:
            sock.settimeout(5)
            sock.sendall(said)
            sent += len(said)
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                if reads and not sock.recv(1 << 20):
                    break
    return sent


def test_publisher_who_pings_and_calls_does_no_harm(
    device: ApplianceProcess, owner_key: str
) -> None:
    """R14, R23: and aggregates that lead nowhere end it."""
    with rtmp_siege(device, owner_key), RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish(f"busy?key={owner_key}") == "NetStream.Publish.Start"
        for number in range(2000):
            peer.say(user_event(UserEvent.PING_REQUEST, number), 2)
        peer.call(0, "getStreamLength", 9.0, None, "x")
        peer.wait_answer(9.0)
        assert sum(message.payload[:2] == b"\0\7" for message in peer.heard) < 100
        peer.say(Message(MessageType.AGGREGATE, 1, 0, bytes.fromhex("09ffffff00000000000000")))
        assert is_closed(peer.sock)
