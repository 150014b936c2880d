"""One stream in one form, made into segments for as long as somebody asks for them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack

from appliance.containers.m3u8 import MultivariantPlaylist, Variant
from appliance.errors import ApplianceError, StreamNotFound
from appliance.hub.rendition import Rendition
from appliance.hub.signal import Signal
from appliance.hub.stream import MAX_PATIENCE_US, Stream
from appliance.hub.subscription import Start
from appliance.media.track import Kind, Track
from appliance.net.media_file import MediaFile
from appliance.services.hls.formats import Form
from appliance.services.hls.live_playlist import LivePlaylist, Numbering
from appliance.services.hls.segmenter import Segmenter
from appliance.services.hls.settings import HlsFormat, Settings

log = logging.getLogger(__name__)

READ_ALL_US = 3_600_000_000  # a feed never jumps to the newest key: it wants the past, in order


class Feed:
    """Reads the rendition's ring into a LivePlaylist; `run` is its task.

    last_request_us: keeps it alive; the service ends it some time after.
    over_since_us: when the stream ended or failed; None while segments may still come.
    """

    def __init__(
        self, stream: Stream, form: Form, settings: Settings, numbering: Numbering
    ) -> None:
        self.stream = stream
        self.form = form
        self.playlist = LivePlaylist(stream.name, form, settings, numbering)
        self.error: ApplianceError | None = None
        self.last_request_us = stream.clock.monotonic_us()
        self.over_since_us: int | None = None
        self.waiters = 0
        self.task: asyncio.Task[None] | None = None
        self._playlist_name = form.playlist_name
        self._segmenter = Segmenter(settings.segment_us)
        self._changed = Signal()
        self._rendition: Rendition | None = None

    # -- the stream's side ---------------------------------------------------------------------

    async def run(self) -> None:
        """Until the stream ends or the task is cancelled; holds the stream's demand meanwhile."""
        stream = self.stream
        try:
            with ExitStack() as held:
                with stream.demand.viewer():  # starts an on-demand source
                    await stream.wait_tracks()
                    form = self.form
                    rendition = await stream.open_rendition(form.rendition, form.make_muxer)
                    held.enter_context(rendition.demand.viewer())
                self._rendition = rendition
                rendition.patience_us = lambda: MAX_PATIENCE_US
                if rendition.ring.first_key() is None:
                    stream.request_keyframe()
                await self._follow(rendition)
                self.error = rendition.error
        except ApplianceError as error:
            self.error = error
        finally:
            self._finish()

    async def _follow(self, rendition: Rendition) -> None:
        subscription = rendition.subscribe(Start.FIRST_KEY, max_lag_us=READ_ALL_US)
        lost_units: int | None = None
        async for batch in subscription:
            cuts = []
            if lost_units is not None and subscription.lost_units != lost_units:
                cuts.append(self._segmenter.interrupt())  # the loop stood still for too long
            lost_units = subscription.lost_units
            self._segmenter.limit_us = self.playlist.target_duration_s * 1_000_000
            for chunk in batch:
                cuts += [self._segmenter.feed(chunk), self._segmenter.close(chunk)]
            for cut in cuts:
                if cut is not None:
                    self.playlist.add(cut, self.stream.anchor)
            if any(cuts):
                self._changed.fire()

    def _finish(self) -> None:
        cut = self._segmenter.flush()
        if cut is not None:
            self.playlist.add(cut, self.stream.anchor)
        self.playlist.end()
        self.over_since_us = self.stream.clock.monotonic_us()
        self._changed.fire()

    # -- the viewers' side ---------------------------------------------------------------------

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether there is a segment, or comes one within `timeout_s`.

        Raises: CodecUnsupported and the like if the stream cannot be carried, StreamNotFound if it
        ends before its first segment.
        """
        if self.playlist.segments:
            return True
        self.waiters += 1
        try:
            async with asyncio.timeout(timeout_s):
                while not self.playlist.segments and self.over_since_us is None:
                    await self._changed.wait()
        except TimeoutError:
            return False
        finally:
            self.waiters -= 1
        if not self.playlist.segments:
            raise self.error or StreamNotFound(f"{self.stream.name} has ended")
        return True

    def find(self, leaf: str, query: str) -> MediaFile | None:
        """The file of this name; `query` goes behind the names in the playlist."""
        if leaf == self._playlist_name:
            return self.playlist.file(query) if self.playlist.segments else None
        return self.playlist.find(leaf)

    def render_multivariant(self, base: str, query: str) -> str:
        """The playlist above this one; `base` and `query` go around the media playlist's name."""
        tracks = self._rendition.tracks if self._rendition else self.stream.tracks
        carried = self.form.carried_tracks(tracks)
        video = next((track for track in carried if track.kind is Kind.VIDEO), None)
        variant = Variant(
            f"{base}{self.form.playlist_name}{query}",
            self.playlist.peak_bps,
            self.playlist.average_bps,
            list(dict.fromkeys(track.config.rfc6381 for track in carried)),
            None if video is None else _resolution(video, self.form),
            None if video is None else self._frame_rate_hz(video),
        )
        return MultivariantPlaylist(
            (variant,), independent_segments=self.playlist.independent
        ).render()

    def _frame_rate_hz(self, video: Track) -> float | None:
        """As the stream says, or as counted in what the hub holds of it."""
        fps: float | None = getattr(video.config, "fps", None)
        if fps is not None:
            return fps
        stamps = [unit.dts_us for unit in self.stream.units.items if unit.track.id == video.id]
        if len(stamps) < 2 or stamps[-1] <= stamps[0]:
            return None
        return (len(stamps) - 1) * 1_000_000 / (stamps[-1] - stamps[0])


def _resolution(video: Track, form: Form) -> tuple[int, int] | None:
    """That at which to display (RFC 8216 §4.3.4.2): turned, where the form makes players turn."""
    width_px: int = getattr(video.config, "width_px", 0)
    height_px: int = getattr(video.config, "height_px", 0)
    if form.format is HlsFormat.FMP4 and video.rotation_deg in {90, 270}:
        width_px, height_px = height_px, width_px
    return (width_px, height_px) if width_px and height_px else None
