"""What a pull brings, put into the hub: the lease, the figures, and who comes too fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from appliance.containers.flv_tag_reader import Event
from appliance.errors import StreamBusy
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Session
from appliance.media.unit import AccessUnit
from appliance.services.pull.faults import FLOOD, TAKEN_OVER, PullFault

PACE_US = 10_000_000  # over so long it is looked at how much media came
MAX_AHEAD_US = 30_000_000  # more than the past that any server sends first
POSTPONE_S = 0.2  # a deadline is moved so often at most; silence may last so much longer


class Inlet(Protocol):
    """What a camera's session needs of an intake."""

    def begin(self, tracks: list[Any]) -> None:
        """What is going to be asked for, as the session has it."""
        ...

    def take(self, events: Iterable[Event]) -> None: ...

    def count(self, received_bytes: int) -> None: ...

    def postpone(self) -> None: ...

    def tell_wall_offset(self, offset_us: int) -> None: ...


class Intake:
    """One connection's media. The lease is taken with the first unit, so that an attempt which
    brings nothing shows nothing.

    deadline: put off with each unit; of the fetch that feeds us.
    on_media: called before the first one is published.
    first_unit_us: when the first one came.
    """

    def __init__(
        self,
        hub: Hub,
        name: str,
        session: Session,
        deadline: asyncio.Timeout,
        silence_us: int,
        on_media: Callable[[], None],
    ) -> None:
        self.first_unit_us: int | None = None
        self._hub = hub
        self._name = name
        self._session = session
        self._deadline = deadline
        self._silence_s = silence_us / 1_000_000
        self._loop = asyncio.get_running_loop()
        self._postponed_s = 0.0
        self._on_media = on_media
        self._publisher: Publisher | None = None
        self._wall_offset_us: int | None = None
        self._counted_bytes = 0
        self._mark_us = 0  # since when the pace is looked at, and the media's time then
        self._mark_dts_us = 0

    def begin(self, tracks: list[Any]) -> None:
        """A camera's tracks are described when they are published."""

    def count(self, received_bytes: int) -> None:
        """received_bytes: of the connection, so far."""
        now_us = self._hub.clock.monotonic_us()
        self._session.received.add(received_bytes - self._counted_bytes, now_us)
        self._counted_bytes = received_bytes

    def take(self, events: Iterable[Event]) -> None:
        """Raises: PullFault, PeerError, LimitExceeded."""
        newest_us = None
        try:
            for event in events:
                if isinstance(event, AccessUnit):
                    self._publish().write(event)
                    newest_us = event.dts_us
                else:
                    self._publish().describe(event)
        except StreamBusy as error:
            raise PullFault(TAKEN_OVER, str(error)) from None
        if newest_us is not None:
            self._look_at_pace(newest_us)
            self.postpone()

    def postpone(self) -> None:
        """Media came; not always any that can be published yet."""
        now_s = self._loop.time()
        if now_s >= self._postponed_s + POSTPONE_S:
            self._postponed_s = now_s
            self._deadline.reschedule(now_s + self._silence_s + POSTPONE_S)

    def tell_wall_offset(self, offset_us: int) -> None:
        """Unix time minus stamps, by the clock of who sends."""
        self._wall_offset_us = offset_us
        if self._publisher is not None:
            self._publisher.wall_offset_us = offset_us

    def _publish(self) -> Publisher:
        """Tracks are announced just before the first unit, so this is the lease's beginning."""
        if self._publisher is None:
            self._on_media()
            self._publisher = self._hub.publish(self._name, self._session.id)
            self._publisher.wall_offset_us = self._wall_offset_us
            self.first_unit_us = self._hub.clock.monotonic_us()
            self._session.log.info("comes from %s", self._session.url)
        return self._publisher

    def _look_at_pace(self, dts_us: int) -> None:
        """Against a recording, or a peer that floods: the hub's rings hold seconds."""
        now_us = self._hub.clock.monotonic_us()
        ran_us = now_us - self._mark_us
        if not self._mark_us or ran_us > PACE_US:
            self._mark_us, self._mark_dts_us = now_us, dts_us
        elif dts_us - self._mark_dts_us > ran_us + MAX_AHEAD_US:
            raise PullFault(FLOOD, "it comes faster than it is to be shown; is it a recording?")

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()
