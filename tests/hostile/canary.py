"""A viewer who must not notice anything: it fetches the playlist and every new segment."""

from __future__ import annotations

import http.client
import re
import threading
import time
from types import TracebackType

POLL_S = 0.2
PATIENCE_S = 30.0  # for one reply, so that a server that is stopped for a while is waited for

FOLDER = "/live/camera.hls/"


class Canary:
    """A thread of its own while the block runs. Times are of time.monotonic."""

    def __init__(self, port: int) -> None:
        self.errors: list[str] = []
        self.arrivals_s: list[float] = []  # of segments that were fetched whole
        self.msns: list[int] = []
        self.sequences: list[int] = []  # EXT-X-MEDIA-SEQUENCE of every playlist
        self.discontinuous: set[int] = set()  # msns of segments marked so
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Canary:
        self._thread.start()
        self.wait_segments(1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join(PATIENCE_S)
        self._hang_up()

    def wait_segments(self, count: int, deadline_s: float = 20.0) -> None:
        """Until so many more have come."""
        wanted = len(self.arrivals_s) + count
        end_s = time.monotonic() + deadline_s
        while len(self.arrivals_s) < wanted:
            assert time.monotonic() < end_s, f"the canary starves: {self.errors[-3:]}"
            time.sleep(0.05)

    @property
    def longest_gap_s(self) -> float:
        times = self.arrivals_s
        return max((b - a for a, b in zip(times, times[1:], strict=False)), default=0.0)

    def assert_content(self, max_gap_s: float) -> None:
        """Nothing failed, nothing was missed, nothing went back."""
        assert not self.errors, self.errors[:5]
        assert self.sequences == sorted(self.sequences)
        first, last = self.msns[0], self.msns[-1]
        assert self.msns == list(range(first, last + 1))
        assert self.longest_gap_s <= max_gap_s

    def _run(self) -> None:
        while not self._stopped.wait(POLL_S):
            try:
                self._look()
            except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
                self.errors.append(repr(error))
                self._hang_up()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> None:
        text = self._get("fmp4.m3u8").decode()
        match = re.search(r"#EXT-X-MEDIA-SEQUENCE:(\d+)", text)
        assert match is not None, text
        self.sequences.append(int(match[1]))
        is_discontinuous = False
        for line in text.splitlines():
            is_discontinuous = is_discontinuous or line == "#EXT-X-DISCONTINUITY"
            if line and not line.startswith("#"):
                self._fetch(line, is_discontinuous)
                is_discontinuous = False

    def _fetch(self, name: str, is_discontinuous: bool) -> None:
        match = re.fullmatch(r"fmp4-(\d+)\.m4s", name)
        assert match is not None, name
        msn = int(match[1])
        if is_discontinuous:
            self.discontinuous.add(msn)
        if self.msns and msn <= self.msns[-1]:
            return
        body = self._get(name)
        assert b"moof" in body[:400]
        self.msns.append(msn)
        self.arrivals_s.append(time.monotonic())

    def _get(self, name: str) -> bytes:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, PATIENCE_S)
        self._connection.request("GET", FOLDER + name, headers={"User-Agent": "canary"})
        reply = self._connection.getresponse()
        body = reply.read()
        assert reply.status == 200, f"{name}: {reply.status}"
        return body
