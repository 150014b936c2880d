"""RTSP by hand, one request at a time, and a player who must not notice anything."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from types import TracebackType

from rtmp_canary import OwnTime
from siege import dial

TCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"


class RtspTalk:
    """One connection. `ask` returns the status and the whole answer."""

    def __init__(self, port: int, name: str = "live/camera") -> None:
        self.sock = dial(port)
        self.url = f"rtsp://127.0.0.1:{port}/{name}"
        self.session = ""
        self._cseq = 0
        self._got = b""

    def format(self, method: str, *lines: str, url: str = "", body: bytes = b"") -> bytes:
        self._cseq += 1
        head = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self._cseq}"]
        if self.session:
            head.append(f"Session: {self.session}")
        if body:
            head.append(f"Content-Length: {len(body)}")
        return "\r\n".join((*head, *lines, "", "")).encode() + body

    def write(self, method: str, *lines: str, url: str = "", body: bytes = b"") -> None:
        self.sock.sendall(self.format(method, *lines, url=url, body=body))

    def ask(self, method: str, *lines: str, url: str = "", body: bytes = b"") -> tuple[int, str]:
        self.write(method, *lines, url=url, body=body)
        return self.read()

    def read(self) -> tuple[int, str]:
        """The next answer; frames before it are passed over."""
        while True:
            if self._got[:1] == b"$" and self.skip_frame():
                continue
            head, end, rest = self._got.partition(b"\r\n\r\n")
            if end and head[:1] == b"R":
                found = re.search(rb"(?i)content-length: (\d+)", head)
                length = int(found[1]) if found else 0
                if len(rest) >= length:
                    break
            self.more()
        self._got = rest[length:]
        text = (head + end + rest[:length]).decode()
        if found := re.search(rb"(?i)session: (\w+)", head):
            self.session = found[1].decode()
        return int(text[9:12]), text

    def skip_frame(self) -> int:
        """The size of the frame that lies at the front and is taken away; 0 if it is not whole."""
        size = int.from_bytes(self._got[2:4], "big")
        if len(self._got) < 4 + size or self._got[:1] != b"$":
            return 0
        self._got = self._got[4 + size :]
        return size

    def more(self) -> None:
        if not (got := self.sock.recv(65_536)):
            raise EOFError
        self._got += got

    def play(self, transport: str = TCP) -> None:
        code, described = self.ask("DESCRIBE")
        assert code == 200
        found = re.search(r"m=video.*?a=control:(\S+)", described, re.DOTALL)
        assert found is not None
        assert self.ask("SETUP", transport, url=f"{self.url}/{found[1]}")[0] == 200
        assert self.ask("PLAY")[0] == 200

    def is_closed(self) -> bool:
        try:
            while self.sock.recv(65_536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def __enter__(self) -> RtspTalk:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()


class RtspCanary:
    """Plays by TCP while the block runs. longest_gap_s: between packets, by `OwnTime`."""

    def __init__(self, port: int) -> None:
        self.longest_gap_s = 0.0
        self.packets = 0
        self._talk = RtspTalk(port)
        self._clock = OwnTime()
        self._is_over = False
        self._error = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> RtspCanary:
        self._talk.play()
        self._clock.start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):
            self._talk.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._clock.is_over = True
        self._thread.join(20)
        self._talk.sock.close()
        if error is None:
            assert not self._error, self._error
            assert self.packets > 30

    def _run(self) -> None:
        heard_s = self._clock.now_s
        try:
            while not self._is_over:
                self._talk.more()
                while self._talk.skip_frame():
                    self.packets += 1
                now_s = self._clock.now_s
                self.longest_gap_s = max(self.longest_gap_s, now_s - heard_s)
                heard_s = now_s
        except (OSError, EOFError) as error:
            if not self._is_over:
                self._error = repr(error)
