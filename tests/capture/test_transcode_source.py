"""Sound through decoder, grid and encoder: its pitch, level and place in time."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import pytest
from worker_fixture import Worker, run_to_end

from appliance.capture.encoders.aac import AacEncoder
from appliance.capture.encoders.opus import OpusEncoder
from appliance.capture.sources.transcode import Transcoder
from appliance.capture.voice import HARD_S, MAX_FILL_US
from appliance.media.aac import AacConfig
from appliance.media.g711 import G711Config
from appliance.media.l16 import L16Config
from appliance.media.mp3 import Mp3Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import AAC_ID, OPUS_ID, Reason

BEGIN_US = 50_000_000_000
OUT_HZ = 48_000
BURST_S = 1.0  # after so much silence the tone begins
SECONDS = 2.0
LEVEL = 8000
SLOW_HZ = 1_000  # of two days

ALAW = Track(2, G711Config(Codec.PCMA), 8_000)
ULAW = Track(2, G711Config(Codec.PCMU), 8_000)
L16 = Track(2, L16Config(44_100, 2), 44_100)
MP3 = Track(2, Mp3Config(44_100, 1, 1152, is_mpeg1=True), 44_100)
AAC = Track(2, AacConfig.lc(44_100, 2), 44_100)
OPUS = Track(2, OpusConfig(1), 48_000)
ENCODERS = {"pcma": "pcm_alaw", "pcmu": "pcm_mulaw", "l16": "pcm_s16be", "mp3": "libmp3lame",
            "aac": "aac", "opus": "libopus"}  # fmt: skip


def tone(rate_hz: int, begin_s: float, seconds: float, hz: float = 440) -> array[int]:
    turn = 2 * math.pi * hz / rate_hz
    return array("h", (
        int(LEVEL * math.sin(turn * n)) if n >= begin_s * rate_hz else 0
        for n in range(int(seconds * rate_hz))
    ))  # fmt: skip


def native_units(track: Track, samples: array[int]) -> list[AccessUnit]:
    """As a publisher sends them: stamps are those of the sound they decode to."""
    config: Any = track.config
    layout = {1: "mono", 2: "stereo"}[config.channels]
    encoder: Any = av.AudioCodecContext.create(ENCODERS[track.codec], "w")
    encoder.sample_rate, encoder.layout = config.sample_rate_hz, layout
    encoder.format = encoder.codec.audio_formats[0].name
    encoder.time_base = Fraction(1, config.sample_rate_hz)
    resampler = av.AudioResampler(
        encoder.format.name,
        layout,
        config.sample_rate_hz,
        frame_size=encoder.frame_size or config.sample_rate_hz // 50,
    )
    frame = av.AudioFrame("s16", "mono", len(samples))
    frame.sample_rate, frame.pts = config.sample_rate_hz, 0
    frame.planes[0].update(samples.tobytes())
    units = []
    for block in resampler.resample(frame):
        for packet in encoder.encode(block):
            at_us = BEGIN_US + packet.pts * 1_000_000 // config.sample_rate_hz
            units.append(AccessUnit(track, at_us, at_us, True, (bytes(packet),)))
    return units


def transcoder(codec: Codec = Codec.AAC) -> Transcoder:
    if codec is Codec.AAC:
        return Transcoder(AacEncoder(AAC_ID, OUT_HZ, 1, bitrate_bps=64_000))
    return Transcoder(OpusEncoder(OPUS_ID, 1, bitrate_bps=64_000))


def feed(made: Transcoder, units: list[AccessUnit]) -> list[AccessUnit]:
    return [out for unit in units for out in made.feed(unit)]


def heard(units: list[AccessUnit]) -> Iterator[tuple[float, float]]:
    """(seconds since BEGIN_US, sample) of what these units decode to, by their stamps."""
    config = units[0].track.config
    decoder: Any = av.AudioCodecContext.create(str(config.codec), "r")
    decoder.extradata = config.asc if isinstance(config, AacConfig) else config.to_opus_head()
    for unit in units:
        packet = av.Packet(bytes(unit.parts[0]))
        packet.pts = packet.dts = unit.dts_us
        packet.time_base = Fraction(1, 1_000_000)
        for frame in decoder.decode(packet):
            samples = array("f")
            samples.frombytes(bytes(frame.planes[0])[: frame.samples * 4])
            for number, sample in enumerate(samples):
                yield (frame.pts - BEGIN_US) / 1e6 + number / OUT_HZ, sample


@pytest.mark.parametrize("codec", [Codec.AAC, Codec.OPUS])
@pytest.mark.parametrize("track", [ALAW, ULAW, L16, MP3, AAC, OPUS], ids=lambda t: str(t.codec))
def test_transcode_keeps_pitch_level_and_time(track: Track, codec: Codec) -> None:
    made = transcoder(codec)
    made.describe((track,))
    config: Any = track.config
    units = feed(made, native_units(track, tone(config.sample_rate_hz, BURST_S, SECONDS)))
    sound = list(heard(units))
    begin_s = next(at_s for at_s, sample in sound if abs(sample) > 0.05)
    assert abs(begin_s - BURST_S) < 0.03  # MP3's own delay, which no player makes up for, is 25 ms
    if track.codec is not Codec.MP3:
        assert abs(begin_s - BURST_S) < 0.006
    late = [sample for at_s, sample in sound if BURST_S + 0.2 <= at_s < BURST_S + 0.7]
    crossings = sum(before < 0 <= after for before, after in pairwise(late))
    assert abs(crossings / 0.5 - 440) <= 4
    level = LEVEL / 32768 * {1: 1.0, 2: 0.5**0.5}[config.channels]  # libav's own upmixing
    assert 0.9 < max(late) / level < 1.15


def test_transcode_stamps_lie_on_one_even_grid() -> None:
    """Those of RTMP come in whole milliseconds."""
    made = transcoder()
    made.describe((ALAW,))
    units = native_units(ALAW, tone(8_000, 0, 4))
    for unit in units:
        unit.dts_us = unit.pts_us = unit.dts_us // 1000 * 1000
    out = feed(made, units)
    assert len(out) > 180
    for number, unit in enumerate(out):
        assert abs(unit.dts_us - (out[0].dts_us + number * 1024 * 1e6 / OUT_HZ)) < 2


class _Silent:
    """An encoder that costs nothing: what is tested are stamps, for two days."""

    track = Track(AAC_ID, AacConfig.lc(SLOW_HZ, 1), SLOW_HZ)
    rate_hz, channels, layout = SLOW_HZ, 1, "mono"
    sample_format, is_planar, frame_samples = "fltp", True, 20_000

    def encode(self, frame: av.AudioFrame, origin_us: int) -> list[AccessUnit]:
        at_us = origin_us + frame.pts * 1_000_000 // self.rate_hz
        return [AccessUnit(self.track, at_us, at_us, True, (b"x",))]


def test_transcode_of_two_days_stays_with_its_stamps() -> None:
    """A camera whose crystal is fast for a day and slow for another: its stamps are of another
    clock than its samples."""
    made = Transcoder(_Silent())
    track = Track(2, G711Config(Codec.PCMA, SLOW_HZ), SLOW_HZ)
    made.describe((track,))
    block, day = bytes(SLOW_HZ * 10), 24 * 3600 // 10
    at_us, newest_us, worst_us = BEGIN_US, 0, 0.0
    for step_us in [10_001_500] * day + [9_998_500] * day:
        for out in made.feed(AccessUnit(track, at_us, at_us, True, (block,))):
            assert out.dts_us > newest_us
            newest_us = out.dts_us
        at_us += step_us
        worst_us = max(worst_us, abs(made.voice.end_us - at_us))
    assert abs(at_us - BEGIN_US - 48 * 3600e6) < 1e6
    held_us = 20e6 / SLOW_HZ  # the resampler holds back so many samples, which are long here
    assert worst_us < HARD_S * 1e6 + held_us


def test_transcode_of_a_hole_is_silence_in_its_place() -> None:
    made = transcoder()
    made.describe((ALAW,))
    units = native_units(ALAW, tone(8_000, 0, 3))
    out = feed(made, [unit for unit in units if not 1e6 < unit.dts_us - BEGIN_US < 2e6])
    steps = {round((b.dts_us - a.dts_us) / 1000) for a, b in pairwise(out)}
    assert steps <= {21, 22}
    loud = [at_s for at_s, sample in heard(out) if abs(sample) > 0.1]
    assert not [at_s for at_s in loud if 1.1 < at_s < 1.9]
    assert [at_s for at_s in loud if 2.1 < at_s < 2.9]


def test_transcode_after_a_jump_goes_on_at_the_new_stamps() -> None:
    made = transcoder()
    made.describe((ALAW,))
    units = native_units(ALAW, tone(8_000, 0, 2))
    jump_us = MAX_FILL_US + 3_600_000_000
    for unit in units[50:]:
        unit.dts_us += jump_us
    units[50].discontinuity = True
    out = feed(made, units)
    assert len(out) < 110  # nobody encodes an hour of silence
    assert abs(out[-1].dts_us - units[-1].dts_us) < 100_000
    assert all(a.dts_us < b.dts_us for a, b in pairwise(out))


def test_transcode_of_garbage_leaves_it_out() -> None:
    made = transcoder()
    made.describe((AAC,))
    units = native_units(AAC, tone(44_100, 0, 2))
    for unit in units[20:30]:
        unit.parts = (b"\xff" * 40,)
    out = feed(made, units)
    assert abs(out[-1].dts_us - units[-1].dts_us) < 150_000


@pytest.mark.parametrize("track", [ALAW, L16, MP3, AAC, OPUS], ids=lambda t: str(t.codec))
def test_transcode_of_mutated_units_goes_on(track: Track) -> None:
    made, dice = transcoder(), random.Random(3)
    made.describe((track,))
    units = native_units(track, tone(getattr(track.config, "sample_rate_hz", 0), 0, 6))
    for unit in units[:-20]:
        data = bytearray(unit.parts[0])
        if dice.random() < 0.4:
            for _ in range(dice.randint(1, 5)):
                data[dice.randrange(len(data))] = dice.randrange(256)
        elif dice.random() < 0.2:
            data = bytearray(dice.randbytes(dice.randint(1, 400)))
        unit.parts = (bytes(data),)
    out = feed(made, units)
    assert all(before.dts_us < after.dts_us for before, after in pairwise(out))
    assert abs(out[-1].dts_us - units[-1].dts_us) < 150_000


@pytest.mark.parametrize("codec", ["aac", "opus"])
def test_transcode_worker_makes_what_it_is_asked_for(codec: str) -> None:
    options = {"audio_rate_hz": OUT_HZ, "audio_channels": 1, "audio_bitrate_bps": 64_000}
    with Worker(f"transcode:{codec}", **options) as worker:
        worker.send((ALAW,))
        for unit in native_units(ALAW, tone(8_000, 0, 1)):
            worker.send(unit)
        units = worker.read_units(20, Kind.AUDIO)
        assert [track.codec for track in worker.descriptions[0]] == [codec]
        expected = {"aac": AacConfig.lc(OUT_HZ, 1), "opus": OpusConfig(1)}[codec]
        assert worker.descriptions[0][0].config == expected
        assert abs(units[0].dts_us - BEGIN_US) < 25_000


def test_transcode_worker_of_an_unknown_form_says_which_there_are() -> None:
    fault = run_to_end("transcode:mp3")
    assert fault.reason is Reason.SOURCE_INVALID
    assert "transcode:aac" in fault.text
