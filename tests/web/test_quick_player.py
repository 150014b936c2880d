"""Low latency on the player page: FLV by WebSocket in Chromium, and HLS when that fails."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process
from burnt_clock import png_luma, read_clock
from chromium import Chromium

VIDEO = "document.getElementById('video')"
QUICK = "document.getElementById('quick')"
BADGE = "document.getElementById('badge').textContent"
FIGURES = "document.getElementById('figures').innerText"
DAY_S = 86_400
MAX_BEHIND_S = 1.5


# A connection that stays open and brings nothing any more.
DEAF = """
window.WebSocket = class extends WebSocket {
  set onmessage(listener) { super.onmessage = (event) => window.isDeaf || listener(event); }
};
"""


def wait_playing(browser: Chromium, seconds: float = 1) -> None:
    """Until the picture has moved on by so many seconds from now."""
    start = browser.wait(f"{VIDEO}.currentTime || null")
    browser.wait(f"{VIDEO}.currentTime > {start + seconds}")
    browser.wait(f"{BADGE}.startsWith('Live')")


def sessions(device: ApplianceProcess, kind: str) -> int:
    with urlopen(f"{device.url}metrics") as reply:
        lines = reply.read().decode().splitlines()
    found = [line for line in lines if line.startswith(f'porthole_sessions{{kind="{kind}"}}')]
    return int(found[0].split()[-1]) if found else 0


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 8  # sooner than a stall would end it
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_quick_player_shows_the_clock_of_now(browser: Chromium, device: ApplianceProcess) -> None:
    browser.emulate(640, 900)  # where the page is a phone's, the picture has its own size
    browser.open(f"{device.url}live/camera?player=quick")
    wait_playing(browser, 5)
    assert "mpegts.js" in browser.run(f"return {FIGURES}")
    assert sessions(device, "flv-play") == 1
    browser.wait(f"{BADGE}.includes('s buffered')")
    box = browser.run("return document.getElementById('stage').getBoundingClientRect().toJSON()")
    before_s = time.time()
    png = browser.screenshot()
    clock_s = read_clock(png_luma(png, 0, round(box["top"]), 640, 360), 640, 360)
    local = time.localtime(before_s)
    day_s = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec + before_s % 1
    behind_s = (day_s - clock_s + DAY_S / 2) % DAY_S - DAY_S / 2
    assert behind_s < MAX_BEHIND_S
    assert browser.noticed() == []
    assert browser.console() == []


def test_quick_player_is_a_choice_that_can_be_taken_back(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(f"{device.url}live/camera?player=hls")
    wait_playing(browser)
    assert "hls.js" in browser.run(f"return {FIGURES}")
    browser.wait(f"!{QUICK}.hidden && {QUICK}.getAttribute('aria-pressed') === 'false'")
    browser.run(f"{QUICK}.click()")
    browser.wait(f"{FIGURES}.includes('mpegts.js')")
    wait_playing(browser, 2)
    assert browser.run(f"return {QUICK}.getAttribute('aria-pressed')") == "true"
    assert browser.run("return location.search") == "?player=quick"
    browser.run(f"{QUICK}.click()")
    browser.wait(f"{FIGURES}.includes('hls.js')")
    wait_playing(browser, 2)
    assert browser.run("return location.search") == ""
    assert browser.noticed() == []


def test_quick_player_returns_to_now_after_a_pause(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(f"{device.url}live/camera?player=quick")
    wait_playing(browser)
    browser.run("document.getElementById('pause').click(); window.since = performance.now()")
    browser.wait("performance.now() - window.since > 4000")
    browser.run("document.getElementById('pause').click()")
    wait_playing(browser)
    ahead = f"{VIDEO}.buffered.end({VIDEO}.buffered.length - 1) - {VIDEO}.currentTime"
    browser.wait(f"{ahead} < 1.5")
    assert "mpegts.js" in browser.run(f"return {FIGURES}")


def test_quick_player_hangs_up_when_its_page_is_left_and_calls_again(
    browser: Chromium, device: ApplianceProcess
) -> None:
    """Chromium keeps the page for the way back, and all its connections."""
    browser.open(f"{device.url}live/camera?player=quick")
    wait_playing(browser)
    browser.driver.get(f"{device.url}web/icon.svg")
    browser.wait("document.location.pathname === '/web/icon.svg'")
    eventually(lambda: sessions(device, "flv-play") == 0)
    browser.driver.back()
    wait_playing(browser, 2)
    assert "mpegts.js" in browser.run(f"return {FIGURES}")
    assert sessions(device, "flv-play") == 1


def test_quick_player_that_is_cut_off_goes_on_with_hls(browser: Chromium, tmp_path: Path) -> None:
    with appliance_process(tmp_path) as device:
        key = device.wait_line(r"^      (\S{22})$")[1]
        browser.open(f"{device.url}live/camera?player=quick")
        wait_playing(browser)
        browser.run("window.same = true")
        headers = {"Authorization": f"Bearer {key}"}
        clients = f"{device.url}api/v1/clients"
        with urlopen(Request(f"{clients}/", headers=headers)) as reply:
            found = [c for c in json.load(reply)["clients"] if c["type"] == "flv-play"]
        assert len(found) == 1
        kick = Request(f"{clients}/{found[0]['id']}", headers=headers, method="DELETE")
        urlopen(kick).close()
        browser.wait(f"{FIGURES}.includes('gave up: The connection')")
        wait_playing(browser, 2)
        assert "hls.js" in browser.run(f"return {FIGURES}")
        assert browser.run(f"return {QUICK}.getAttribute('aria-pressed')") == "false"
        assert browser.run("return window.same")
        assert browser.noticed() == []


def test_quick_player_that_stands_still_goes_on_with_hls(
    browser: Chromium, device: ApplianceProcess
) -> None:
    script = browser.command("Page.addScriptToEvaluateOnNewDocument", source=DEAF)
    try:
        browser.open(f"{device.url}live/camera?player=quick")
        wait_playing(browser)
        browser.run("window.isDeaf = true")
        browser.wait(f"{FIGURES}.includes('gave up: the picture stood still')")
        wait_playing(browser, 2)
        assert "hls.js" in browser.run(f"return {FIGURES}")
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", **script)


@contextmanager
def seat_taken(device: ApplianceProcess) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", device.port)) as other:
        other.sendall(b"GET /live/camera.flv HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert other.recv(12) == b"HTTP/1.1 200"
        yield


def test_quick_player_for_whom_there_is_no_room_plays_hls(
    browser: Chromium, tmp_path: Path
) -> None:
    with appliance_process(tmp_path, "live.viewers=1") as device:
        device.wait_line("live/camera is live")
        with seat_taken(device):
            browser.open(f"{device.url}live/camera?player=quick")
            browser.wait(f"{FIGURES}.includes('gave up')")
            wait_playing(browser, 2)


@pytest.mark.parametrize("encoder", ["libx265", "libopus"])
def test_quick_player_is_not_offered_for_what_it_cannot_play(
    browser: Chromium, tmp_path: Path, encoder: str
) -> None:
    clip = tmp_path / "clip.mp4"
    picture = "-f lavfi -i testsrc2=s=320x180:r=10"
    options = {
        "libx265": "-c:v libx265 -tag:v hvc1 -x265-params log-level=error:keyint=10",
        "libopus": "-c:v libx264 -g 10 -pix_fmt yuv420p -c:a libopus",
    }[encoder]
    command = f"ffmpeg -v error {picture} -f lavfi -i sine -t 3 {options}".split()
    subprocess.run([*command, str(clip)], check=True, timeout=60)
    config = f'[[stream]]\nname = "live/camera"\nsource = "file:{clip}"\n'
    with appliance_process(tmp_path, config=config) as device:
        device.wait_line("is live")
        browser.open(f"{device.url}live/camera?player=quick")
        browser.wait(f"{FIGURES}.includes('fps')")
        assert browser.run(f"return {QUICK}.hidden")
        assert sessions(device, "flv-play") == 0
