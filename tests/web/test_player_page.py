"""The player page in Chromium, in front of the real appliance with its test pattern."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess, appliance_process
from burnt_clock import png_luma, read_clock
from chromium import Chromium

import appliance

VIDEO = "document.getElementById('video')"
BADGE = "document.getElementById('badge').textContent"
STATUS = "document.getElementById('status').textContent"
VEIL = "document.getElementById('veil')"
DAY_S = 86_400


def wait_playing(browser: Chromium, seconds: float = 1) -> None:
    """Until the picture has moved on by so many seconds from now."""
    start = browser.wait(f"{VIDEO}.currentTime || null")
    browser.wait(f"{VIDEO}.currentTime > {start + seconds}")
    browser.wait(f"{BADGE}.startsWith('Live')")


def told_latency_s(browser: Chromium) -> float:
    text = browser.wait(f"{BADGE}.includes('behind') && {BADGE}")
    return float(re.search(r"([\d.]+) s behind", text)[1])


@pytest.mark.parametrize("player", ["hls", "native"])
def test_player_page_plays(browser: Chromium, device: ApplianceProcess, player: str) -> None:
    browser.open(f"{device.url}live/camera?player={player}")
    wait_playing(browser, 3)
    assert browser.run(f"return [{VIDEO}.videoWidth, {VIDEO}.videoHeight]") == [640, 360]
    assert browser.run(f"return {VIDEO}.getVideoPlaybackQuality().totalVideoFrames") > 15
    assert browser.run(f"return {VIDEO}.src.startsWith('blob:')") is (player == "hls")
    assert browser.run(f"return {VEIL}.hidden")
    browser.assert_quiet(device.url)


def test_player_page_shows_the_picture_of_the_time_it_tells(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.emulate(640, 900)  # where the page is a phone's, the picture has its own size
    browser.open(f"{device.url}live/camera?player=hls")
    wait_playing(browser, 3)
    box = browser.run("return document.getElementById('stage').getBoundingClientRect().toJSON()")
    assert (box["width"], box["height"]) == (640, 360)
    latency_s, before_s = told_latency_s(browser), time.time()
    png = browser.screenshot()
    after_s = time.time()
    clock_s = read_clock(png_luma(png, 0, round(box["top"]), 640, 360), 640, 360)
    local = time.localtime(before_s)
    day_s = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec + before_s % 1
    behind_s = (day_s - clock_s) % DAY_S
    # The badge is a second old at most, and the picture was taken at some time between.
    assert latency_s - 1.2 < behind_s < latency_s + (after_s - before_s) + 1.2


def test_player_page_goes_on_when_the_worker_is_killed(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(f"{device.url}live/camera?player=hls")
    wait_playing(browser)
    browser.run("window.same = true")
    told = len(device.lines)
    os.kill(device.children()[0], signal.SIGKILL)
    device.wait_line("is live", since=told)
    wait_playing(browser, 6)
    assert browser.run("return window.same")
    assert browser.noticed() == []


def test_player_page_comes_back_by_itself_after_the_device_restarts(
    browser: Chromium, tmp_path: Path
) -> None:
    with appliance_process(tmp_path) as device:
        browser.open(f"{device.url}live/camera")
        wait_playing(browser)
        browser.run("window.same = true")
        device.kill()
        browser.wait(f"!{VEIL}.hidden && {STATUS}.length > 0", 60)
        assert browser.run(f"return {STATUS}") in {
            "Reconnecting…", "Waiting for the picture…",
            "The device does not answer. Trying again…",
        }  # fmt: skip
        with appliance_process(tmp_path, port=device.port):
            browser.wait(f"{VEIL}.hidden", 60)
            wait_playing(browser, 2)
            assert browser.run("return window.same")


@pytest.mark.parametrize("player", ["hls", "native"])
def test_player_page_loads_a_source_again_that_stands_still(
    browser: Chromium, device: ApplianceProcess, player: str
) -> None:
    """The device answers all the while; only the media stops coming, and then comes again."""
    browser.open(f"{device.url}live/camera?player={player}")
    wait_playing(browser)
    browser.command("Network.setBlockedURLs", urls=["*/live/camera.hls/*"])
    try:
        browser.wait(f"!{VEIL}.hidden && {STATUS} === 'Reconnecting…'", 60)
    finally:
        browser.command("Network.setBlockedURLs", urls=[])
    browser.wait(f"{VEIL}.hidden", 60)
    wait_playing(browser)


def test_player_page_returns_to_the_live_edge_after_a_pause(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(f"{device.url}live/camera?player=hls")
    wait_playing(browser)
    usual_s = told_latency_s(browser)
    browser.run("document.getElementById('pause').click(); window.since = performance.now()")
    assert browser.wait(f"{BADGE} === 'Paused'")
    browser.wait("performance.now() - window.since > 6000")
    assert browser.run(f"return {VIDEO}.paused")
    browser.run("document.getElementById('pause').click()")
    wait_playing(browser)
    assert told_latency_s(browser) < usual_s + 4


def test_player_page_returns_to_the_live_edge_when_it_is_seen_again(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(f"{device.url}live/camera?player=hls")
    wait_playing(browser)
    usual_s = told_latency_s(browser)
    page = browser.driver.current_window_handle
    browser.run(
        "document.addEventListener('visibilitychange',"
        f" () => document.hidden && {VIDEO}.pause());"  # as phones do
    )
    browser.driver.switch_to.new_window("tab")
    browser.run("window.since = performance.now()")
    browser.wait("performance.now() - window.since > 8000")
    browser.driver.close()
    browser.driver.switch_to.window(page)
    wait_playing(browser)
    assert told_latency_s(browser) < usual_s + 4


def test_player_page_of_an_on_demand_stream_starts_it(browser: Chromium, tmp_path: Path) -> None:
    with appliance_process(tmp_path, "stream.live/camera.on_demand=true") as device:
        assert device.children() == []
        browser.open(f"{device.url}live/camera?player=hls")
        wait_playing(browser)
        assert len(device.children()) == 1
        browser.assert_quiet(device.url)


def test_player_page_waits_for_a_stream_that_is_not_there_yet(
    browser: Chromium, tmp_path: Path
) -> None:
    config = '[[stream]]\nname = "live/later"\n'
    with appliance_process(tmp_path, config=config) as device:
        browser.open(f"{device.url}live/later")
        browser.wait(f"{STATUS} === 'The camera is offline.'")
        browser.assert_quiet(device.url)


@pytest.mark.parametrize(
    ("player", "words"),
    [("hls", "This browser cannot play H.265."), ("native", "seems unable to play H.265.")],
)
def test_player_page_says_what_the_browser_cannot_decode(
    browser: Chromium, tmp_path: Path, player: str, words: str
) -> None:
    clip = tmp_path / "clip.mp4"
    command = "ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=10 -t 3 -c:v libx265 -tag:v hvc1"
    encoder = ["-x265-params", "log-level=error:keyint=10"]
    subprocess.run([*command.split(), *encoder, str(clip)], check=True, timeout=60)
    config = f'[[stream]]\nname = "live/camera"\nsource = "file:{clip}"\n'
    with appliance_process(tmp_path, config=config) as device:
        browser.open(f"{device.url}live/camera?player={player}")
        browser.wait(f"{VEIL}.innerText.includes('{words}')")
        browser.assert_quiet(device.url)


def test_player_page_asks_for_the_key_and_plays_with_it(browser: Chromium, tmp_path: Path) -> None:
    with appliance_process(tmp_path, "auth.play=key") as device:
        key = device.wait_line(r"^      (\S{22})$")[1]
        browser.open(f"{device.url}live/camera?player=hls")
        for secret, sign in (("wrong", "form .wrong"), (key, "body:not(.locked)")):
            browser.wait("document.querySelector('form.key')")
            browser.run(
                "document.querySelector('input[name=secret]').value = arguments[0];"
                "document.querySelector('form.key').requestSubmit()",
                secret,
            )
            browser.wait(f"document.querySelector('{sign}')")
        wait_playing(browser)
        assert browser.noticed() == []
        assert key not in browser.run(
            "return location.href + document.cookie + JSON.stringify(localStorage)"
        )
        after = device.log[device.log.index("listening on http") :]
        assert key not in after and "key=" not in after


def test_player_page_keys_pause_and_unmute(browser: Chromium, device: ApplianceProcess) -> None:
    browser.open(f"{device.url}live/camera?player=hls")
    wait_playing(browser)
    press = (
        "document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key: arguments[0], bubbles: true}))"
    )
    browser.run(press, "m")
    assert browser.run(f"return {VIDEO}.muted") is False
    assert (
        browser.run("return document.getElementById('mute').getAttribute('aria-label')") == "Mute"
    )
    browser.run(press, " ")
    browser.wait(f"{VIDEO}.paused")
    browser.run(press, "k")
    wait_playing(browser)


def test_player_page_without_the_libraries_plays_natively(
    browser: Chromium, tmp_path: Path
) -> None:
    """A device that was set up without npm."""
    bare = tmp_path / "appliance"
    shutil.copytree(
        Path(appliance.__file__).parent, bare, ignore=shutil.ignore_patterns("vendor", "*.pyc")
    )
    with appliance_process(tmp_path, package_root=tmp_path) as device:
        browser.open(f"{device.url}live/camera")
        wait_playing(browser, 2)
        browser.open(device.url)
        browser.wait("document.body.textContent.includes('live/camera')")
