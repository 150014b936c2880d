"""The worker's log: lines on standard error, each with its priority for the appliance."""

from __future__ import annotations

import logging

PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # syslog(3)


class PriorityFormatter(logging.Formatter):
    """`<N>` before every line, as in sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        number = next((n for level, n in PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{number}>{line}" for line in super().format(record).split("\n"))


def start_log() -> None:
    """What our modules log from INFO on; libraries only from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(PriorityFormatter())
    logging.getLogger().addHandler(handler)
    logging.getLogger("appliance").setLevel(logging.INFO)
