"""The write lease of a stream: one at a time, an async context manager."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from appliance.errors import MisuseError, PeerError, StreamBusy
from appliance.hub.signal import Signal
from appliance.media.timeline import Timeline
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

if TYPE_CHECKING:
    from appliance.hub.stream import Stream

MAX_TRACKS = 8  # against a peer that declares tracks without end
MAX_KEYFRAME_REQUEST_INTERVAL_US = 1_000_000


class Publisher:
    """Describe the tracks, then write units; leaving the context gives the lease back.

    origin: the session that publishes, such as ``rtmp#12``.
    stamped: units come with CLOCK_MONOTONIC stamps (our capture worker); otherwise the first unit
        is placed at the present.
    placeholder: what a still picture says that is shown in place of media; empty for media. It
        gives way to every publisher of media, and no figure of the stream counts it.

    wall_offset_us: Unix time minus the units' stamps, by the clock of who sends; None if it does
        not tell.
    """

    def __init__(
        self, stream: Stream, origin: str, *, stamped: bool = False, placeholder: str = ""
    ) -> None:
        self.stream = stream
        self.origin = origin
        self.placeholder = placeholder
        self.since_us = stream.clock.monotonic_us()
        self.wall_offset_us: int | None = None
        self.on_keyframe_request: Callable[[], None] | None = None
        self.revoked_by: str | None = None
        self.revoked = Signal()
        self._asked_key_us: int | None = None
        newest_us = stream.newest_dts_us
        floor_us = newest_us if newest_us is not None else 0
        self.timeline = Timeline(
            None if stamped else max(self.since_us, floor_us + 1),
            resumed=newest_us is not None,
            floor_us=floor_us,
        )

    async def __aenter__(self) -> Publisher:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def describe(self, tracks: Sequence[Track]) -> None:
        """All tracks of what follows. May be called again; the same objects mean no change."""
        self._check()
        if not tracks or len(tracks) > MAX_TRACKS:
            raise PeerError(f"{len(tracks)} tracks, 1 to {MAX_TRACKS} are possible")
        if len({track.id for track in tracks}) != len(tracks):
            raise MisuseError("two tracks with one id")
        self.stream.describe(tuple(tracks))

    def write(self, unit: AccessUnit) -> None:
        """Publish one unit; it belongs to the stream from here on.

        Raises: StreamBusy if another publisher took the stream over, PeerError if the unit is
        larger than the hub's limit.
        """
        self._check()
        stream = self.stream
        if unit.track.id not in stream.stats:
            raise MisuseError(f"track {unit.track.id} is not described")
        if unit.size_bytes > stream.limits.max_unit_bytes:
            raise PeerError(f"an access unit of {unit.size_bytes} bytes")
        offset_us = self.wall_offset_us
        told_us = None if offset_us is None else unit.dts_us + offset_us
        place = self.timeline.place(unit.track.id, unit.dts_us, unit.pts_us)
        unit.dts_us, unit.pts_us = place.dts_us, place.pts_us
        unit.discontinuity = unit.discontinuity or place.discontinuity
        stream.append(unit, told_us)

    def request_keyframe(self) -> bool:
        """Ask the source for a keyframe, at most once a second. False if it cannot or not yet."""
        now_us = self.stream.clock.monotonic_us()
        if self.on_keyframe_request is None or (
            self._asked_key_us is not None
            and now_us - self._asked_key_us < MAX_KEYFRAME_REQUEST_INTERVAL_US
        ):
            return False
        self._asked_key_us = now_us
        self.on_keyframe_request()
        return True

    def revoke(self, by: str) -> None:
        """Another publisher takes over: the next write fails, `revoked` wakes who waits."""
        self.revoked_by = by
        self.revoked.fire()

    def close(self) -> None:
        self.stream.release(self)

    def _check(self) -> None:
        if self.revoked_by is not None:
            raise StreamBusy(f"{self.stream.name} was taken over by {self.revoked_by}")
        if self.stream.publisher is not self:
            raise MisuseError(f"the lease of {self.stream.name} is not held any more")
