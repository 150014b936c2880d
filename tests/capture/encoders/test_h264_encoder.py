"""The software encoder's keyframes: on a grid of time, whatever is asked for or lost."""

from __future__ import annotations

import random
from fractions import Fraction

import av

from appliance.capture.encoders.h264 import H264Encoder


def key_times_us(dts_us: list[int], forced: set[int]) -> list[int]:
    encoder = H264Encoder(1, 64, 48, Fraction(30), bitrate_bps=100_000, keyframe_us=2_000_000)
    frame = av.VideoFrame(64, 48, "yuv420p")
    units = [
        unit
        for number, at_us in enumerate(dts_us)
        for unit in encoder.encode(frame, at_us, key=number in forced)
    ]
    assert len(units) == len(dts_us)
    return [unit.dts_us for unit in units if unit.key]


def test_encoder_asked_for_keyframes_keeps_its_grid() -> None:
    times_us = [7_000_000 + i * 1_000_000 // 30 for i in range(300)]
    keys_us = key_times_us(times_us, forced={20, 95})
    expected = [0, 20, 60, 95, 120, 180, 240]
    assert keys_us == [times_us[i] for i in expected]


def test_encoder_that_misses_pictures_keeps_its_grid() -> None:
    rng = random.Random(3)
    times_us = [i * 1_000_000 // 30 for i in range(600) if i == 0 or rng.random() > 0.3]
    keys_us = key_times_us(times_us, forced=set())
    assert len(keys_us) == 10
    assert all(0 <= at_us + 17_000 - i * 2_000_000 < 400_000 for i, at_us in enumerate(keys_us))
