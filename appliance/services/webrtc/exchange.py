"""All peers behind the port: who a packet is for, who has gone, who may come. Loads OpenSSL.

Imported when the first peer comes, and in a thread, as that takes a while on a small board.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance.errors import LimitExceeded
from appliance.hub.access import Action
from appliance.hub.publisher import Publisher
from appliance.hub.stream import Stream
from appliance.net.address import is_loopback
from appliance.net.internal_faults import InternalFaults
from appliance.services.contract import Context
from appliance.services.webrtc.broadcast import Broadcasts
from appliance.services.webrtc.certificate import load_certificate
from appliance.services.webrtc.coming import Coming
from appliance.services.webrtc.forms import choose_form
from appliance.services.webrtc.media import Media
from appliance.services.webrtc.peer import Peer
from appliance.services.webrtc.playing import Playing
from appliance.services.webrtc.port import Door
from appliance.services.webrtc.publishing import Publishing
from appliance.services.webrtc.settings import Settings
from appliance.wire.dtls.context import make_context
from appliance.wire.dtls.server import DtlsServer
from appliance.wire.ice.agent import IceAgent, Remote
from appliance.wire.ice.credentials import ENTROPY_BYTES, Credentials, make_credentials
from appliance.wire.ice.demux import PacketKind, packet_kind
from appliance.wire.ice.directory import IceDirectory
from appliance.wire.sdp.webrtc import (
    Answer,
    LocalTransport,
    Sending,
    answer_player,
    answer_publisher,
)
from appliance.wire.srtp.profile import preferred_profiles

log = logging.getLogger(__name__)

BUSY_TICK_S = 0.05  # while somebody shakes hands, whose flights are repeated
TICK_S = 0.25
SWEEP_US = 1_000_000
TOKEN_BYTES = 18
MAX_PENDING_PER_IP = 8  # of the directory's 32, for each of which 10 s are waited
CPU_INFO = Path("/proc/cpuinfo")


VIDEO, AUDIO = ("H264", "H265", "AV1"), ("OPUS", "PCMU", "PCMA")  # that we can put together


class Exchange:
    """settings: may be replaced at any time."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.settings = settings
        self.by_token: dict[str, Peer] = {}  # bounded by settings.sessions
        self.strange = 0  # packets from where nobody's peer is
        self._context = context
        self._certificate = load_certificate(context.state_dir)
        profiles = preferred_profiles(CPU_INFO.read_text(errors="replace"))
        self._dtls = make_context(self._certificate, profiles)
        self.directory = IceDirectory(max_agents=settings.sessions)
        self._by_agent: dict[IceAgent, Peer] = {}
        self._broadcasts = Broadcasts(context.supervisor)
        self._swept_us = 0
        self._counted: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._internal_faults = InternalFaults("webrtc", context.faults.count)
        self._task = context.supervisor.keep("webrtc sessions", self._tick_for_ever)

    def _now_us(self) -> int:
        return self._context.hub.clock.monotonic_us()

    # -- who comes -----------------------------------------------------------------------------

    def play(self, stream: Stream, coming: Coming) -> tuple[Peer, bytes]:
        """A viewer, and the answer to its offer. The peer owns the session.

        Raises: CodecUnsupported, LimitExceeded, StreamNotFound.
        """
        form = choose_form(stream, coming.offer)
        local = self._local(coming)
        sendings = [Sending(track, *_ssrcs()) for track in form.tracks]
        session_id = secrets.randbits(62)
        answer = answer_player(
            coming.offer, local, sendings, session_id=session_id, name=stream.name
        )
        rendition = stream.rendition(form.rendition, form.make_muxer)
        agent = self.directory.add(local.credentials, self._now_us())
        broadcast = self._broadcasts.of(stream, rendition, self.settings.fan_out)
        playing = Playing(broadcast, answer.sections)
        broadcast.ask(self._now_us())
        peer = self._add(agent, playing, coming, answer, Action.PLAY)
        return peer, answer.session.pack()

    def publish(self, publisher: Publisher, coming: Coming) -> tuple[Peer, bytes]:
        """A publisher, who owns the lease and the session from then on.

        Raises: CodecUnsupported, LimitExceeded, PeerError.
        """
        local = self._local(coming)
        answer = answer_publisher(
            coming.offer, local, session_id=secrets.randbits(62), video=VIDEO, audio=AUDIO
        )
        publishing = Publishing(publisher, answer.sections)
        agent = self.directory.add(local.credentials, self._now_us())
        peer = self._add(agent, publishing, coming, answer, Action.PUBLISH)
        return peer, answer.session.pack()

    def _local(self, coming: Coming) -> LocalTransport:
        """Raises: LimitExceeded."""
        ip = coming.session.peer_ip
        here = (peer for peer in self.by_token.values() if peer.session.peer_ip == ip)
        pending = sum(not peer.is_connected for peer in here)
        if pending >= MAX_PENDING_PER_IP and not is_loopback(ip):
            raise LimitExceeded(f"{pending} sessions of this address wait for their peers")
        credentials = make_credentials(secrets.token_bytes(ENTROPY_BYTES))
        return LocalTransport(credentials, self._certificate.fingerprint, coming.candidates)

    def _add(
        self, agent: IceAgent, media: Media, coming: Coming, answer: Answer, action: Action
    ) -> Peer:
        session, offer = coming.session, coming.offer
        dtls = DtlsServer(self._dtls, offer.fingerprints, self._now_us())
        token = secrets.token_urlsafe(TOKEN_BYTES)
        peer = Peer(agent, dtls, media, session, token, action, self._forget)
        peer.ours, peer.remote_credentials = coming.candidates, offer.credentials
        peer.kind, peer.mid = answer.sections[0].kind, answer.sections[0].mid
        session.kick = lambda: peer.end("ended by the API")
        self.by_token[token] = self._by_agent[agent] = peer
        self._wake.set()
        return peer

    def restart(self, peer: Peer) -> Credentials:
        """New credentials for its ICE."""
        credentials = make_credentials(secrets.token_bytes(ENTROPY_BYTES))
        self.directory.restart(peer.agent, credentials)
        return credentials

    def report(self) -> list[dict[str, Any]]:
        """For the API."""
        return [peer.report() for peer in self.by_token.values()]

    # -- what comes (port.py) ------------------------------------------------------------------

    def hear(self, packet: bytes, remote: Remote, door: Door, now_us: int) -> None:
        kind = packet_kind(packet)
        if kind is PacketKind.STUN:
            checked = self.directory.receive(packet, remote, now_us)
            if checked is not None:
                door.send(checked.answer, remote)
                self._by_agent[checked.agent].checked(remote, door)
            return
        agent = self.directory.agent_of(remote)
        if agent is None:
            self.strange += 1
            return
        self._by_agent[agent].receive(kind, packet, remote, now_us)

    def is_known(self, remote: Remote) -> bool:
        return self.directory.agent_of(remote) is not None

    def gone(self, remote: Remote) -> None:
        agent = self.directory.forget(remote)
        if agent is not None:
            self._by_agent[agent].choose_way()

    # -- time ----------------------------------------------------------------------------------

    async def _tick_for_ever(self) -> None:
        while True:
            if not self.by_token:
                self._wake.clear()
                await self._wake.wait()
            peers = self.by_token.values()
            is_busy = any(not peer.is_connected or peer.media.is_hurried for peer in peers)
            await asyncio.sleep(BUSY_TICK_S if is_busy else TICK_S)
            self._tick_all(self._now_us())

    def _tick_all(self, now_us: int) -> None:
        """By itself, so that no peer who leaves is held until the next time."""
        for peer in list(self.by_token.values()):
            try:
                peer.tick(now_us)
            except Exception as error:  # of one peer; the others go on
                self._internal_faults.report(error)
                peer.end("a fault of ours")
        if now_us - self._swept_us >= SWEEP_US:
            self._swept_us = now_us
            self._sweep(now_us)

    def _sweep(self, now_us: int) -> None:
        for agent in self.directory.expire(now_us):
            peer = self._by_agent[agent]
            peer.end("the peer went silent" if peer.is_connected else "no connection came about")
        self._count()
        access = self._context.access
        for peer in list(self.by_token.values()):
            peer.choose_way()  # another one may have gone silent
            session = peer.session
            if not access.still_admits(peer.mark, peer.action, session.stream, session.peer_ip):
                peer.end("no longer allowed")

    def _count(self) -> None:
        """STUN packets by what became of them, and others from strangers, for /metrics."""
        figures = {**asdict(self.directory.counters), "strange": self.strange}
        for outcome, figure in figures.items():
            if fresh := figure - self._counted[outcome]:
                self._context.counters.add("webrtc_packets_total", fresh, outcome=outcome)
        self._counted.update(figures)

    # -- ends ----------------------------------------------------------------------------------

    def _forget(self, peer: Peer) -> None:
        self.by_token.pop(peer.token, None)
        self._by_agent.pop(peer.agent, None)
        self.directory.remove(peer.agent)
        session = peer.session
        peer.count(self._now_us())
        if peer.is_connected:
            sent, received = session.sent.total_bytes, session.received.total_bytes
            session.log.info("%s: %d bytes, %d units lost", peer.why, sent + received,
                             session.lost_units)  # fmt: skip
        else:
            session.log.warning("%s: %s", peer.why, peer.explain())
        self._context.sessions.close(session)

    def close(self) -> None:
        self._task.cancel()
        for peer in list(self.by_token.values()):
            peer.end("the device stops")
        self._broadcasts.close()


def _ssrcs() -> tuple[int, int]:
    """Two that differ."""
    first = secrets.randbits(32)
    return first, first ^ (1 + secrets.randbelow(0xFFFF_FFFE))
