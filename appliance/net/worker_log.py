"""A worker's standard error as lines of our log, bounded against one that never stops talking."""

from __future__ import annotations

import logging
import re

MAX_LINE_BYTES = 500  # longer lines are cut
BURST_LINES = 20  # then LINES_PER_S, the rest is counted
LINES_PER_S = 1.0

_PRIORITY = re.compile(rb"<([0-7])>")
_LEVELS = (
    logging.CRITICAL, logging.CRITICAL, logging.CRITICAL, logging.ERROR,
    logging.WARNING, logging.INFO, logging.INFO, logging.DEBUG,
)  # fmt: skip


class ErrorLog:
    """Feed it bytes as they come; lines may begin with a priority as in sd-daemon(3)."""

    def __init__(self, log: logging.LoggerAdapter[logging.Logger]) -> None:
        self._log = log
        self._partial = bytearray()
        self._cut = False
        self._tokens = float(BURST_LINES)
        self._refilled_us = 0
        self.suppressed_lines = 0

    def receive(self, data: bytes, now_us: int) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._append(line)
            self._tell(now_us)
        self._append(rest)

    def receive_eof(self, now_us: int) -> None:
        """The worker is gone: what it left unfinished, and how much was not told."""
        if self._partial:
            self._tell(now_us)
        if self.suppressed_lines:
            self._log.warning("worker: %d more lines were not logged", self.suppressed_lines)
            self.suppressed_lines = 0

    def _append(self, data: bytes) -> None:
        self._partial += data[: MAX_LINE_BYTES - len(self._partial)]

    def _tell(self, now_us: int) -> None:
        line = bytes(self._partial)
        self._partial.clear()
        passed_us = now_us - self._refilled_us
        self._refilled_us = now_us
        self._tokens = min(BURST_LINES, self._tokens + passed_us / 1_000_000 * LINES_PER_S)
        if self._tokens < 1:
            self.suppressed_lines += 1
            return
        self._tokens -= 1
        priority = _PRIORITY.match(line)
        level = _LEVELS[int(priority[1])] if priority else logging.WARNING
        text = line[priority.end() :] if priority else line
        if text.strip():
            shown = text.decode("utf-8", "replace").encode("unicode_escape").decode("ascii")
            self._log.log(level, "worker: %s", shown)
