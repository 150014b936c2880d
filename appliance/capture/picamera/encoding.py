"""One running encoder of picamera2, and the output that takes its chunks.

picamera2 0.3.38: an output gets Annex B bytes and a time that counts from the encoder's first
picture. A chunk is an access unit with its parameter sets before it; older versions also deliver
parameter sets alone, and the hardware's buffers of 512 KiB cut a picture that is larger.
"""

from __future__ import annotations

import fcntl
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.capture.picamera import api
from appliance.capture.picamera.system import System
from appliance.errors import PeerError
from appliance.media.h264 import NAL_IDR, NAL_SLICE, ParameterSets, nal_type, split_parameter_sets
from appliance.media.nal import split_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

log = logging.getLogger(__name__)

PROFILE = "high"  # what every browser decodes; picamera2 knows the word for both encoders
SLICES = frozenset({NAL_SLICE, NAL_IDR})
# linux/videodev2.h and linux/v4l2-controls.h: struct v4l2_control, and the encoder's target.
VIDIOC_S_CTRL = 0xC008561C
V4L2_CID_MPEG_VIDEO_BITRATE = 0x009909CF


@dataclass(frozen=True, slots=True)
class Wish:
    """What an encoder shall do. fps: of what it encodes; skip: of so many pictures it takes one."""

    bitrate_bps: int
    keyframe_us: int
    fps: int
    skip: int = 1
    threads: int = 0

    @property
    def keyframe_pictures(self) -> int:
        return max(1, round(self.keyframe_us * self.fps / 1_000_000))


@dataclass(slots=True)
class Chunk:
    """data: what an encoder put out for the picture taken at `sensor_us` of the sensor's clock.

    follows_loss: there was no room for the one before it, so only a keyframe can be decoded next.
    """

    encoding: Encoding
    data: bytes
    sensor_us: int
    follows_loss: bool = False


class Encoding:
    """deliver: takes chunks in the encoder's thread; False says that it had no room."""

    def __init__(self, system: System, wish: Wish, deliver: Callable[[Chunk], bool]) -> None:
        self._deliver = deliver
        self._is_hardware = system.has_hardware_encoder
        self.encoder = system.h264_encoder(
            bitrate=wish.bitrate_bps,
            repeat=True,
            iperiod=wish.keyframe_pictures,
            framerate=wish.fps,
            profile=PROFILE,
        )
        self.encoder.frame_skip_count = wish.skip
        if not self._is_hardware:
            libav: Any = self.encoder
            _set_threads(libav, wish.threads)
        self.output = _output(system, self._take)
        self._has_lost = False

    def _take(self, data: bytes, timestamp_us: int) -> None:
        first_us = self.encoder.firsttimestamp or 0
        chunk = Chunk(self, data, first_us + timestamp_us, follows_loss=self._has_lost)
        self._has_lost = not self._deliver(chunk)

    def force_keyframe(self) -> bool:
        """Whether the encoder could be asked for one.

        Never libav's: picamera2 0.3.38 sets the picture's type to a string there, which av 14 and
        later refuse, and the exception ends the camera's thread. The hardware's can since 0.3.32.
        """
        ask = getattr(self.encoder, "force_key_frame", None)
        if not self._is_hardware or ask is None:
            return False
        ask()
        return True

    def set_bitrate(self, bitrate_bps: int) -> bool:
        """Whether the encoder took it over while running, as the hardware's does."""
        if not self._is_hardware:
            return False
        hardware: Any = self.encoder
        return _set_device_bitrate(hardware, bitrate_bps)


def _set_threads(encoder: api.LibavH264Encoder, threads: int) -> None:
    encoder.threads = threads


def _set_device_bitrate(encoder: api.V4L2Encoder, bitrate_bps: int) -> bool:
    device = encoder.vd
    if device is None or device.closed:
        return False
    control = struct.pack("=Ii", V4L2_CID_MPEG_VIDEO_BITRATE, bitrate_bps)
    try:
        fcntl.ioctl(device, VIDIOC_S_CTRL, control)
    except OSError as error:
        log.info("the encoder does not change its bitrate while it runs: %s", error)
        return False
    return True


def _output(system: System, take: Callable[[bytes, int], None]) -> api.Output:
    """An object of a class that is made here, as its base is only known when picamera2 is there."""

    class ChunkOutput(system.output):  # type: ignore[name-defined, misc]
        def outputframe(
            self,
            frame: Any,
            keyframe: bool = True,
            timestamp: int | None = None,
            packet: Any = None,
            audio: bool = False,
        ) -> None:
            """picamera2's, in the encoder's thread."""
            if not audio and timestamp is not None:
                take(bytes(frame), timestamp)

    output: api.Output = ChunkOutput()
    return output


class UnitReader:
    """Access units from one encoder's chunks, beginning with a keyframe.

    damaged: chunks that were no whole picture.
    """

    def __init__(self, track_id: int, rotation_deg: int) -> None:
        self.track: Track | None = None
        self.damaged = 0
        self._track_id = track_id
        self._rotation_deg = rotation_deg
        self._sets = ParameterSets()
        self._last_us = -1
        self.waits_for_key = True

    def read(self, data: bytes, time_us: int) -> AccessUnit | None:
        """None for chunks without a picture, whose parameter sets are kept, and for what cannot be
        decoded."""
        try:
            split = split_parameter_sets(split_annexb(data))
            config = self._sets.update(split)
        except PeerError as error:
            self._damage(str(error))
            return None
        if config is not None and (self.track is None or config != self.track.config):
            self.track = Track(self._track_id, config, rotation_deg=self._rotation_deg)
        if self.track is None or not any(nal_type(nal) in SLICES for nal in split.media):
            return None
        if time_us <= self._last_us:
            self._damage("two chunks with one time")
            return None
        if self.waits_for_key and not split.key:
            return None
        self.waits_for_key = False
        self._last_us = time_us
        return AccessUnit(self.track, time_us, time_us, split.key, tuple(split.media))

    def _damage(self, why: str) -> None:
        """Nothing until the next keyframe: what follows refers to what is missing."""
        log.debug("a chunk is left out: %s", why)
        self.damaged += 1
        self.waits_for_key = True
