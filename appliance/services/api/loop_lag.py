"""How late the event loop is: everything waits behind whatever takes long in it."""

from __future__ import annotations

import asyncio
import random
from collections import deque

WINDOW = 600  # about a minute
PAUSE_S = 0.1  # so that it costs next to nothing; jittered, as pictures come in step


class LoopLag:
    """A timer that looks how late it is called; between `start` and `stop`."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque(maxlen=WINDOW)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._plan(loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def quantiles_s(self) -> dict[str, float]:
        """Seconds by quantile, over the last minute; 1 is the worst. Zeros in the beginning."""
        late_s = sorted(self._late_s) or [0.0]
        top = len(late_s) - 1
        return {str(part): late_s[round(part * top)] for part in (0.5, 0.99, 1)}

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        due_s = loop.time() + PAUSE_S * random.uniform(0.5, 1.5)
        self._timer = loop.call_at(due_s, self._look, loop, due_s)

    def _look(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        self._late_s.append(max(0.0, loop.time() - due_s))
        self._plan(loop)
