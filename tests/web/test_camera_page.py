"""Cameras on the pages, in Chromium: what is the matter with them, and their owner's panel."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CONFIG = """
[[stream]]
name = "live/camera"
source = "pattern:"
video = { width = 320, height = 180, fps = 10, bitrate = "100k", keyframe = "1s" }
[stream.overlay]
enabled = true
[[stream.preset]]
name = "night"
fps = 5
[hls]
segment = "1s"
window = "8s"
"""
PANEL = "document.querySelector('#camera')"
FIELDS = "document.querySelectorAll('#camera .setting').length"


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("camera"), config=CONFIG) as process:
        yield process


def owner_key(camera: ApplianceProcess) -> str:
    """As the first start showed it in the terminal."""
    return camera.wait_line(r"^      (\S{22})$")[1]


def ask_api(camera: ApplianceProcess, values: dict[str, Any] | None = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{camera.url}api/v1/cameras/camera",
        data=None if values is None else json.dumps(values).encode(),
        headers={
            "Authorization": f"Bearer {owner_key(camera)}", "Content-Type": "application/json",
        },
        method="GET" if values is None else "PATCH",
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=20) as reply:
        found: dict[str, Any] = json.load(reply)["camera"]
    return found


def pretend(browser: Chromium, **changes: object) -> str:
    """Makes the page believe that the device said so of its stream; returns the script's id."""
    script = f"""
      const real = window.fetch;
      window.fetch = async (url, init) => {{
        const response = await real(url, init);
        if (url !== '/web/streams.json') return response;
        const answer = await response.json();
        answer.streams.forEach((row) => {{
          const {{ camera, ...rest }} = {json.dumps(changes)};
          Object.assign(row, rest);
          Object.assign(row.camera, camera);
        }});
        return new Response(JSON.stringify(answer));
      }};
    """
    added: str = browser.command("Page.addScriptToEvaluateOnNewDocument", source=script)[
        "identifier"
    ]
    return added


STATES: list[tuple[dict[str, object], str, str, str]] = [
    (
        {"placeholder": "camera lost, retrying", "camera": {
            "state": "lost", "why": "no picture for 4.0 s", "rung": "encoder"}},
        "Reconnecting", "bad",
        "Reconnecting: no picture for 4.0 s; restarting the encoder.",
    ),
    (
        {"placeholder": "camera lost, retrying", "camera": {"state": "lost"}},
        "Reconnecting", "bad", "Reconnecting: camera lost, retrying.",
    ),
    (
        {"placeholder": "camera off",
         "camera": {"state": "off", "why": "somebody switched it off"}},
        "Camera off", "idle", "The camera is off: somebody switched it off.",
    ),
    (
        {"camera": {"slowed": "the software encoder is too slow for 30 fps: 20 fps now"}},
        "Live", "good",
        "Reduced for now: the software encoder is too slow for 30 fps: 20 fps now.",
    ),
    ({"camera": {"why": "<img src=x onerror=alert(1)>", "state": "lost"}, "placeholder": "x"},
     "Reconnecting", "bad", "Reconnecting: <img src=x onerror=alert(1)>."),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "word", "health", "notice"), STATES)
def test_pages_say_what_is_the_matter_with_the_camera(
    browser: Chromium,
    camera: ApplianceProcess,
    changes: dict[str, object],
    word: str,
    health: str,
    notice: str,
) -> None:
    script = pretend(browser, **changes)
    try:
        browser.open(camera.url)
        browser.wait(f"document.querySelector('.card .pill').textContent === {json.dumps(word)}")
        assert browser.run("return document.querySelector('.card').dataset.health") == health
        assert browser.run("return document.querySelector('.card .notice').innerText") == notice
        browser.open(f"{camera.url}live/camera")
        browser.wait("document.querySelector('#stage').dataset.state === 'playing'")
        browser.wait("!document.querySelector('#notice').hidden")
        assert browser.run("return document.querySelector('#notice').innerText") == notice
        badge = browser.run("return document.querySelector('#badge').textContent")
        assert badge.startswith(word)
        browser.assert_quiet(camera.url)
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_pages_of_a_camera_that_is_well_say_nothing(
    browser: Chromium, camera: ApplianceProcess
) -> None:
    browser.open(f"{camera.url}live/camera")
    browser.wait("document.querySelector('#stage').dataset.state === 'playing'")
    assert browser.run("return document.querySelector('#notice').hidden")
    addresses = browser.run("return document.querySelector('#addresses').innerText")
    assert f"{camera.url}live/camera.jpg" in addresses.replace("\n", "")
    assert f"rtsp://127.0.0.1:{camera.rtsp_port}/live/camera" in addresses.replace("\n", "")
    asked = browser.requests()
    assert not [url for url in asked if "/api/" in url], "nobody opened the panel"


