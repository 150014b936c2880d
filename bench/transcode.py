"""CPU of a transcode worker per second of sound, by what comes in and what goes out.

    python bench/transcode.py [--seconds 60]

Decoder, resampler and encoder as the worker runs them, in this process; then a whole worker, pipe
and start included, by its own account of CPU time.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import subprocess
import sys
import threading
import time
from array import array
from fractions import Fraction
from typing import Any

import av

from appliance.capture.encoders.aac import AacEncoder
from appliance.capture.encoders.opus import OpusEncoder
from appliance.capture.sources.transcode import Transcoder
from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.l16 import L16Config
from appliance.media.mp3 import Mp3Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit
from appliance.services.transcode.service import aac_of
from appliance.wire.pipe.connection import Pipe, Role

TRACKS = (
    (Track(2, G711Config(Codec.PCMA), 8_000), "pcm_alaw"),
    (Track(2, L16Config(44_100, 2), 44_100), "pcm_s16be"),
    (Track(2, Mp3Config(44_100, 2, 1152, is_mpeg1=True), 44_100), "libmp3lame"),
    (Track(2, AacConfig.lc(48_000, 2), 48_000), "aac"),
    (Track(2, OpusConfig(2), 48_000), "libopus"),
)
BEGIN_US = 60_000_000


def native_units(track: Track, encoder_name: str, seconds: int) -> list[AccessUnit]:
    """A tone in noise."""
    config: Any = track.config
    rate_hz, layout = config.sample_rate_hz, {1: "mono", 2: "stereo"}[config.channels]
    source, turn = random.Random(1), 2 * math.pi * 440 / rate_hz
    samples = array("h", (
        int(6000 * math.sin(turn * n) + source.gauss(0, 800)) for n in range(rate_hz * seconds)
    ))  # fmt: skip
    encoder: Any = av.AudioCodecContext.create(encoder_name, "w")
    encoder.sample_rate, encoder.layout = rate_hz, layout
    encoder.format = encoder.codec.audio_formats[0].name
    encoder.time_base = Fraction(1, rate_hz)
    resampler = av.AudioResampler(
        encoder.format.name, layout, rate_hz, frame_size=encoder.frame_size or rate_hz // 50
    )
    frame = av.AudioFrame("s16", "mono", len(samples))
    frame.sample_rate, frame.pts = rate_hz, 0
    frame.planes[0].update(samples.tobytes())
    units = []
    for block in resampler.resample(frame):
        for packet in encoder.encode(block):
            at_us = BEGIN_US + packet.pts * 1_000_000 // rate_hz
            units.append(AccessUnit(track, at_us, at_us, True, (bytes(packet),)))
    return units


def cpu_ms_per_s(units: list[AccessUnit], to: Codec, seconds: int) -> float:
    config = aac_of(units[0].track.config)
    made = Transcoder(
        AacEncoder(18, config.sample_rate_hz, config.channels, bitrate_bps=64_000 * config.channels)
        if to is Codec.AAC
        else OpusEncoder(19, config.channels, bitrate_bps=48_000 * config.channels)
    )
    made.describe((units[0].track,))
    began = time.process_time()
    for unit in units:
        made.feed(unit)
    return (time.process_time() - began) * 1000 / seconds


def worker_ms(units: list[AccessUnit]) -> float:
    """CPU of a worker's whole life, when it is fed these."""
    pipe = Pipe(Role.APPLIANCE)
    pipe.send((units[0].track,))
    for unit in units:
        pipe.send(unit)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    worker = subprocess.Popen(
        [sys.executable, "-m", "appliance.capture", "transcode:aac",
         "--options-json", '{"audio_bitrate_bps": 64000}'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert worker.stdin is not None and worker.stdout is not None
    feeder = threading.Thread(target=worker.stdin.write, args=(pipe.take_output(),), daemon=True)
    feeder.start()
    answers, made = Pipe(Role.APPLIANCE), 0
    while made < units[-1].dts_us - 500_000:
        for event in answers.receive(worker.stdout.read1()):
            made = event.dts_us if isinstance(event, AccessUnit) else made
    worker.kill()
    worker.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    for track, encoder_name in TRACKS:
        units = native_units(track, encoder_name, seconds)
        for to in (Codec.AAC, Codec.OPUS):
            if track.codec is not to:
                cost = cpu_ms_per_s(units, to, seconds)
                print(f"{track.codec:5} to {to:5} {cost:5.1f} ms of CPU per second of sound")
    track, encoder_name = TRACKS[0]
    short, long = (
        worker_ms(native_units(track, encoder_name, length)) for length in (5, 5 + seconds)
    )
    print(f"worker   {(long - short) / seconds:.1f} ms per second of sound (PCMA to AAC), pipe "
          f"included; {short - (long - short) / seconds * 5:.0f} ms to start")  # fmt: skip


if __name__ == "__main__":
    main()
