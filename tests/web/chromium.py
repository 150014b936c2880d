"""Headless Chromium for tests, and what it noticed: errors, policy violations, requests."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
    "--hide-scrollbars", "--window-size=1280,800",
    "--host-resolver-rules=MAP front-door.local 127.0.0.1",  # a name as on a LAN, where none is
)  # fmt: skip

# Runs before any script of the page: what the console does not tell.
NOTICE = """
window.noticed = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.noticed.push(`policy: ${event.violatedDirective} ${event.blockedURI}`));
window.addEventListener('error', (event) => window.noticed.push(`error: ${event.message}`));
window.addEventListener('unhandledrejection', (event) =>
  window.noticed.push(`rejection: ${event.reason}`));
"""


class Chromium:
    """One browser; each `open` is a fresh document whose log begins there."""

    def __init__(self, profile: str) -> None:
        options = webdriver.ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = _program("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(_program("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(30)
        self.command("Page.addScriptToEvaluateOnNewDocument", source=NOTICE)

    def command(self, name: str, **arguments: Any) -> Any:
        """Of the DevTools protocol."""
        return self.driver.execute_cdp_cmd(name, arguments)

    def emulate(self, width: int, height: int, *, dark: bool = False) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        self.driver.get("about:blank")
        self.console()
        self.requests()
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, timeout_s: float = 30) -> Any:
        """The value of this JavaScript expression once it is true; what throws is not true yet."""
        attempt = f"try {{ return ({script}) }} catch (error) {{ return null }}"
        try:
            return WebDriverWait(self.driver, timeout_s, 0.1).until(lambda _: self.run(attempt))
        except TimeoutException:
            seen = self.run("return document.body.innerText")
            raise AssertionError(
                f"{script} did not come true; noticed {self.noticed()}, {self.console()}; "
                f"the page says:\n{seen}"
            ) from None

    def noticed(self) -> list[str]:
        """Errors and policy violations of the document."""
        found: list[str] = self.run("return window.noticed")
        return found

    def console(self) -> list[str]:
        """Warnings and errors since the last call."""
        levels = {"WARNING", "SEVERE"}
        return [e["message"] for e in self.driver.get_log("browser") if e["level"] in levels]

    def requests(self) -> list[str]:
        """URLs asked for over a network since the last call."""
        urls = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return [url for url in urls if urlsplit(url).scheme not in {"blob", "data", "about"}]

    def assert_quiet(self, url: str) -> None:
        """No error, no policy violation, and nothing asked of anybody but the device at `url`."""
        assert self.noticed() == []
        assert self.console() == []
        asked = {urlsplit(each).netloc for each in self.requests()}
        assert asked == {urlsplit(url).netloc}

    def screenshot(self) -> bytes:
        return self.driver.get_screenshot_as_png()


@contextmanager
def chromium() -> Iterator[Chromium]:
    profile = tempfile.mkdtemp(prefix="chromium-")
    browser = Chromium(profile)
    try:
        yield browser
    finally:
        browser.driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"{name} is missing; on Debian: apt-get install chromium-driver"
    return str(Path(path).resolve())
