"""One worker process: started in a session of its own, read, written to, ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import appliance
from appliance.errors import ApplianceError

log = logging.getLogger(__name__)

PACKAGE_ROOT = str(Path(appliance.__file__).parent.parent)
SOURCE_VARIABLE = "PORTHOLE_SOURCE"
TERMINATE_S = 2.0
KILL_S = 5.0
MAX_UNREAD_BYTES = 256 << 10  # of commands, against a worker that never reads them
LAST_WORDS_S = 1.0  # a dead worker's output may be read this long after its exit is known

DIED = "died"
DEAF = "deaf"
CANNOT_START = "cannot-start"


class WorkerFault(ApplianceError):
    """reason: one of a few words of ours, for the metrics; the text is for a person."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def watch_children_by_pidfd() -> None:
    """Let Python 3.11 notice dead children without a thread for each (3.12 does by itself)."""
    if sys.version_info >= (3, 12):
        return
    policy = asyncio.get_event_loop_policy()
    if isinstance(policy.get_child_watcher(), asyncio.ThreadedChildWatcher):
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError:  # a kernel before 5.3
            return
        watcher = asyncio.PidfdChildWatcher()
        watcher.attach_loop(asyncio.get_running_loop())
        policy.set_child_watcher(watcher)


class WorkerProcess(asyncio.SubprocessProtocol):
    """What the worker writes goes to the callbacks as it comes: nothing is queued here.

    ended: resolves when its output has ended; the exit status is in the error text.
    writable: clear while it leaves unread what it was sent.
    on_exit: called when the process is no more, be it long after everybody gave up on it.
    """

    def __init__(
        self,
        on_output: Callable[[bytes], None],
        on_error_output: Callable[[bytes], None],
        on_exit: Callable[[], None] | None = None,
    ) -> None:
        self._callbacks = {1: on_output, 2: on_error_output}
        self._on_exit = on_exit
        self._transport: asyncio.SubprocessTransport | None = None
        self._exited = asyncio.Event()
        self.ended = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.pid = 0

    @classmethod
    async def spawn(
        cls,
        source: str,
        options: Mapping[str, Any],
        *,
        nice: int,
        on_output: Callable[[bytes], None],
        on_error_output: Callable[[bytes], None],
        on_exit: Callable[[], None] | None = None,
    ) -> WorkerProcess:
        """Raises: WorkerFault if the system cannot start a process now."""
        loop = asyncio.get_running_loop()
        try:
            transport, worker = await loop.subprocess_exec(
                lambda: cls(on_output, on_error_output, on_exit),
                *command(options, nice=nice),
                env=environment(source),
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerFault(CANNOT_START, f"cannot start a worker process: {error}") from None
        worker.pid = transport.get_pid()
        return worker

    # -- what asyncio calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._callbacks[fd](data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            self.ended.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def process_exited(self) -> None:
        self._exited.set()
        if self._on_exit is not None:
            self._on_exit()
        # Its output ends with it, unless something else still holds the pipe.
        asyncio.get_running_loop().call_later(LAST_WORDS_S, self.ended.set)

    # -- what the session calls ----------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """To the worker's standard input; lost if it is gone.

        Raises: WorkerFault if it has left too much unread.
        """
        pipe = self._transport.get_pipe_transport(0) if self._transport else None
        if isinstance(pipe, asyncio.WriteTransport) and not pipe.is_closing():
            if pipe.get_write_buffer_size() > MAX_UNREAD_BYTES:
                raise WorkerFault(DEAF, "the worker does not read its commands")
            pipe.write(data)

    async def describe_end(self) -> WorkerFault:
        """How it died, once its output has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._exited.wait()
        status = self._transport.get_returncode() if self._transport else None
        if status is None:
            return WorkerFault(DIED, "the worker closed its output")
        if status < 0:
            return WorkerFault(DIED, f"the worker was killed by {signal.Signals(-status).name}")
        return WorkerFault(DIED, f"the worker ended with status {status}")

    async def end(self, *, gently: bool) -> None:
        """Dead when it returns, unless the kernel itself cannot kill it (uninterruptible sleep).

        gently: SIGTERM first, then SIGKILL after 2 s; both go to the whole process group.
        """
        try:
            if gently and not self._exited.is_set():
                self._signal(signal.SIGTERM)
                await self._wait_exit(TERMINATE_S)
            if not self._exited.is_set():
                self._signal(signal.SIGKILL)
                await self._wait_exit(KILL_S)
            if not self._exited.is_set():
                log.error("worker process %d does not die: is a device driver stuck?", self.pid)
        except asyncio.CancelledError:  # no time left to be gentle
            if not self._exited.is_set():
                self._signal(signal.SIGKILL)
            raise
        finally:
            if self._transport is not None:
                self._transport.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _wait_exit(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._exited.wait()


def command(options: Mapping[str, Any], *, nice: int) -> list[str]:
    """The source is not among the arguments, which every user of the machine can read."""
    return [
        sys.executable, "-P", "-m", "appliance.capture", "-",
        "--options-json", json.dumps(options),
        "--parent", str(os.getpid()),
        "--nice", str(nice),
    ]  # fmt: skip


def environment(source: str) -> dict[str, str]:
    """Ours without our own settings, which may hold secrets, and with the source."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTHOLE_")}
    path = os.pathsep.join(filter(None, (PACKAGE_ROOT, kept.get("PYTHONPATH", ""))))
    return kept | {"PYTHONPATH": path, SOURCE_VARIABLE: source, "MALLOC_ARENA_MAX": "2"}
