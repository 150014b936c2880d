"""A publisher that can say anything: what is put together, what is asked for again, how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from framehash import clip_units
from mutation import CORPUS
from webrtc_site import NAME, WebRtcSite, webrtc_site
from webrtc_viewer import SSRC, Viewer, offer_of, until

from appliance.hub.access import AuthSettings, Policy
from appliance.media.clock import us_to_ticks
from appliance.media.unit import AccessUnit
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.formats.h264 import H264Packetizer
from appliance.wire.rtp.packet import header

OFFER = (CORPUS / "webrtc" / "chromium_publish.sdp").read_bytes()
WHIP = f"/{NAME}/whip"
OPEN = AuthSettings(publish=Policy.OPEN)
RTX_SSRC = SSRC + 1


class Sender:
    """A clip's pictures as SRTP, with those that a test leaves out."""

    def __init__(self, peer: Viewer) -> None:
        self.peer = peer
        media = next(media for media in peer.session.media if media.kind == "video")
        self.kind, self.rtx_kind = (int(word) for word in media.formats)
        _, self._units = clip_units("h264-small")
        self._packetizer = H264Packetizer(400)
        self._sequence = 100
        self._rtx_sequence = 7
        self._at = 0
        self.kept: dict[int, tuple[bytes, bytes]] = {}  # what was left out: header, payload

    def write(self, count: int = 1, *, lose: frozenset[int] = frozenset()) -> list[AccessUnit]:
        """lose: which of all the packets of these pictures."""
        units = self._units[self._at : self._at + count]
        self._at += count
        number = 0
        for unit in units:
            stamp = us_to_ticks(unit.pts_us, 90_000)
            for payload in self._packetizer.payloads(unit):
                head = header(self.kind, self._sequence, stamp, SSRC, payload.marker)
                if number in lose:
                    self.kept[self._sequence] = head, payload.data
                else:
                    self.send(SSRC, self._sequence, head, payload.data)
                self._sequence += 1
                number += 1
        return units

    def send(self, ssrc: int, sequence: int, head: bytes, payload: bytes) -> None:
        assert self.peer.outbound is not None
        self.peer.send(self.peer.outbound.stream(ssrc).protect(sequence, [head], [payload]))

    def send_again(self, sequence: int) -> None:
        """As RTX."""
        head, payload = self.kept.pop(sequence)
        stamp = int.from_bytes(head[4:8], "big")
        marker = bool(head[1] & 0x80)
        own = header(self.rtx_kind, self._rtx_sequence, stamp, RTX_SSRC, marker)
        self.send(RTX_SSRC, self._rtx_sequence, own, sequence.to_bytes(2, "big") + payload)
        self._rtx_sequence += 1

    def asked(self, kind: type[rtcp.Nack | rtcp.PictureLoss]) -> list[rtcp.RtcpPacket]:
        return [packet for packet in self.peer.control if isinstance(packet, kind)]


@asynccontextmanager
async def published() -> AsyncIterator[tuple[WebRtcSite, Sender]]:
    async with webrtc_site(auth=OPEN) as site:
        peer = Viewer()
        await peer.ask(site, offer_of(offer=OFFER), WHIP)
        try:
            await peer.connect()
            yield site, Sender(peer)
        finally:
            peer.close()


def units_of(site: WebRtcSite) -> list[AccessUnit]:
    return list(site.hub.streams[NAME].units.items)


async def test_pictures_are_put_together_and_published() -> None:
    async with published() as (site, sender):
        sent = sender.write(20)
        await until(lambda: len(units_of(site)) >= 19)  # sound, which never comes, is waited for
        got = units_of(site)
        assert got[0].key
        assert [one.parts[-1] for one in got] == [one.parts[-1] for one in sent[-len(got) :]]
        [session] = site.context.sessions.active.values()
        assert (session.kind, session.is_publisher) == ("rtc-publish", True)


