"""Capture from an ALSA device: bounded reads, and when each sample was heard.

Theory of operation: the device is open in non-blocking mode. `read` waits for samples with
snd_pcm_wait, asks snd_pcm_status how many samples the device has taken altogether and at which
moment of CLOCK_MONOTONIC that was true, and takes them. Pairs of (count, moment) are what the
sample clock is estimated from (drift.py); they hold however late we were woken up. After an
overrun or a suspend the device is started again and the next samples are marked.
"""

from __future__ import annotations

import ctypes
import errno
from ctypes import byref, c_int, c_uint, c_ulong, c_void_p
from dataclasses import dataclass

from appliance.capture.clock import monotonic_us
from appliance.capture.microphone.devices import STREAM_CAPTURE
from appliance.capture.microphone.libasound import (
    TIMESPEC_BYTES,
    AlsaFault,
    Record,
    error_text,
    libasound,
    timespec_us,
)

NONBLOCK = 1  # SND_PCM_NONBLOCK
ACCESS_RW_INTERLEAVED = 3
FORMATS = {2: ("s16", 2), 10: ("s32", 4)}  # SND_PCM_FORMAT_S16_LE, _S32_LE: libav's names, bytes
TSTAMP_ENABLE = TSTAMP_MONOTONIC = 1
STATE_SUSPENDED, STATE_DISCONNECTED = 7, 8
PERIOD_US = 40_000  # two AAC frames per waking, which costs more than they do
BUFFER_PERIODS = 16  # that a loaded machine may let us wait
MIN_RATE_HZ, MAX_RATE_HZ = 8_000, 192_000
MAX_STAMP_AGE_US = 2_000_000  # older, or of the future: not a stamp of CLOCK_MONOTONIC
MAX_DELAY_US = 200_000  # of a converter; more is a driver's mistake
WORDS = {
    errno.ENOENT: "there is no such sound device",
    errno.ENODEV: "the sound device is gone",
    errno.EBUSY: "another program records from it",
    errno.EACCES: "this account may not record: it must be in the group audio",
    errno.EPERM: "this account may not record: it must be in the group audio",
}


@dataclass(slots=True)
class Captured:
    """Interleaved samples, and what was known of the device's clock when they were taken.

    first: number of the first sample here, counted from the opening.
    total: number of samples the device had taken at time_us, those not yet readable included.
    after_gap: samples were lost before these.
    clocked: False if the device keeps no time: it has samples as fast as they are taken, and
        total and time_us mean nothing (ALSA's `null` and `file` on it).
    """

    data: bytes
    samples: int
    first: int
    total: int
    time_us: int
    after_gap: bool
    clocked: bool


@dataclass(slots=True)
class _Observed:
    """waiting: samples taken by the device, not yet by us, those it has not yet shown included."""

    waiting: int
    time_us: int
    clocked: bool


