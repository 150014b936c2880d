"""A player by RTSP who must not notice anything."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

from rtmp_canary import OwnTime
from rtsp_talk import RtspTalk


class RtspCanary:
    """Plays by TCP while the block runs. longest_gap_s: between packets, by `OwnTime`."""

    def __init__(self, port: int, name: str = "live/camera") -> None:
        self.longest_gap_s = 0.0
        self.packets = 0
        self._talk = RtspTalk(port, name)
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
