"""What one publisher's session has to do with its stream: packets in, units out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from appliance.errors import ApplianceError, PeerError, StreamBusy
from appliance.hub.publisher import Publisher
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.services.rtsp.announced import Announced, Source
from appliance.services.rtsp.settings import Settings

DESCRIBE_US = 2_000_000  # how long a track waits for the parameter sets of the others
GOODBYE_US = 1_000_000  # how long nothing came from who said it: some go on, under another name
CNAME = "porthole"


class Publishing:
    """From RECORD on. on_fault: called once, when it has to end; datagram_bytes: come by UDP."""

    def __init__(
        self,
        publisher: Publisher,
        announced: Announced,
        on_fault: Callable[[ApplianceError], None],
    ) -> None:
        self.publisher = publisher
        self.datagram_bytes = 0
        self._announced = announced
        self._on_fault = on_fault
        self._channels: dict[int, tuple[Source, bool]] = {}  # with whether it is RTCP's
        for source in announced.sources:
            for at, channel in enumerate(source.channels or ()):
                self._channels[channel] = source, at == 1
        self._ssrc = secrets.randbits(32)
        self._newest_us = publisher.since_us
        self._first_us: int | None = None
        self._described: list[Track] = []
        self._is_over = False
        announced.hear, announced.hear_control = self._hear, self._hear_control
        if any(source.ports for source in announced.sources):
            announced.outlets.ports.wait_for(self)

    # -- packets -----------------------------------------------------------------------------------

    def receive_frames(self, frames: Iterable[tuple[int, bytes]], now_us: int) -> None:
        """By TCP."""
        touched: dict[Source, None] = {}
        for channel, packet in frames:
            source, is_control = self._channels[channel]
            if is_control:
                source.track.receive_control(packet, now_us)
                self._tell_wall_clock()
            else:
                source.track.receive(packet, now_us)
                touched[source] = None
        for source in touched:
            self._take(source, now_us)

    def _hear(self, source: Source, data: bytes, now_us: int) -> None:
        self.datagram_bytes += len(data)
        source.track.receive(data, now_us)
        self._take(source, now_us)

    def _hear_control(self, source: Source, data: bytes, now_us: int) -> None:
        self.datagram_bytes += len(data)
        source.track.receive_control(data, now_us)
        self._tell_wall_clock()

    def _tell_wall_clock(self) -> None:
        """After a sender report: what the publisher's clock says of the stamps, to the stream."""
        for source in self._announced.sources:
            if (offset_us := source.track.clock.wall_offset_us) is not None:
                self.publisher.wall_offset_us = offset_us
                return

    @property
    def due_us(self) -> int | None:
        """When `take` has something to do though nothing arrives."""
        dues = (source.track.due_us for source in self._announced.sources)
        return min((due_us for due_us in dues if due_us is not None), default=None)

    def take(self, now_us: int) -> None:
        """What waited long enough for packets that are missing."""
        for source in self._announced.sources:
            self._take(source, now_us)

    # -- units -------------------------------------------------------------------------------------

    def _take(self, source: Source, now_us: int) -> None:
        if self._is_over:
            return
        try:
            for unit in source.track.take(now_us):
                self._publish(unit, now_us)
        except (PeerError, StreamBusy) as error:
            self._is_over = True
            self._on_fault(error)

    def _publish(self, unit: AccessUnit, now_us: int) -> None:
        """Raises: PeerError for what cannot be carried, StreamBusy once another one took over."""
        self._newest_us = now_us
        if self._first_us is None:
            self._first_us = now_us
        found = (source.track.track for source in self._announced.sources)
        known = [track for track in found if track is not None]
        is_waiting = not self._described and now_us - self._first_us < DESCRIBE_US
        if is_waiting and len(known) < len(self._announced.sources):
            return
        if len(known) != len(self._described) or any(
            new is not old for new, old in zip(known, self._described, strict=True)
        ):
            self.publisher.describe(known)
            self._described = known
        self.publisher.write(unit)

    # -- once a second -----------------------------------------------------------------------------

    def overdue(self, settings: Settings, now_us: int) -> str | None:
        """Why it should be ended, if it should."""
        if self.publisher.revoked_by is not None:
            return "another publisher took over"
        sources = self._announced.sources
        if now_us - self._newest_us > GOODBYE_US and all(one.track.ended for one in sources):
            return "the publisher said goodbye"
        has_media = self._first_us is not None
        limit_us = settings.silence_us if has_media else settings.first_packet_us
        return "publisher is silent" if now_us - self._newest_us > limit_us else None

    def report(self, now_us: int) -> None:
        """How each track is received."""
        for source in self._announced.sources:
            packet = source.track.report(self._ssrc, CNAME, now_us)
            self._announced.send_report(source, packet)

    def close(self) -> None:
        if any(source.ports for source in self._announced.sources):
            self._announced.outlets.ports.stop_waiting(self)
        self.publisher.close()