def open_panel(browser: Chromium, camera: ApplianceProcess, key: str) -> None:
    browser.open(f"{camera.url}live/camera")
    browser.run("sessionStorage.clear()")
    browser.open(f"{camera.url}live/camera")
    browser.wait(f"!{PANEL}.hidden")
    browser.run(f"{PANEL}.querySelector('button').click()")
    browser.wait(f"{PANEL}.querySelector('input[type=password]')")
    browser.driver.find_element(By.CSS_SELECTOR, "#camera input[type=password]").send_keys(key)
    browser.driver.find_element(By.CSS_SELECTOR, "#camera form button").click()


def drag(browser: Chromium, label: str, value: float) -> None:
    """As a hand does: the slider moves, then it is let go."""
    browser.run(
        "const input = document.querySelector(`#camera input[aria-label='${arguments[0]}']`);"
        "input.value = arguments[1];"
        "input.dispatchEvent(new Event('input', {bubbles: true}));"
        "input.dispatchEvent(new Event('change', {bubbles: true}));",
        label,
        value,
    )


def test_panel_sets_what_its_owner_moves(browser: Chromium, camera: ApplianceProcess) -> None:
    key = owner_key(camera)
    open_panel(browser, camera, key)
    browser.wait(f"{FIELDS} > 4")
    brightness = ask_api(camera)["controls"]["brightness"]
    drag(browser, "brightness", brightness["max"])
    browser.wait(
        f"{PANEL}.querySelector('input[aria-label=brightness]').parentElement"
        f".querySelector('output').textContent === '{brightness['max']}'"
    )
    text = browser.driver.find_element(By.CSS_SELECTOR, "#camera input[type=text]")
    text.send_keys("hello")
    text.submit()
    browser.run(f"{PANEL}.querySelector('.presets button').click()")
    browser.wait(
        f"{PANEL}.querySelector('.presets button').getAttribute('aria-pressed') === 'true'"
    )
    state = ask_api(camera)
    assert state["settings"]["controls"]["brightness"] == brightness["max"]
    assert state["settings"]["text"] == "hello"
    assert (state["preset"], state["settings"]["fps"]) == ("night", 5)
    assert not [url for url in browser.requests() if key in url]
    assert browser.noticed() == []


def test_panel_switches_the_camera_off_and_on(browser: Chromium, camera: ApplianceProcess) -> None:
    open_panel(browser, camera, owner_key(camera))
    switch = f"[...{PANEL}.querySelectorAll('.flag')].find((x) => x.innerText === 'Camera on')"
    browser.wait(f"{switch}.querySelector('input').checked")
    browser.wait("document.querySelector('#stage').dataset.state === 'playing'")
    try:
        browser.run(f"{switch}.querySelector('input').click()")
        browser.wait("document.querySelector('#headline').textContent === 'Camera off'")
        assert ask_api(camera)["state"] == "off"
        notice = browser.wait("document.querySelector('#notice').innerText")
        assert notice == "The camera is off: somebody switched it off."
        assert browser.run("return document.querySelector('#stage').dataset.state") == "playing"
    finally:
        ask_api(camera, {"enabled": True})
    browser.wait("document.querySelector('#badge').textContent.startsWith('Live')")
    browser.wait(f"{switch}.querySelector('input').checked")


def test_panel_with_a_wrong_key_says_so_and_asks_again(
    browser: Chromium, camera: ApplianceProcess
) -> None:
    open_panel(browser, camera, "wrong")
    fault = browser.wait(f"{PANEL}.querySelector('.wrong:not([hidden])').innerText")
    assert re.fullmatch(r"The device says: wrong user, password or key\.", fault)
    assert browser.run(f"return {PANEL}.querySelectorAll('input[type=password]').length") == 1
    assert browser.run(f"return {FIELDS}") == 0


def test_panel_opens_by_the_enter_key_after_a_wrong_one(
    browser: Chromium, camera: ApplianceProcess
) -> None:
    open_panel(browser, camera, "wrong")
    browser.wait(f"{PANEL}.querySelector('.wrong:not([hidden])')")
    field = browser.driver.find_element(By.CSS_SELECTOR, "#camera input[type=password]")
    field.clear()
    field.send_keys(owner_key(camera) + Keys.ENTER)
    browser.wait(f"{FIELDS} > 4")
    assert browser.run(f"return !{PANEL}.querySelector('.wrong:not([hidden])')")


def test_panel_shows_a_refusal_and_goes_back_to_what_is(
    browser: Chromium, camera: ApplianceProcess
) -> None:
    open_panel(browser, camera, owner_key(camera))
    browser.wait(f"{FIELDS} > 4")
    before = ask_api(camera)["controls"]["speed"]["value"]
    browser.run(f"{PANEL}.querySelector('input[aria-label=speed]').max = 1000")
    drag(browser, "speed", 1000)
    fault = browser.wait(f"{PANEL}.querySelector('.wrong:not([hidden])').innerText")
    assert "speed" in fault
    browser.wait(
        f"{PANEL}.querySelector('input[aria-label=speed]').parentElement"
        f".querySelector('output').textContent === '{before:g}'"
    )
    assert ask_api(camera)["controls"]["speed"]["value"] == before
