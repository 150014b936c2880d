"""Both canaries beside an attack on the RTSP port, and what such attacks have in common."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

from appliance_process import ApplianceProcess
from rtsp_canary import RtspCanary
from rtsp_talk import RtspTalk
from siege import MAX_GAP_S, dial, eventually, siege

SDP = (
    "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    "m=audio 0 RTP/AVP 0\r\na=control:trackID=0\r\n"
)
SDP_TYPE = "Content-Type: application/sdp"
HASTY = (
    'rtsp.session="2s"',
    'rtsp.wait="1s"',
    'rtsp.multicast="239.255.77.0/30"',
    'auth.publish="open"',
)
RECORD = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"


@contextmanager
def rtsp_siege(device: ApplianceProcess, max_gap_s: float = MAX_GAP_S) -> Iterator[RtspCanary]:
    """Nobody else is left afterwards."""
    with siege(device), RtspCanary(device.rtsp_port) as canary:
        yield canary
        assert eventually(lambda: canary.packets > 30)
    assert canary.longest_gap_s < max_gap_s, canary.longest_gap_s
    assert eventually(lambda: count_sessions(device) == 0), count_sessions(device)


def metrics(device: ApplianceProcess) -> str:
    text: str = urlopen(device.url + "metrics").read().decode()
    return text


def count_sessions(device: ApplianceProcess) -> int:
    kinds = r'^porthole_sessions\{kind="rtsp-(?:play|publish)"\} (\d+)'
    return sum(map(int, re.findall(kinds, metrics(device), re.MULTILINE)))


def count_rejects(device: ApplianceProcess, reason: str, proto: str = "rtsp") -> int:
    row = rf'rejects_total\{{proto="{proto}",reason="{reason}"\}} (\d+)'
    found = re.search(row, metrics(device))
    return int(found[1]) if found else 0


def first(port: int, data: bytes) -> bytes:
    """The first line that is answered; empty if it is closed without."""
    with dial(port) as sock, contextlib.suppress(ConnectionError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return sock.recv(65_536).partition(b"\r\n")[0]
    return b""


def head(text: str, line: str = "OPTIONS * RTSP/1.0", cseq: str = "CSeq: 1\r\n") -> bytes:
    return f"{line}\r\n{cseq}{text}\r\n".encode()


def announce(talk: RtspTalk, transport: str = RECORD, sdp: bytes = SDP.encode()) -> int:
    """Up to RECORD: its code."""
    assert talk.ask("ANNOUNCE", SDP_TYPE, body=sdp)[0] == 200
    controls = re.findall(rb"a=control:(trackID=\d+)", sdp)
    for number, control in enumerate(controls):
        shifted = transport.replace("0-1", f"{2 * number}-{2 * number + 1}")
        url = f"{talk.url}/{control.decode()}"
        assert talk.ask("SETUP", shifted, url=url)[0] == 200
    return talk.ask("RECORD")[0]


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


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_cut(sock: socket.socket) -> bool:
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True
