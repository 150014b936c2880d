"""Run as a program it writes tests/corpus/webrtc/chromium_*.sdp anew, with the Chromium at hand.

Those that are kept are of Chromium 156 (Debian 12).
"""

from __future__ import annotations

from pathlib import Path

from chromium import Chromium, chromium

CORPUS = Path(__file__).parent.parent / "corpus" / "webrtc"
_PLAY = """
pc.addTransceiver('video', {direction: 'recvonly'});
pc.addTransceiver('audio', {direction: 'recvonly'});
"""
# A canvas and silence instead of devices; candidates are in it, by names of mDNS
_PUBLISH = """
const canvas = document.createElement('canvas');
canvas.getContext('2d').fillRect(0, 0, 9, 9);
const picture = canvas.captureStream(10);
const sound = new AudioContext().createMediaStreamDestination().stream;
for (const track of [picture.getVideoTracks()[0], sound.getAudioTracks()[0]]) {
  pc.addTransceiver(track, {direction: 'sendonly', streams: [picture]});
}
"""
OFFERS = {
    "chromium_play": _PLAY,
    "chromium_play_data": _PLAY + "pc.createDataChannel('x');",
    "chromium_publish": _PUBLISH,
}


def offer(browser: Chromium, prepare: str) -> str:
    """A connection that `prepare` makes something of, as `pc`; it stays the page's."""
    script = f"""
      const done = arguments[0];
      (async () => {{
        const pc = window.pc = new RTCPeerConnection({{bundlePolicy: 'max-bundle'}});
        {prepare}
        await pc.setLocalDescription();
        for (let turn = 0; turn < 30 && pc.iceGatheringState !== 'complete'; turn += 1) {{
          await new Promise((resolve) => setTimeout(resolve, 100));
        }}
        return pc.localDescription.sdp;
      }})().then(done, (error) => done(String(error)));
    """
    found: str = browser.driver.execute_async_script(script)
    assert found.startswith("v=0"), found
    return found


if __name__ == "__main__":
    with chromium() as shown:
        shown.open("data:text/html,<p>")
        for name, made_by in OFFERS.items():
            (CORPUS / f"{name}.sdp").write_bytes(offer(shown, made_by).encode())
