"""The pages say why nothing comes from where a stream is fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium

# Nobody listens on port 1.
CONFIG = """
[[stream]]
name = "live/door"
source = "rtsp://admin:s3cret@127.0.0.1:1/cam-7"
"""
NOTICE = "document.querySelector('.card .notice').innerText"
DETAIL = "document.querySelector('#detail').innerText"
SIGN_IN = "sessionStorage.setItem('porthole-credentials', JSON.stringify({user: '', secret: %s}))"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("fault"), config=CONFIG) as process:
        yield process


def test_pages_tell_anybody_why_a_source_is_away_without_its_address(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(device.url)
    browser.wait(f"{NOTICE} === 'Offline: it cannot be reached.'")
    assert "cam-7" not in browser.run("return document.body.innerHTML")
    browser.open(f"{device.url}live/door")
    browser.wait(f"{DETAIL} === 'It cannot be reached.'")


def test_pages_tell_the_owner_what_exactly_it_was(
    browser: Chromium, device: ApplianceProcess
) -> None:
    browser.open(device.url)
    browser.run(SIGN_IN % json.dumps(device.owner_key))
    try:
        browser.open(device.url)
        browser.wait(f"{NOTICE} === 'Offline: connection refused.'")
        assert "s3cret" not in browser.run("return document.body.innerHTML")
    finally:
        browser.run("sessionStorage.clear()")


@pytest.mark.parametrize(
    ("fault", "notice"),
    [
        ({"reason": "login", "retry_s": 63}, "it refuses the user or password. It is asked again"),
        ({"reason": "tls", "retry_s": 2}, r"its certificate is not trusted\.$"),
        ({"reason": "news", "retry_s": None}, r"nothing comes\.$"),
        ({"reason": "x", "retry_s": 1, "detail": "x: <b>no</b>"}, r"<b>no</b>\.$"),
    ],
)
def test_pages_have_words_for_each_fault(
    browser: Chromium, device: ApplianceProcess, fault: dict[str, object], notice: str
) -> None:
    browser.open(device.url)
    row = {"fault": fault, "online": False}
    said = browser.run(
        f"return import('/web/words.js').then((words) => words.cameraNotice({json.dumps(row)}))"
    )
    assert re.search(f"^Offline: {notice}", said)


STILL = """
return import('/web/playback.js').then(({ Playback }) => {
  const isAway = () => %s;
  const options = { url: () => '/none', engine: 'native', isAway, onChange: () => {} };
  const playback = new Playback(document.createElement('video'), options);
  playback.start();
  playback._hasPlayed = true;
  playback.state = 'playing';
  playback._onStill(60000);
  const { state } = playback;
  playback.dispose();
  return state;
});
"""


@pytest.mark.parametrize(("away", "state"), [("true", "stalled"), ("false", "reconnecting")])
def test_player_of_a_camera_that_is_away_does_not_show_its_last_seconds_again(
    browser: Chromium, device: ApplianceProcess, away: str, state: str
) -> None:
    browser.open(device.url)
    assert browser.run(STILL % away) == state
