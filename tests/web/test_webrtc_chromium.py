"""Chromium plays from us and publishes to us over a path with loss: SRTP, RTX, feedback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from chromium import Chromium
from framehash import clip_units
from webrtc_end import RTX_SSRC, SSRC, Playing, Taking, WebRtcEnd
from webrtc_offers import OFFERS, offer

from appliance.wire.dtls.server import DtlsState
from appliance.wire.sdp.webrtc import Sending
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, AES128_CM_SHA1_80, SrtpProfile

LOSS = 0.03
PATIENCE_S = 60
TAKE = """
const [sdp, done] = arguments;
const video = document.createElement('video');
video.muted = true;
document.body.append(video);
pc.ontrack = ({track}) => { video.srcObject = new MediaStream([track]); video.play(); };
pc.setRemoteDescription({type: 'answer', sdp}).then(() => done('taken'), (e) => done(String(e)));
"""
WATCH = """
window.stats = {};
setInterval(async () => {
  const found = {};
  for (const stat of (await pc.getStats()).values()) {
    const kind = stat.kind ? `${stat.type}-${stat.kind}` : stat.type;
    if (kind !== 'candidate-pair' || stat.nominated) found[kind] = stat;
  }
  window.stats = found;
}, 100);
"""
# A picture that never stands still, as big as a camera's small one
PUBLISH = """
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [320, 240];
const brush = canvas.getContext('2d');
setInterval(() => {
  for (let spot = 0; spot < 60; spot += 1) {
    brush.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
    brush.fillRect(Math.random() * 320, Math.random() * 240, 40, 30);
  }
}, 40);
const picture = canvas.captureStream(25);
pc.addTransceiver(picture.getVideoTracks()[0], {direction: 'sendonly', streams: [picture]});
"""
CIPHERS = {
    AEAD_AES_128_GCM: "SRTP_AEAD_AES_128_GCM",
    AES128_CM_SHA1_80: "SRTP_AES128_CM_HMAC_SHA1_80",
}


@asynccontextmanager
async def our_end(profiles: Sequence[SrtpProfile], loss: float) -> AsyncIterator[WebRtcEnd]:
    loop = asyncio.get_running_loop()
    transport, end = await loop.create_datagram_endpoint(
        lambda: WebRtcEnd(profiles, loss), local_addr=("127.0.0.1", 0)
    )
    running = asyncio.create_task(end.run())
    try:
        yield end
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        transport.close()


async def wait(browser: Chromium, script: str) -> object:
    return await asyncio.to_thread(browser.wait, script, PATIENCE_S)


async def until(is_true: Callable[[], bool]) -> None:
    """Our end has come so far."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if is_true():
                return
            await asyncio.sleep(0.02)


async def begin(browser: Chromium, end: WebRtcEnd, prepare: str, sending: Sending | None) -> None:
    browser.open("data:text/html,<p>")
    text = await asyncio.to_thread(offer, browser, prepare)
    sdp, section = end.answer(text, sending)
    if sending is None:
        end.media = Taking(end, section)
    else:
        end.media = Playing(end, section, clip_units("h264")[1])
    taken = await asyncio.to_thread(browser.driver.execute_async_script, TAKE, sdp)
    assert taken == "taken", sdp
    await asyncio.to_thread(browser.run, WATCH)


@pytest.mark.parametrize("profile", CIPHERS, ids=lambda profile: profile.name)
async def test_chromium_plays_what_we_send_over_a_lossy_path(
    browser: Chromium, profile: SrtpProfile
) -> None:
    tracks, _ = clip_units("h264")
    async with our_end((profile,), LOSS) as end:
        await begin(browser, end, OFFERS["chromium_play"], Sending(tracks[0], SSRC, RTX_SSRC))
        playing = end.media
        assert isinstance(playing, Playing)
        inbound = "stats['inbound-rtp-video']"
        await wait(browser, f"{inbound}.framesDecoded > 40")
        await wait(browser, f"{inbound}.retransmittedPacketsReceived > 0")
        assert browser.run("return stats.transport.srtpCipher") == CIPHERS[profile]
        assert browser.run("return stats.transport.tlsVersion") == "FEFD"
        await until(lambda: playing.retransmission.answered > 0)
        await until(lambda: playing.bandwidth.reported_packets > 100)
        await until(lambda: playing.bandwidth.lost_packets > 0)
        assert playing.lost > 0
        assert end.faults == []
        await asyncio.to_thread(browser.run, "pc.close()")
        await until(lambda: end.dtls is not None and end.dtls.state is DtlsState.CLOSED)


async def test_chromium_publishes_to_us_over_a_lossy_path(browser: Chromium) -> None:
    async with our_end((AEAD_AES_128_GCM, AES128_CM_SHA1_80), LOSS) as end:
        await begin(browser, end, PUBLISH, None)
        taking = end.media
        assert isinstance(taking, Taking)
        outbound = "stats['outbound-rtp-video']"
        await wait(browser, f"{outbound}.retransmittedPacketsSent > 0")
        await wait(browser, f"{outbound}.framesEncoded > 30")
        # It begins at 300 kbit/s, and dares more only after feedback that it understands
        await wait(browser, "stats['candidate-pair'].availableOutgoingBitrate > 400000")
        taking.ask_for_key()
        await wait(browser, f"{outbound}.pliCount > 0")
        await until(lambda: taking.units > 30 and taking.keys > 0)
        await until(lambda: taking.restored > 0 and taking.missing.recovered > 0)
        await until(lambda: taking.feedbacks > 5)
        assert end.faults == []
        await asyncio.to_thread(browser.run, "pc.close()")
