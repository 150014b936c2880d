"""Other forms of a stream's sound: who gets which, who counts as whose viewer, what joins when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from media_fixture import AUDIO, VIDEO, EchoMuxer, HeldClock, PlainConfig, unit

from appliance.errors import CodecUnsupported
from appliance.hub.alternatives import Alternative
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.stream import Stream
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk

ALAW = Track(2, PlainConfig(Kind.AUDIO, Codec.PCMA), 8_000)
AS_AAC = Track(18, PlainConfig(Kind.AUDIO, Codec.AAC), 48_000)
AS_OPUS = Track(19, PlainConfig(Kind.AUDIO, Codec.OPUS), 48_000)


@dataclass
class ScriptedBridge:
    """Offers AAC and Opus of G.711, and remembers what it was asked to make."""

    begun: list[Alternative] = field(default_factory=list)
    ended: list[Alternative] = field(default_factory=list)

    def offers(self, native: Track) -> Sequence[Track]:
        return (AS_AAC, AS_OPUS) if native.codec is Codec.PCMA else ()

    def begin(self, stream: Stream, alternative: Alternative) -> Callable[[], object]:
        self.begun.append(alternative)
        return lambda: self.ended.append(alternative)


@dataclass
class AacMuxer(EchoMuxer):
    """Carries pictures and AAC."""

    codec: Codec = Codec.AAC

    def takes(self, config: CodecConfig) -> bool:
        return config.codec is self.codec

    def header(self, tracks: tuple[Track, ...]) -> bytes:
        self.ids = {t.id for t in tracks if t.kind is Kind.VIDEO or self.takes(t.config)}
        if not self.ids:
            raise CodecUnsupported("nothing to carry")
        return super().header(tracks)

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        return super().feed(unit) if unit.track.id in self.ids else []


def make(
    tracks: tuple[Track, ...] = (VIDEO, ALAW),
) -> tuple[Hub, Stream, Publisher, ScriptedBridge]:
    hub, bridge = Hub(clock=HeldClock()), ScriptedBridge()
    publisher = hub.publish("live/a", "test", stamped=True)
    hub.use_bridge(bridge)  # streams that are there have it, too
    publisher.describe(tracks)
    return hub, hub.find("live/a"), publisher, bridge


def write(publisher: Publisher, first_ms: int, last_ms: int) -> None:
    """A picture and a sound every 40 ms, a key every 400."""
    for ms in range(first_ms, last_ms, 40):
        publisher.write(unit(1_000_000_000 + ms * 1000, key=ms % 400 == 0))
        publisher.write(unit(1_000_000_000 + ms * 1000 + 10, track=ALAW, key=True))


def sound(ms: int) -> AccessUnit:
    return unit(1_000_000_000 + ms * 1000 + 20, track=AS_AAC, key=True)


def test_alternative_stands_in_the_native_tracks_place() -> None:
    _, stream, _, bridge = make()
    muxer = AacMuxer()
    rendition = stream.rendition("x", lambda: muxer)
    assert muxer.headers == [(VIDEO, AS_AAC)]
    assert rendition.tracks == (VIDEO, AS_AAC)
    assert [one.track for one in bridge.begun] == [AS_AAC]
    assert stream.tracks == (VIDEO, ALAW)


def test_native_sound_is_preferred_and_nothing_is_begun() -> None:
    _, stream, _, bridge = make()
    for number, muxer in enumerate((AacMuxer(codec=Codec.PCMA), EchoMuxer())):
        stream.rendition(f"x{number}", lambda muxer=muxer: muxer)
        assert muxer.headers == [(VIDEO, ALAW)]
    assert not bridge.begun


@pytest.mark.parametrize("tracks", [(VIDEO,), (VIDEO, AUDIO)])
def test_sound_that_needs_no_other_form_or_has_none_stays(tracks: tuple[Track, ...]) -> None:
    _, stream, _, bridge = make(tracks)
    muxer = AacMuxer(codec=Codec.MP3)
    stream.rendition("x", lambda: muxer)
    assert muxer.headers == [tracks]
    assert not bridge.begun


def test_two_renditions_share_one_alternative() -> None:
    _, stream, _, bridge = make()
    stream.rendition("x", AacMuxer)
    stream.rendition("y", AacMuxer)
    stream.rendition("z", lambda: AacMuxer(codec=Codec.OPUS))
    assert [one.track.codec for one in bridge.begun] == [Codec.AAC, Codec.OPUS]


def test_viewers_of_a_rendition_are_the_alternatives_and_the_streams() -> None:
    _, stream, _, bridge = make()
    rendition = stream.rendition("x", AacMuxer)
    plain = stream.rendition("y", EchoMuxer)
    with rendition.demand.viewer(), plain.demand.viewer():
        assert bridge.begun[0].demand.viewers == 1
        assert stream.demand.viewers == 2
    assert bridge.begun[0].demand.viewers == stream.demand.viewers == 0


def test_units_of_an_alternative_reach_only_who_has_it() -> None:
    _, stream, publisher, bridge = make()
    rendition, plain = stream.rendition("x", AacMuxer), stream.rendition("y", EchoMuxer)
    write(publisher, 0, 40)
    cursor = stream.units.next
    stream.append_alternative(bridge.begun[0], sound(0))
    assert [chunk.data for chunk in rendition.ring.items] == [b"1000000000", b"1000000020"]
    assert [chunk.data for chunk in plain.ring.items] == [b"1000000000", b"1000000010"]
    assert stream.units.next == cursor  # cursors over units never meet them


def test_rendition_made_later_begins_with_sound_in_its_place() -> None:
    _, stream, publisher, bridge = make()
    stream.rendition("first", AacMuxer)
    write(publisher, 0, 800)
    for ms in range(0, 800, 40):  # late, and all at once
        stream.append_alternative(bridge.begun[0], sound(ms))
    rendition = stream.rendition("second", AacMuxer)
    stamps = [chunk.dts_us for chunk in rendition.ring.items]
    assert stamps == sorted(stamps)
    assert len(stamps) == 40


def test_missing_sound_is_left_out_and_comes_back() -> None:
    _, stream, _, bridge = make()
    muxer = AacMuxer()
    rendition = stream.rendition("x", lambda: muxer)
    with rendition.demand.viewer():
        stream.tell_missing(bridge.begun[0], is_missing=True)
        stream.tell_missing(bridge.begun[0], is_missing=True)
        assert bridge.begun[0].demand.viewers == 1  # or nobody would try again
        stream.tell_missing(bridge.begun[0], is_missing=False)
    assert muxer.headers == [(VIDEO, AS_AAC), (VIDEO, ALAW), (VIDEO, AS_AAC)]
    assert stream.renditions == {"x": rendition}


def test_new_native_sound_ends_the_alternative_and_viewers_move() -> None:
    _, stream, publisher, bridge = make()
    muxer = AacMuxer()
    rendition = stream.rendition("x", lambda: muxer)
    with rendition.demand.viewer():
        publisher.describe((VIDEO, AUDIO))
        assert bridge.ended == bridge.begun
        assert bridge.begun[0].closed
        assert bridge.begun[0].demand.viewers == 0
        assert stream.demand.viewers == 1
    assert stream.demand.viewers == 0
    assert muxer.headers[-1] == (VIDEO, AUDIO)


def test_new_pictures_keep_the_alternative() -> None:
    _, stream, publisher, bridge = make()
    muxer = AacMuxer()
    stream.rendition("x", lambda: muxer)
    publisher.describe(
        (Track(1, PlainConfig(Kind.VIDEO, Codec.H265)), Track(2, ALAW.config, 8_000))
    )
    assert len(bridge.begun) == 1 and not bridge.ended
    assert muxer.headers[-1][1] is AS_AAC


def test_unheard_alternative_is_dropped_with_its_renditions() -> None:
    hub, stream, _, bridge = make()
    stream.rendition("x", AacMuxer)
    clock = stream.clock
    assert isinstance(clock, HeldClock)
    clock.advance(stream.limits.rendition_grace_us + 1)
    hub.sweep()
    assert bridge.ended == bridge.begun
    assert not stream.renditions and not stream.alternatives.by_codec


def test_end_of_the_stream_ends_its_alternatives() -> None:
    hub, stream, _, bridge = make()
    stream.rendition("x", AacMuxer)
    hub.remove(stream.name)
    assert bridge.ended == bridge.begun


async def test_open_rendition_waits_for_sound_to_catch_up() -> None:
    _, stream, publisher, bridge = make()
    write(publisher, 0, 800)
    opening = asyncio.create_task(stream.open_rendition("x", AacMuxer))
    for _ in range(3):
        await asyncio.sleep(0)
    assert bridge.begun[0].demand.viewers == 1
    stream.append_alternative(bridge.begun[0], sound(0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not opening.done() and not stream.renditions
    for ms in range(40, 800, 40):
        stream.append_alternative(bridge.begun[0], sound(ms))
    rendition = await opening
    assert len(rendition.ring.items) == 40


async def test_open_rendition_goes_on_without_sound_that_does_not_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("appliance.hub.stream.SOUND_WAIT_S", 0.01)
    _, stream, publisher, bridge = make()
    write(publisher, 0, 800)
    muxer = AacMuxer()
    rendition = await stream.open_rendition("x", lambda: muxer)
    assert len(rendition.ring.items) == 20
    assert muxer.headers[-1] == (VIDEO, AS_AAC)  # it may come any moment, and nobody starts anew
    assert bridge.begun[0].demand.viewers == 0


async def test_open_rendition_of_native_sound_does_not_wait() -> None:
    _, stream, publisher, bridge = make()
    write(publisher, 0, 80)
    opened = stream.open_rendition("x", EchoMuxer)
    with pytest.raises(StopIteration):
        opened.send(None)
    assert not bridge.begun


def test_check_rendition_tells_of_what_cannot_be_carried_and_makes_none() -> None:
    _, stream, _, _ = make((ALAW,))
    stream.check_rendition("x", AacMuxer)
    with pytest.raises(CodecUnsupported):
        stream.check_rendition("y", lambda: AacMuxer(codec=Codec.MP3))
    assert not stream.renditions
