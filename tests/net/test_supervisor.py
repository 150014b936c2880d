"""The owner of tasks: back-off, restart, quiet, and an end for all."""

from __future__ import annotations

import asyncio
import logging

import pytest

from appliance.errors import MisuseError, PeerError
from appliance.net.supervisor import Backoff, Supervisor


def test_backoff_failures_double_to_the_maximum_with_jitter() -> None:
    backoff = Backoff(min_s=0.5, max_s=8.0)
    delays = [backoff.next_s(0) for _ in range(40)]
    for count, delay in enumerate(delays):
        full = min(8.0, 0.5 * 2**count)
        assert max(0.5, full / 2) <= delay <= full
    assert len(set(delays[5:])) > 10


def test_backoff_healthy_run_starts_over() -> None:
    backoff = Backoff(min_s=0.5, max_s=30, reset_after_s=10)
    for _ in range(10):
        backoff.next_s(1)
    assert backoff.next_s(10) == 0.5


async def test_supervisor_keep_runs_again_after_failure_and_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    supervisor = Supervisor()
    enough = asyncio.Event()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 6:
            enough.set()
            await asyncio.Event().wait()
        if runs != 3:
            raise PeerError("gone")

    task = supervisor.keep("camera", run, Backoff(min_s=0.001, max_s=0.002))
    async with asyncio.timeout(5):
        await enough.wait()
    assert len(caplog.records) == 1, "the same kind of failure is told once"
    assert caplog.records[0].exc_info in (None, False)
    await supervisor.close()
    assert task.cancelled()
    assert not len(supervisor)


async def test_supervisor_spawn_failure_is_told_with_traceback_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    faults = []
    supervisor = Supervisor(lambda *fault: faults.append(fault))

    async def fail() -> None:
        raise ZeroDivisionError("bug")

    await supervisor.spawn("bug", fail())
    assert faults == [("task", "ZeroDivisionError", "bug: bug")]
    assert caplog.records[0].exc_info
    await asyncio.sleep(0)
    assert not len(supervisor)


async def test_supervisor_close_names_who_will_not_end(caplog: pytest.LogCaptureFixture) -> None:
    supervisor = Supervisor()
    started, release = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = supervisor.spawn("stubborn", stubborn())
    await started.wait()
    with caplog.at_level(logging.ERROR):
        await supervisor.close(timeout_s=0.05)
    assert "stubborn" in caplog.text
    release.set()
    await task


async def test_supervisor_closed_refuses_tasks() -> None:
    supervisor = Supervisor()
    await supervisor.close()

    async def nothing() -> None:
        return

    with pytest.raises(MisuseError):
        supervisor.spawn("late", nothing())
