"""What every video encoder offers, and what they share: the grid of keyframes, units of packets."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import av
from av.video.frame import PictureType

from appliance.media.h264 import ParameterSets, split_parameter_sets
from appliance.media.nal import split_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit

MICROSECOND = Fraction(1, 1_000_000)
BT709, BT601 = 1, 6  # ISO/IEC 23091-2 §8.3, matrix coefficients
LIMITED_RANGE = 1


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """fps: the rate that is declared; a lower one can be set while running.

    threads: 0 lets the encoder choose. matrix: of the picture's colours, BT709 or BT601.
    """

    width: int
    height: int
    fps: Fraction
    bitrate_bps: int
    keyframe_us: int
    threads: int = 0
    preset: str = "superfast"
    rotation_deg: int = 0
    matrix: int = BT709


class VideoEncoder(Protocol):
    """4:2:0 pictures of one size in, H.264 access units out. Nothing here loses a picture.

    track: None until the first picture came out.
    """

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    @property
    def track(self) -> Track | None: ...

    def encode(self, frame: av.VideoFrame, dts_us: int, *, key: bool = False) -> list[AccessUnit]:
        """Units that are ready now; the frame stays the caller's and may be drawn on again.

        Raises: av.FFmpegError if the encoder does not go on.
        """
        ...

    def set_bitrate(self, bitrate_bps: int) -> None: ...

    def set_fps(self, fps: int) -> None:
        """How many pictures a second will come from now on; what is declared stays."""
        ...

    def set_keyframe_us(self, keyframe_us: int) -> None: ...

    def close(self) -> None: ...


class KeyframeGrid:
    """Places in time, counted from the first picture, at which keyframes are due.

    Neither dropped pictures nor keyframes that viewers ask for move it, so segments are cut at a
    steady pace.
    """

    def __init__(self, keyframe_us: int, fps: Fraction) -> None:
        self.keyframe_us = keyframe_us
        self._half_picture_us = 0
        self._first_us: int | None = None
        self._due_us = 0
        self.set_fps(fps)

    def set_fps(self, fps: Fraction) -> None:
        self._half_picture_us = 500_000 * fps.denominator // fps.numerator

    def set_keyframe_us(self, keyframe_us: int) -> None:
        """A new grid, which begins with the next picture."""
        self.keyframe_us = keyframe_us
        self._first_us = None
        self._due_us = 0

    def is_due(self, dts_us: int) -> bool:
        """Whether this picture is the one nearest to the next place of the grid."""
        if dts_us < self._due_us:
            return False
        if self._first_us is None:
            self._first_us = dts_us
        places = (dts_us + self._half_picture_us - self._first_us) // self.keyframe_us
        next_us = self._first_us + (places + 1) * self.keyframe_us
        self._due_us = next_us - self._half_picture_us
        return True


class PacketReader:
    """Access units from an encoder's Annex B packets, and the track they belong to.

    Parameter sets are kept: encoders of hardware may deliver them once, in a packet of their own.
    """

    def __init__(self, track_id: int, rotation_deg: int = 0) -> None:
        self.track: Track | None = None
        self._track_id = track_id
        self._rotation_deg = rotation_deg
        self._sets = ParameterSets()

    def units(self, packet: av.Packet[Any]) -> list[AccessUnit]:
        """Raises: PeerError if it is no H.264."""
        split = split_parameter_sets(split_annexb(bytes(packet)))
        config = self._sets.update(split)
        if config is not None and (self.track is None or config != self.track.config):
            self.track = Track(self._track_id, config, rotation_deg=self._rotation_deg)
        dts_us, pts_us = packet.dts, packet.pts
        if self.track is None or pts_us is None or not split.media:
            return []
        if dts_us is None:
            dts_us = pts_us
        return [AccessUnit(self.track, dts_us, pts_us, split.key, tuple(split.media))]


def stamp(frame: av.VideoFrame, dts_us: int, *, key: bool) -> None:
    """Time and kind of the picture for libav."""
    # Must be set back: a frame that keeps its type makes every picture an IDR.
    frame.pict_type = PictureType.I if key else PictureType.NONE
    frame.pts = dts_us
    frame.time_base = MICROSECOND