class Pcm:
    """A device that records, from its opening to `close`.

    rate_hz, channels, sample_format ("s16", "s32"): what it agreed to.
    Raises: AlsaFault.
    """

    def __init__(self, name: str, rate_hz: int, channels: int) -> None:
        self.name = name
        self._alsa = libasound()
        self._handle = c_void_p()
        self._after_gap = False
        self._total = 0
        self._open(name, rate_hz, channels)
        try:
            self._set_software()
            self._status = Record("snd_pcm_status")
            self._buffer = ctypes.create_string_buffer(self.period_samples * self._sample_bytes)
            self._check(self._alsa.snd_pcm_start(self._handle))
        except AlsaFault:
            self.close()
            raise

    # -- opening -------------------------------------------------------------------------------

    def _open(self, name: str, rate_hz: int, channels: int) -> None:
        """As it is if it can do what we need, else through ALSA's converting plugin."""
        quoted = name.replace("'", "")
        for wanted in (name, f"plug:SLAVE='{quoted}'"):
            self._check(
                self._alsa.snd_pcm_open(
                    byref(self._handle), wanted.encode(), STREAM_CAPTURE, NONBLOCK
                )
            )
            try:
                self._set_hardware(rate_hz, channels)
            except AlsaFault:
                self.close()
                if wanted != name:
                    raise
            else:
                return

    def _set_hardware(self, rate_hz: int, channels: int) -> None:
        alsa, handle, record = self._alsa, self._handle, Record("snd_pcm_hw_params")
        params, direction = record.pointer, c_int(0)
        self._check(alsa.snd_pcm_hw_params_any(handle, params))
        self._check(alsa.snd_pcm_hw_params_set_access(handle, params, ACCESS_RW_INTERLEAVED))
        takes_format = alsa.snd_pcm_hw_params_set_format
        chosen = [code for code in FORMATS if takes_format(handle, params, code) >= 0][:1]
        takes_channels = alsa.snd_pcm_hw_params_set_channels
        agreed = [n for n in (channels, 3 - channels) if takes_channels(handle, params, n) >= 0][:1]
        if not chosen or not agreed:
            raise AlsaFault(f"{self.name}: neither one nor two channels of 16 or 32 bits")
        rate = c_uint(rate_hz)
        self._check(
            alsa.snd_pcm_hw_params_set_rate_near(handle, params, byref(rate), byref(direction))
        )
        if not MIN_RATE_HZ <= rate.value <= MAX_RATE_HZ:
            raise AlsaFault(f"{self.name}: a sample rate of {rate.value} Hz")
        period = c_ulong(rate.value * PERIOD_US // 1_000_000)
        buffer = c_ulong(period.value * BUFFER_PERIODS)
        near = alsa.snd_pcm_hw_params_set_period_size_near
        self._check(near(handle, params, byref(period), byref(direction)))
        self._check(alsa.snd_pcm_hw_params_set_buffer_size_near(handle, params, byref(buffer)))
        self._check(alsa.snd_pcm_hw_params(handle, params))
        self.rate_hz, self.channels = rate.value, agreed[0]
        self.sample_format, width = FORMATS[chosen[0]]
        self._sample_bytes = width * self.channels
        self.buffer_samples = buffer.value
        self.period_samples = min(period.value, self.rate_hz // 10)  # whatever a device offers

    def _set_software(self) -> None:
        """Time stamps on CLOCK_MONOTONIC; a device without them is stamped by us."""
        alsa, handle, record = self._alsa, self._handle, Record("snd_pcm_sw_params")
        params = record.pointer
        self._check(alsa.snd_pcm_sw_params_current(handle, params))
        self._is_stamping = (
            alsa.snd_pcm_sw_params_set_tstamp_mode(handle, params, TSTAMP_ENABLE) >= 0
            and alsa.snd_pcm_sw_params_set_tstamp_type(handle, params, TSTAMP_MONOTONIC) >= 0
        )
        self._check(alsa.snd_pcm_sw_params(handle, params))

    # -- reading -------------------------------------------------------------------------------

    def read(self, timeout_us: int) -> Captured | None:
        """At most a period's samples; None if none came in time, or the device was restarted.

        Raises: AlsaFault when the device is gone.
        """
        waited = self._alsa.snd_pcm_wait(self._handle, max(1, timeout_us // 1000))
        if waited < 0:
            self._recover(waited)
        if waited <= 0:
            return None
        observed = self._observe()
        taken = self._alsa.snd_pcm_readi(self._handle, self._buffer, self.period_samples)
        if taken < 0:
            self._recover(taken)
        if taken <= 0:
            return None
        captured = Captured(
            ctypes.string_at(self._buffer, taken * self._sample_bytes),
            taken,
            self._total,
            max(self._total + taken, self._total + observed.waiting),
            observed.time_us,
            self._after_gap,
            observed.clocked,
        )
        self._total += taken
        self._after_gap = False
        return captured

    def _observe(self) -> _Observed:
        alsa, status = self._alsa, self._status.pointer
        self._check(alsa.snd_pcm_status(self._handle, status))
        now_us = monotonic_us()
        if alsa.snd_pcm_status_get_state(status) == STATE_DISCONNECTED:
            raise AlsaFault(f"{self.name}: {WORDS[errno.ENODEV]}")
        time_us = now_us
        if self._is_stamping:
            raw = ctypes.create_string_buffer(b"\xff" * TIMESPEC_BYTES, TIMESPEC_BYTES)
            alsa.snd_pcm_status_get_htstamp(status, raw)
            time_us = plausible_stamp_us(timespec_us(raw.raw), now_us)
        available = min(alsa.snd_pcm_status_get_avail(status), self.buffer_samples)
        most = available + MAX_DELAY_US * self.rate_hz // 1_000_000
        return _Observed(
            min(max(available, alsa.snd_pcm_status_get_delay(status)), most),
            time_us,
            clocked=available < self.buffer_samples,  # a full one that runs has not overrun
        )

    def _recover(self, result: int) -> None:
        """Start again after an overrun (EPIPE) or a suspend (ESTRPIPE)."""
        if -result in {errno.EAGAIN, errno.EINTR}:
            return
        if -result not in {errno.EPIPE, errno.ESTRPIPE}:
            self._check(result)
        self._after_gap = True
        if -result == errno.ESTRPIPE and self._alsa.snd_pcm_resume(self._handle) >= 0:
            return
        self._check(self._alsa.snd_pcm_prepare(self._handle))
        self._check(self._alsa.snd_pcm_start(self._handle))

    def _check(self, result: int) -> None:
        if result < 0:
            words = WORDS.get(-result) or error_text(result)
            raise AlsaFault(f"{self.name}: {words}")

    def close(self) -> None:
        if self._handle:
            self._alsa.snd_pcm_close(self._handle)
            self._handle = c_void_p()


def plausible_stamp_us(stamp_us: int, now_us: int) -> int:
    """The device's stamp; now instead of one that is missing or of another clock."""
    return stamp_us if 0 <= now_us - stamp_us <= MAX_STAMP_AGE_US else now_us
