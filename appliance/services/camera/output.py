"""One stream of the hub as one worker feeds it: its tracks, its lease, its stamps, its ladder.

Theory of operation: the lease is taken with the first unit that a viewer can join at, so that a
slate can be shown until then; it is given back when the slate is to be shown again, and when
pictures are back after a silence that was worth a step. A source that makes no keyframes is
published as it comes after `KEYLESS_US`. Stamps must be near the clock; a
gap in them that is longer than any stall is time in which we ourselves were stopped, and what
follows gets a lease of its own, so that stamps stay those of the clock and are not moved together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from appliance.errors import PeerError
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.services.camera.ladder import Bounds, Ladder
from appliance.services.camera.player import SlatePlayer
from appliance.wire.pipe.messages import Tracks

MAX_AHEAD_US = 10_000_000  # a unit from further in the future is not from a sane worker
MAX_BEHIND_US = 60_000_000  # nor one from further in the past, unless we were stopped for long
MAX_GAP_US = 5_000_000  # a longer one is time in which we ourselves were stopped
MAX_SLOW_US = 60_000_000  # against a track that describes itself as slower than any camera
# Sound goes on for so long without pictures: alone it would stretch an HLS segment, which can only
# end at a keyframe, beyond the duration that its playlist promised.
SOUND_ALONE_US = 500_000
KEYLESS_US = 10_000_000  # then pictures are published although none is a keyframe


class Output:
    """Give it tracks, then units. The caller handles its errors; `close` ends it.

    ladder: None before the first picture (or sound, if there is nothing else).
    on_keyframe_request: a viewer's wish. on_news: what to tell the log. on_live: called with the
        first unit, with how long the stream was without. label: goes before lines of the log.
    """

    def __init__(
        self,
        hub: Hub,
        stream: Stream,
        session: Session,
        bounds: Bounds,
        *,
        on_keyframe_request: Callable[[], None],
        on_news: Callable[[str], None],
        on_live: Callable[[int | None], None],
        slate: SlatePlayer | None = None,
        label: str = "",
    ) -> None:
        self.label = label
        self.stream = stream
        self.publisher: Publisher | None = None
        self.ladder: Ladder | None = None
        self.key_interval_us: int | None = None  # of our encoder; None: it passes through
        self.first_unit_us: int | None = None
        self.units = 0
        self._hub = hub
        self._session = session
        self._bounds = bounds
        self._on_keyframe_request = on_keyframe_request
        self._on_news = on_news
        self._on_live = on_live
        self._slate = slate
        self._clock = stream.clock
        self._tracks: Tracks = ()
        self._by_id: dict[int, Track] = {}
        self._has_video = False
        self._waits_since_us: int | None = None  # for a unit to begin with
        self._newest_us: int | None = None  # stamp of the newest unit
        self._slow_us = 0  # the patience that a track of few pictures a minute needs
        if slate is not None:
            slate.output = self

    def describe(self, tracks: Tracks) -> None:
        """All tracks of what follows; those that say the same stay the same objects."""
        self._tracks = tuple(_kept(self._by_id.get(track.id), track) for track in tracks)
        self._by_id = {track.id: track for track in self._tracks}
        has_video = any(track.kind is Kind.VIDEO for track in self._tracks)
        if has_video is not self._has_video:
            self._has_video, self.ladder = has_video, None
        if self.publisher is not None:
            self._describe(self.publisher)

    @property
    def is_described(self) -> bool:
        return bool(self._tracks)

    def forget(self) -> None:
        """It is not made any more: the lease goes back, and nothing is missed."""
        self.pause()
        self._tracks, self._by_id, self._has_video, self.ladder = (), {}, False, None

    def write(self, unit: AccessUnit, track_id: int) -> None:
        """track_id: among the tracks described. The unit is the stream's from here on.

        Raises: PeerError for stamps beside the clock; StreamBusy if others publish here.
        """
        now_us = self._clock.monotonic_us()
        if unit.dts_us > now_us + MAX_AHEAD_US:
            raise PeerError("a unit from the future")
        if unit.dts_us < now_us - MAX_BEHIND_US:
            raise PeerError("a unit from the distant past")
        unit.track = self._by_id[track_id]
        self._see(unit, now_us)
        if self._is_sound_alone(unit, now_us):
            return
        if self.publisher is None:
            if not self._can_begin(unit, now_us):
                return
            self._begin(unit.dts_us)
        elif self._newest_us is not None and unit.dts_us > self._newest_us + MAX_GAP_US:
            self.pause()
            self._begin(unit.dts_us)
        before_us = self.stream.last_unit_us()
        self._newest_us = unit.dts_us
        self._session.received.add(unit.size_bytes, now_us)
        assert self.publisher is not None
        self.publisher.write(unit)
        self.units += 1
        if self.first_unit_us is None:
            self.first_unit_us = now_us
            names = ", ".join(track.config.rfc6381 for track in self._tracks)
            self._session.log.info("%sis live: %s", self.label, names)
            self._on_live(None if before_us is None else now_us - before_us)

    def pause(self) -> None:
        """Gives the lease back; the next unit that a viewer can join at takes it again."""
        if self.publisher is not None:
            self.publisher.close()
            self.publisher = None
        self._waits_since_us = None

    def close(self) -> None:
        self.pause()
        if self._slate is not None and self._slate.output is self:
            self._slate.output = None

    # -- how -----------------------------------------------------------------------------------

    def _see(self, unit: AccessUnit, now_us: int) -> None:
        """What the ladder is told of: pictures, or sounds if that is all there is."""
        if unit.track.kind is Kind.AUDIO and self._has_video:
            return
        if self.ladder is None:
            self.ladder = Ladder(self._bounds, now_us, "picture" if self._has_video else "sound")
        self.ladder.key_interval_us = self.key_interval_us
        self._slow_us = _three_pictures_us(unit.track)
        self.ladder.slack_us = max(0, self._slow_us - self._bounds.keyframe_us)
        was_silent = self.ladder.is_silent
        news = self.ladder.see(now_us, key=unit.key)
        if news:
            self._on_news(news)
        if was_silent and self.key_interval_us is not None:
            self.pause()  # a key has been asked for: the gap becomes a seam there

    def _is_sound_alone(self, unit: AccessUnit, now_us: int) -> bool:
        if unit.track.kind is Kind.VIDEO or not self._has_video or self.ladder is None:
            return False
        return now_us - self.ladder.newest_us > max(SOUND_ALONE_US, self._slow_us)

    def _can_begin(self, unit: AccessUnit, now_us: int) -> bool:
        if not self._has_video:
            return True
        if unit.track.kind is not Kind.VIDEO:
            return False
        if self._waits_since_us is None:
            self._waits_since_us = now_us
        return unit.key or now_us - self._waits_since_us >= KEYLESS_US

    def _begin(self, at_us: int) -> None:
        if self._slate is not None:
            self._slate.slack_us = self.ladder.slack_us if self.ladder is not None else 0
            self._slate.give_way(at_us)
        publisher = self._hub.publish(self.stream.name, self._session.id, stamped=True)
        publisher.on_keyframe_request = self._on_keyframe_request
        self.publisher = publisher
        self._describe(publisher)

    def _describe(self, publisher: Publisher) -> None:
        publisher.describe(self._tracks)
        if self._slate is not None:
            self._slate.last_tracks = self._tracks


def _three_pictures_us(track: Track) -> int:
    """How long three of them last, by the track's own description."""
    fps = getattr(track.config, "fps", None)
    return min(int(3_000_000 / fps), MAX_SLOW_US) if fps else 0


def _kept(old: Track | None, new: Track) -> Track:
    return old if old is not None and old == new else new


def main_tracks(tracks: Tracks, sub_id: int) -> Tracks:
    """All but the second stream's picture."""
    return tuple(track for track in tracks if track.id != sub_id)


def sub_tracks(tracks: Tracks, sub_id: int, video_id: int) -> Tracks:
    """The second stream's picture, under the number that pictures have, and the sound; empty if
    there is no such picture."""
    picture = next((track for track in tracks if track.id == sub_id), None)
    if picture is None:
        return ()
    sound = [track for track in tracks if track.kind is Kind.AUDIO]
    return (replace(picture, id=video_id), *sound)
