"""A viewer by hand: ICE checks, the active side of DTLS, SRTP; it says what a test has it say."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, cast

from dtls_peer import Client, certificate
from ice_peer import check
from webrtc_site import OFFER, PATH, WebRtcSite

from appliance.wire.ice.agent import Remote
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.demux import PacketKind, packet_kind
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.packet import RtpPacket, parse
from appliance.wire.sdp.parse import parse as parse_sdp
from appliance.wire.srtp.inbound import InboundSession
from appliance.wire.srtp.keys import EXPORT_LABEL, exported_bytes, server_keys
from appliance.wire.srtp.outbound import OutboundSession
from appliance.wire.srtp.profile import PROFILES

PATIENCE_S = 30
SSRC = 4242  # of what it says itself


def offer_of(name: str = "viewer", offer: bytes = OFFER) -> bytes:
    """Chromium's, with our fingerprint."""
    ours = f"a=fingerprint:{certificate(name).fingerprint.value()}"
    return re.sub(r"a=fingerprint:\S+ \S+", ours, offer.decode()).encode()


class Viewer(asyncio.DatagramProtocol):
    """answer: the SDP. packets: of RTP, in clear; reports: of RTCP."""

    def __init__(self) -> None:
        self.answer = ""
        self.location = self.etag = ""
        self.packets: list[RtpPacket] = []
        self.control: list[rtcp.RtcpPacket] = []
        self.checks = 0
        self.host, self.port = "127.0.0.1", 0
        self.client = Client(own=certificate("viewer"))
        self.inbound: InboundSession | None = None
        self.outbound: OutboundSession | None = None
        self._news = asyncio.Event()
        self.local = Credentials("aaaa", "a" * 22)

    async def ask(self, site: WebRtcSite, offer: bytes, path: str = PATH) -> None:
        status, text, head = await site.offer(offer, path)
        assert status == 201, text
        self.take_answer(text)
        self.location, self.etag = head["location"], head["etag"]

    def take_answer(self, text: str) -> None:
        self.answer = text
        self.session = parse_sdp(text)
        media = self.session.media[0]
        self.local = Credentials(str(media.value("ice-ufrag")), str(media.value("ice-pwd")))
        words = str(media.value("candidate")).split()
        self.host, self.port = words[4], int(words[5])

    async def open(self) -> None:
        self.transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: self, remote_addr=(self.host, self.port)
        )

    @property
    def remote(self) -> Remote:
        return Remote(*self.transport.get_extra_info("sockname")[:2])

    async def connect(self) -> None:
        """Checked and secure when it returns."""
        await self.open()
        self.send(check(self.local, nominating=True))
        await self.until(lambda: self.checks > 0)
        for datagram in self.client.start():
            self.send(datagram)
        await self.until(lambda: self.inbound is not None)

    def send(self, packet: bytes) -> None:
        cast(asyncio.DatagramTransport, self.transport).sendto(packet)

    def say(self, *packets: Any) -> None:
        """By SRTCP."""
        assert self.outbound is not None
        compound = rtcp.ReceiverReport(SSRC).pack() + b"".join(one.pack() for one in packets)
        self.send(self.outbound.protect_control(compound))

    def datagram_received(self, data: bytes, address: Any) -> None:
        match packet_kind(data):
            case PacketKind.STUN:
                self.checks += 1
            case PacketKind.DTLS:
                self.client.receive(data)
                for datagram in self.client.output():
                    self.send(datagram)
                if self.client.is_connected and self.inbound is None:
                    self._agree()
            case PacketKind.RTP if self.inbound is not None:
                self.packets.append(parse(self.inbound.open(data)))
            case PacketKind.RTCP if self.inbound is not None:
                self.control += rtcp.parse(self.inbound.open_control(data))
        self._news.set()

    def _agree(self) -> None:
        connection = self.client.connection
        profile = PROFILES[connection.get_selected_srtp_profile().decode()]
        material = connection.export_keying_material(EXPORT_LABEL, exported_bytes(profile))
        keys = server_keys(profile, material)
        self.inbound, self.outbound = InboundSession(keys.local), OutboundSession(keys.remote)

    async def until(self, condition: Callable[[], object]) -> None:
        """Looked at again with each packet."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    # -- what there is ----------------------------------------------------------------------------

    def ssrcs(self, kind: str) -> tuple[int, int]:
        """Of the media and of what is sent again."""
        media = next(media for media in self.session.media if media.kind == kind)
        _, first, second = str(media.value("ssrc-group")).split()
        return int(first), int(second)

    def of(self, ssrc: int) -> list[RtpPacket]:
        return [packet for packet in self.packets if packet.ssrc == ssrc]

    def close(self) -> None:
        self.transport.close()


async def until(condition: Callable[[], object]) -> None:
    """Looks again and again at something that tells nobody when it changes."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come true"
        await asyncio.sleep(0.01)
