"""Calls into camera drivers that may never return, with an end to our patience.

A driver that hangs is cured only by the end of its process, which is why a fault follows at once;
the thread that hangs keeps nothing else from ending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from appliance.capture.clock import monotonic_us
from appliance.capture.fault import SourceFault
from appliance.wire.pipe.messages import Reason


class DriverHangs(SourceFault):
    """Nothing more may be asked of this camera in this process."""


class Errand:
    """A call in a thread of its own."""

    def __init__(self, what: str, call: Callable[[], object], patience_us: int) -> None:
        """what: the subject of the fault's sentence."""
        self._what = what
        self._call = call
        self._patience_us = patience_us
        self._due_us = monotonic_us() + patience_us
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=what)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:
            self._error = error

    def is_done(self) -> bool:
        """Raises: what the call raised; DriverHangs if it takes too long."""
        if not self._thread.is_alive():
            if self._error is not None:
                raise self._error
            return True
        if monotonic_us() >= self._due_us:
            raise DriverHangs(
                Reason.SOURCE_LOST,
                f"{self._what} did not return within {self._patience_us // 1_000_000} s: the "
                "camera's driver hangs; if starting again does not help, the board must be "
                "switched off and on",
            )
        return False

    def wait(self) -> None:
        """Raises: as `is_done`."""
        self._thread.join(max(0, self._due_us - monotonic_us()) / 1_000_000)
        self.is_done()
