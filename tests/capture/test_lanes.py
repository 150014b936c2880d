"""Lanes and playout by themselves: stamps that lack, pictures that lead, streams that stumble."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from worker_fixture import make_clip

from appliance.capture import playout
from appliance.capture.commands import Commands
from appliance.capture.lanes.choosing import choose_lanes
from appliance.capture.lanes.lane import Stamps
from appliance.capture.lanes.passing import AudioPass, VideoPass
from appliance.capture.lanes.transcoding import AudioTranscode, VideoTranscode
from appliance.capture.options import Options
from appliance.capture.pipeline.shaping import fit
from appliance.capture.playout import Playout
from appliance.media.aac import AacConfig
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Picture

MILLISECOND = Fraction(1, 1000)
AUDIO = Track(2, AacConfig.lc(48_000, 1), 48_000)
OTHER = Track(1, AacConfig.lc(44_100, 2), 44_100)


def packet(dts: int | None, pts: int | None = None, duration: int = 0) -> Any:
    return SimpleNamespace(dts=dts, pts=pts, duration=duration)


def test_stamps_guess_what_is_missing() -> None:
    stamps = Stamps(Kind.VIDEO, MILLISECOND, step_us=40_000)
    given = [(0, 80), (40, None), (None, 120), (None, None), (None, None), (300, 280)]
    taken = [stamps.take(packet(dts, pts)) for dts, pts in given]
    assert taken == [
        (0, 80_000), (40_000, 40_000), (120_000, 120_000), (200_000, 200_000), (280_000, 280_000),
        (300_000, 280_000),
    ]  # fmt: skip


def test_stamps_span_reaches_to_the_end_of_the_last_packet() -> None:
    stamps = Stamps(Kind.AUDIO, MILLISECOND)
    stamps.shift_us = 5_000_000
    for dts in (-20, 0, 20):
        assert stamps.take(packet(dts, dts, 20)) == (dts * 1000 + 5_000_000,) * 2
    assert stamps.span_us == 60_000


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((640, 360), (1280, 720), (640, 360)),
        ((1920, 1080), (1280, 720), (1280, 720)),
        ((1080, 1920), (1280, 720), (404, 720)),
        ((641, 361), (1280, 720), (640, 360)),
        ((10_000, 10), (1280, 720), (1280, 64)),
    ],
)
def test_fit_keeps_the_shape_in_even_numbers(
    size: tuple[int, int], bounds: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fit(*size, *bounds) == expected


OPEN_GOP = ("-x264-params", "open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=2:b-adapt=0")


def open_gop_packets(folder: Path) -> tuple[Any, list[Any]]:
    path = make_clip(
        folder, "open.mp4", "-f", "lavfi", "-i", "testsrc2=size=192x128:rate=25:duration=2",
        "-c:v", "libx264", "-flags", "-cgop", "-pix_fmt", "yuv420p", *OPEN_GOP,
    )  # fmt: skip
    container = av.open(str(path))
    stream = container.streams.video[0]
    return stream, [packet for packet in container.demux(stream) if packet.size]


def test_video_pass_leaves_out_pictures_that_refer_to_what_is_gone(tmp_path: Path) -> None:
    """Begun at an open GOP, the pictures shown before its I picture cannot be decoded."""
    stream, packets = open_gop_packets(tmp_path)
    keys = [n for n, packet in enumerate(packets) if packet.is_keyframe]
    lane = VideoPass(1, stream)
    units = [unit for packet in packets[keys[1] - 3 :] for unit in lane.feed(packet)]
    assert units[0].key
    assert all(unit.pts_us >= units[0].pts_us for unit in units[1:])
    leading = [packet for packet in packets[keys[1] + 1 :] if packet.pts < packets[keys[1]].pts]
    assert len(leading) >= 1  # or this test proves nothing
    assert len(units) == len(packets) - keys[1] - len(leading)
    stream.container.close()


def test_video_pass_begun_at_an_idr_keeps_everything(tmp_path: Path) -> None:
    stream, packets = open_gop_packets(tmp_path)
    lane = VideoPass(1, stream)
    assert len([unit for packet in packets for unit in lane.feed(packet)]) == len(packets)
    stream.container.close()


def test_video_pass_new_parameter_sets_make_a_new_track(tmp_path: Path) -> None:
    clips = [
        make_clip(
            tmp_path, f"{size}.ts", "-f", "lavfi", "-i",
            f"testsrc2=size={size}:rate=25:duration=0.4", "-c:v", "libx264",
            "-pix_fmt", "yuv420p",
        )
        for size in ("192x128", "320x240")
    ]  # fmt: skip
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(clip.read_bytes() for clip in clips))
    with av.open(str(joined)) as container:
        stream = container.streams.video[0]
        lane = VideoPass(1, stream)
        units = [unit for packet in container.demux(stream) if packet.size
                 for unit in lane.feed(packet)]  # fmt: skip
    tracks = list(dict.fromkeys(id(unit.track) for unit in units))
    assert len(tracks) == 2
    assert units[0].track.config.width_px == 192
    assert units[-1].track.config.width_px == 320


@pytest.mark.parametrize(
    ("codecs", "kinds"),
    [
        (("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac"), [VideoPass, AudioPass]),
        (("-c:v", "libx264", "-pix_fmt", "yuv444p", "-c:a", "flac"),
         [VideoTranscode, AudioTranscode]),
        (("-c:v", "mpeg4", "-c:a", "libopus"), [VideoTranscode, AudioPass]),
    ],
)  # fmt: skip
def test_choose_lanes_by_what_players_can_decode(
    tmp_path: Path, codecs: tuple[str, ...], kinds: list[type]
) -> None:
    path = make_clip(
        tmp_path, "clip.mkv", "-f", "lavfi", "-i", "testsrc2=size=192x128:rate=25:duration=0.4",
        "-f", "lavfi", "-i", "sine=duration=0.4:sample_rate=48000", *codecs,
    )  # fmt: skip
    with av.open(str(path)) as container:
        lanes = choose_lanes(container, Options())
        assert [type(lane) for lane in lanes.values()] == kinds


def test_choose_lanes_of_raw_h264_with_b_frames_transcodes(tmp_path: Path) -> None:
    """A bare stream has no presentation times: only decoding tells the order."""
    source = ("-f", "lavfi", "-i", "testsrc2=size=192x128:rate=25:duration=0.6", "-c:v", "libx264")
    for reorder, kind in (("2", VideoTranscode), ("0", VideoPass)):
        path = make_clip(tmp_path, f"b{reorder}.h264", *source, "-bf", reorder,
                         "-pix_fmt", "yuv420p")  # fmt: skip
        with av.open(str(path)) as container:
            assert [type(lane) for lane in choose_lanes(container, Options()).values()] == [kind]


def test_video_transcode_that_is_behind_drops_until_it_has_caught_up(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path, "clip.avi", "-f", "lavfi", "-i", "testsrc2=size=192x128:rate=25:duration=2",
        "-c:v", "mpeg4",
    )  # fmt: skip
    made: dict[int, int] = {}
    dropped: dict[int, int] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        transcode = VideoTranscode(1, stream, Options())
        packets = [packet for packet in container.demux(stream) if packet.size]
        for late_us in (0, 500_000, 200_000, 50_000):
            for packet in packets[:10]:
                transcode.obey(Commands(), late_us)
                made[late_us] = made.get(late_us, 0) + len(transcode.feed(packet))
            dropped[late_us] = transcode.take_dropped()
            del packets[:10]
    assert made == {0: 10, 500_000: 0, 200_000: 0, 50_000: 10}
    assert dropped == {0: 0, 500_000: 10, 200_000: 10, 50_000: 0}


class HeldTime:
    """CLOCK_MONOTONIC that moves only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_us = 1_000_000_000
        monkeypatch.setattr(playout, "monotonic_us", lambda: self.now_us)
        monkeypatch.setattr(playout, "sleep_until_us", self._sleep)

    def _sleep(self, due_us: int) -> None:
        self.now_us = max(self.now_us, due_us)


