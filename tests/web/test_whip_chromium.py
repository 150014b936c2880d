"""Chromium publishes by WHIP, and what it sends is found in the other outputs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from appliance_process import ApplianceProcess, appliance_process
from chromium import Chromium

WEBRTC = 'webrtc.listen=["127.0.0.1:0"]'
PUBLISH = """
const [url, key, done] = arguments;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [320, 240];
const brush = canvas.getContext('2d');
setInterval(() => {
  for (let spot = 0; spot < 20; spot += 1) {
    brush.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
    brush.fillRect(Math.random() * 320, Math.random() * 240, 40, 30);
  }
}, 40);
const picture = canvas.captureStream(25);
const audio = new AudioContext();
const tone = audio.createOscillator();
const sink = audio.createMediaStreamDestination();
tone.connect(sink);
tone.start();
window.pc = new RTCPeerConnection();
for (const track of [picture.getVideoTracks()[0], sink.stream.getAudioTracks()[0]]) {
  pc.addTransceiver(track, {direction: 'sendonly', streams: [picture]});
}
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
  if (key) headers.Authorization = `Bearer ${key}`;
  const reply = await fetch(url, {method: 'POST', headers, body: pc.localDescription.sdp});
  const sdp = await reply.text();
  window.resource = reply.headers.get('Location');
  if (reply.status === 201) await pc.setRemoteDescription({type: 'answer', sdp});
  done([reply.status, sdp]);
})().catch((error) => done([0, String(error)]));
"""
SENT = "stats['outbound-rtp-video']"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("device")
    with appliance_process(folder, WEBRTC, config='[hls]\nsegment = "1s"\n') as process:
        yield process


def publish(
    browser: Chromium, device: ApplianceProcess, name: str, key: str = ""
) -> tuple[int, str]:
    browser.open(f"{device.url}web/style.css")
    status, text = browser.driver.execute_async_script(PUBLISH, f"{device.url}{name}/whip", key)
    return status, text


def probe(url: str, *options: str) -> dict[str, Any]:
    """What ffprobe finds within a few seconds: streams by kind, with how many frames."""
    command = ["timeout", "40", "ffprobe", "-v", "error", *options, "-of", "json", "-show_streams"]
    counted = ["-count_packets", "-read_intervals", "%+3", url]
    done = subprocess.run([*command, *counted], check=True, capture_output=True, timeout=60)
    return {stream["codec_type"]: stream for stream in json.loads(done.stdout)["streams"]}


def test_chromium_publishes_to_every_other_output(
    browser: Chromium, device: ApplianceProcess
) -> None:
    assert publish(browser, device, "live/page")[0] == 401
    status, text = publish(browser, device, "live/page", device.owner_key)
    assert status == 201, text
    browser.wait(f"{SENT}.framesEncoded > 30")
    rtsp = probe(f"rtsp://127.0.0.1:{device.rtsp_port}/live/page", "-rtsp_transport", "tcp")
    assert rtsp["video"]["codec_name"] == "h264"
    assert rtsp["audio"]["codec_name"] == "opus"
    flv = probe(f"{device.url}live/page.flv?audio=0")
    assert flv["video"]["codec_name"] == "h264"
    hls = probe(f"{device.url}live/page.m3u8")  # made of segments, which begin with keyframes
    assert {kind: int(one["nb_read_packets"]) > 3 for kind, one in hls.items()} == {
        "video": True,
        "audio": True,
    }
    browser.wait(f"{SENT}.pliCount > 0")
    since = len(device.lines)
    browser.run("pc.close()")
    device.wait_line("live/page the peer said goodbye", since=since)


def test_second_publisher_is_refused_until_the_first_has_left(
    browser: Chromium, device: ApplianceProcess
) -> None:
    status, text = publish(browser, device, "live/other", device.owner_key)
    assert status == 201, text
    browser.wait(f"{SENT}.framesEncoded > 5")
    since = len(device.lines)
    again = """
      const [url, key, done] = arguments;
      const headers = {'Content-Type': 'application/sdp', Authorization: `Bearer ${key}`};
      const body = pc.localDescription.sdp;
      fetch(url, {method: 'POST', headers, body}).then((reply) => done(reply.status));
    """
    arguments = f"{device.url}live/other/whip", device.owner_key
    assert browser.driver.execute_async_script(again, *arguments) == 409
    browser.run("fetch(resource, {method: 'DELETE'})")
    device.wait_line("live/other the peer has left", since=since)
    browser.wait("stats.transport.dtlsState === 'closed'")
