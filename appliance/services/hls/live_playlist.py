"""The sliding window of segments of one stream in one form, and the playlist that lists them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from appliance.containers.m3u8 import MediaPlaylist, SegmentLine
from appliance.hub.stream import Anchor, has_stepped
from appliance.net.media_file import MediaFile
from appliance.services.hls.formats import Form
from appliance.services.hls.segmenter import Cut
from appliance.services.hls.settings import Settings

log = logging.getLogger(__name__)

PLAYLIST_TYPE = "application/vnd.apple.mpegurl"
# Against a publisher of any bitrate, and a window of hours: whole segments stay, however big.
MAX_WINDOW_BYTES = 64 << 20
MIN_SEGMENTS = 3
KEPT_SEGMENTS = 2  # beyond the window, for players that are about to ask for them
REGULAR_US = 2_000  # a source whose segments differ by no more keeps its interval
MARGIN_US = 50_000  # what the segments of an irregular source may yet exceed the longest so far by
DISCONTINUITY_PACE_US = 10_000_000

# Stands in rendered text where the query of a viewer with a token goes; never sent.
QUERY_MARK = "\0"


@dataclass(frozen=True, slots=True)
class Segment:
    """duration_us: between its ends rounded to milliseconds, so that EXTINFs add up exactly."""

    msn: int
    name: str
    file: MediaFile
    duration_us: int
    discontinuity: bool
    init_name: str | None
    unix_us: int | None


@dataclass(slots=True)
class Numbering:
    """Where a playlist's numbers go on when it is made again.

    Numbers start from media time, which outlives this process (CLOCK_MONOTONIC), counted so that
    a source whose segments are half as long as asked for does not overtake it: players that stay
    over a restart never see a sequence go back (RFC 8216 §6.2.1, §6.2.2).
    """

    next_msn: int = 0
    next_discontinuity: int = 0

    def start(self, start_us: int, segment_us: int) -> None:
        self.next_msn = max(self.next_msn, start_us // max(1, segment_us // 2))
        self.next_discontinuity = max(self.next_discontinuity, start_us // DISCONTINUITY_PACE_US)


class LivePlaylist:
    """Segments come in by `add`, files go out by name.

    The target duration is chosen when the playlist is first asked for and never changed if that
    can be helped (RFC 8216 §6.2.1): see `_choose_target`.
    """

    def __init__(self, stream: str, form: Form, settings: Settings, numbering: Numbering) -> None:
        self.stream = stream
        self.form = form
        self.settings = settings
        self.segments: deque[Segment] = deque()
        self.target_duration_s = 0
        self.independent = True
        self.ended = False
        self.peak_bps = 0
        self._listed_us = 0
        self._listed_bytes = 0
        self._numbering = numbering
        self._kept: deque[Segment] = deque()
        self._files: dict[str, MediaFile] = {}
        self._discontinuity_sequence = 0
        self._anchor: Anchor | None = None
        self._text: str | None = None
        self._file: MediaFile | None = None

    # -- segments come in ----------------------------------------------------------------------

    def add(self, cut: Cut, anchor: Anchor | None) -> None:
        """List this segment, whose wall time `anchor` tells; the oldest leave."""
        duration_us = _to_ms(cut.end_us) - _to_ms(cut.start_us)
        if duration_us <= 0:
            return  # nothing a player could show, and EXTINF:0 upsets some
        numbering = self._numbering
        discontinuity = cut.discontinuity
        if not self.segments and not self._kept:
            numbering.start(cut.start_us, self.settings.segment_us)
            self._discontinuity_sequence = numbering.next_discontinuity
            discontinuity = False
        elif has_stepped(self._anchor, anchor):
            discontinuity = True  # the wall clock was set: dates before and after do not compare
        self._anchor = anchor
        self.independent = self.independent and cut.independent
        msn = numbering.next_msn
        numbering.next_msn = msn + 1
        segment = Segment(
            msn,
            self.form.segment_name(msn),
            self._media_file(cut.parts),
            duration_us,
            discontinuity,
            self._add_init(cut.header),
            None if anchor is None else anchor.unix_us_at(_to_ms(cut.start_us)),
        )
        self.segments.append(segment)
        self._listed_us += duration_us
        self._listed_bytes += segment.file.size_bytes
        numbering.next_discontinuity = 1 + self._discontinuity_sequence
        numbering.next_discontinuity += sum(segment.discontinuity for segment in self.segments)
        self._files[segment.name] = segment.file
        self.peak_bps = max(self.peak_bps, segment.file.size_bytes * 8_000_000 // duration_us)
        self._check_target(segment)
        self._slide()
        self._changed()

    def end(self) -> None:
        """No segment follows."""
        self.ended = True
        self._changed()

    def _add_init(self, header: bytes) -> str | None:
        """Named after its content, so that a player that has it cached has the right one."""
        if not header:
            return None
        name = self.form.init_name(blake2b(header, digest_size=6).hexdigest())
        if name not in self._files:
            self._files[name] = self._media_file((header,))
        return name

    def _media_file(self, parts: Sequence[bytes]) -> MediaFile:
        return MediaFile(
            self.form.content_type,
            parts,
            cache_control=self.settings.immutable,
            fields=self.settings.fields,
        )

    def _slide(self) -> None:
        """RFC 8216 §6.2.2: what is left lasts three target durations at least, if it fits."""
        window_us = max(self.settings.window_us, 3_000_000 * self.target_duration_s)
        while (
            self._listed_us - self.segments[0].duration_us >= window_us
            or self._listed_bytes > MAX_WINDOW_BYTES
        ) and len(self.segments) > MIN_SEGMENTS:
            segment = self.segments.popleft()
            self._listed_us -= segment.duration_us
            self._listed_bytes -= segment.file.size_bytes
            self._discontinuity_sequence += segment.discontinuity  # its tag has left too
            self._kept.append(segment)
        while len(self._kept) > KEPT_SEGMENTS:
            del self._files[self._kept.popleft().name]
            self._drop_unused_inits()

    def _drop_unused_inits(self) -> None:
        used = {segment.init_name for segment in (*self._kept, *self.segments)}
        used |= {segment.name for segment in (*self._kept, *self.segments)}
        for name in self._files.keys() - used:
            del self._files[name]

    # -- the target duration -------------------------------------------------------------------

    def _choose_target(self) -> int:
        """No less than the setting and every segment so far, in seconds rounded as RFC 8216
        §4.3.3.1 compares them: to the nearest. So segments of 2.0 s, a millisecond or a frame more
        or less, make it 2 and leave it so.

        The segments that the hub's past yields at once show the keyframe interval. If they are of
        one length the source is regular, and that length decides; otherwise a margin is added, so
        that a frame more or less between keyframes does not make it change later.
        """
        wanted_us = self.settings.segment_us
        durations_us = [segment.duration_us for segment in self.segments]
        whole_us = [us for us in durations_us if us >= wanted_us - wanted_us // 10] or [0]
        spread_us = max(whole_us) - min(whole_us)
        if len(whole_us) == 1:  # alone, it is taken for regular if it lasts whole seconds
            spread_us = min(whole_us[0] % 1_000_000, -whole_us[0] % 1_000_000)
        margin_us = MARGIN_US if spread_us > REGULAR_US else 0
        return _nearest_s(max(wanted_us, max(durations_us) + margin_us))

    def _check_target(self, segment: Segment) -> None:
        if self.target_duration_s and _nearest_s(segment.duration_us) > self.target_duration_s:
            # Either this or a segment that does not start with a key; players mind this less.
            self.target_duration_s = _nearest_s(segment.duration_us + MARGIN_US)
            log.info(
                "%s: the keyframe interval grew, target duration is now %d s",
                self.stream,
                self.target_duration_s,
            )

    # -- files go out --------------------------------------------------------------------------

    def find(self, name: str) -> MediaFile | None:
        """A segment or an initialisation section by its name."""
        return self._files.get(name)

    @property
    def average_bps(self) -> int:
        return self._listed_bytes * 8_000_000 // max(1, self._listed_us)

    def file(self, query: str = "") -> MediaFile:
        """The playlist; `query` (with its ``?``) is put behind every name in it."""
        if query:
            return MediaFile(
                PLAYLIST_TYPE,
                (self._rendered().replace(QUERY_MARK, query).encode(),),
                cache_control="no-store",
                fields=self.settings.fields,
            )
        if self._file is None:
            self._file = MediaFile(
                PLAYLIST_TYPE,
                (self._rendered().replace(QUERY_MARK, "").encode(),),
                fields=self.settings.fields,
            )
        return self._file

    def _changed(self) -> None:
        self._text = self._file = None

    def _rendered(self) -> str:
        if self._text is None:
            if not self.target_duration_s:
                self.target_duration_s = self._choose_target()
            self._text = MediaPlaylist(
                self.target_duration_s,
                self.segments[0].msn,
                self._discontinuity_sequence,
                tuple(_lines(self.segments)),
                independent_segments=self.independent,
                ended=self.ended,
            ).render()
        return self._text


def _lines(segments: Iterable[Segment]) -> Iterable[SegmentLine]:
    for segment in segments:
        yield SegmentLine(
            segment.name + QUERY_MARK,
            segment.duration_us,
            segment.discontinuity,
            None if segment.init_name is None else segment.init_name + QUERY_MARK,
            segment.unix_us,
        )


def _to_ms(us: int) -> int:
    """Rounded to a whole millisecond, in microseconds."""
    return (us + 500) // 1000 * 1000


def _nearest_s(us: int) -> int:
    return max(1, (us + 500_000) // 1_000_000)
