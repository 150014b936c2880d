"""Async tests run in debug mode, and an exception that nobody handles fails the test.

When several processes run the tests at once, those marked ``alone`` run while no other one does.
"""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

TEST_DEADLINE_S = 120
IS_ONE_OF_MANY = "PYTEST_XDIST_WORKER" in os.environ
DOOR, ROOM = Path(__file__), Path(__file__).parent  # only locked, of what all processes can open


async def _run(function: Any, arguments: dict[str, Any]) -> None:
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    loop.slow_callback_duration = 5
    async with asyncio.timeout(TEST_DEADLINE_S):
        await function(**arguments)
    await asyncio.sleep(0)
    assert not unhandled, unhandled


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    with asyncio.Runner(debug=True) as runner:
        runner.run(_run(pyfuncitem.obj, arguments))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged while a test ran may hold lone surrogates; a report is sent as UTF-8."""
    report = yield
    sections = report.sections
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in sections
    ]
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests first: they are the slow ones, and nobody shall wait for them at last."""
    if IS_ONE_OF_MANY:
        counts = Counter(item.path for item in items)
        items.sort(key=lambda item: (counts[item.path], item.path))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not IS_ONE_OF_MANY:
        return (yield)
    with ExitStack() as room:
        is_alone = item.get_closest_marker("alone") is not None
        with _held(DOOR, fcntl.LOCK_EX):  # in the order of coming, so that everybody gets in
            room.enter_context(_held(ROOM, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH))
        return (yield)


@contextmanager
def _held(path: Path, how: int) -> Iterator[None]:
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, how)
        yield
    finally:
        os.close(file)
