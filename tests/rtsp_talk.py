"""RTSP by hand, one request at a time."""

from __future__ import annotations

import re
import socket

TCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"


class RtspTalk:
    """One connection. `ask` returns the status and the whole answer. source: an address of ours."""

    def __init__(
        self, port: int, name: str = "live/camera", *, host: str = "127.0.0.1", source: str = ""
    ) -> None:
        ours = (source, 0) if source else None
        self.sock = socket.create_connection((host, port), timeout=20, source_address=ours)
        self.url = f"rtsp://{f'[{host}]' if ':' in host else host}:{port}/{name}"
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
        return len(self._take_frame())

    def _take_frame(self) -> bytes:
        size = int.from_bytes(self._got[2:4], "big")
        if len(self._got) < 4 + size or self._got[:1] != b"$":
            return b""
        frame, self._got = self._got[: 4 + size], self._got[4 + size :]
        return frame

    def frame(self) -> tuple[int, bytes]:
        """The next one, with its channel."""
        while not (frame := self._take_frame()):
            self.more()
        return frame[1], frame[4:]

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
