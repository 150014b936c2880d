"""The test pattern through its real encoders: what a decoder sees and hears, and when."""

from __future__ import annotations

import os
import signal
import time
from array import array
from itertools import pairwise

import av
import pytest
from worker_fixture import SMALL, Worker, decode_audio, decode_video, luma

from appliance.capture.pattern.testcard import BRIGHT, PANEL, SOFT, Caption, TestCard
from appliance.capture.picture.font import glyph_luma
from appliance.capture.picture.glyphs import ADVANCE_CELLS, CAP_CELLS
from appliance.media.h264 import NAL_IDR, nal_type
from appliance.media.track import Codec, Kind
from appliance.wire.pipe.messages import RequestKeyframe, SetBitrate

WIDTH, HEIGHT, FPS = 640, 360, 25
CARD = TestCard(WIDTH, HEIGHT, Caption("", "", ""))
INTERVAL_US = 1_000_000 // FPS


def read_text(frame: av.VideoFrame, x: int, y: int, scale: int, count: int, ink: int) -> str:
    """The characters of a line, each the one whose bitmap is nearest to the decoded luma."""
    at = luma(frame)
    text = ""
    for index in range(count):
        left = x + index * ADVANCE_CELLS * scale
        distances = {}
        for character in "0123456789:.":
            rows = glyph_luma(character, scale, ink, PANEL.y)[: CAP_CELLS * scale]
            distances[character] = sum(
                abs(value - at(left + column, y + line))
                for line, row in enumerate(rows)
                for column, value in enumerate(row)
            )
        text += min(distances, key=distances.__getitem__)
    return text


def read_clock_us(frame: av.VideoFrame) -> int:
    """The burnt-in time of day."""
    text = read_text(frame, CARD.clock_x, CARD.clock_y, CARD.large, 12, BRIGHT)
    hours, minutes, seconds = text.split(":")
    return (int(hours) * 60 + int(minutes)) * 60_000_000 + round(float(seconds) * 1_000_000)


def read_number(frame: av.VideoFrame) -> int:
    return int(read_text(frame, CARD.number_x, CARD.line_y, CARD.middle, 7, SOFT))


def box_left(frame: av.VideoFrame) -> int:
    """Where the bright box begins on its dark strip."""
    at = luma(frame)
    y = CARD.box_y + CARD.box // 2
    return next(x for x in range(WIDTH) if at(x, y) > 120)


def test_pattern_pictures_show_running_clock_number_and_moving_box() -> None:
    with Worker("pattern:", width=WIDTH, height=HEIGHT) as worker:
        units = worker.read_units(20)
    frames = decode_video(units)
    assert [(frame.width, frame.height) for frame in frames] == [(WIDTH, HEIGHT)] * 20
    numbers = [read_number(frame) for frame in frames]
    stamps = [unit.pts_us for unit in units]
    slots = [round((stamp - stamps[0]) / INTERVAL_US) for stamp in stamps]
    assert numbers == [numbers[0] + slot for slot in slots]  # which counts pictures left out, too
    clocks = [read_clock_us(frame) for frame in frames]
    for clock, stamp in zip(clocks, stamps, strict=True):
        # Shown in whole milliseconds, and the same instants as the stamps
        assert abs((clock - clocks[0]) - (stamp - stamps[0])) <= 1000
    lefts = [box_left(frame) for frame in frames]
    assert sum(before != after for before, after in pairwise(lefts)) >= 18
    assert max(lefts) - min(lefts) > 20


def test_pattern_clock_is_the_wall_clock() -> None:
    with Worker("pattern:", width=WIDTH, height=HEIGHT) as worker:
        (unit,) = worker.read_units(1)
        mono_us, unix_s = time.monotonic_ns() // 1000, time.time()
    now = time.localtime(unix_s)
    day_us = (now.tm_hour * 60 + now.tm_min) * 60_000_000 + round((unix_s % 60) * 1_000_000)
    shown_us = read_clock_us(decode_video([unit])[0])
    assert abs((day_us - shown_us) - (mono_us - unit.pts_us)) < 3000


def test_pattern_units_lie_on_a_grid_of_the_monotonic_clock() -> None:
    before_us = time.monotonic_ns() // 1000
    with Worker("pattern:") as worker:
        video = worker.read_units(35)
        audio = worker.units(Kind.AUDIO)
    after_us = time.monotonic_ns() // 1000
    assert before_us - 100_000 < video[0].dts_us < after_us
    assert all(unit.dts_us == unit.pts_us for unit in video)
    for unit in video:
        slots = round((unit.dts_us - video[0].dts_us) / INTERVAL_US)
        assert abs(unit.dts_us - video[0].dts_us - slots * INTERVAL_US) <= 1
    samples = [(unit.dts_us - audio[0].dts_us) * 48_000 / 1_000_000 for unit in audio]
    for number, position in enumerate(samples):
        assert abs(position - number * 1024) < 0.2
    newest_us = max(unit.dts_us for unit in audio)
    assert abs(newest_us - video[-1].dts_us) < 100_000


def test_pattern_is_h264_without_b_frames_and_aac() -> None:
    with Worker("pattern:") as worker:
        worker.read_units(3)
        (tracks,) = worker.descriptions
    video, audio = tracks
    assert (video.codec, audio.codec) == (Codec.H264, Codec.AAC)
    assert (video.config.width_px, video.config.height_px) == (SMALL["width"], SMALL["height"])
    assert video.config.fps == SMALL["fps"]
    assert video.config.max_reorder_frames in {0, None}
    assert (audio.config.sample_rate_hz, audio.config.channels) == (48_000, 1)


