"""One browser and one appliance for all tests that change neither."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium, chromium


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what the appliance it looked at had logged."""
    report = yield
    process = item.funcargs.get("device")
    if report.failed and isinstance(process, ApplianceProcess):
        report.sections.append(("log of the appliance", process.log))
    return report


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[Chromium]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Chromium) -> Iterator[Chromium]:
    """Of ordinary size, in light; left on an empty page, so that it asks for nothing more."""
    shared_browser.emulate(1280, 800)
    yield shared_browser
    shared_browser.driver.get("about:blank")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device")) as process:
        yield process
