"""The microphone as sources use it: real threads, ALSA's real library, real AAC."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alsa_fixture import CONFIG, RATE_HZ, amplitude, sine, write_alsa_config
from worker_fixture import Worker, decode_audio

from appliance.capture.microphone import microphone as module
from appliance.capture.microphone.alsa import Captured, Pcm
from appliance.capture.microphone.libasound import AlsaFault
from appliance.capture.microphone.microphone import STALL_US, Microphone
from appliance.capture.options import Options
from appliance.media.aac import AacConfig, adts_header
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import State

DEADLINE_S = 30
FRAME_US = 1024 * 1_000_000 / RATE_HZ
TONE_HZ = 1000


class Ear:
    """What a source hears of a microphone."""

    def __init__(self) -> None:
        self.tracks: list[Track | None] = []
        self.units: list[AccessUnit] = []
        self._news = threading.Condition()

    def on_track(self, track: Track | None) -> None:
        with self._news:
            self.tracks.append(track)
            self._news.notify_all()

    def on_units(self, units: list[AccessUnit]) -> None:
        with self._news:
            self.units += units
            self._news.notify_all()

    def wait(self, enough: Callable[[], bool]) -> None:
        with self._news:
            assert self._news.wait_for(enough, DEADLINE_S), (self.tracks, len(self.units))

    def wait_units(self, count: int) -> list[AccessUnit]:
        self.wait(lambda: len(self.units) >= count)
        return self.units[:count]


@contextmanager
def listening(ear: Ear, device: str, **options: Any) -> Iterator[Microphone]:
    microphone = Microphone(Options(audio=device, **options), ear.on_track, ear.on_units)
    microphone.start()
    try:
        yield microphone
    finally:
        microphone.stop()


def decode_with_ffmpeg(units: list[AccessUnit]) -> array[float]:
    adts = b""
    for unit in units:
        assert isinstance(unit.track.config, AacConfig)
        adts += adts_header(unit.track.config, unit.size_bytes) + bytes(unit.parts[0])
    command = ["ffmpeg", "-v", "error", "-f", "aac", "-i", "pipe:0", "-f", "f32le", "-ac", "1",
               "-ar", str(RATE_HZ), "pipe:1"]  # fmt: skip
    done = subprocess.run(command, input=adts, capture_output=True, timeout=60, check=True)
    assert not done.stderr
    return array("f", done.stdout)


def test_microphone_hears_a_tone_that_ffmpeg_decodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_alsa_config(tmp_path, "clip", sine(TONE_HZ, 5))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    ear = Ear()
    before_us = time.monotonic_ns() // 1000
    with caplog.at_level(logging.INFO), listening(ear, "clip") as microphone:
        assert microphone.wait_settled(DEADLINE_S)
        units = ear.wait_units(80)
        now_us = time.monotonic_ns() // 1000
        status = microphone.status()
    (track,) = ear.tracks
    assert track is not None and isinstance(track.config, AacConfig)
    assert (track.config.sample_rate_hz, track.config.channels) == (RATE_HZ, 1)
    assert all(unit.track is track for unit in ear.units)
    # Not faster than it is heard, though this device has all its samples at once
    assert units[-1].dts_us <= now_us
    assert units[0].dts_us > before_us - 100_000
    for number, unit in enumerate(units):
        assert abs(unit.dts_us - units[0].dts_us - number * FRAME_US) < 2
    sound = decode_with_ffmpeg(units)[2048:]
    assert amplitude(sound[:RATE_HZ], TONE_HZ) == pytest.approx(8000 / 32768, rel=0.1)
    assert amplitude(sound[:RATE_HZ], 1500) < 0.01
    assert status is not None
    assert (status["device"], status["rate_hz"], status["channels"]) == ("clip", RATE_HZ, 1)
    assert (status["error"], abs(status["skew_ms"]) < 5) == ("", True)
    assert caplog.messages == ["sound from clip, 48000 Hz, 1 channels"]
    told = len(ear.units)
    assert not [t for t in threading.enumerate() if t.name.startswith("microphone")]
    assert len(ear.units) == told


def test_microphone_gives_the_rate_and_the_channels_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_alsa_config(tmp_path, "clip", sine(TONE_HZ, 5))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    ear = Ear()
    with listening(ear, "clip", audio_channels=2, audio_rate_hz=44_100):
        units = ear.wait_units(10)
    (track,) = ear.tracks
    assert track is not None and isinstance(track.config, AacConfig)
    assert (track.config.sample_rate_hz, track.config.channels) == (44_100, 2)
    frames = decode_audio(units)
    assert (frames[-1].sample_rate, frames[-1].layout.nb_channels) == (44_100, 2)


def test_microphone_that_is_not_wanted_does_nothing() -> None:
    ear = Ear()
    with listening(ear, "none") as microphone:
        assert microphone.wait_settled(0)
        assert microphone.status() is None
    assert ear.tracks == []


def test_microphone_that_is_plugged_in_later_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = write_alsa_config(tmp_path, "clip", sine(TONE_HZ, 5))
    plugged = config.read_text()
    config.write_text("")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    ear = Ear()
    with caplog.at_level(logging.INFO), listening(ear, "clip") as microphone:
        ear.wait(lambda: ear.tracks == [None])
        assert microphone.wait_settled(0)
        status = microphone.status()
        assert status is not None
        assert status["error"] == "clip: there is no such sound device"
        renewed = tmp_path / "renewed.conf"  # libasound tells files apart by second and inode
        renewed.write_text(plugged)
        renewed.replace(config)
        ear.wait_units(10)
        status = microphone.status()
        assert status is not None and status["error"] == ""
    assert ear.tracks[0] is None and ear.tracks[1] is not None and len(ear.tracks) == 2
    assert caplog.messages == [
        "no sound: clip: there is no such sound device",
        "sound from clip, 48000 Hz, 1 channels",
    ]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (AlsaFault("clip: the sound device is gone"), "clip: the sound device is gone"),
        (ZeroDivisionError(), "a fault of ours in the microphone: ZeroDivisionError()"),
    ],
)
def test_microphone_that_is_lost_is_silence_until_it_returns(
    fault: Exception,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = [30]

    class Unplugged(Pcm):
        def read(self, timeout_us: int) -> Captured | None:
            left[0] -= 1
            if left[0] == 0:
                raise fault
            return super().read(timeout_us)

    monkeypatch.setattr(module, "Pcm", Unplugged)
    monkeypatch.setenv(
        "ALSA_CONFIG_PATH", str(write_alsa_config(tmp_path, "clip", sine(TONE_HZ, 5)))
    )
    ear = Ear()
    with caplog.at_level(logging.INFO), listening(ear, "clip") as microphone:
        ear.wait(lambda: left[0] <= -40)
        status = microphone.status()
    assert status is not None and status["error"] == ""
    assert len(ear.tracks) == 1
    assert all(abs(b.dts_us - a.dts_us - FRAME_US) <= 1 for a, b in pairwise(ear.units))
    found = "sound from clip, 48000 Hz, 1 channels"
    assert caplog.messages == [found, f"no sound: {words}", found]
    sound = decode_with_ffmpeg(ear.units)
    loud = [max(map(abs, sound[n : n + 1024])) > 0.1 for n in range(4096, len(sound) - 4096, 1024)]
    turns = [n for n, (before, after) in enumerate(pairwise(loud)) if before != after]
    assert len(turns) == 2 and loud[0]
    assert turns[1] - turns[0] > 30  # most of a second


def test_microphone_ends_when_nobody_takes_its_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "ALSA_CONFIG_PATH", str(write_alsa_config(tmp_path, "clip", sine(TONE_HZ, 5)))
    )
    gone = threading.Event()

    def refuse(units: list[AccessUnit]) -> None:
        gone.set()
        raise BrokenPipeError

    microphone = Microphone(Options(audio="clip"), lambda track: None, refuse)
    microphone.start()
    assert gone.wait(DEADLINE_S)
    for thread in threading.enumerate():
        if thread.name.startswith("microphone"):
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


class Player(threading.Thread):
    """Puts samples into a FIFO for as long as it is not paused."""

    def __init__(self, path: Path, samples: array[int]) -> None:
        super().__init__(daemon=True)
        os.mkfifo(path)
        self._fifo = os.open(path, os.O_RDWR)  # which never blocks, nor ends for the reader
        fcntl.fcntl(self._fifo, fcntl.F_SETPIPE_SZ, 4096)
        self._data = samples.tobytes()
        self.playing = threading.Event()
        self.playing.set()
        self._ended = False

    def run(self) -> None:
        while not self._ended:
            self.playing.wait()
            for first in range(0, len(self._data), 1920):
                if self._ended or not self.playing.is_set():
                    break
                os.write(self._fifo, self._data[first : first + 1920])

    def end(self) -> None:
        """Once nobody reads any more."""
        self._ended = True
        self.playing.set()
        os.set_blocking(self._fifo, False)
        while self.is_alive():
            try:
                os.read(self._fifo, 65536)
            except BlockingIOError:
                self.join(0.05)
        os.close(self._fifo)


def test_microphone_stuck_in_its_driver_is_replaced_by_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "asound.conf"
    config.write_text(CONFIG.format(name="stuck", infile=tmp_path / "fifo"))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    player, ear = Player(tmp_path / "fifo", sine(TONE_HZ, 1)), Ear()
    player.start()
    try:
        with listening(ear, "stuck") as microphone:
            ear.wait_units(30)
            player.playing.clear()  # the reader now waits in C, where nothing wakes it
            stuck_us = ear.units[-1].dts_us
            ear.wait(lambda: ear.units[-1].dts_us > stuck_us + STALL_US + 1_500_000)
            status = microphone.status()
            assert status is not None
            assert status["error"].startswith("stuck: no sample for ")
            assert ear.units[-1].dts_us < time.monotonic_ns() // 1000
            silent = len(ear.units)
            player.playing.set()
            ear.wait_units(silent + 70)
            status = microphone.status()
            assert status is not None and status["error"] == ""
    finally:
        player.end()
    assert len(ear.tracks) == 1
    assert all(abs(b.dts_us - a.dts_us - FRAME_US) <= 1 for a, b in pairwise(ear.units))
    sound = decode_with_ffmpeg(ear.units)
    middle = sound[(silent - 40) * 1024 : (silent - 5) * 1024]
    assert max(map(abs, middle)) < 0.01
    assert amplitude(sound[-20 * 1024 :], TONE_HZ) == pytest.approx(8000 / 32768, rel=0.2)


def test_microphone_goes_with_the_picture_of_the_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_alsa_config(tmp_path, "clip", sine(TONE_HZ, 5))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    with Worker("pattern:", audio="clip") as worker:
        video = worker.read_units(50)
        audio = worker.units(Kind.AUDIO)
        states = [event.document for event in worker.events if isinstance(event, State)]
    assert [len(tracks) for tracks in worker.descriptions] == [2]  # both at once
    assert abs(audio[-1].dts_us - video[-1].dts_us) < 500_000
    sound = decode_with_ffmpeg(audio)[4096:]
    assert amplitude(sound[:24_000], TONE_HZ) == pytest.approx(8000 / 32768, rel=0.1)
    assert states[-1]["sound"]["device"] == "clip"
