"""Chromium plays what the device has, by WHEP and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium

WEBRTC = 'webrtc.listen=["127.0.0.1:0"]'

PLAY = """
const [url, kinds, done] = arguments;
window.pc = new RTCPeerConnection();
window.video = document.createElement('video');
video.muted = true;
video.style.position = 'fixed';
video.style.inset = '0';
document.body.append(video);
video.srcObject = new MediaStream();
pc.ontrack = ({track}) => { video.srcObject.addTrack(track); video.play(); };
for (const kind of kinds) pc.addTransceiver(kind, {direction: 'recvonly'});
window.stats = {};
setInterval(async () => {
  const found = {};
  for (const stat of (await pc.getStats()).values()) {
    found[stat.kind ? `${stat.type}-${stat.kind}` : stat.type] = stat;
  }
  window.stats = found;
}, 100);
(async () => {
  await pc.setLocalDescription();
  const headers = {'Content-Type': 'application/sdp'};
  const reply = await fetch(url, {method: 'POST', headers, body: pc.localDescription.sdp});
  const text = await reply.text();
  if (reply.status !== 201) return done([reply.status, text]);
  window.resource = reply.headers.get('Location');
  await pc.setRemoteDescription({type: 'answer', sdp: text});
  done([reply.status, text]);
})().catch((error) => done([0, String(error)]));
"""
PICTURE = "stats['inbound-rtp-video']"
SOUND = "stats['inbound-rtp-audio']"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device"), WEBRTC) as process:
        yield process


def play(browser: Chromium, device: ApplianceProcess, *kinds: str) -> str:
    browser.open(f"{device.url}web/style.css")
    status, text = browser.driver.execute_async_script(
        PLAY, f"{device.url}live/camera/whep", list(kinds)
    )
    assert status == 201, text
    return text


def test_chromium_plays_picture_and_sound(browser: Chromium, device: ApplianceProcess) -> None:
    device.wait_line("live/camera is live")
    play(browser, device, "video", "audio")
    browser.wait(f"{PICTURE}.framesDecoded > 30")
    browser.wait(f"{SOUND}.packetsReceived > 50")
    browser.run("pc.close()")
    device.wait_line("the peer said goodbye")
