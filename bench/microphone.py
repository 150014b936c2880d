"""Sound from a drifting device: CPU per second of it, beside resampling alone; skew over hours.

CPU is of what our process does between ALSA and the pipe: the clock, the resampler, AAC. Beside
it the same samples by libav's plain resampler and AAC, which do not follow a clock.

    python bench/microphone.py [--hours 1] [--ppm 200]

The skew is that of the real resampler behind the estimated clock: 24 hours take some minutes.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from array import array
from collections.abc import Callable
from fractions import Fraction

import av
from measure import spread

from appliance.capture.encoders.aac import AacEncoder
from appliance.capture.microphone.drift import SampleClock
from appliance.capture.voice import Voice

RATE_HZ = 48_000
CHUNK = 1920
CHUNK_BYTES = 2 * CHUNK
SECONDS = 20
RUNS = 5
BITRATE_BPS = 64_000


def sound() -> bytes:
    """A tone in noise: neither silence nor one frequency, which encode quickly."""
    source = random.Random(1)
    turn = 2 * math.pi * 440 / RATE_HZ
    values = (6000 * math.sin(turn * n) + source.gauss(0, 800) for n in range(SECONDS * RATE_HZ))
    return array("h", map(int, values)).tobytes()


def cpu_us_per_s(work: Callable[[bytes], None], samples: bytes) -> float:
    began = time.process_time()
    work(samples)
    return (time.process_time() - began) * 1e6 / SECONDS


def ours(samples: bytes) -> None:
    clock, voice = SampleClock(RATE_HZ), Voice(AacEncoder(2, RATE_HZ, 1, bitrate_bps=BITRATE_BPS))
    voice.connect("s16", 1, RATE_HZ)
    for first in range(0, SECONDS * RATE_HZ, CHUNK):
        clock.observe(first + CHUNK, round((first + CHUNK) * 1e6 / RATE_HZ * 1.0002))
        data = samples[2 * first : 2 * first + CHUNK_BYTES]
        voice.feed(data, CHUNK, clock.time_us(first))


def plain(samples: bytes) -> None:
    encoder = AacEncoder(2, RATE_HZ, 1, bitrate_bps=BITRATE_BPS)
    resampler = av.AudioResampler("fltp", "mono", RATE_HZ, frame_size=1024)
    for first in range(0, SECONDS * RATE_HZ, CHUNK):
        frame = av.AudioFrame("s16", "mono", CHUNK)
        frame.sample_rate, frame.time_base, frame.pts = RATE_HZ, Fraction(1, RATE_HZ), first
        frame.planes[0].update(samples[2 * first : 2 * first + CHUNK_BYTES])
        for whole in resampler.resample(frame):
            encoder.encode(whole, 0)


def worst_skew_ms(hours: float, ppm: float) -> tuple[float, float]:
    """Greatest distance of sound from its time, and the rate that was believed in the end."""
    clock, voice = SampleClock(RATE_HZ), Voice(AacEncoder(2, RATE_HZ, 1, bitrate_bps=BITRATE_BPS))
    voice.connect("s16", 1, RATE_HZ)
    voice._encode = lambda: [pending.clear() for pending in voice._pending] and []
    source, silence, worst_us, count, now_us = random.Random(1), bytes(CHUNK_BYTES), 0.0, 0, 60e6
    while now_us < 60e6 + hours * 3600e6:
        now_us += CHUNK * 1e6 / (RATE_HZ * (1 + ppm / 1e6))
        count += CHUNK
        stall_us = source.uniform(0, 300_000) if source.random() < 0.001 else 0
        clock.observe(count, round(now_us + source.expovariate(1 / 2000) + stall_us))
        voice.feed(silence, CHUNK, clock.time_us(count - CHUNK))
        worst_us = max(worst_us, abs(voice.end_us - now_us))
    return worst_us / 1000, clock.drift_ppm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--ppm", type=float, default=200.0)
    asked = parser.parse_args()
    samples = sound()
    mine, peer = [], []
    for _ in range(RUNS):
        mine.append(cpu_us_per_s(ours, samples))
        peer.append(cpu_us_per_s(plain, samples))
    print(f"porthole   {spread(mine, 0)} µs of CPU per second of sound (goal 10000)")
    print(f"plain      {spread(peer, 0)} µs; ratio {sum(mine) / sum(peer):.2f}")
    for ppm in (asked.ppm, -asked.ppm):
        worst_ms, believed_ppm = worst_skew_ms(asked.hours, ppm)
        print(
            f"{ppm:+.0f} ppm   worst skew {worst_ms:.1f} ms in {asked.hours:g} h (limit 40), "
            f"believed {believed_ppm:+.0f} ppm"
        )


if __name__ == "__main__":
    main()
