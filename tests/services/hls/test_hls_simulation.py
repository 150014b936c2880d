"""A minute of live streaming in a second: every playlist of it is looked at by the linter."""

from __future__ import annotations

import pytest
from hls_site import (
    AUDIO,
    FRAME_US,
    VIDEO,
    HeldClock,
    HlsSite,
    copied,
    hls_site,
    turns,
    units,
)
from playlist_linter import (
    lint_media,
    lint_multivariant,
    lint_reload,
    lint_segments,
    read_media,
)

from appliance.hub.publisher import Publisher
from appliance.hub.stream import Stream
from appliance.media.track import Track
from appliance.services.hls import Settings

NAME = "live/camera"
MINUTE_US = 60_000_000
STEP_US = 400_000  # how often the simulated player looks: it misses no playlist


class Player:
    """Fetches the playlists again and again and lints each, alone and after the one before."""

    def __init__(self, site: HlsSite, format: str) -> None:
        self.site = site
        self.url = f"/{NAME}.hls/{format}.m3u8"
        self.master = f"/{NAME}.m3u8?format={format}"
        self.client = site.client()
        self.last = ""
        self.findings: list[str] = []
        self.segments: dict[str, float] = {}
        self.bytes: dict[str, bytes] = {}
        self.playlists = 0

    async def look(self) -> None:
        reply = await self.client.get(self.url)
        assert reply.status == 200, reply.text
        text = reply.text
        if text == self.last:
            return
        self.playlists += 1
        self.findings += lint_media(text)
        if self.last:
            self.findings += lint_reload(self.last, text)
        self.last = text
        for segment in read_media(text).segments:
            self.segments[segment.uri] = segment.extinf_s
            for name in (segment.uri, segment.map_uri):
                if name and name not in self.bytes:
                    file = await self.client.get(f"/{NAME}.hls/{name}")
                    assert file.status == 200, name
                    self.bytes[name] = file.body
        self.findings += lint_segments(text, self.bytes)
        self.findings += lint_multivariant((await self.client.get(self.master)).text)


class Source:
    """Publishes in simulated real time; may stop and come back."""

    def __init__(self, site: HlsSite, clock: HeldClock, tracks: tuple[Track, ...], gop_us: int):
        self.site = site
        self.clock = clock
        self.tracks = tracks
        self.what = units(tracks, MINUTE_US, gop_us=gop_us)
        self.publisher: Publisher | None = None
        self.position = 0
        self.started_us = 0

    def start(self) -> None:
        self.publisher = self.site.hub.publish(NAME, "test#1")
        self.publisher.describe(self.tracks)
        self.position, self.started_us = 0, self.clock.now_us

    def stop(self) -> None:
        assert self.publisher is not None
        self.publisher.close()
        self.publisher = None

    def advance(self, by_us: int) -> None:
        self.clock.advance(by_us)
        if self.publisher is None:
            return
        until_us = self.clock.now_us - self.started_us
        while self.position < len(self.what) and self.what[self.position].dts_us < until_us:
            self.publisher.write(copied(self.what[self.position]))
            self.position += 1


async def watch(
    player: Player, source: Source, stream: Stream, duration_us: int = MINUTE_US
) -> None:
    for _ in range(duration_us // STEP_US):
        source.advance(STEP_US)
        await turns(5)
        if stream.newest_dts_us is not None:
            await player.look()
        player.site.hls.sweep()
        player.site.hub.sweep()


@pytest.mark.parametrize("format", ["fmp4", "ts"])
@pytest.mark.parametrize(
    "tracks", [(VIDEO, AUDIO), (VIDEO,), (AUDIO,)], ids=["both", "video", "audio"]
)
async def test_minute_with_a_restart_of_the_source_has_no_findings(
    tracks: tuple[Track, ...], format: str
) -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site:
        stream = site.hub.declare(NAME)
        source = Source(site, clock, tracks, gop_us=2_000_000)
        source.start()
        source.advance(4_200_000)
        player = Player(site, format)
        await watch(player, source, stream, MINUTE_US // 2)
        source.stop()
        await watch(player, source, stream, 3_200_000)
        source.start()
        await watch(player, source, stream, MINUTE_US // 2)
        assert player.findings == []
        assert player.playlists >= 25
        # Nothing is lost but what the open segment at the end still holds.
        seen_s = sum(player.segments.values())
        assert seen_s == pytest.approx(64.2, abs=4.3)
        restarts = [s for s in read_media(player.last).segments if s.discontinuity]
        assert len(restarts) <= 1


@pytest.mark.parametrize("gop_us", [FRAME_US, 1_000_000, 3_000_000, 5_000_000])
async def test_minute_of_other_keyframe_intervals_has_no_findings(gop_us: int) -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site:
        stream = site.hub.declare(NAME)
        source = Source(site, clock, (VIDEO, AUDIO), gop_us)
        source.start()
        source.advance(11_000_000)
        player = Player(site, "fmp4")
        await watch(player, source, stream, MINUTE_US - 11_000_000)
        assert player.findings == []


async def test_minute_of_keyframes_made_for_viewers_keeps_its_target_duration() -> None:
    clock = HeldClock()
    async with hls_site(clock=clock) as site:
        stream = site.hub.declare(NAME)
        source = Source(site, clock, (VIDEO, AUDIO), 2_000_000)
        forced_us = (10_600_000, 17_000_000, 17_800_000, 30_040_000)
        for unit in source.what:
            if unit.dts_us in forced_us and unit.track is VIDEO:
                unit.key = True
        source.start()
        source.advance(6_200_000)
        player = Player(site, "fmp4")
        await watch(player, source, stream, MINUTE_US - 7_000_000)
        assert player.findings == []
        assert read_media(player.last).target_s == 2


async def test_minute_in_which_the_wall_clock_is_set_has_no_findings() -> None:
    clock = HeldClock()
    clock.wall_us = 12_345_000_000  # a board without a battery, before it hears of the time
    async with hls_site(clock=clock) as site:
        stream = site.hub.declare(NAME)
        source = Source(site, clock, (VIDEO, AUDIO), 2_000_000)
        source.start()
        source.advance(4_200_000)
        player = Player(site, "fmp4")
        await watch(player, source, stream, 20_000_000)
        clock.wall_us = 1_800_000_000_000_000
        await watch(player, source, stream, 20_000_000)
        assert player.findings == []
        dates = [s.date for s in read_media(player.last).segments]
        assert dates[-1] is not None and dates[-1].year == 2027


async def test_first_playlist_comes_with_the_first_segment_and_grows_lawfully() -> None:
    clock = HeldClock()
    async with hls_site(Settings(segment_us=1_000_000, window_us=6_000_000), clock=clock) as site:
        stream = site.hub.declare(NAME)
        source = Source(site, clock, (VIDEO, AUDIO), 1_000_000)
        source.start()
        source.advance(1_300_000)  # the chunk after the segment tells that it has ended
        player = Player(site, "fmp4")
        await player.look()
        assert read_media(player.last).duration_s == 1
        await watch(player, source, stream, 20_000_000)
        assert player.findings == []
        assert read_media(player.last).duration_s == 6
