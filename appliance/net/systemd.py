"""Telling systemd that we are ready, well, reloading or stopping: sd_notify(3) over its socket.

Without $NOTIFY_SOCKET nothing is told and nothing fails. The watchdog is fed from the loop, so a
loop that stands still is killed by systemd; and not at all while somebody despairs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping

log = logging.getLogger(__name__)

DEFAULT_FEED_S = 10.0  # how often the status is told if there is no watchdog


class Watchdog:
    """Who has given up hope that anything but a new start of the service helps, and why."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}  # as many as there are cameras

    def despair(self, who: str, why: str) -> None:
        self.reasons[who] = why

    def hope(self, who: str) -> None:
        self.reasons.pop(who, None)


class Notifier:
    """address: of the service manager's datagram socket, ``@name`` for an abstract one; empty
    tells nobody. watchdog_us: how soon the manager must hear of us again; 0 is never."""

    def __init__(self, address: str = "", watchdog_us: int = 0) -> None:
        self.watchdog_us = watchdog_us
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._status = ""
        self._failed = False
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] = os.environ) -> Notifier:
        """Takes the variables out, so that no child speaks for us (sd_notify(3)).

        $WATCHDOG_PID names whom $WATCHDOG_USEC is meant for (sd_watchdog_enabled(3)).
        """
        address = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us = environ.pop("WATCHDOG_USEC", "")
        pid = environ.pop("WATCHDOG_PID", "")
        if pid and pid != str(os.getpid()):
            watchdog_us = ""
        if not address.startswith(("/", "@")):
            address = ""
        return cls(address, int(watchdog_us) if watchdog_us.isdecimal() else 0)

    @property
    def is_heard(self) -> bool:
        return self._socket is not None

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        """`ready` ends it. The stamp is what Type=notify-reload wants (systemd.service(5))."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``; repeated only when it changes."""
        if text != self._status:
            self._status = text
            self._send("STATUS=" + " ".join(text.split()))

    def feed_watchdog(self) -> None:
        if self.watchdog_us:
            self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        """Lost if the manager does not listen: that is its own fault, and no reason to fail."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._failed:
                log.warning("the service manager cannot be told: %s", error)
            self._failed = True

    async def keep_well(self, watchdog: Watchdog, describe: Callable[[], str]) -> None:
        """Feeds the manager's watchdog at a third of its patience, and tells the status."""
        period_s = self.watchdog_us / 3_000_000 if self.watchdog_us else DEFAULT_FEED_S
        told = ""
        while True:
            why = "; ".join(f"{who}: {reason}" for who, reason in watchdog.reasons.items())
            if why and why != told:
                log.error("the service's watchdog is not fed any more: %s", why)
            told = why
            if not why:
                self.feed_watchdog()
            self.status(why or describe())
            await asyncio.sleep(period_s)
