"""An RTMP publisher and a player of it who must not notice anything."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from types import TracebackType

from rtmp_peer import RtmpPeer, Tag, clip_tags

from appliance.wire.rtmp.message import MessageType

_numbers = itertools.count(1)

STEP_S = 0.1
LOOP_MS = 3000  # the clip's length
MAX_STEP_MS = 40  # from picture to picture: of 30 a second, none is missing


class OwnTime(threading.Thread):
    """A clock that counts no time in which this process itself was held up, as on a busy machine.

    It may be slow, never fast; a gap by this clock is somebody else's.
    """

    TICK_S = 0.01

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.now_s = 0.0
        self.is_over = False

    def run(self) -> None:
        while not self.is_over:
            time.sleep(self.TICK_S)
            self.now_s += self.TICK_S


class RtmpCanary:
    """Two threads while the block runs. longest_gap_s: by `OwnTime`."""

    def __init__(self, port: int, key: str) -> None:
        self.errors: list[str] = []
        self.longest_gap_s = 0.0
        self.pictures = 0
        self.name = f"canary-{next(_numbers)}"
        self._stopped = threading.Event()
        self._publisher = RtmpPeer(port)
        self._player = RtmpPeer(port)
        self._key = key
        self._clock = OwnTime()
        self._threads = [
            threading.Thread(target=self._guard, args=(target,), daemon=True)
            for target in (self._publish, self._play)
        ]

    def __enter__(self) -> RtmpCanary:
        code = self._publisher.publish(f"{self.name}?key={self._key}")
        assert code == "NetStream.Publish.Start", code
        self._player.play(self.name)
        for thread in (self._clock, *self._threads):
            thread.start()
        self.wait_pictures(10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.wait_pictures(30)
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._player.sock.shutdown(socket.SHUT_RDWR)  # wakes its thread
        self._clock.is_over = True
        for thread in (self._clock, *self._threads):
            thread.join(20)
        self._publisher.sock.close()
        self._player.sock.close()
        if error is None:
            assert not self.errors, self.errors

    def wait_pictures(self, count: int) -> None:
        wanted, end_s = self.pictures + count, time.monotonic() + 20
        while self.pictures < wanted:
            assert time.monotonic() < end_s, f"the canary starves: {self.errors}"
            time.sleep(0.05)

    def _guard(self, target: object) -> None:
        try:
            target()  # type: ignore[operator]
        except (OSError, EOFError, AssertionError) as error:
            if not self._stopped.is_set():
                self.errors.append(repr(error))

    def _publish(self) -> None:
        tags = clip_tags("h264+aac")
        heads = [tag for tag in tags if tag[2][1:2] == b"\0"]
        media = [tag for tag in tags if tag[2][1:2] != b"\0"]
        self._publisher.send_tags(heads)
        began_s, place = time.monotonic(), 0
        while not self._stopped.wait(STEP_S):
            now_ms = (time.monotonic() - began_s) * 1000
            due: list[Tag] = []
            while True:
                loop, index = divmod(place, len(media))
                kind, stamp_ms, body = media[index]
                if stamp_ms + loop * LOOP_MS > now_ms:
                    break
                due.append((kind, stamp_ms + loop * LOOP_MS, body))
                place += 1
            self._publisher.send_tags(due)

    def _play(self) -> None:
        newest_ms, heard_s = None, None
        while not self._stopped.is_set():
            for message in self._player.hear():
                if message.kind != MessageType.VIDEO or message.payload[1] == 0:
                    continue
                now_s, stamp_ms = self._clock.now_s, message.timestamp_ms
                if newest_ms is not None and heard_s is not None:
                    self.longest_gap_s = max(self.longest_gap_s, now_s - heard_s)
                    assert 0 < stamp_ms - newest_ms <= MAX_STEP_MS, (newest_ms, stamp_ms)
                newest_ms, heard_s = stamp_ms, now_s
                self.pictures += 1
            self._player.heard.clear()
