"""One peer: its ICE, its handshake, its keys; what it plays goes through here. Loads OpenSSL.

Theory of operation: checks make paths, by one of which the handshake comes; with its keys `media`
begins. What is not authentic is counted and forgotten, as anybody can send it: a session ends by
the peer's goodbye, its silence, a failed handshake, or our own will.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from appliance.errors import PeerError
from appliance.hub.access import Action
from appliance.hub.sessions import Session
from appliance.net.address import peer_address
from appliance.net.datagrams import Cut
from appliance.services.webrtc.media import Media
from appliance.services.webrtc.port import Door
from appliance.wire.dtls.server import DtlsServer, DtlsState
from appliance.wire.ice.agent import IceAgent, Remote
from appliance.wire.ice.candidate import Candidate
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.demux import PacketKind
from appliance.wire.rtp.rtcp import parse
from appliance.wire.srtp.inbound import InboundSession
from appliance.wire.srtp.outbound import OutboundSession

MAX_TOLD_PATHS = 4  # in a line of the log


class Peer:
    """token: what its resource is called by, and nobody can guess. action: what it was let in
    for; mark: by which account (hub/access.py). ours: the candidates it was told.

    heard: packets by what they are, or why they were dropped. on_end: called once, with why.
    """

    __slots__ = (
        *("_doors", "_inbound", "_on_end", "_outbound", "_way", "action", "agent", "dtls", "heard"),
        *(
            "is_over",
            "mark",
            "ours",
            "media",
            "session",
            "kind",
            "mid",
            "remote_credentials",
            "token",
            "why",
        ),
    )

    def __init__(
        self,
        agent: IceAgent,
        dtls: DtlsServer,
        media: Media,
        session: Session,
        token: str,
        action: Action,
        on_end: Callable[[Peer], object],
    ) -> None:
        self.agent = agent
        self.dtls = dtls
        self.media = media
        self.session = session
        self.token = token
        self.action = action
        self.mark: bytes | None = None
        self.ours: tuple[Candidate, ...] = ()
        self.remote_credentials: Credentials | None = None
        self.kind = self.mid = ""  # of the first section with media
        self.heard: Counter[str] = Counter()  # by words of ours
        self.is_over = False
        self.why = ""
        self._on_end = on_end
        self._doors: dict[Remote, Door] = {}  # of the agent's paths, which are bounded
        self._way: tuple[Door, Remote] | None = None  # to where it wants to be sent
        self._inbound: InboundSession | None = None
        self._outbound: OutboundSession | None = None

    @property
    def is_connected(self) -> bool:
        return self._outbound is not None

    # -- what comes ----------------------------------------------------------------------------

    def checked(self, remote: Remote, door: Door) -> None:
        """A check came from there, and was answered."""
        paths = self.agent.paths
        if remote in paths:
            self._doors[remote] = door
        for gone in self._doors.keys() - paths.keys():
            del self._doors[gone]
        self.choose_way()

    def choose_way(self) -> None:
        """The agent's paths have changed."""
        target = self.agent.target
        door = self._doors.get(target) if target is not None else None
        self._way = (door, target) if door is not None and target is not None else None

    def receive(self, kind: PacketKind, packet: bytes, remote: Remote, now_us: int) -> None:
        """From one of the agent's paths."""
        self.heard[kind.value] += 1
        try:
            match kind:
                case PacketKind.DTLS:
                    self._receive_dtls(packet, remote, now_us)
                case PacketKind.RTCP if self._inbound is not None:
                    compound = self._inbound.open_control(packet)
                    self.agent.heard(remote, now_us)
                    for one in parse(compound):
                        self.media.control(one, now_us)
                case PacketKind.RTP if self._inbound is not None and self.media.takes_packets:
                    data = self._inbound.open(packet)
                    self.agent.heard(remote, now_us)
                    self.media.packet(data, now_us)
        except PeerError as error:
            self.heard[f"bad {kind.value}"] += 1
            if self.dtls.state is DtlsState.CLOSED:
                self.end(str(error))

    def _receive_dtls(self, packet: bytes, remote: Remote, now_us: int) -> None:
        try:
            self.dtls.receive(packet, now_us)
        finally:
            self._send_dtls()
        self.agent.heard(remote, now_us)
        if self.dtls.state is DtlsState.CLOSED:
            self.end("the peer said goodbye")
        elif self.dtls.keys is not None and self._outbound is None:
            self._begin()

    def _begin(self) -> None:
        assert self.dtls.keys is not None, "there are keys once it is connected"
        self._inbound = InboundSession(self.dtls.keys.remote)
        self._outbound = OutboundSession(self.dtls.keys.local)
        self.session.log.info("connected by %s", self.way_text)
        self.media.begin(self, self._outbound, self.end)

    # -- what is sent --------------------------------------------------------------------------

    def send_cut(self, data: bytes, cut: Cut) -> None:
        """Raises: BlockingIOError, OSError."""
        if self._way is None:
            raise ConnectionResetError("there is no path to the peer")
        door, remote = self._way
        door.send_cut(data, cut, remote)

    def send(self, packet: bytes) -> None:
        if self._way is not None:
            door, remote = self._way
            door.send(packet, remote)

    def send_control(self, compound: bytes) -> None:
        if self._outbound is not None:
            self.send(self._outbound.protect_control(compound))

    def _send_dtls(self) -> None:
        for datagram in self.dtls.take_datagrams():
            self.send(datagram)

    # -- time and end --------------------------------------------------------------------------

    def tick(self, now_us: int) -> None:
        due_us = self.dtls.due_us
        if due_us is not None and due_us <= now_us and self._way is not None:
            try:
                self.dtls.tick(now_us)
            except PeerError as error:
                self.end(str(error))
                return
            self._send_dtls()
        self.media.tick(now_us)
        self.count(now_us)

    def count(self, now_us: int) -> None:
        """The figures of its session."""
        session, media = self.session, self.media
        session.sent.add(media.sent_bytes - session.sent.total_bytes, now_us)
        session.received.add(media.received_bytes - session.received.total_bytes, now_us)
        session.lost_units = media.lost_units

    def end(self, why: str) -> None:
        """Safe to call again."""
        if self.is_over:
            return
        self.is_over, self.why = True, why
        self.media.close()
        self.dtls.close(self.media.now_us())
        self._send_dtls()
        self._on_end(self)

    @property
    def way_text(self) -> str:
        if self._way is None:
            return "no path"
        remote = self._way[1]
        return _text_of(remote)

    def report(self) -> dict[str, Any]:
        """A row for the API."""
        return {
            "id": self.session.id,
            "stream": self.session.stream,
            "state": self.agent.state.value if self.is_connected else "connecting",
            "way": self.way_text,
            "hint": self.media.hint,
            **self.media.figures(),
        }

    def explain(self) -> str:
        """For who looks for the fault of a connection: what was tried and what arrived."""
        paths = list(self.agent.paths.values())[-MAX_TOLD_PATHS:]
        tried = ", ".join(
            f"{_text_of(path.remote)} ({path.checks} checks"
            f"{', named' if path.is_nominated else ''})"
            for path in paths
        )
        ours = ", ".join(f"{one.protocol} {one.address} {one.port}" for one in self.ours)
        heard = ", ".join(f"{count} {what}" for what, count in self.heard.items())
        return (
            f"told {ours or 'nothing'}; checked from {tried or 'nowhere'}; arrived "
            f"{heard or 'nothing'}; {self.agent.refused} checks refused; "
            f"DTLS {self.dtls.state.value}"
        )


def _text_of(remote: Remote) -> str:
    return f"{'tcp' if remote.is_tcp else 'udp'} {peer_address(remote.host)} {remote.port}"
