"""Async tests run in debug mode, and an exception that nobody handles fails the test."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from typing import Any

import pytest

TEST_DEADLINE_S = 120


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