class Recorder:
    def __init__(self, time: HeldTime) -> None:
        self.time = time
        self.events: list[tuple[int, Any]] = []

    def describe(self, tracks: tuple[Track, ...]) -> None:
        self.events.append((self.time.now_us, tracks))

    def write(self, unit: AccessUnit) -> None:
        self.events.append((self.time.now_us, unit))

    def drop(self, count: int) -> None:
        assert not count

    def state(self, document: dict[str, Any]) -> None:
        pass

    def answer(self, serial: int, error: str = "") -> None:
        pass

    def picture(self, picture: Picture) -> None:
        pass

    @property
    def units(self) -> list[AccessUnit]:
        return [event for _, event in self.events if isinstance(event, AccessUnit)]


def lane(track: Track | None) -> Any:
    return SimpleNamespace(track=track, take_dropped=lambda: 0)


def sound(dts_us: int, track: Track = AUDIO) -> AccessUnit:
    return AccessUnit(track, dts_us, dts_us, True, (b"x",))


def test_playout_sends_each_unit_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    time = HeldTime(monkeypatch)
    sink = Recorder(time)
    player = Playout(sink, max_late_us=2_000_000)
    player.send([lane(AUDIO)], [sound(77_000_000 + n * 20_000) for n in range(5)])
    (_, tracks), *sent = sink.events
    assert tracks == (AUDIO,)
    assert [at_us for at_us, _ in sent] == [1_000_000_000 + n * 20_000 for n in range(5)]
    assert [unit.dts_us for unit in sink.units] == [at_us for at_us, _ in sent]


