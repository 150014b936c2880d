"""Owner of every long-running task: restarts what must go on, reports what failed, ends it all.

No task of the appliance lives without an owner; this is the owner of those that belong to no
connection.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from appliance.errors import ApplianceError, MisuseError

log = logging.getLogger(__name__)

OnFault = Callable[[str, str, str], None]
"""Called with (proto, reason, detail): words of ours twice, then text that may quote a peer."""

MAX_TASKS = 4096  # against a leak of ours: a task per event instead of per purpose


@dataclass(slots=True)
class Backoff:
    """How long to wait before the next try: doubling with jitter, starting over after health.

    reset_after_s: a run that lasted this long was healthy, so the next failure waits min_s again.
    """

    min_s: float = 0.5
    max_s: float = 30.0
    reset_after_s: float = 10.0
    failures: int = 0

    def next_s(self, ran_s: float) -> float:
        """The delay after a run of `ran_s` seconds; between half and all of the doubled step.

        Jitter keeps many devices that lost one origin from coming back in the same instant.
        """
        if ran_s >= self.reset_after_s:
            self.failures = 0
        step_s = min(self.max_s, self.min_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return max(self.min_s, step_s * random.uniform(0.5, 1.0))


class Supervisor:
    """A table of owned tasks.

    A fault of a task is counted through `on_fault` and logged once per name and kind of error
    until another kind follows or an hour has passed, so a camera that is away for a day is a
    few lines, not thousands.
    """

    def __init__(self, on_fault: OnFault | None = None) -> None:
        self._on_fault = on_fault
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[str, tuple[str, float]] = {}  # by task name, dropped with the task
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, name: str, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it once. A failure is told and ends only this task. Raises: MisuseError (closed)."""
        return self._own(name, self._guard(name, coroutine), coroutine)

    def keep(
        self, name: str, run: Callable[[], Awaitable[None]], backoff: Backoff | None = None
    ) -> asyncio.Task[None]:
        """Run it for ever: again after each return or failure, with back-off.

        Cancelling the returned task is the clean end. Raises: MisuseError if closed.
        """
        coroutine = self._repeat(name, run, backoff or Backoff())
        return self._own(name, coroutine, coroutine)

    def _own(
        self, name: str, coroutine: Coroutine[Any, Any, None], given: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        if self._closing or len(self._tasks) >= MAX_TASKS:
            given.close()
            coroutine.close()
            raise MisuseError(f"task {name}: the supervisor is closed or full")
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._told.pop(task.get_name(), None)

    async def _guard(self, name: str, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:
            self._tell(name, error, None)

    async def _repeat(
        self, name: str, run: Callable[[], Awaitable[None]], backoff: Backoff
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            fault: Exception | None = None
            try:
                await run()
            except Exception as error:
                fault = error
            delay_s = backoff.next_s(loop.time() - started_s)
            if fault is not None:
                self._tell(name, fault, delay_s)
                fault = None  # its traceback would keep the failed run's objects for the delay
            await asyncio.sleep(delay_s)

    def _tell(self, name: str, error: Exception, delay_s: float | None) -> None:
        kind = type(error).__name__
        if self._on_fault is not None:
            self._on_fault("task", kind, f"{name}: {error}")
        now_s = asyncio.get_running_loop().time()
        told = self._told.get(name)
        if told is not None and told[0] == kind and now_s - told[1] < 3600:
            return
        self._told[name] = (kind, now_s)
        again = "" if delay_s is None else f"; trying again, first in {delay_s:.1f} s"
        # What is raised on purpose, and what the network or a device does, needs no traceback.
        expected = isinstance(error, ApplianceError | OSError | TimeoutError)
        log.warning("%s: %s%s", name, error or kind, again, exc_info=None if expected else error)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Cancel all and await them; who has not ended after `timeout_s` is named and left."""
        self._closing = True
        current = asyncio.current_task()
        tasks = {task for task in self._tasks if task is not current}
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        if pending:
            names = ", ".join(sorted(task.get_name() for task in pending))
            log.error("still running after %.0f s: %s", timeout_s, names)