def test_pattern_keyframes_come_at_their_interval() -> None:
    with Worker("pattern:", keyframe_us=400_000) as worker:
        units = worker.read_units(36)
    keys = [unit for unit in units if unit.key]
    assert units[0].key
    gaps_us = [after.dts_us - before.dts_us for before, after in pairwise(keys)]
    assert len(gaps_us) >= 2
    assert all(400_000 <= gap_us <= 400_000 + 3 * INTERVAL_US for gap_us in gaps_us)
    for unit in keys:
        assert any(nal_type(nal) == NAL_IDR for nal in unit.parts)


def test_pattern_keyframe_request_yields_one_idr_soon() -> None:
    with Worker("pattern:", keyframe_us=60_000_000) as worker:
        worker.read_units(10)
        asked = len(worker.units(Kind.VIDEO))
        worker.send(RequestKeyframe())
        worker.read_until(lambda w: any(u.key for u in w.units(Kind.VIDEO)[asked:]))
        forced = next(n for n, u in enumerate(worker.units(Kind.VIDEO)) if n >= asked and u.key)
        units = worker.read_units(forced + 10)
    assert any(nal_type(nal) == NAL_IDR for nal in units[forced].parts)
    # The picture type must have been set back: one request, one keyframe.
    assert not any(unit.key for unit in units[forced + 1 :])
    assert len(decode_video(units[forced:])) == 10


def test_pattern_bitrate_command_changes_the_rate() -> None:
    with Worker("pattern:", width=WIDTH, height=HEIGHT, bitrate_bps=2_000_000) as worker:
        worker.read_units(30)
        worker.send(SetBitrate(60_000))
        told = len(worker.units(Kind.VIDEO))
        units = worker.read_units(told + 35)
        before, after = units[1:30], units[told + 15 :]
        assert len(worker.descriptions) == 1  # viewers notice nothing but the rate
    mean_bytes = [sum(unit.size_bytes for unit in part) / len(part) for part in (before, after)]
    assert mean_bytes[1] < mean_bytes[0] / 3
    assert len(decode_video(units)) == len(units)


def test_pattern_without_audio_has_only_a_picture() -> None:
    with Worker("pattern:", audio="none") as worker:
        worker.read_units(10)
        assert [[track.kind for track in tracks] for tracks in worker.descriptions] == [
            [Kind.VIDEO]
        ]
        assert not worker.units(Kind.AUDIO)


def test_pattern_beep_flash_and_the_clock_s_second_are_one_event() -> None:
    with Worker("pattern:", width=WIDTH, height=HEIGHT) as worker:
        worker.read_until(lambda w: len(w.units(Kind.AUDIO)) > 100)
        video, audio = worker.units(Kind.VIDEO), worker.units(Kind.AUDIO)
    frames = decode_video(video)
    offset_us = read_clock_us(frames[0]) - frames[0].pts  # to 1 ms
    for frame in frames:
        within_us = (frame.pts + offset_us) % 1_000_000
        flashes = luma(frame)(WIDTH - 4, CARD.sweep_y + 2) > 200
        if not 98_000 < within_us < 102_000 and within_us < 998_000:
            assert flashes == (within_us < 100_000), within_us
    beeps_us = beep_starts_us(audio)
    assert len(beeps_us) >= 1
    for beep_us in beeps_us:
        assert abs((beep_us + offset_us + 500_000) % 1_000_000 - 500_000) < 5_000


def beep_starts_us(units: list[object]) -> list[float]:
    """Where the sound first becomes loud after having been quiet."""
    starts, quiet = [], 0
    for frame in decode_audio(units):  # type: ignore[arg-type]
        samples = array("f", bytes(frame.planes[0])[: frame.samples * 4])
        for index, value in enumerate(samples):
            if abs(value) > 0.08:
                if quiet > 4800:
                    starts.append(frame.pts + index * 1_000_000 / 48_000)
                quiet = 0
            else:
                quiet += 1
    return starts


@pytest.mark.parametrize("stopped_s", [0.5])
def test_pattern_that_was_held_up_drops_pictures_and_does_not_drift(stopped_s: float) -> None:
    with Worker("pattern:") as worker:
        first = worker.read_units(5)[0]
        os.kill(worker.process.pid, signal.SIGSTOP)
        time.sleep(stopped_s)  # the fault itself, not a wait for something
        os.kill(worker.process.pid, signal.SIGCONT)
        worker.read_units(len(worker.units(Kind.VIDEO)) + 20)
        now_us = time.monotonic_ns() // 1000
        units = worker.units(Kind.VIDEO)
    gaps_us = [after.dts_us - before.dts_us for before, after in pairwise(units)]
    assert max(gaps_us) > 300_000
    assert all(abs(gap_us % INTERVAL_US - INTERVAL_US * (gap_us % INTERVAL_US > 9)) <= 2
               for gap_us in gaps_us)  # fmt: skip
    assert (units[-1].dts_us - first.dts_us) % INTERVAL_US in {0, 1, INTERVAL_US - 1}
    assert now_us - units[-1].dts_us < 200_000


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"width": 321}, "width"),
        ({"height": 20}, "height"),
        ({"fps": 0}, "fps"),
        ({"bitrate_bps": 1}, "bitrate"),
        ({"keyframe_us": 0}, "keyframe"),
        ({"encoder": "h264_magic"}, "encoder"),
    ],
)
def test_pattern_refuses_what_no_encoder_can_do(options: dict[str, object], word: str) -> None:
    with Worker("pattern:", **options) as worker:
        fault = worker.read_end()
    assert fault is not None
    assert fault.reason == "source-invalid"
    assert fault.text.startswith(word)
