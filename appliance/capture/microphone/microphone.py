"""The microphone of a stream: threads that never let a fault of sound reach the picture.

Theory of operation: one thread opens the device, reads it, recovers its clock and writes AAC.
Whatever goes wrong ends one listening; the next begins after a pause that doubles from RETRY_US to
MAX_RETRY_US and begins anew after a listening that lasted. Once a device has been heard the track
stays: silence fills the time in which it is away, so that viewers keep their players. Another
thread does that, for a driver may hold the first one as long as it likes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from appliance.capture.clock import monotonic_us
from appliance.capture.encoders.aac import AacEncoder
from appliance.capture.microphone.alsa import Captured, Pcm
from appliance.capture.microphone.devices import choose_device, list_devices
from appliance.capture.microphone.drift import SampleClock
from appliance.capture.microphone.libasound import AlsaFault
from appliance.capture.microphone.pace import Pace
from appliance.capture.options import Options
from appliance.capture.voice import US_PER_S, Voice
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

AUDIO_ID = 2
NO_DEVICE, ANY_DEVICE = "none", "auto"
RETRY_US, MAX_RETRY_US = 1_000_000, 30_000_000
LASTING_US = 10_000_000  # a listening as long as this starts the pauses anew
WAIT_US = 500_000  # for samples
STALL_US = 2_000_000  # without a sample: the device hangs
FILL_DELAY_US = 500_000  # silence keeps this far behind: sound may still come
FILL_INTERVAL_US = 200_000
STOP_S = 1.0  # for a thread, which a driver may hold

log = logging.getLogger(__name__)


class Microphone:
    """on_track(track) when a device is first heard, on_track(None) once if there is none at the
    start; on_units(units) from then on, without end. Both are called in the microphone's threads,
    one at a time.

    beside: the camera's video node; "auto" prefers the microphone in the same camera.
    """

    def __init__(
        self,
        options: Options,
        on_track: Callable[[Track | None], None],
        on_units: Callable[[list[AccessUnit]], None],
        *,
        beside: str = "",
    ) -> None:
        self._wanted = options.audio
        self._rate_hz = options.audio_rate_hz
        self._channels = options.audio_channels
        self._bitrate_bps = options.audio_bitrate_bps
        self._on_track = on_track
        self._on_units = on_units
        self._beside = beside
        self._stop = threading.Event()
        self._settled = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"microphone {name}", daemon=True)
            for name, work in (("listening", self._run), ("silence", self._fill_gaps))
        ]
        self._voice_lock = threading.Lock()
        self._voice: Voice | None = None
        self._clock = SampleClock(options.audio_rate_hz)
        self._clock_of: tuple[str, int] | None = None
        self._status: dict[str, Any] | None = None
        self._heard_us = 0
        self._told = ""

    # -- for other threads ---------------------------------------------------------------------

    def start(self) -> None:
        if self._wanted == NO_DEVICE:
            self._settled.set()
        else:
            for thread in self._threads:
                thread.start()

    def wait_settled(self, timeout_s: float) -> bool:
        """Whether it is known by then if there is sound."""
        return self._settled.wait(timeout_s)

    def stop(self) -> None:
        """Release the device, unless a driver holds the thread for longer; no callback later."""
        self._stop.set()
        if self._voice_lock.acquire(timeout=STOP_S):  # after the callback that is under way
            self._voice_lock.release()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(STOP_S)

    def status(self) -> dict[str, Any] | None:
        """As in the worker's State; None if no sound is wanted, or "auto" never found any."""
        status, silent_us = self._status, monotonic_us() - self._heard_us
        if status is None or status["error"] or silent_us <= STALL_US:
            return status
        return status | {"error": f"{status['device']}: no sample for {silent_us // US_PER_S} s"}

    # -- the listening thread ------------------------------------------------------------------

    def _run(self) -> None:
        pause_us, began_us = 0, monotonic_us()
        while not self._stop.is_set():
            try:
                if self._stop.wait(pause_us / US_PER_S):
                    return
                began_us = monotonic_us()
                self._listen()
            except AlsaFault as error:
                self._lose(str(error))
            except BrokenPipeError:
                return  # the appliance is gone or does not want us any more
            except Exception as error:  # sound must never end the pictures
                self._lose(f"a fault of ours in the microphone: {error!r}")
            if monotonic_us() - began_us >= LASTING_US:
                pause_us = 0
            pause_us = min(max(2 * pause_us, RETRY_US), MAX_RETRY_US)

    def _listen(self) -> None:
        """Until it is told to stop, or raises."""
        name = self._choose()
        if not name:
            if self._voice is not None:
                raise AlsaFault("the microphone is gone, and no other device records")
            self._settle()
            return
        pcm = Pcm(name, self._rate_hz, self._channels)
        try:
            if self._clock_of != (name, pcm.rate_hz):
                self._clock_of, self._clock = (name, pcm.rate_hz), SampleClock(pcm.rate_hz)
            pace, is_first = Pace(pcm.rate_hz, monotonic_us()), True
            self._heard_us = monotonic_us()
            while not self._stop.is_set():
                captured = pcm.read(WAIT_US)
                now_us = monotonic_us()
                if captured is None:
                    if now_us - self._heard_us > STALL_US:
                        raise AlsaFault(f"{name}: no sample for {STALL_US // US_PER_S} s")
                    continue
                self._heard_us = now_us
                if is_first:
                    self._find(pcm)
                self._hear(pcm, captured, pace, is_first=is_first)
                is_first = False
                self._stop.wait(pace.wait_us(monotonic_us()) / US_PER_S)
        finally:
            pcm.close()

    def _choose(self) -> str:
        if self._wanted != ANY_DEVICE:
            return self._wanted
        return choose_device(list_devices(), self._beside)

    def _find(self, pcm: Pcm) -> None:
        """The first samples after the opening are there."""
        with self._voice_lock:
            if self._voice is None:
                encoder = AacEncoder(
                    AUDIO_ID, self._rate_hz, self._channels, bitrate_bps=self._bitrate_bps
                )
                self._voice = Voice(encoder)
                self._on_track(self._voice.track)
            self._voice.connect(pcm.sample_format, pcm.channels, pcm.rate_hz)
        self._settled.set()
        self._tell(
            logging.INFO, f"sound from {pcm.name}, {pcm.rate_hz} Hz, {pcm.channels} channels"
        )

    def _hear(self, pcm: Pcm, captured: Captured, pace: Pace, *, is_first: bool) -> None:
        clock = self._clock
        due_us = pace.take(captured.samples, monotonic_us(), clocked=captured.clocked)
        total, time_us = captured.total, captured.time_us
        if not pace.clocked:
            total, time_us = captured.first + captured.samples, due_us
        is_cut = is_first or captured.after_gap
        if is_cut:
            clock.restart(total, time_us)
        else:
            clock.observe(total, time_us)
        with self._voice_lock:
            voice = self._voice
            if voice is None or self._stop.is_set():
                return
            if is_cut:
                voice.cut()
            units = voice.feed(captured.data, captured.samples, clock.time_us(captured.first))
            skew_us = clock.time_us(captured.first + captured.samples) - voice.end_us
            if units:
                self._on_units(units)
        self._status = {
            "device": pcm.name,
            "rate_hz": pcm.rate_hz,
            "channels": pcm.channels,
            "drift_ppm": round(clock.drift_ppm, 1),
            "skew_ms": round(skew_us / 1000, 1),
            "error": "",
        }

    def _settle(self) -> None:
        """There is no sound for now; say so once."""
        if not self._settled.is_set():
            self._settled.set()
            self._on_track(None)

    def _lose(self, error: str) -> None:
        known = self._status or {"device": self._wanted, "rate_hz": 0, "channels": 0}
        self._status = known | {"drift_ppm": 0.0, "skew_ms": 0.0, "error": error}
        self._tell(logging.WARNING, f"no sound: {error}")
        self._settle()

    def _tell(self, level: int, text: str) -> None:
        """A line for the log, unless it is the one before."""
        if text != self._told:
            self._told = text
            log.log(level, "%s", text)

    # -- the other thread ----------------------------------------------------------------------

    def _fill_gaps(self) -> None:
        while not self._stop.wait(FILL_INTERVAL_US / US_PER_S):
            with self._voice_lock:
                if self._voice is None:
                    continue
                units = self._voice.fill(monotonic_us() - FILL_DELAY_US)
                try:
                    if units and not self._stop.is_set():
                        self._on_units(units)
                except BrokenPipeError:
                    return
