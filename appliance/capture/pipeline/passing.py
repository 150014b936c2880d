"""What a source with a camera that encodes H.264 itself feeds: checked, described, passed on.

Nothing is copied or encoded here; a picture is decoded only while somebody wants a still or the
smaller stream (watching.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.capture.clock import monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.fault import ChangeRefused
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.pipeline.changes import Controls, Wishes
from appliance.capture.pipeline.console import Console
from appliance.capture.pipeline.pace import RateMeter
from appliance.capture.pipeline.tracks import TrackTable
from appliance.capture.pipeline.watching import Watcher
from appliance.errors import PeerError
from appliance.media.h264 import ParameterSets, split_parameter_sets
from appliance.media.nal import split_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit, Buffer
from appliance.wire.pipe.messages import VIDEO_ID, Rung

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

KEY_WAIT_US = 1_000_000  # between requests for the first keyframe


@dataclass(slots=True)
class CameraEncoder:
    """What the camera's encoder can be told; None for what it cannot.

    Each may raise ChangeRefused that names the range. They are called between units, in the
    thread that calls `obey`.
    """

    name: str = "camera"
    request_keyframe: Callable[[], None] | None = None
    set_bitrate: Callable[[int], None] | None = None
    set_fps: Callable[[int], None] | None = None
    set_keyframe_us: Callable[[int], None] | None = None
    set_text: Callable[[str], None] | None = None
    show_overlay: Callable[[bool], None] | None = None


class PassingLine:
    """turned_deg: how far the camera turned its pictures itself already; the rest is left to
    viewers, as pixels are not touched here."""

    def __init__(
        self,
        options: Options,
        sink: Sink,
        commands: Commands,
        encoder: CameraEncoder | None = None,
        *,
        turned_deg: int = 0,
        awaits_audio: bool = False,
    ) -> None:
        self._options = options
        self._commands = commands
        self._encoder = encoder or CameraEncoder()
        self._rotation_deg = (options.rotation - turned_deg) % 360
        self._watcher = Watcher(options, sink, rotation_deg=self._rotation_deg)
        self._tracks = TrackTable(self._watcher, awaits_audio=awaits_audio)
        self._sets = ParameterSets()
        self._track: Track | None = None
        self._waits_for_key = True
        self._asked_us = 0
        self._meter = RateMeter()
        self._bitrate_bps = options.bitrate_bps
        self._fps, self._keyframe_us = options.fps, options.keyframe_us
        self._console = Console(
            self._watcher, commands, self._watcher.desk, max_fps=options.fps,
            check=self._check, apply=self._apply, figures=self._figures,
        )  # fmt: skip

    # -- media ---------------------------------------------------------------------------------

    def pass_unit(self, data: Buffer, time_us: int) -> None:
        """One complete access unit in Annex B, exposed at `time_us`; a damaged one is left out.

        The stream begins at a keyframe, whose parameter sets may have come at any time before.
        """
        now_us = monotonic_us()
        self._meter.note(time_us)
        try:
            split = split_parameter_sets(split_annexb(data))
            config = self._sets.update(split)
        except PeerError as error:
            log.debug("a unit of the camera is left out: %s", error)
            self._lose()
            return
        if config is not None:
            self._track = Track(VIDEO_ID, config, rotation_deg=self._rotation_deg)
            self._console.changed()
        if not split.media:
            return
        if self._track is None or not self._tracks.is_ready(now_us):
            self._waits_for_key = True
        elif split.key:
            self._waits_for_key = False
        if self._waits_for_key or self._track is None:
            self._request_key(now_us)
            return
        unit = AccessUnit(self._track, time_us, time_us, split.key, tuple(split.media))
        self._tracks.write((unit,))

    def begin_anew(self) -> None:
        """The camera was opened again: what comes refers to nothing before it."""
        self._watcher.restart()
        self._waits_for_key = True

    def _lose(self) -> None:
        """What follows a damaged unit refers to it."""
        self._watcher.drop(1)
        self._waits_for_key = True

    def _request_key(self, now_us: int) -> None:
        if self._encoder.request_keyframe and now_us - self._asked_us >= KEY_WAIT_US:
            self._asked_us = now_us
            self._encoder.request_keyframe()

    def set_audio_track(self, track: Track | None) -> None:
        """From any thread. None: there is no sound, for the time being."""
        self._tracks.set_audio(track)

    def write_audio(self, units: list[AccessUnit]) -> None:
        """From any thread; what comes before the first picture is left out."""
        self._tracks.write(units)

    @property
    def wants_picture(self) -> bool:
        """Whether a picture beside the stream would be used now."""
        return self._watcher.wants_picture

    def show(self, frame: av.VideoFrame, time_us: int) -> None:
        """A picture of the camera's own smaller stream, if it has one: spares decoding.

        Masked already. Called for a while, it is expected to go on. The frame is given away.
        """
        self._watcher.show(frame, time_us)

    # -- commands ------------------------------------------------------------------------------

    def obey(self) -> Rung | None:
        """Do what the appliance asks for. Once per unit, and twice a second without units.

        What it returns is for the source to do: Rung.CAMERA, close the device and open it again;
        Rung.ENCODER, restart the camera's encoder, or do the same.
        """
        if self._commands.take_keyframe():
            self._watcher.request_keyframe()
            if self._encoder.request_keyframe:
                self._encoder.request_keyframe()
        bitrate_bps = self._commands.take_bitrate_bps()
        if bitrate_bps is not None and self._encoder.set_bitrate:
            try:
                self._encoder.set_bitrate(bitrate_bps)
                self._bitrate_bps = bitrate_bps
                self._console.changed()
            except ChangeRefused as refusal:
                log.warning("the camera stays at its bit rate: %s", refusal)
        rung = self._console.obey()
        if rung is not None:
            self._watcher.restart()
            self._waits_for_key = True
        return rung

    def set_device(self, document: dict[str, Any], controls: Controls | None = None) -> None:
        """What State shall say of the device; again when that changes."""
        self._console.set_device(document, controls)

    def _check(self, wishes: Wishes) -> None:
        encoder = self._encoder
        able = {
            "bitrate": wishes.bitrate_bps is None or encoder.set_bitrate,
            "fps": wishes.fps is None or encoder.set_fps,
            "keyframe": wishes.keyframe_us is None or encoder.set_keyframe_us,
            "text": wishes.text is None or encoder.set_text,
            "overlay": wishes.shown is None or encoder.show_overlay,
        }
        for name, can in able.items():
            if not can:
                raise ChangeRefused(
                    f"{name}: this camera encodes by itself and cannot be told;"
                    ' set encoder = "libx264" to have the appliance encode'
                )
        if wishes.sub and self._options.sub is None:
            raise ChangeRefused("sub: this camera has no second stream in the configuration")

    def _apply(self, wishes: Wishes) -> None:
        """Raises: ChangeRefused if the camera refuses what was possible by its kind."""
        encoder = self._encoder
        if wishes.bitrate_bps is not None and encoder.set_bitrate:
            encoder.set_bitrate(wishes.bitrate_bps)
            self._bitrate_bps = wishes.bitrate_bps
        if wishes.fps is not None and encoder.set_fps:
            encoder.set_fps(wishes.fps)
            self._fps = wishes.fps
        if wishes.keyframe_us is not None and encoder.set_keyframe_us:
            encoder.set_keyframe_us(wishes.keyframe_us)
            self._keyframe_us = wishes.keyframe_us
        if wishes.text is not None and encoder.set_text:
            encoder.set_text(wishes.text)
        if wishes.shown is not None and encoder.show_overlay:
            encoder.show_overlay(wishes.shown)
        if wishes.sub is not None:
            self._watcher.set_second_wanted(wishes.sub)

    def _figures(self, now_us: int) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "encoder": self._encoder.name,
            "fps": self._fps,
            "measured_fps": self._meter.fps(now_us),
            "bitrate_bps": self._bitrate_bps,
            "keyframe_us": self._keyframe_us,
            "rotation": self._options.rotation,
            "masks": len(self._options.masks),
        }
        if self._track is not None:
            config: Any = self._track.config
            figures |= {"width": config.width_px, "height": config.height_px}
        return figures | self._watcher.figures()