async def test_lost_packet_is_asked_for_and_taken_as_rtx() -> None:
    async with published() as (site, sender):
        while not sender.asked(rtcp.Nack):  # one that waits longer than a picture does is given up
            sender.write(3, lose=frozenset({1}))
            await asyncio.sleep(0.02)
        [nack, *_] = sender.asked(rtcp.Nack)
        assert isinstance(nack, rtcp.Nack)
        assert set(nack.sequences) <= sender.kept.keys()
        sender.send_again(nack.sequences[0])
        [peer] = site.exchange.by_token.values()
        await until(lambda: peer.media.figures()["restored"] == 1)
        assert peer.media.figures()["asked_again"] >= 1


async def test_packet_that_is_lost_for_good_makes_a_wish_for_a_keyframe() -> None:
    async with published() as (site, sender):
        sender.write(5, lose=frozenset({6}))
        sender.write(5)
        await sender.peer.until(lambda: sender.asked(rtcp.PictureLoss))
        [peer] = site.exchange.by_token.values()
        assert peer.media.figures()["lost_packets"] == 1


async def test_reports_tell_how_it_is_received() -> None:
    async with published() as (_, sender):
        sender.write(5)
        reports = sender.peer.control
        await sender.peer.until(
            lambda: any(isinstance(one, rtcp.ReceiverReport) and one.blocks for one in reports)
        )


async def test_packets_of_another_kind_are_counted_and_end_nothing() -> None:
    async with published() as (site, sender):
        [peer] = site.exchange.by_token.values()
        for number, payload in enumerate((b"", b"x", bytes(1200))):
            sender.send(9000, number, header(127, number, 0, 9000, True), payload)
        damaged = bytes((0xBF, 0x60)) + bytes(
            10
        )  # padding, extension and sources that are not there
        sender.peer.send(damaged + bytes(40))
        await until(lambda: peer.media.figures()["foreign_packets"] == 3)
        sender.write(10)
        await until(lambda: len(units_of(site)) >= 9)


async def test_goodbye_gives_the_stream_back() -> None:
    async with published() as (site, sender):
        assert site.hub.streams[NAME].publisher is not None
        assert (await site.offer(offer_of(offer=OFFER), WHIP))[0] == 409
        sender.peer.say(rtcp.Goodbye((SSRC,)))
        await until(lambda: not site.exchange.by_token)
        assert site.hub.streams[NAME].publisher is None
        assert not site.context.sessions.active


async def test_publisher_who_says_nothing_is_let_go() -> None:
    async with published() as (site, _):
        [peer] = site.exchange.by_token.values()
        peer.tick(site.hub.clock.monotonic_us() + 16_000_000)
        assert peer.why == "the publisher is silent"
        assert site.hub.streams[NAME].publisher is None


@pytest.mark.parametrize(
    ("offer", "status"),
    [
        (b"", 400),
        (OFFER.replace(b"actpass", b"passive"), 400),
        (OFFER.replace(b"sendonly", b"recvonly"), 415),
        (OFFER.replace(b"H264/", b"H26X/").replace(b"AV1/", b"AVX/").replace(b"opus/", b"opux/")
         .replace(b"PCM", b"PXM").replace(b"H265/", b"H26Y/"), 415),
    ],
)  # fmt: skip
async def test_offer_that_cannot_be_taken_leaves_the_stream_free(offer: bytes, status: int) -> None:
    async with webrtc_site(auth=OPEN) as site:
        got, text, _ = await site.offer(offer, WHIP)
        assert got == status, text
        stream = site.hub.streams.get(NAME)
        assert stream is None or stream.publisher is None
        assert not site.context.sessions.active
        assert not site.service.exchange or not len(site.exchange.directory)


async def test_publishing_needs_a_key_and_says_by_which_scheme() -> None:
    async with webrtc_site() as site:
        status, _, head = await site.offer(offer_of(offer=OFFER), WHIP)
        assert (status, head["www-authenticate"]) == (401, "Bearer")


async def test_older_api_publishes_too() -> None:
    async with webrtc_site(auth=OPEN) as site:
        body = json.dumps({"streamurl": f"webrtc://x/{NAME}", "sdp": OFFER.decode()}).encode()
        path, kind = "/rtc/v1/publish/", "application/json"
        _, text, _ = await site.ask("POST", path, body, Content_Type=kind)
        assert json.loads(text)["code"] == 0
        _, text, _ = await site.ask("POST", path, body, Content_Type=kind)
        assert json.loads(text)["code"] == 400
