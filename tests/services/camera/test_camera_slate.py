"""What a slate is made of, and how it is repeated: sans-IO, then by the real worker."""

from __future__ import annotations

from itertools import pairwise

import pytest

from appliance.errors import PeerError
from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.h264 import H264Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Kind, Track
from appliance.media.unit import AccessUnit
from appliance.net import worker_process as process
from appliance.net.worker_process import WorkerFault
from appliance.services.camera import slate as slate_module
from appliance.services.camera.slate import (
    KEY_US,
    MAX_KEPT,
    MAX_TEXT_CHARS,
    Pace,
    Slate,
    SlateKey,
    SlatePress,
    key_of,
    read_slate,
    same_tracks,
    shorten,
    slate_options,
    sound_of,
)
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import Event, Fault, Reason

H264 = H264Config(
    (bytes.fromhex("6764001facb402802dd350101014000003000400000300f23c60ca80"),),
    (bytes.fromhex("68ef3cb0"),),
)
VIDEO = Track(1, H264)
AUDIO = Track(2, AacConfig.lc(48_000, 1), 48_000)
START_US = 1_000_000_000


def unit(track: Track, part: bytes, *, key: bool = True) -> AccessUnit:
    return AccessUnit(track, 0, 0, key, (part,))


def make_slate(*, sound: bool = True) -> Slate:
    tracks = (VIDEO, AUDIO) if sound else (VIDEO,)
    return Slate(tracks, unit(VIDEO, b"\x65picture"), unit(AUDIO, b"silence") if sound else None)


def make_pace(*, sound: bool = True) -> Pace:
    slate = make_slate(sound=sound)
    return Pace(slate, slate.tracks, START_US)


def pictures(units: list[AccessUnit]) -> list[AccessUnit]:
    return [each for each in units if each.track.kind is Kind.VIDEO]


def sounds(units: list[AccessUnit]) -> list[AccessUnit]:
    return [each for each in units if each.track.kind is Kind.AUDIO]


# -- pace --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tick_us", [10_000, 333_333, 500_000, 3_000_000])
def test_pace_is_a_keyframe_a_second_and_silence_without_gaps(tick_us: int) -> None:
    pace, units = make_pace(), list[AccessUnit]()
    for at_us in range(START_US, START_US + 60_000_000, tick_us):
        batch = pace.take(at_us)
        assert all(each.dts_us <= at_us for each in batch)
        units += batch
    assert all(before.dts_us <= after.dts_us for before, after in pairwise(units))
    shown = [each.dts_us for each in pictures(units)]
    assert shown == [START_US + n * KEY_US for n in range(len(shown))] and len(shown) >= 57
    assert all(each.key for each in units)
    heard = [each.dts_us for each in sounds(units)]
    assert heard[0] == START_US
    assert {after - before for before, after in pairwise(heard)} <= {21_333, 21_334}
    assert heard[-1] - START_US == (len(heard) - 1) * 1024 * 1_000_000 // 48_000  # no drift


def test_pace_shares_the_coded_bytes() -> None:
    pace = make_pace()
    units = pictures(pace.take(START_US + 5 * KEY_US))
    assert len({id(each.parts) for each in units}) == 1
    assert len({id(each) for each in units}) == len(units)  # publishing changes their stamps


def test_pace_without_sound_is_pictures_alone() -> None:
    units = make_pace(sound=False).take(START_US + 3 * KEY_US)
    assert [each.track for each in units] == [VIDEO] * 4


def test_pace_leaves_out_a_standstill() -> None:
    pace = make_pace()
    pace.take(START_US)
    units = pace.take(START_US + 3600 * KEY_US)
    assert len(units) <= 2
    assert units[0].dts_us == START_US + 3600 * KEY_US


@pytest.mark.parametrize("at_us", [1, 300, 30_000, 79_999, 400_000, 999_999, 1_000_000, 2_500_000])
def test_pace_ends_where_the_media_begins(at_us: int) -> None:
    """By the rule of muxers: the last picture lasts as long as the one before."""
    pace = make_pace()
    units = pace.take(START_US)
    units += pace.finish(START_US + at_us)
    shown = [each.dts_us for each in pictures(units)]
    assert all(before < after for before, after in pairwise(shown)) or at_us < 3
    assert shown[-1] <= START_US + at_us
    if at_us >= 3:
        assert shown[-1] + (shown[-1] - shown[-2]) == pytest.approx(START_US + at_us, abs=3)
    assert all(each.dts_us < START_US + at_us for each in sounds(units))


def test_pace_whose_media_begins_in_its_past_just_ends() -> None:
    pace = make_pace()
    pace.take(START_US + 500_000)
    assert pace.finish(START_US - 1) == []


def test_pace_shows_another_slate_at_once() -> None:
    pace = make_pace()
    pace.take(START_US)
    other = Slate((VIDEO, AUDIO), unit(VIDEO, b"\x65other"), unit(AUDIO, b"silence"))
    pace.change(other, other.tracks)
    (shown,) = pictures(pace.take(START_US + 100_000))
    assert shown.parts == (b"\x65other",)
    assert START_US < shown.dts_us <= START_US + 100_000


