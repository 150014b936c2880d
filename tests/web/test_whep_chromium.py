"""Chromium plays what the device has, by WHEP and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium
from framehash import make_clip

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
  let text = await reply.text();
  if (reply.status !== 201) return done([reply.status, text]);
  window.resource = reply.headers.get('Location');
  window.etag = reply.headers.get('ETag');
  /* change */
  window.answer = text;
  await pc.setRemoteDescription({type: 'answer', sdp: text});
  done([reply.status, text]);
})().catch((error) => done([0, String(error)]));
"""
COLOURS = """
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
const brush = canvas.getContext('2d');
brush.drawImage(video, 0, 0);
const places = [...Array(8).keys()].map((at) => (at + 0.5) * canvas.width / 8);
return places.map((x) => [...brush.getImageData(x, canvas.height / 2, 1, 1).data.slice(0, 3)]);
"""
# What is offered anew is sent as a fragment; what comes back takes its place in the answer.
RESTART = """
const done = arguments[0];
(async () => {
  pc.restartIce();
  await pc.setLocalDescription();
  const lines = pc.localDescription.sdp.match(/a=(ice-ufrag|ice-pwd):.*\\r\\n/g);
  const body = lines.slice(0, 2).join('');
  const headers = {'Content-Type': 'application/trickle-ice-sdpfrag', 'If-Match': '*'};
  const reply = await fetch(resource, {method: 'PATCH', headers, body});
  const text = await reply.text();
  let sdp = answer;
  for (const name of ['ice-ufrag', 'ice-pwd']) {
    const line = new RegExp(`a=${name}:.*\\r\\n`);
    sdp = sdp.replace(new RegExp(line, 'g'), text.match(line)[0]);
  }
  await pc.setRemoteDescription({type: 'answer', sdp});
  done(reply.status);
})().catch((error) => done(String(error)));
"""
PICTURE = "stats['inbound-rtp-video']"
SOUND = "stats['inbound-rtp-audio']"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    with appliance_process(tmp_path_factory.mktemp("device"), WEBRTC) as process:
        yield process


def play(browser: Chromium, device: ApplianceProcess, *kinds: str, change: str = "") -> None:
    """change: of the answer's `text`, in JavaScript."""
    browser.open(f"{device.url}web/style.css")  # a page of the device's own, with nothing on it
    script = PLAY.replace("/* change */", change)
    status, text = browser.driver.execute_async_script(
        script, f"{device.url}live/camera/whep", list(kinds)
    )
    assert status == 201, text


def colours(browser: Chromium) -> list[list[int]]:
    """Of the picture's pixels at eight places across its middle."""
    found: list[list[int]] = browser.run(COLOURS)
    return found


def test_chromium_plays_picture_and_sound(browser: Chromium, device: ApplianceProcess) -> None:
    device.wait_line("live/camera is live")
    play(browser, device, "video", "audio")
    browser.wait(f"{PICTURE}.framesDecoded > 30")
    browser.wait(f"{SOUND}.packetsReceived > 50 && {SOUND}.totalSamplesReceived > 24000")
    assert browser.run(f"return {PICTURE}.frameWidth") == 640
    shown = colours(browser)
    assert max(map(max, shown)) > 150, "a picture with bright colours"
    assert len({tuple(one) for one in shown}) > 3, "a picture of several colours"
    before = browser.run(f"return {PICTURE}.framesDecoded")
    browser.wait(f"{PICTURE}.framesDecoded > {before + 15}")
    assert browser.run("return stats.transport.dtlsState") == "connected"
    browser.run("pc.close()")
    device.wait_line("live/camera the peer said goodbye")


def test_chromium_plays_by_tcp_alone(browser: Chromium, device: ApplianceProcess) -> None:
    device.wait_line("live/camera is live")
    since = len(device.lines)
    change = "text = text.replace(/a=candidate:.* udp .*\\r\\n/g, '');"
    play(browser, device, "video", "audio", change=change)
    browser.wait(f"{PICTURE}.framesDecoded > 30")
    device.wait_line("live/camera connected by tcp", since=since)
    browser.run("pc.close()")
    device.wait_line("live/camera the peer said goodbye", since=since)


def test_chromium_that_ends_its_resource_is_let_go(
    browser: Chromium, device: ApplianceProcess
) -> None:
    device.wait_line("live/camera is live")
    since = len(device.lines)
    play(browser, device, "video")
    browser.wait(f"{PICTURE}.framesDecoded > 5")
    browser.run("fetch(resource, {method: 'DELETE'})")
    device.wait_line("live/camera the peer has left", since=since)
    browser.wait("stats.transport.dtlsState === 'closed'")


def test_chromium_restarts_its_ice_by_patch(browser: Chromium, device: ApplianceProcess) -> None:
    device.wait_line("live/camera is live")
    play(browser, device, "video")
    browser.wait(f"{PICTURE}.framesDecoded > 5")
    assert browser.driver.execute_async_script(RESTART) == 200
    before = browser.run(f"return {PICTURE}.framesDecoded")
    browser.wait(f"{PICTURE}.framesDecoded > {before + 30}")
    assert browser.run("return pc.connectionState") == "connected"
    browser.run("pc.close()")


def test_chromium_plays_a_stream_with_b_frames_without_them(
    browser: Chromium, tmp_path: Path
) -> None:
    clip = make_clip("h264-b+aac")
    config = f'[[stream]]\nname = "live/camera"\nsource = "file:{clip}"\n'
    with appliance_process(tmp_path, WEBRTC, config=config) as device:
        device.wait_line("is live")
        play(browser, device, "video", "audio")
        browser.wait(f"{PICTURE}.framesDecoded > 60")
        assert browser.run(f"return {PICTURE}.pliCount") < 5
        browser.run("pc.close()")


def test_openssl_is_loaded_for_the_first_session_and_not_before(
    browser: Chromium, tmp_path: Path
) -> None:
    with appliance_process(tmp_path, WEBRTC) as device:
        device.wait_line("live/camera is live")
        maps = Path(f"/proc/{device.pid}/maps")
        assert "cryptography" not in maps.read_text()
        play(browser, device, "video")
        assert "cryptography" in maps.read_text()
        browser.run("pc.close()")
