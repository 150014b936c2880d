"""What a viewer is sent, and what its feedback does: by a viewer that can say anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from dtls_peer import Client, certificate
from ice_peer import check
from webrtc_site import Film, WebRtcSite, webrtc_site
from webrtc_viewer import Viewer, offer_of, until

from appliance.services.webrtc import Settings
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.formats.h264 import H264Depacketizer


@asynccontextmanager
async def watched(kind: str = "h264-small") -> AsyncIterator[tuple[WebRtcSite, Film, Viewer]]:
    """A viewer that is connected, of a film that has begun."""
    async with webrtc_site() as site:
        film = site.publish(kind)
        film.write(3)
        viewer = Viewer()
        await viewer.ask(site, offer_of())
        try:
            await viewer.connect()
            yield site, film, viewer
        finally:
            viewer.close()


async def test_viewer_gets_every_picture_from_the_newest_keyframe_on() -> None:
    async with watched() as (_, film, viewer):
        film.write(30)
        ssrc, _ = viewer.ssrcs("video")

        def pictures() -> list[Assembled]:
            depacketizer = H264Depacketizer()
            packets = viewer.of(ssrc)
            return [unit for one in packets for unit in depacketizer.push(one, one.timestamp)]

        await viewer.until(lambda: len(pictures()) >= len(film.written))
        numbers = [packet.sequence for packet in viewer.of(ssrc)]
        assert all((b - a) & 0xFFFF == 1 for a, b in pairwise(numbers))
        assert pictures()[0].key
        assert [one.parts[-1] for one in pictures()] == [one.parts[-1] for one in film.written]


@pytest.mark.parametrize("listen", [":0", "0.0.0.0:0", "[::]:0", "[::1]:0", "localhost:0"])
async def test_viewer_is_reached_by_whatever_is_listened_on(listen: str) -> None:
    async with webrtc_site(Settings(listen=(listen,))) as site:
        site.publish().write(3)
        viewer = Viewer()
        await viewer.ask(site, offer_of())
        if listen == "[::]:0":
            viewer.host = "::1"
        try:
            await viewer.connect()
            await viewer.until(lambda: viewer.packets)
        finally:
            viewer.close()


async def test_sender_reports_tell_of_the_picture() -> None:
    async with watched() as (_, _, viewer):
        await viewer.until(
            lambda: any(isinstance(packet, rtcp.SenderReport) for packet in viewer.control)
        )
        report = next(p for p in viewer.control if isinstance(p, rtcp.SenderReport))
        assert report.ssrc == viewer.ssrcs("video")[0]


async def test_lost_packet_is_sent_again_as_rtx_once_a_round_trip() -> None:
    async with watched() as (_, _, viewer):
        ssrc, rtx_ssrc = viewer.ssrcs("video")
        await viewer.until(lambda: viewer.of(ssrc))
        lost = viewer.of(ssrc)[0]
        for _ in range(5):
            viewer.say(rtcp.Nack(4242, ssrc, (lost.sequence,)))
        await viewer.until(lambda: viewer.of(rtx_ssrc))
        again = viewer.of(rtx_ssrc)[0]
        assert bytes(again.payload) == lost.sequence.to_bytes(2, "big") + bytes(lost.payload)
        viewer.say(rtcp.PictureLoss(4242, ssrc))
        viewer.say(rtcp.Nack(4242, ssrc, (viewer.of(ssrc)[-1].sequence,)))
        await viewer.until(lambda: len(viewer.of(rtx_ssrc)) >= 2)
        assert len(viewer.of(rtx_ssrc)) == 2


async def test_nack_storm_is_answered_with_a_share_of_the_media() -> None:
    async with watched() as (site, film, viewer):
        film.write(60)
        ssrc, _ = viewer.ssrcs("video")
        await viewer.until(lambda: len(viewer.of(ssrc)) > 60)
        everything = tuple(number & 0xFFFF for number in range(0x10000))
        for start in range(0, len(everything), 512):
            viewer.say(rtcp.Nack(4242, ssrc, everything[start : start + 512]))
        [peer] = site.exchange.by_token.values()
        await until(lambda: peer.media.figures()["nacked"] >= 0x10000)
        figures = peer.media.figures()
        assert 0 < figures["sent_again"] <= figures["packets"]


async def test_wishes_for_keyframes_reach_the_source_once_a_second() -> None:
    async with watched() as (site, film, viewer):
        ssrc, _ = viewer.ssrcs("video")
        before = film.key_requests
        for number in range(50):
            viewer.say(rtcp.PictureLoss(4242, ssrc), rtcp.FullIntra(4242, ssrc, number))
        [peer] = site.exchange.by_token.values()
        await until(lambda: peer.heard["rtcp"] >= 50)
        assert film.key_requests <= before + 2
        await until(lambda: film.key_requests > before)  # what waited is not forgotten


async def test_feedback_for_a_foreign_source_does_nothing() -> None:
    async with watched() as (site, film, viewer):
        before = film.key_requests
        viewer.say(rtcp.PictureLoss(4242, 1), rtcp.Nack(4242, 1, (1, 2, 3)))
        [peer] = site.exchange.by_token.values()
        await until(lambda: peer.heard["rtcp"] >= 1)
        assert film.key_requests == before
        assert peer.media.figures()["nacked"] == 0


async def test_goodbye_of_the_viewer_ends_its_session() -> None:
    async with watched() as (site, _, viewer):
        viewer.client.connection.shutdown()
        for datagram in viewer.client.output():
            viewer.send(datagram)
        await until(lambda: not site.exchange.by_token)
        assert not site.context.sessions.active
        assert not len(site.exchange.directory)
        assert not site.hub.streams["live/camera"].demand.viewers


async def test_viewer_is_told_when_the_api_ends_its_session() -> None:
    async with watched() as (site, _, viewer):
        [session] = site.context.sessions.active.values()
        assert (session.kind, session.stream) == ("rtc-play", "live/camera")
        assert session.kick is not None
        session.kick()
        await viewer.until(lambda: viewer.client.has_ended)
        await viewer.until(lambda: any(isinstance(p, rtcp.Goodbye) for p in viewer.control))
        assert not site.context.sessions.active


async def test_viewer_is_told_when_the_stream_is_over() -> None:
    async with watched() as (site, _, viewer):
        site.hub.remove("live/camera")
        await viewer.until(lambda: viewer.client.has_ended)
        assert not site.exchange.by_token


async def test_viewer_that_moves_is_sent_to_where_it_names() -> None:
    async with watched() as (_, film, viewer):
        film.write(1)
        other = Viewer()
        other.port, other.local, other.inbound = viewer.port, viewer.local, viewer.inbound
        await other.open()
        try:
            other.send(check(viewer.local, nominating=True))
            await other.until(lambda: other.checks)
            film.write(5)
            await other.until(lambda: other.packets)
        finally:
            other.close()


async def test_wrong_certificate_gets_no_media_and_ends_the_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with webrtc_site() as site:
        film = site.publish()
        film.write(3)
        viewer = Viewer()
        await viewer.ask(site, offer_of())
        viewer.client = Client(own=certificate("somebody else"))
        await viewer.open()
        try:
            viewer.send(check(viewer.local, nominating=True))
            await viewer.until(lambda: viewer.checks)
            for datagram in viewer.client.start():
                viewer.send(datagram)
            await until(lambda: not site.exchange.by_token)
            film.write(3)
            assert not viewer.packets
            assert "not the one it announced" in caplog.text
        finally:
            viewer.close()


async def test_what_is_not_authentic_is_counted_and_ends_nothing() -> None:
    async with watched() as (site, film, viewer):
        [peer] = site.exchange.by_token.values()
        plain = b"\x80\x60" + bytes(100)
        report = rtcp.ReceiverReport(4242).pack() + bytes(40)
        assert viewer.outbound is not None
        twice = viewer.outbound.protect_control(rtcp.ReceiverReport(4242).pack())
        junk = [plain, report, twice, twice, b"\x16\xfe\xff" + bytes(20), b"\xff" * 60, b""]
        for packet in junk:
            viewer.send(packet)
        viewer.say()
        await until(lambda: peer.heard["bad rtcp"] >= 2)
        film.write(5)
        await viewer.until(lambda: len(viewer.packets) > 5)
        assert list(site.exchange.by_token.values()) == [peer]


async def test_handshake_from_where_no_check_came_is_dropped() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        viewer = Viewer()
        await viewer.ask(site, offer_of())
        await viewer.open()
        try:
            for datagram in viewer.client.start():
                viewer.send(datagram)
            await until(lambda: site.exchange.strange >= 1)
            [peer] = site.exchange.by_token.values()
            assert not peer.heard
        finally:
            viewer.close()
