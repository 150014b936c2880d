"""The console in Chromium: cards, figures, QR code, and names that would be markup."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium
from selenium.webdriver.common.by import By

VIDEOS = "[...document.querySelectorAll('.card video')]"
PLAYING = f"{VIDEOS}.filter((video) => video.currentTime > 0.5).length"
PATTERN = 'source = "pattern:"\nvideo = { width = 320, height = 180, fps = 10, bitrate = "100k" }\n'


def named(device: ApplianceProcess) -> str:
    """The address by a name, as on a LAN: no loopback, and no secure context."""
    return f"http://front-door.local:{device.port}/"


def figures(browser: Chromium, name: str = "live/camera") -> dict[str, str]:
    """What the card of this stream says."""
    rows = browser.run(
        "const card = [...document.querySelectorAll('.card')].find("
        "  (card) => card.querySelector('h2').textContent === arguments[0]);"
        "return [...card.querySelectorAll('.figures div')].map("
        "  (row) => [row.firstChild.textContent, row.lastChild.textContent])",
        name,
    )
    return dict(rows)


def decode_qr(folder: Path, png: bytes) -> str:
    """What a stranger's decoder (zbar, in GStreamer) reads in a picture."""
    file = folder / "code.png"
    file.write_bytes(png)
    line = f"filesrc location={file} ! pngdec ! videoconvert ! zbar ! fakesink"
    command = ["gst-launch-1.0", "-m", *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    found = re.search(r'symbol=\(string\)"?([^",]+)', done.stdout)
    assert found is not None, done.stdout
    return found[1].replace("\\", "")


def fake_feed(browser: Chromium, pages: str = "", **changes: object) -> str:
    """Makes the page believe that the device answered so; returns the script's id."""
    row = {
        "name": "live/camera", "online": True, "on_demand": False, "bitrate_bps": 1, "viewers": 0,
        "age_ms": 10, "restarts": 0, "audio": None, "video": None,
        "urls": {"page": "/live/camera", "hls": "/live/camera.m3u8"}, **changes,
    }  # fmt: skip
    answer = {"device": "x", "now_unix_ms": 1, "page": pages, "address": None, "streams": [row]}
    script = f"""
      const real = window.fetch;
      window.fetch = (url, init) => url === '/web/streams.json'
        ? Promise.resolve(new Response({json.dumps(json.dumps(answer))})) : real(url, init);
    """
    added: str = browser.command("Page.addScriptToEvaluateOnNewDocument", source=script)[
        "identifier"
    ]
    return added


def test_device_page_shows_each_stream_with_picture_and_figures(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(device.url)
    browser.wait(f"{PLAYING} === 1")
    browser.wait("document.querySelector('.card').dataset.health === 'good'")
    shown = figures(browser)
    assert shown["Codecs"] == "H.264, AAC"
    assert shown["Size"] == "640×360"
    # What really came: a busy machine leaves pictures out.
    assert 1 <= float(re.fullmatch(r"([\d.]+) fps", shown["Frame rate"])[1]) <= 16
    assert shown["Last frame"] in {"just now", "1 s ago"}
    assert shown["Bitrate"].endswith("b/s")
    browser.wait("document.querySelector('.figures').innerText.includes('Viewers\\n1')")
    assert browser.run("return document.querySelector('.card .pill').textContent") == "Live"
    browser.assert_quiet(device.url)


def test_device_page_code_opens_the_player_on_another_device(
    browser: Chromium, device: ApplianceProcess, tmp_path: Path
) -> None:
    browser.open(named(device))
    browser.wait("document.querySelector('.card .qr svg')")  # one stream, a wide window: it is open
    png = browser.driver.find_element(By.CSS_SELECTOR, ".card .qr").screenshot_as_png
    assert decode_qr(tmp_path, png) == f"{named(device)}live/camera"
    browser.run("document.querySelector('.card .actions button').click()")
    assert browser.run("return document.querySelector('.card .share').hidden")


def test_device_page_on_loopback_does_not_promise_what_others_cannot_reach(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(device.url)
    text = browser.wait("document.querySelector('.card .share').innerText")
    assert "Only on this device" in text
    assert browser.run("return document.querySelector('.qr')") is None


def test_player_page_copies_addresses_where_the_clipboard_api_is_missing(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(f"{named(device)}live/camera")
    browser.wait("document.querySelectorAll('.addresses button').length === 5")
    assert browser.run("return window.isSecureContext") is False
    browser.run(
        "document.addEventListener('copy', () => { window.copied = String(getSelection()) })"
    )
    browser.driver.find_elements(By.CSS_SELECTOR, ".addresses button")[1].click()
    browser.wait("document.querySelectorAll('.addresses button')[1].textContent === 'Copied'")


def test_device_page_previews_at_most_four_and_wakes_nobody(
    browser: Chromium, tmp_path: Path
) -> None:
    streams = [f'[[stream]]\nname = "live/{n}"\n{PATTERN}' for n in range(5)]
    streams.append(f'[[stream]]\nname = "live/asleep"\non_demand = true\n{PATTERN}')
    browser.emulate(1600, 1400)
    with appliance_process(tmp_path, config="".join(streams)) as device:
        browser.open(device.url)
        browser.wait(f"{PLAYING} === 4", 60)
        browser.wait("document.querySelectorAll('.card').length === 6")
        assert browser.run(f"return {PLAYING}") == 4
        assert browser.run(f"return {VIDEOS}.filter((video) => video.src).length") == 4
        assert len(device.children()) == 5
        # Asked for, it starts, and another one makes room.
        browser.run(
            "[...document.querySelectorAll('.card')].pop().querySelector('.still button').click()"
        )
        browser.wait(f"{VIDEOS}.pop().currentTime > 0.5", 60)
        assert browser.run(f"return {VIDEOS}.filter((video) => video.src).length") == 4
        assert len(device.children()) == 6
        browser.assert_quiet(device.url)


def test_device_page_without_streams_says_what_to_do(browser: Chromium, tmp_path: Path) -> None:
    with appliance_process(tmp_path, config="") as device:
        browser.open(device.url)
        browser.wait("document.querySelector('.note')")
        assert "[[stream]]" in browser.run("return document.querySelector('.note').innerText")
        browser.assert_quiet(device.url)


def test_device_page_says_when_the_device_stops_answering(
    browser: Chromium, tmp_path: Path
) -> None:
    with appliance_process(tmp_path) as device:
        browser.open(device.url)
        browser.wait("document.querySelector('.card').dataset.health === 'good'")
        device.kill()
        browser.wait("!document.getElementById('alarm').hidden")
        browser.wait("document.querySelector('.card').dataset.health === 'late'")
        with appliance_process(tmp_path, port=device.port):
            browser.wait("document.getElementById('alarm').hidden")
            browser.wait("document.querySelector('.card').dataset.health === 'good'")


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=window.pwned=1>", "<script>window.pwned=1</script>",
        '"><svg onload=window.pwned=1>', "javascript:window.pwned=1", "@WEB@", "a" * 300,
        "\u202eabc", "</title><script>window.pwned=1</script>",
    ],
)  # fmt: skip
def test_device_page_shows_a_hostile_name_as_text(
    browser: Chromium, device: ApplianceProcess, name: str
) -> None:
    """No such name gets past the hub; the page must not rely on it."""
    video = {"codec": name, "rfc6381": name, "width_px": name, "height_px": 1, "fps": 1}
    script = fake_feed(browser, name=name, video=video, online=False)
    try:
        browser.open(device.url)
        browser.wait("document.querySelector('.card h2')")
        assert browser.run("return document.querySelector('.card h2').textContent") == name
        assert browser.run("return window.pwned ?? null") is None
        assert browser.run("return document.querySelectorAll('main img, main script').length") == 0
        width = "return document.documentElement.scrollWidth - window.innerWidth"
        assert browser.run(width) <= 0
        browser.assert_quiet(device.url)
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_device_page_loads_itself_again_once_when_the_device_has_other_pages(
    browser: Chromium, device: ApplianceProcess
) -> None:
    script = fake_feed(browser, pages="other")
    try:
        browser.open(device.url)
        browser.wait("performance.getEntriesByType('navigation')[0].type === 'reload'")
        browser.wait("document.querySelector('.card')")
        browser.run(
            "window.same = true; window.asked = 0; const real = window.fetch;"
            "window.fetch = (...all) => { window.asked += 1; return real(...all); }"
        )
        browser.wait("window.asked > 1")
        assert browser.run("return window.same")
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


@pytest.mark.parametrize(("age_ms", "health"), [(100, "good"), (4000, "late"), (30_000, "bad")])
def test_device_page_colours_a_stream_by_the_age_of_its_last_frame(
    browser: Chromium, device: ApplianceProcess, age_ms: int, health: str
) -> None:
    script = fake_feed(browser, age_ms=age_ms)
    try:
        browser.open(device.url)
        assert browser.wait("document.querySelector('.card')?.dataset.health") == health
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


@pytest.mark.parametrize(
    ("states", "text"), [([], None), (["live", "waiting"], "1 of 2"), (["live"], "1 of 1")]
)
def test_device_page_tells_how_many_destinations_take_a_stream(
    browser: Chromium, device: ApplianceProcess, states: list[str], text: str | None
) -> None:
    script = fake_feed(browser, forwards=states)
    try:
        browser.open(device.url)
        browser.wait("document.querySelector('.card .figures div')")
        assert figures(browser).get("Forwarded to") == text
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)


def test_device_page_tells_its_owner_how_each_destination_does(
    browser: Chromium, device: ApplianceProcess
) -> None:
    live = {"name": "origin/live", "state": "live", "bytes": 2_500_000, "lag_ms": 3000}
    lost = {"name": "other/live", "state": "waiting", "bytes": 0, "lag_ms": 0}
    places = [live | {"last_error": "reset"}, lost | {"last_error": "refused"}]
    script = fake_feed(browser, forwards=["live", "waiting"], destinations=places)
    try:
        browser.open(device.url)
        browser.wait("document.querySelector('.card .figures div')")
        shown = figures(browser)
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    assert shown["Forwarded to origin/live"] == "2.5 MB, 3 s behind"
    assert shown["Forwarded to other/live"] == "waiting: refused"


@pytest.mark.parametrize("width", [360, 768, 1280, 3840])
@pytest.mark.parametrize("path", ["", "live/camera", "live/nobody"])
def test_pages_fit_every_width(
    browser: Chromium, device: ApplianceProcess, width: int, path: str
) -> None:
    browser.emulate(width, 800)
    browser.open(device.url + path)
    browser.wait("document.querySelector('.card, .addresses li, .note')")
    wide = "return document.documentElement.scrollWidth - window.innerWidth"
    assert browser.run(wide) <= 0


@pytest.mark.parametrize("dark", [False, True])
def test_pages_text_contrasts_with_its_ground(
    browser: Chromium, device: ApplianceProcess, dark: bool
) -> None:
    """WCAG 2.2 §1.4.3: 4.5 to 1 for every text colour on the surface that it stands on."""
    browser.emulate(1280, 800, dark=dark)
    browser.open(device.url)
    browser.wait("document.querySelector('.figures dd')")
    worst = browser.run(
        """
        const canvas = document.createElement('canvas').getContext('2d');
        const luminance = (colour) => {
          canvas.fillStyle = colour;
          canvas.fillRect(0, 0, 1, 1);
          const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((c) => c / 255)
            .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const style = getComputedStyle(document.documentElement);
        const value = (name) => luminance(style.getPropertyValue(name));
        const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const grounds = ['--ground', '--surface', '--sunken'].map(value);
        const texts = ['--text', '--quiet', '--late', '--bad'].map(value);
        return Math.min(ratio(value('--accent'), value('--on-accent')),
          ...texts.flatMap((text) => grounds.map((ground) => ratio(text, ground))));
        """
    )
    assert worst >= 4.5
