"""Log lines for journald or a terminal: never blocking, never forged, never with a secret.

Theory of operation: whoever logs formats the line and puts it into a bounded queue; one thread
writes. If the reader of the log stalls, the queue fills, lines are dropped and counted, and
the count is told once there is room again. The event loop never waits for a log.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

from appliance.redact import redact

QUEUE_LINES = 2048  # against a log whose reader stalls
MAX_LINE_CHARS = 4096  # against a fault that quotes a peer at length
CLOSE_S = 1.0

# C0 and C1 controls, separators, what turns the direction of text, and halves of characters.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`[log]`"""

    level: str = field(default="info", metadata={"choices": ("debug", "info", "warning", "error")})


def escape(text: str) -> str:
    """One line that a terminal shows as it is."""
    return _UNSAFE.sub(lambda match: _escaped(match.group()), text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


class LineFormatter(logging.Formatter):
    """`<N>` prefixes for journald (sd-daemon(3)), or timestamps for everybody else.

    A traceback follows in lines of its own, marked so that no text within can pass for an event.
    """

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        head = self._head(record)
        lines = [head + self._safe(record.getMessage())]
        if record.exc_info and record.exc_info[0] is not None:
            mark = head if self._journal else ""
            trace = self.formatException(record.exc_info)
            lines += [f"{mark}  | {self._safe(line)}" for line in trace.split("\n")]
        return "\n".join(lines)

    def _head(self, record: logging.LogRecord) -> str:
        if self._journal:
            number = next((n for level, n in _PRIORITIES if record.levelno >= level), 7)
            return f"<{number}>"
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{stamp}.{int(record.msecs):03d} {record.levelname.lower():<7} "

    def _safe(self, text: str) -> str:
        if len(text) > MAX_LINE_CHARS:
            text = text[:MAX_LINE_CHARS] + "…"
        return escape(redact(text))


class QueueHandler(logging.Handler):
    """Formats in the caller's thread, writes to the descriptor in its own."""

    def __init__(self, descriptor: int, *, journal: bool) -> None:
        super().__init__()
        self.setFormatter(LineFormatter(journal=journal))
        self.dropped = 0
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self._untold = 0
        # A daemon: a log that nobody reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # a wrong format string of ours: say so instead of failing the caller
            line = f"unprintable log record from {record.name}:{record.lineno}"
        try:
            if self._untold:
                self._lines.put_nowait(self._loss())
                self._untold = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            self._untold += 1

    def _loss(self) -> str:
        text = f"{self._untold} log lines were dropped because the log was not read"
        return self.format(logging.LogRecord("log", logging.WARNING, "", 0, text, None, None))

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            data = (line + "\n").encode("utf-8", "backslashreplace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:
                self.dropped += 1  # nobody is left to be told

    def close(self) -> None:
        """Writes what is queued, for at most a second."""
        try:
            self._lines.put(None, timeout=CLOSE_S)
        except queue.Full:
            pass
        else:
            self._thread.join(CLOSE_S)
        super().close()


class Log:
    """The root logger's set-up, as a context manager."""

    def __init__(
        self,
        settings: LogSettings,
        *,
        descriptor: int | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        stderr = sys.stderr.fileno() if descriptor is None else descriptor
        self.is_journal = is_journal(stderr, environ)
        self.handler = QueueHandler(stderr, journal=self.is_journal)
        self.settings = settings

    def __enter__(self) -> Log:
        root = logging.getLogger()
        root.addHandler(self.handler)
        self.apply(self.settings)
        logging.captureWarnings(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self.handler)
        self.handler.close()

    def apply(self, settings: LogSettings) -> None:
        """Changes the level, at once."""
        self.settings = settings
        logging.getLogger().setLevel(settings.level.upper())
        # asyncio tells at INFO and DEBUG what only its authors need.
        logging.getLogger("asyncio").setLevel(logging.WARNING)


def is_journal(descriptor: int, environ: Mapping[str, str]) -> bool:
    """Whether the descriptor leads to journald (systemd.exec(5), $JOURNAL_STREAM)."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    status = os.fstat(descriptor)
    if (device, inode) == (str(status.st_dev), str(status.st_ino)):
        return True
    return "INVOCATION_ID" in environ and not os.isatty(descriptor)
