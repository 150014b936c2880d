"""What is measured of the process while it is attacked, and how to speak to it without manners."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance_process import ApplianceProcess
from canary import Canary

MAX_GAP_S = 6.0  # segments last 1 s; the machine may be busy with other things
MAX_GROWTH_KB = 24 << 10
MAX_LOG_LINES = 60
MAX_LOG_BYTES = 64 << 10
SPARE_FDS = 16  # memory files of segments come and go


def eventually(check: Callable[[], bool], deadline_s: float = 20.0) -> bool:
    """Polls, because another process has no event to wait for."""
    end_s = time.monotonic() + deadline_s
    while not check():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.1)
    return True


def count_fds(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def rss_kb(pid: int) -> int:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1])


@contextmanager
def siege(
    device: ApplianceProcess,
    *secrets: str,
    max_gap_s: float = MAX_GAP_S,
    max_growth_kb: int = MAX_GROWTH_KB,
) -> Iterator[Canary]:
    """The block attacks; a viewer watches meanwhile, and afterwards all is as it was.

    secrets: what must not be in the log.
    """
    fds, children, rss = count_fds(device.pid), len(device.children()), rss_kb(device.pid)
    told = len(device.lines)
    with Canary(device.port) as canary:
        yield canary
        canary.wait_segments(1)
    canary.assert_content(max_gap_s)
    assert eventually(lambda: count_fds(device.pid) <= fds + SPARE_FDS), count_fds(device.pid)
    assert len(device.children()) == children
    assert rss_kb(device.pid) - rss <= max_growth_kb, rss_kb(device.pid) - rss
    lines = device.lines[told:]
    assert len(lines) <= MAX_LOG_LINES, lines[-20:]
    assert sum(map(len, lines)) <= MAX_LOG_BYTES
    assert not [line for line in lines if "Traceback" in line or " error " in line]
    for secret in secrets:
        assert secret not in "".join(lines)


def dial(port: int, *, receive_bytes: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", port))
    return sock


def send(port: int, data: bytes) -> bytes:
    """All that is answered to these bytes until the server closes."""
    answer = b""
    with dial(port) as sock:
        try:
            sock.sendall(data)
            while got := sock.recv(65_536):
                answer += got
        except (ConnectionError, BrokenPipeError):
            pass  # closed while it was sent, as a head that is too long is
    return answer


def request(target: bytes | str, *fields: str, method: str = "GET", last: bool = False) -> bytes:
    target = target.encode() if isinstance(target, str) else target
    lines = ["Host: localhost", *fields, *(["Connection: close"] if last else []), "", ""]
    return b"%b %b HTTP/1.1\r\n" % (method.encode(), target) + "\r\n".join(lines).encode()


def status(answer: bytes) -> int:
    assert re.match(rb"HTTP/(?:1\.[01]|0\.9) [2-5]\d\d ", answer), answer[:80]
    return int(answer[9:12])


class Talk:
    """One connection kept open, reply by reply."""

    def __init__(self, port: int) -> None:
        self.sock = dial(port)
        self._got = b""

    def ask(self, target: str, *fields: str, method: str = "GET") -> tuple[int, bytes, bytes]:
        """(status, head, body)"""
        self.sock.sendall(request(target, *fields, method=method))
        return self.read()

    def read(self) -> tuple[int, bytes, bytes]:
        while b"\r\n\r\n" not in self._got:
            self._more()
        head, _, self._got = self._got.partition(b"\r\n\r\n")
        match = re.search(rb"(?i)content-length: (\d+)", head)
        length = int(match[1]) if match else 0
        while len(self._got) < length:
            self._more()
        body, self._got = self._got[:length], self._got[length:]
        return status(head), head, body

    def _more(self) -> None:
        got = self.sock.recv(65_536)
        assert got, "closed"
        self._got += got

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()
