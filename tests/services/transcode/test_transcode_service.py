"""Workers come with listeners and go with them; what is done to one is heard by nobody."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pipe_fixture import AUDIO, audio_unit, spoken
from transcode_site import L16, Show, TranscodeSite, open_fmp4, transcode_site, until

from appliance.hub.stream import Stream
from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit, Chunk
from appliance.net import worker_process
from appliance.net.worker_process import WorkerFault
from appliance.services.transcode import Settings, feed
from appliance.services.transcode.feed import Feed
from appliance.services.transcode.service import aac_of
from appliance.wire.pipe.connection import Role
from appliance.wire.pipe.messages import Event, Fault, Reason

BRIEF = Settings(close_us=0)


def children() -> set[int]:
    """Of this process; workers all."""
    own = os.getpid()
    tasks = Path(f"/proc/{own}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


class SoundOnly:
    """Chunks that say what they are."""

    def takes(self, config: object) -> bool:
        return isinstance(config, AacConfig)

    def header(self, tracks: object) -> bytes:
        return b""

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        name = b"sound" if unit.track.codec is Codec.AAC else b"other"
        return [Chunk(name, unit.dts_us, 0, unit.key)]

    def flush(self) -> list[Chunk]:
        return []


def holes_us(units: list[AccessUnit]) -> int:
    """The longest step between two frames of sound."""
    return max(after.dts_us - before.dts_us for before, after in pairwise(units))


async def test_worker_comes_with_the_first_listener_and_goes_after_the_last(tmp_path: Path) -> None:
    async with transcode_site(tmp_path, BRIEF) as site:
        stream, show = site.publish()
        show.write(100)
        others = children()
        rendition = open_fmp4(stream)
        await asyncio.sleep(0)
        assert children() == others  # a rendition that nobody watches needs no sound
        with rendition.demand.viewer():
            alternative = await site.heard(stream, show)
            assert len(children() - others) == 1
            assert alternative.track.config == AacConfig.lc(48_000, 1)
        await until(lambda: children() == others and not site.service.working)
        assert not site.faults()
        units = list(alternative.units.items)
        assert abs(units[0].dts_us - show.start_us) < 25_000  # the ring's past is heard, too
        assert holes_us(units) < 22_000


async def test_worker_of_native_listeners_is_none(tmp_path: Path) -> None:
    async with transcode_site(tmp_path) as site:
        stream, show = site.publish(native=Track(2, AacConfig.lc(48_000, 1), 48_000))
        with open_fmp4(stream).demand.viewer():
            show.write(10)
            await asyncio.sleep(0)
            assert not site.feeds


async def test_listener_who_comes_later_has_sound_from_the_first_picture_on(tmp_path: Path) -> None:
    async with transcode_site(tmp_path) as site:
        stream, show = site.publish()
        show.write(100)
        rendition = await stream.open_rendition("sound", SoundOnly)
        sounds = [c for c in rendition.ring.items if c.data == b"sound"]
        assert sounds[0].dts_us - show.start_us < 25_000
        assert show.newest_us - sounds[-1].dts_us < 300_000


@pytest.mark.parametrize("harm", [signal.SIGKILL, signal.SIGSTOP])
async def test_worker_that_is_harmed_is_replaced_without_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: signal.Signals
) -> None:
    monkeypatch.setattr(feed, "STALL_S", 1.0)
    async with transcode_site(tmp_path) as site:
        stream, show = site.publish()
        others = children()
        rendition = open_fmp4(stream)
        with rendition.demand.viewer():
            show.write(25)
            await site.heard(stream, show)
            (old,) = children() - others
            os.kill(old, harm)
            pictures = rendition.ring.next
            show.write(40)
            assert rendition.ring.next > pictures  # nobody's picture waits for it
            alternative = await site.heard(stream, show)
            assert old not in children()
            assert holes_us(list(alternative.units.items)) < 40_000
            assert site.faults() == {"died" if harm is signal.SIGKILL else "stalled"}
            assert not alternative.is_missing
            assert stream.renditions["fmp4"] is rendition


def replace_workers(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(
        worker_process, "command", lambda options, *, nice: [sys.executable, "-c", script]
    )


async def test_sound_that_cannot_be_made_is_left_out_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MISSING_S", 0.5)
    monkeypatch.setattr(feed, "TICK_S", 0.05)
    real = worker_process.command
    replace_workers(monkeypatch, "raise SystemExit(1)")
    async with transcode_site(tmp_path) as site:
        stream, show = site.publish()
        show.write(50)
        rendition = open_fmp4(stream)
        with_sound = rendition.header
        with rendition.demand.viewer():
            await until(lambda: site.feeds[0].alternative.is_missing)
            assert rendition.header != with_sound and site.faults() == {"died"}
            monkeypatch.setattr(worker_process, "command", real)
            await site.heard(stream, show)
            await until(lambda: rendition.header == with_sound)
            assert stream.renditions["fmp4"] is rendition


async def test_workers_are_no_more_than_settings_allow(tmp_path: Path) -> None:
    async with transcode_site(tmp_path, Settings(workers=1, close_us=0)) as site:
        (first, one), (second, two) = site.publish("live/a"), site.publish("live/b")
        one.write(25)
        two.write(25)
        others = children()
        earlier = open_fmp4(first)
        with earlier.demand.viewer():
            await site.heard(first, one)
            with open_fmp4(second).demand.viewer():
                await until(lambda: "busy" in site.faults())
                assert len(children() - others) == 1
                earlier.demand.leave()
                await site.heard(second, two)
                earlier.demand.join()


async def test_report_tells_who_listens_to_what(tmp_path: Path) -> None:
    async with transcode_site(tmp_path) as site:
        stream, show = site.publish()
        show.write(25)
        with open_fmp4(stream).demand.viewer():
            await site.heard(stream, show)
            (row,) = site.context.reports["transcode"]()
            made = row.pop("units")
            assert made > 25 and row == {
                "stream": "live/a", "from": "l16", "to": "aac", "listeners": 1, "working": True,
                "missing": False, "workers": 1,
            }  # fmt: skip


def test_offers_are_what_most_can_play_first() -> None:
    assert aac_of(G711Config(Codec.PCMA)) == AacConfig.lc(48_000, 1)
    assert aac_of(G711Config(Codec.PCMA, 32_000, 6)) == AacConfig.lc(32_000, 2)
    assert aac_of(OpusConfig(2)) == AacConfig.lc(48_000, 2)


async def test_offers_of_each_sound(tmp_path: Path) -> None:
    async with transcode_site(tmp_path) as site:

        def offered(track: Track) -> list[str]:
            return [str(one.codec) for one in site.service.offers(track)]

        assert offered(L16) == ["aac", "opus"]
        assert offered(Track(2, OpusConfig(2), 48_000)) == ["aac"]
        assert offered(Track(2, AacConfig.lc(48_000, 1), 48_000)) == ["opus"]
    async with transcode_site(tmp_path, Settings(workers=0)) as site:
        assert offered(L16) == []


# -- what a worker may say ---------------------------------------------------------------------


def listening_feed(site: TranscodeSite) -> tuple[Feed, Stream, Show]:
    """One whose worker is us."""
    stream, show = site.publish()
    show.write(10)
    open_fmp4(stream)
    (one,) = site.feeds
    one._failed = asyncio.get_running_loop().create_future()
    one._sent_us = show.newest_us
    return one, stream, show


def frame_at(dts_us: int, size_bytes: int = 100) -> AccessUnit:
    return AccessUnit(AUDIO, dts_us, dts_us, True, (bytes(size_bytes),))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([(AUDIO,), frame_at(1 << 60)], "garbage"),
        ([(AUDIO,), frame_at(1, 9_000)], "garbage"),
        ([(Track(2, OpusConfig(1), 48_000),)], "garbage"),
        ([audio_unit()], "garbage"),
        ([Fault(Reason.ENCODER, "no")], "encoder"),
    ],
    ids=["future", "huge", "other sound", "not described", "fault"],
)
async def test_worker_that_says_what_none_may_is_at_fault(
    tmp_path: Path, said: list[Event], reason: str
) -> None:
    async with transcode_site(tmp_path) as site:
        one, _, _ = listening_feed(site)
        one._receive(spoken(Role.WORKER, said))
        assert one._failed is not None
        fault = one._failed.exception()
        assert isinstance(fault, WorkerFault) and fault.reason == reason


async def test_worker_that_repeats_itself_adds_nothing(tmp_path: Path) -> None:
    async with transcode_site(tmp_path) as site:
        one, stream, show = listening_feed(site)
        said = [frame_at(show.start_us + us) for us in (0, 0, 1_000, 21_333, 21_334, 5, 42_666)]
        one._receive(spoken(Role.WORKER, [(AUDIO,), *said]))
        stamps = [unit.dts_us - show.start_us for unit in one.alternative.units.items]
        assert stamps == [0, 21_333, 42_666]
        assert one._failed is not None and not one._failed.done()


async def test_worker_that_says_garbage_breaks_nothing_else(tmp_path: Path) -> None:
    async with transcode_site(tmp_path) as site:
        one, stream, show = listening_feed(site)
        good = spoken(
            Role.WORKER, [(AUDIO,), *(frame_at(show.start_us + n * 21_333) for n in range(4))]
        )
        dice = random.Random(5)
        for _ in range(500):
            one._pipe = feed.Pipe(Role.APPLIANCE)
            one._failed = asyncio.get_running_loop().create_future()
            data = bytearray(good)
            for _ in range(dice.randint(1, 4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            one._receive(bytes(data))
            fault = one._failed.exception() if one._failed.done() else None
            assert fault is None or isinstance(fault, WorkerFault)
        assert "fmp4" in stream.renditions
