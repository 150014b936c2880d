"""One session with a camera: what it has is described, set up, played, and kept alive.

Theory of operation: two tasks. One follows what comes on RTSP's connection, the other is the
clock: keep-alives, reports, and tracks that fall silent. Datagrams are taken as they come; a fault
in them ends the session as well.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from appliance.errors import ApplianceError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.media.track import Kind
from appliance.media.unit import AccessUnit
from appliance.services.pull.faults import ENDED, GARBAGE, REFUSED, PullFault
from appliance.services.pull.intake import Inlet
from appliance.services.pull.refusal import CODES, login_refused
from appliance.services.pull.rtsp_notes import Notes, Way
from appliance.services.pull.rtsp_ports import Ports
from appliance.services.pull.rtsp_tracks import KINDS, CameraTrack, Publishing, choose_tracks
from appliance.services.pull.rtsp_wire import PumpEvent, Wire
from appliance.wire.rtp.reorder import DEFAULT_PATIENCE_US
from appliance.wire.rtsp.client import (
    Described,
    Ended,
    Playing,
    Redirected,
    Refused,
    RtspClient,
    SetUp,
)
from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.target import RtspAddress
from appliance.wire.rtsp.transport import Delivery, Transport

BEAT_S = 0.1
PLAY_BEAT_S = 0.5  # once it plays: seconds are what is waited for then
REPORT_US = 5_000_000  # RFC 3550 §6.2; cameras end sessions whose receivers do not report
TRIAL_US = 2_000_000  # how long a way of media is tried when there is another one
CNAME = "porthole"
# What cameras say to a transport that they do not have.
NO_SUCH_TRANSPORT = frozenset({400, 404, 406, 454, 455, 459, 461, 500, 501})


@dataclass(frozen=True, slots=True)
class Unfit:
    """The camera does not send in this way; another one may be tried."""

    text: str


class RtspSession:
    """`run` once.

    tracks: as `[stream.rtsp]` has it.
    has_other: whether another way is tried if nothing comes by this one.
    """

    def __init__(
        self,
        client: RtspClient,
        wire: Wire,
        intake: Inlet,
        notes: Notes,
        way: Way,
        *,
        silence_us: int,
        tracks: str,
        has_other: bool,
    ) -> None:
        self._client = client
        self._wire = wire
        self._intake = intake
        self._notes = notes
        self._way = way
        self._silence_us = silence_us
        self._kinds = KINDS[tracks]
        self._has_other = has_other
        self._tracks: list[CameraTrack] = []
        self._base = ""
        self._ports: dict[int, Ports] = {}  # by track, of the ways that are datagrams
        self._channels: dict[int, CameraTrack] = {}
        self._controls: dict[int, CameraTrack] = {}
        self._publishing: Publishing | None = None
        self._report_due_us = 0
        self._ssrc = random.getrandbits(32)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> RtspAddress | Unfit:
        """Returns where the camera is instead, or why this way does not do.

        Raises: PullFault, PeerError, LimitExceeded, OSError.
        """
        self._client.begin(SYSTEM_CLOCK.monotonic_us())
        self._wire.flush()
        listening = asyncio.create_task(self._listen())
        beating = asyncio.create_task(self._beat())
        try:
            ends: set[asyncio.Future[RtspAddress | Unfit] | asyncio.Future[None]] = set()
            ends |= {listening, beating, self._failed}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
            return (listening if listening.done() else beating).result()
        finally:
            listening.cancel()
            beating.cancel()
            self._failed.cancel()
            await asyncio.gather(listening, beating, self._failed, return_exceptions=True)
            for ports in self._ports.values():
                ports.close()

    # -- what the camera says ----------------------------------------------------------------------

    async def _listen(self) -> RtspAddress | Unfit:
        self._wire.connection.on_events = self._take_media
        async for events in self._wire.connection:
            now_us = SYSTEM_CLOCK.monotonic_us()
            for event in events:
                if isinstance(event, Frames):
                    self._take_frames(event, now_us)
                    if event is not events[-1]:
                        await asyncio.sleep(0)  # a read may hold thousands of them
                elif outcome := self._react(event, now_us):
                    return outcome
            self._wire.flush()
        if self._client.speaks_otherwise:
            raise PullFault(GARBAGE, "what answers there is no RTSP (is it the right port?)")
        raise PullFault(ENDED, "the camera closed the connection")

    def _react(self, event: object, now_us: int) -> RtspAddress | Unfit | None:
        """Raises: PullFault, PeerError."""
        match event:
            case Described():
                self._set_up(event)
            case SetUp(url, transport):
                self._agree(url, transport)
            case Playing(infos):
                self._wire.established()
                assert self._publishing is not None
                self._publishing.note_beginnings(infos)
                self._publishing.begin(now_us)
                self._report_due_us = now_us + REPORT_US
            case Refused("SETUP", code, reason) if code in NO_SUCH_TRANSPORT:
                return self._do_without(f"SETUP: {code} {reason}")
            case Refused(method, code, reason):
                answer = f"{method}: {code} {reason}".strip()
                if code in CODES:
                    raise login_refused(code, answer, has_login=self._client.auth.has_credentials)
                raise PullFault(REFUSED, answer)
            case Redirected(address):
                return address
            case Ended():
                raise PullFault(ENDED, "the camera ended the session")
        return None

    def _set_up(self, described: Described) -> None:
        is_datagrams = self._way in {Way.UDP, Way.MULTICAST}
        patience_us = DEFAULT_PATIENCE_US if is_datagrams else 0
        self._base, self._tracks = choose_tracks(described, patience_us, self._kinds)
        self._intake.begin(self._tracks)
        self._publishing = Publishing(self._tracks, self._intake, self._notes, self._silence_us)
        for number, track in enumerate(self._tracks):
            self._client.setup(track.url, self._wish(number))

    def _wish(self, number: int) -> Transport:
        match self._way:
            case Way.UDP:
                self._ports[number] = Ports(self._wire.local_ip)
                return Transport(Delivery.UDP, client_ports=self._ports[number].numbers)
            case Way.MULTICAST:
                self._ports[number] = Ports(self._wire.local_ip)
                return Transport(Delivery.MULTICAST)
        return Transport(Delivery.TCP, channels=(2 * number, 2 * number + 1))

    def _agree(self, url: str, agreed: Transport) -> None:
        """The answer to the first track that has none yet: they are asked for one by one."""
        number = next(n for n, one in enumerate(self._tracks) if not one.is_set_up)
        track = self._tracks[number]
        track.is_set_up = True
        if number in self._ports:
            self._ports[number].open(
                agreed,
                self._wire.peer_ip,
                track.incoming,
                self._take_units,
                self._note_udp_fault,
            )
        elif agreed.channels is not None:
            self._channels[agreed.channels[0]] = track
            self._controls[agreed.channels[1]] = track
        if number == len(self._tracks) - 1:
            self._client.play(self._base)

    def _do_without(self, text: str) -> Unfit | None:
        """A track is refused: a camera is worth seeing without its sound, once this is told."""
        track = next(one for one in self._tracks if not one.is_set_up)
        if track.kind is Kind.AUDIO and len(self._tracks) > 1:
            if not self._notes.is_forgiven(Kind.AUDIO):
                self._notes.faults[Kind.AUDIO] += 1
            else:
                self._tracks.remove(track)
                self._publishing = Publishing(
                    self._tracks, self._intake, self._notes, self._silence_us
                )
                self._client.play(self._base)
                return None
        return Unfit(text)

    # -- media -------------------------------------------------------------------------------------

    def _take_media(self, events: list[PumpEvent]) -> list[PumpEvent]:
        """The packets that a read begins with, without waking the task for them."""
        if not isinstance(events[0], Frames):
            return events
        self._take_frames(events[0], SYSTEM_CLOCK.monotonic_us())
        return events[1:]

    def _take_frames(self, event: Frames, now_us: int) -> None:
        """Packets of one channel that follow each other are taken together."""
        current, packets = -1, list[bytes]()
        for channel, data in event.frames:
            if channel != current:
                self._take_packets(current, packets, now_us)
                current, packets = channel, []
            packets.append(data)
        self._take_packets(current, packets, now_us)
        if self._publishing is not None:
            self._publishing.take(now_us)

    def _take_packets(self, channel: int, packets: list[bytes], now_us: int) -> None:
        if (track := self._channels.get(channel)) is not None:
            track.incoming.receive_all(packets, now_us)
        elif (track := self._controls.get(channel)) is not None:
            for data in packets:
                track.incoming.receive_control(data, now_us)
            self._tell_wall_clock()

    def _take_units(self, units: list[AccessUnit]) -> None:
        """Called from the sockets of datagrams: nobody catches what is raised there."""
        publishing = self._publishing
        if publishing is None or self._failed.done():
            return
        try:
            if units:
                now_us = SYSTEM_CLOCK.monotonic_us()
                if publishing.begun_us is None:  # they have overtaken the answer to PLAY
                    publishing.begin(now_us)
                publishing.publish(units, now_us)
            else:
                self._tell_wall_clock()
        except ApplianceError as error:
            self._failed.set_exception(error)

    def _tell_wall_clock(self) -> None:
        if self._publishing is not None:
            self._publishing.tell_wall_clock()

    def _note_udp_fault(self, proto: str, reason: str, detail: str) -> None:
        """Of a socket: what is not delivered will be missed soon enough."""

    def _count(self) -> None:
        datagrams = sum(ports.received_bytes for ports in self._ports.values())
        self._intake.count(self._wire.connection.received_bytes + datagrams)

    # -- the clock ---------------------------------------------------------------------------------

    async def _beat(self) -> RtspAddress | Unfit:
        while True:
            is_playing = self._publishing is not None and self._publishing.begun_us is not None
            await asyncio.sleep(PLAY_BEAT_S if is_playing else BEAT_S)
            now_us = SYSTEM_CLOCK.monotonic_us()
            for event in self._client.tick(now_us):
                if outcome := self._react(event, now_us):
                    return outcome
            publishing = self._publishing
            if publishing is not None and publishing.begun_us is not None:
                if self._is_unfit(publishing, now_us):
                    return Unfit(f"nothing comes by {self._way.value}")
                publishing.check(now_us)
                if now_us >= self._report_due_us:
                    self._report_due_us = now_us + REPORT_US
                    self._send_reports(publishing, now_us)
            self._count()
            self._wire.flush()

    def _is_unfit(self, publishing: Publishing, now_us: int) -> bool:
        if publishing.packets:
            self._notes.good = self._way
            self._has_other = False
        began_us = publishing.begun_us or now_us
        return self._has_other and now_us - began_us > min(TRIAL_US, self._silence_us)

    def _send_reports(self, publishing: Publishing, now_us: int) -> None:
        for track_id, report in publishing.report(self._ssrc, CNAME, now_us).items():
            number = track_id - 1
            if (ports := self._ports.get(number)) is not None:
                ports.send_report(report)
                ports.punch()
            else:
                control = next((c for c, t in self._controls.items()
                                if t.incoming.track_id == track_id), None)  # fmt: skip
                if control is not None:
                    self._client.send_frames([(control, report)])