def test_playout_waits_for_all_tracks_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = Recorder(HeldTime(monkeypatch))
    player = Playout(sink, max_late_us=2_000_000)
    lanes = [lane(None), lane(AUDIO)]
    for n in range(100):
        player.send(lanes, [sound(n * 20_000)])
    assert not sink.events
    lanes[0].track = OTHER
    player.send(lanes, [sound(100 * 20_000)])
    assert [event for _, event in sink.events if isinstance(event, tuple)] == [(OTHER, AUDIO)]
    assert len(sink.units) == 101

    late = Recorder(HeldTime(monkeypatch))
    player = Playout(late, max_late_us=2_000_000)
    lanes = [lane(None), lane(AUDIO)]
    for n in range(200):
        player.send(lanes, [sound(n * 20_000)])
    assert len(late.units) == 200
    lanes[0].track = OTHER
    player.send(lanes, [sound(200 * 20_000)])
    assert [event for _, event in late.events if isinstance(event, tuple)] == [
        (AUDIO,), (OTHER, AUDIO),
    ]  # fmt: skip


def test_playout_that_was_stopped_goes_on_at_the_present(monkeypatch: pytest.MonkeyPatch) -> None:
    time = HeldTime(monkeypatch)
    sink = Recorder(time)
    player = Playout(sink, max_late_us=2_000_000)
    lanes = [lane(AUDIO), lane(OTHER)]
    player.send(lanes, [sound(0), sound(0, OTHER), sound(20_000), sound(20_000, OTHER)])
    time.now_us += 60_000_000
    player.send(lanes, [sound(40_000), sound(40_000, OTHER), sound(60_000)])
    *_, first, second, third = sink.units
    assert first.dts_us == second.dts_us == 1_000_000_000 + 60_020_000
    assert third.dts_us == first.dts_us + 20_000
    assert [unit.discontinuity for unit in (first, second, third)] == [True, True, False]


def test_playout_short_delay_is_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    time = HeldTime(monkeypatch)
    sink = Recorder(time)
    player = Playout(sink, max_late_us=2_000_000)
    player.send([lane(AUDIO)], [sound(0)])
    time.now_us += 1_500_000
    player.send([lane(AUDIO)], [sound(n * 20_000) for n in range(1, 100)])
    assert [unit.dts_us for unit in sink.units] == [1_000_000_000 + n * 20_000 for n in range(100)]
    assert not any(unit.discontinuity for unit in sink.units)


def test_playout_of_what_came_at_once_begins_in_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    time = HeldTime(monkeypatch)
    sink = Recorder(time)
    player = Playout(sink, max_late_us=2_000_000, past_us=980_000)
    player.send([lane(AUDIO)], [sound(n * 20_000) for n in range(50)])
    assert time.now_us == 1_000_000_000  # nothing had to wait
    assert sink.units[-1].dts_us == time.now_us