# -- which slate -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AacConfig.lc(48_000, 1), (48_000, 1)),
        (AacConfig.lc(44_100, 2), (44_100, 2)),
        (AacConfig(bytes.fromhex("118856e500")), (48_000, 1)),  # as ffmpeg writes it
        (AacConfig.lc(48_000, 6), (0, 1)),
        (OpusConfig(channels=2), (0, 1)),
        (G711Config(Codec.PCMA), (0, 1)),
    ],
)
def test_silence_stands_for_plain_aac_alone(config: object, expected: tuple[int, int]) -> None:
    assert sound_of(Track(2, config)) == expected  # type: ignore[arg-type]


def test_slate_has_the_size_and_sound_of_the_media_before_it() -> None:
    key = key_of("camera off", (VIDEO, AUDIO), 640, 360, 2)
    assert key == SlateKey("camera off", 1280, 720, 48_000, 1)
    turned = Track(1, H264, rotation_deg=90)
    assert key_of("", (turned,), 640, 360, 2) == SlateKey("", 720, 1280, 0, 1)
    assert key_of("", (), 640, 360, 2) == SlateKey("", 640, 360, 48_000, 2)
    assert key_of("", (), 640, 360, 0) == SlateKey("", 640, 360, 0, 1)


def test_slate_text_is_one_short_line() -> None:
    assert shorten("  a\n b\t c ") == "a b c"
    assert len(shorten("x" * 1000)) == MAX_TEXT_CHARS


@pytest.mark.parametrize("side", [1, 63, 65, 101, 4097, 100_000])
def test_slate_is_asked_for_in_a_size_that_can_be_encoded(side: int) -> None:
    options = slate_options(SlateKey("x", side, side), "device")
    assert 64 <= int(options["width"]) <= 4096 and not int(options["width"]) % 2


def test_tracks_that_say_the_same_stay_the_same() -> None:
    twin = Track(1, H264Config(H264.sps, H264.pps))
    other = Track(2, AacConfig.lc(44_100, 1), 44_100)
    assert twin is not VIDEO
    same = same_tracks((VIDEO, AUDIO), (twin, other))
    assert same[0] is VIDEO and same[1] is other


# -- what its worker says ----------------------------------------------------------------------


def spoken(*events: Event) -> bytes:
    pipe = Pipe(Role.WORKER)
    for event in events:
        pipe.send(event)
    return pipe.take_output()


def test_slate_is_read_with_the_last_silence() -> None:
    words = spoken(
        (VIDEO, AUDIO), unit(AUDIO, b"priming"), unit(AUDIO, b"silence"), unit(VIDEO, b"\x65")
    )
    slate = read_slate(words, with_sound=True)
    assert slate.silence is not None and bytes(slate.silence.parts[0]) == b"silence"
    assert [track.id for track in slate.tracks] == [1, 2]
    assert read_slate(words, with_sound=False).tracks == (VIDEO,)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"garbage" * 10,
        spoken(),
        spoken((VIDEO,)),
        spoken((VIDEO,), unit(VIDEO, b"\x41", key=False)),
        spoken((AUDIO,), unit(AUDIO, b"silence")),
    ],
)
def test_slate_that_is_none_is_refused(words: bytes) -> None:
    with pytest.raises(PeerError):
        read_slate(words, with_sound=True)


def test_slate_fault_is_told() -> None:
    with pytest.raises(WorkerFault, match="no encoder here"):
        read_slate(spoken(Fault(Reason.ENCODER, "no encoder here")), with_sound=True)


# -- the real worker ---------------------------------------------------------------------------


async def test_press_makes_a_slate_once_and_keeps_it() -> None:
    press = SlatePress("front-door", 0)
    key = SlateKey("camera off", 320, 180, 44_100, 2)
    slate = await press.make(key)
    assert slate is not None
    video, audio = slate.tracks
    assert (video.config.width_px, video.config.height_px) == (320, 180)  # type: ignore[attr-defined]
    assert (audio.config.sample_rate_hz, audio.config.channels) == (44_100, 2)  # type: ignore[attr-defined]
    assert slate.picture.key and slate.silence is not None
    assert await press.make(key) is slate


async def test_press_that_fails_is_told_once_and_rests(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    press, calls = SlatePress("front-door", 0), list[SlateKey]()

    async def fail(key: SlateKey) -> Slate:
        calls.append(key)
        raise PeerError("no such thing")

    monkeypatch.setattr(press, "_press", fail)
    for _ in range(5):
        assert await press.make(SlateKey("x", 320, 180)) is None
    assert len(calls) == 1
    assert len([r for r in caplog.records if "no slate" in r.getMessage()]) == 1


async def test_press_keeps_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    press = SlatePress("front-door", 0)

    async def make(key: SlateKey) -> Slate:
        return make_slate()

    monkeypatch.setattr(press, "_press", make)
    for number in range(100):
        assert await press.make(SlateKey(str(number), 320, 180)) is not None
    assert len(press._kept) == MAX_KEPT


async def test_press_gives_up_on_a_worker_that_never_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "command", lambda options, nice: ["/bin/sleep", "60"])
    monkeypatch.setattr(slate_module, "PRESS_S", 0.2)
    assert await SlatePress("front-door", 0).make(SlateKey("x", 320, 180)) is None
    assert "it took too long" in caplog.text
