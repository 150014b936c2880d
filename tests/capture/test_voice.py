"""Sound onto an even grid, through the real resampler and the real encoder."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise

import pytest
from alsa_fixture import RATE_HZ, amplitude, sine
from test_microphone_clock import Bender
from worker_fixture import decode_audio

from appliance.capture.encoders.aac import FRAME_SAMPLES, AacEncoder
from appliance.capture.voice import MAX_FILL_US, Voice
from appliance.media.unit import AccessUnit

CHUNK = 1024
FRAME_US = FRAME_SAMPLES * 1_000_000 / RATE_HZ
BEGIN_US = 1_000_000_000
TONE_HZ = 3000
WINDOW = 480


def make_voice(sample_format: str = "s16", channels: int = 1, rate_hz: int = RATE_HZ) -> Voice:
    voice = Voice(AacEncoder(2, RATE_HZ, 1, bitrate_bps=128_000))
    voice.connect(sample_format, channels, rate_hz)
    return voice


def feed_all(
    voice: Voice, samples: array[int], true_hz: float, begin_us: float = BEGIN_US
) -> list[AccessUnit]:
    """What a device of that true rate takes from begin_us on."""
    units = []
    for first in range(0, len(samples) - CHUNK + 1, CHUNK):
        data = samples[first : first + CHUNK].tobytes()
        units += voice.feed(data, CHUNK, begin_us + first * 1e6 / true_hz)
    return units


def decode(units: list[AccessUnit]) -> array[float]:
    sound = array("f")
    for frame in decode_audio(units):
        sound.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
    return sound


def phases(sound: array[float], hz: float) -> list[float]:
    """Of the tone in each window, in turns."""
    turn = 2 * math.pi * hz / RATE_HZ
    cosines = [math.cos(turn * n) for n in range(WINDOW)]
    sines = [math.sin(turn * n) for n in range(WINDOW)]
    found = []
    for start in range(0, len(sound) - WINDOW + 1, WINDOW):  # whole turns of the tone
        window = sound[start : start + WINDOW]
        real = sum(map(float.__mul__, window, cosines))
        imaginary = sum(map(float.__mul__, window, sines))
        found.append(math.atan2(real, imaginary) / (2 * math.pi))
    return found


def jumps(found: list[float]) -> list[float]:
    """How much the phase moves from window to window, in turns."""
    return [abs((after - before + 0.5) % 1 - 0.5) for before, after in pairwise(found)]


def test_voice_stamps_lie_on_one_even_grid() -> None:
    units = feed_all(make_voice(), sine(TONE_HZ, 3), RATE_HZ)
    assert len(units) > 130
    for number, unit in enumerate(units):
        assert abs(unit.dts_us - (BEGIN_US + (number - 1) * FRAME_US)) < 1  # one is priming
        assert unit.pts_us == unit.dts_us and unit.key


@pytest.mark.parametrize("ppm", [200, -200])
def test_voice_of_a_drifting_device_has_its_length_and_no_jumps(ppm: int) -> None:
    true_hz = RATE_HZ * (1 + ppm / 1e6)
    seconds = 25.0
    voice = make_voice()
    units = feed_all(voice, sine(TONE_HZ, seconds, rate_hz=true_hz), true_hz)
    # As long as it lasted, not as many samples as there were: those differ by 5 ms
    assert abs(voice.end_us - BEGIN_US - seconds * 1e6) < 25_000
    heard_us = int(seconds * true_hz) // CHUNK * CHUNK * 1e6 / true_hz
    assert abs(voice.end_us - BEGIN_US - heard_us) < 700
    found = phases(decode(units)[5 * FRAME_SAMPLES :], TONE_HZ)
    assert max(jumps(found)) < 0.012  # one sample left out or doubled is 0.0625
    # Once bent, the tone is heard at the pitch it had: the phase stands still
    settled = found[len(found) // 2 :]
    assert max((value - settled[0] + 0.5) % 1 - 0.5 for value in settled) < 0.1


@pytest.mark.parametrize("ppm", [200, -150])
def test_bender_of_the_simulation_is_the_real_resampler(ppm: int) -> None:
    true_hz = RATE_HZ * (1 + ppm / 1e6)
    voice, bender = make_voice(), Bender()
    silence = bytes(2 * CHUNK)
    for number in range(500):
        heard_us = BEGIN_US + number * CHUNK * 1e6 / true_hz
        heard_us += 12_000 if number > 250 else 0  # an error to be bent away
        voice.feed(silence, CHUNK, heard_us)
        bender.feed(FRAME_US, heard_us)
        assert abs(voice.end_us - bender.end_us) < 1000, number


def test_voice_bends_no_more_than_nobody_hears() -> None:
    voice, ends_us = make_voice(), []
    for number in range(300):
        late_us = 25_000 if number >= 50 else 0
        voice.feed(bytes(2 * CHUNK), CHUNK, BEGIN_US + number * FRAME_US + late_us)
        ends_us.append(voice.end_us)
    for before_us, after_us in pairwise(ends_us[20:]):
        assert (
            abs(after_us - before_us - FRAME_US) < FRAME_US * 0.0035
        )  # 6 cents, rounding included
    assert ends_us[-1] - ends_us[49] > 250 * FRAME_US + 10_000  # and yet it follows


def test_voice_cuts_a_gross_error_at_once() -> None:
    voice = make_voice()
    feed_all(voice, sine(TONE_HZ, 1), RATE_HZ)
    began_us = BEGIN_US + 1_100_000
    for number in range(8):
        voice.feed(bytes(2 * CHUNK), CHUNK, began_us + number * FRAME_US)
    assert abs(voice.end_us - (began_us + 8 * FRAME_US)) < 10_000


def test_voice_fills_a_gap_with_silence_and_goes_on_in_time() -> None:
    voice = make_voice()
    units = feed_all(voice, sine(TONE_HZ, 1), RATE_HZ)
    voice.cut()
    gap_us = 2_000_000
    units += feed_all(voice, sine(1500, 1), RATE_HZ, BEGIN_US + gap_us)
    assert all(abs(b.dts_us - a.dts_us - FRAME_US) <= 1 for a, b in pairwise(units))
    sound = decode(units)[FRAME_SAMPLES:]
    silent = sound[int(1.1 * RATE_HZ) : int(1.9 * RATE_HZ)]
    assert max(map(abs, silent)) < 0.01
    again = sound[int(2.1 * RATE_HZ) : int(2.8 * RATE_HZ)]
    assert amplitude(again, 1500) == pytest.approx(8000 / 32768, rel=0.1)
    onset = next(n for n, value in enumerate(sound[len(silent) :], len(silent)) if n > 1.5 * RATE_HZ
                 and abs(value) > 0.05)  # fmt: skip
    assert abs(onset / RATE_HZ - gap_us / 1e6) < 0.005


def test_voice_leaves_out_what_was_already_filled() -> None:
    voice = make_voice()
    units = feed_all(voice, sine(TONE_HZ, 1), RATE_HZ)
    units += voice.fill(BEGIN_US + 1_500_000)
    assert abs(voice.end_us - BEGIN_US - 1_500_000) < 100
    units += feed_all(voice, sine(1500, 1), RATE_HZ, BEGIN_US + 1_000_000)  # came late after all
    assert abs(voice.end_us - BEGIN_US - 2_000_000) < FRAME_US + 1000
    assert all(abs(b.dts_us - a.dts_us - FRAME_US) <= 1 for a, b in pairwise(units))
    sound = decode(units)[FRAME_SAMPLES:]
    assert max(map(abs, sound[int(1.1 * RATE_HZ) : int(1.45 * RATE_HZ)])) < 0.01
    assert amplitude(sound[int(1.6 * RATE_HZ) : int(1.9 * RATE_HZ)], 1500) > 0.2


def test_voice_fill_before_any_sound_and_without_a_gap_is_nothing() -> None:
    voice = make_voice()
    assert voice.fill(BEGIN_US) == []
    feed_all(voice, sine(TONE_HZ, 1), RATE_HZ)
    assert voice.fill(BEGIN_US + 500_000) == []


@pytest.mark.parametrize("is_heard", [True, False])
def test_voice_after_a_long_absence_leaps_and_stays_on_the_grid(is_heard: bool) -> None:
    voice = make_voice()
    units = feed_all(voice, sine(TONE_HZ, 1), RATE_HZ)
    voice.cut()
    away_us = 3_600_000_000  # the machine slept; an hour of silence is not worth encoding
    assert away_us > MAX_FILL_US
    if is_heard:
        later = feed_all(voice, sine(1500, 1), RATE_HZ, BEGIN_US + away_us)
    else:
        later = voice.fill(BEGIN_US + away_us)
    assert len(later) < 60
    assert abs(voice.end_us - BEGIN_US - away_us - 1_000_000 * is_heard) < FRAME_US + 1000
    for unit in units + later:
        frames = (unit.dts_us - BEGIN_US) / FRAME_US
        assert abs(frames - round(frames)) < 0.0001
    assert all(b.dts_us > a.dts_us for a, b in pairwise(units + later))


@pytest.mark.parametrize(
    ("sample_format", "channels", "rate_hz"),
    [("s16", 2, 44_100), ("s32", 1, 16_000), ("s32", 2, 96_000), ("s16", 1, 8_000)],
)
def test_voice_takes_what_devices_have(sample_format: str, channels: int, rate_hz: int) -> None:
    voice = make_voice(sample_format, channels, rate_hz)
    samples = sine(1000, 1.5, rate_hz=rate_hz)
    wide = 65536 if sample_format == "s32" else 1
    mixed = array("i" if wide > 1 else "h")
    for value in samples:
        mixed.extend([value * wide] * channels)
    units = []
    for first in range(0, len(samples) - CHUNK + 1, CHUNK):
        data = mixed[first * channels : (first + CHUNK) * channels].tobytes()
        units += voice.feed(data, CHUNK, BEGIN_US + first * 1e6 / rate_hz)
    sound = decode(units)[FRAME_SAMPLES:]
    middle = sound[RATE_HZ // 4 : RATE_HZ]
    assert amplitude(middle, 1000) == pytest.approx(8000 / 32768, rel=0.1)
