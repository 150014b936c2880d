"""One stream of pictures on its way through overlay and encoder: the main one, or the smaller."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.reformatter import Colorspace

from appliance.capture.encoders.choosing import open_encoder
from appliance.capture.encoders.encoder import BT601, BT709, EncoderSettings, VideoEncoder
from appliance.capture.fault import SourceFault
from appliance.capture.options import OverlayOptions
from appliance.capture.picture.frames import canvas_of, copy_of, matrix_of
from appliance.capture.picture.overlay import Overlay
from appliance.capture.pipeline.shaping import Shaped
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import Reason

log = logging.getLogger(__name__)

AGAIN_US = 10_000_000  # an encoder that fails twice within this time is given up


@dataclass(slots=True)
class Words:
    """What the overlay shows now; shared by all sizes of a camera."""

    settings: OverlayOptions
    device: str
    shown: bool
    text: str

    @classmethod
    def of(cls, settings: OverlayOptions, device: str) -> Words:
        return cls(settings, device, settings.shown, settings.text)


@dataclass(slots=True)
class Coding:
    """How a stream is encoded now. fps: declared; pace: what really comes, at most that."""

    track_id: int
    wish: str
    fps: Fraction
    pace: int
    bitrate_bps: int
    keyframe_us: int
    threads: int = 0
    preset: str = "superfast"
    rotation_deg: int = 0


class Encoding:
    """The encoder is opened for the first picture, and anew when the size of pictures changes.

    track: None until the first unit.
    """

    def __init__(self, coding: Coding, words: Words) -> None:
        self.coding = coding
        self.encoder: VideoEncoder | None = None
        self.track: Track | None = None
        self.size = (0, 0)
        self._words = words
        self._overlay: Overlay | None = None
        self._matrix = BT709
        self._failed_us: int | None = None
        self._without = ""

    def encode(self, shaped: Shaped, time_us: int, unix_us: int, *, key: bool) -> list[AccessUnit]:
        """Raises: SourceFault if no encoder goes on."""
        self._open_for(shaped.frame)
        if self._words.shown:
            self._write_words(shaped, unix_us)
        try:
            assert self.encoder is not None
            units = self.encoder.encode(shaped.frame, time_us, key=key)
        except av.FFmpegError as error:
            self._give_up(error, time_us)
            return []
        self._keep_track(units)
        return units

    def _keep_track(self, units: list[AccessUnit]) -> None:
        """The same object after an encoder was opened anew: nothing changed for viewers."""
        for unit in units:
            if unit.track == self.track and self.track is not None:
                unit.track = self.track
            self.track = unit.track

    def _write_words(self, shaped: Shaped, unix_us: int) -> None:
        frame = shaped.frame
        if self._overlay is None:
            self._overlay = Overlay(
                self._words.settings, self._words.device, frame.width, frame.height,
                self.coding.rotation_deg,
            )  # fmt: skip
        if not shaped.is_ours:
            shaped.frame, shaped.is_ours = copy_of(frame), True
        else:
            frame.make_writable()
        overlay = self._overlay
        overlay.shown = True
        if overlay.text != self._words.text:
            overlay.text = self._words.text
        overlay.draw(canvas_of(shaped.frame), unix_us)

    def _open_for(self, frame: av.VideoFrame) -> None:
        size = frame.width, frame.height
        matrix = BT709 if matrix_of(frame) is Colorspace.ITU709 else BT601
        if self.encoder is not None and size == self.size and matrix == self._matrix:
            return
        self.close()
        self.size, self._matrix = size, matrix
        self._overlay = None
        coding = self.coding
        settings = EncoderSettings(
            *size, coding.fps, coding.bitrate_bps, coding.keyframe_us,
            coding.threads, coding.preset, coding.rotation_deg, matrix,
        )  # fmt: skip
        self.encoder = open_encoder(coding.wish, coding.track_id, settings, without=self._without)
        if coding.pace < coding.fps:
            self.encoder.set_fps(coding.pace)

    def _give_up(self, error: av.FFmpegError, now_us: int) -> None:
        """Begin anew with the next picture; with another encoder, if this one failed twice."""
        name = self.encoder.name if self.encoder is not None else ""
        log.warning("%s failed and is opened anew: %s", name, error)
        if self._failed_us is not None and now_us - self._failed_us < AGAIN_US:
            if name in {self._without, "libx264"}:
                raise SourceFault(Reason.ENCODER, f"{name} does not go on: {error}") from None
            self._without = name
        self._failed_us = now_us
        self.close()

    def close(self) -> None:
        """The next picture opens an encoder, and is a keyframe."""
        if self.encoder is not None:
            self.encoder.close()
            self.encoder = None

    def set_bitrate(self, bitrate_bps: int) -> None:
        if bitrate_bps != self.coding.bitrate_bps:
            self.coding.bitrate_bps = bitrate_bps
            if self.encoder is not None:
                self.encoder.set_bitrate(bitrate_bps)

    def set_pace(self, fps: int) -> None:
        fps = min(fps, int(self.coding.fps))
        if fps != self.coding.pace:
            self.coding.pace = fps
            if self.encoder is not None:
                self.encoder.set_fps(fps)

    def set_keyframe_us(self, keyframe_us: int) -> None:
        if keyframe_us != self.coding.keyframe_us:
            self.coding.keyframe_us = keyframe_us
            if self.encoder is not None:
                self.encoder.set_keyframe_us(keyframe_us)
