"""Faults of our own, found by somebody's bytes: each counted, few of them told at length."""

from __future__ import annotations

import logging
import time

from appliance.net.supervisor import OnFault

log = logging.getLogger(__name__)

TRACEBACK_EVERY_S = 1.0


class InternalFaults:
    """At most one traceback a second, whatever a peer finds to trigger."""

    __slots__ = ("_on_fault", "_proto", "_told_s")

    def __init__(self, proto: str, on_fault: OnFault) -> None:
        self._proto = proto
        self._on_fault = on_fault
        self._told_s = float("-inf")

    def report(self, error: BaseException | None) -> None:
        self._on_fault(self._proto, "internal error", type(error).__name__ if error else "")
        now_s = time.monotonic()
        if now_s - self._told_s >= TRACEBACK_EVERY_S:
            self._told_s = now_s
            log.error("%s: unexpected fault, please report it", self._proto, exc_info=error)
