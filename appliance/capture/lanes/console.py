"""Commands and state of a source that runs in lanes, its stills and its smaller stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from appliance.capture.commands import Commands
from appliance.capture.fault import ChangeRefused, SourceFault
from appliance.capture.lanes.demands import left_to_viewers
from appliance.capture.lanes.lane import Lane
from appliance.capture.lanes.transcoding import VideoTranscode
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.pipeline.changes import Wishes
from appliance.capture.pipeline.console import Console
from appliance.capture.pipeline.watching import Watcher
from appliance.media.track import Kind
from appliance.wire.pipe.messages import Reason, Rung


class LaneConsole:
    """sink: where the lanes' units must go, so that pictures can be made of them."""

    def __init__(
        self, options: Options, sink: Sink, commands: Commands, document: dict[str, Any]
    ) -> None:
        self._options = options
        self._video: Lane | None = None
        self.sink = Watcher(options, sink, rotation_deg=left_to_viewers(options))
        self._console = Console(
            self.sink, commands, self.sink.desk, max_fps=options.fps,
            check=self._check, apply=self._apply, figures=self._figures,
        )  # fmt: skip
        self._console.set_device(document, None)

    def set_lanes(self, lanes: Iterable[Lane]) -> None:
        self._video = next((lane for lane in lanes if lane.stamps.kind is Kind.VIDEO), None)
        self._console.changed()

    def obey(self) -> None:
        """With each packet. Raises: SourceFault to have the source opened anew."""
        rung = self._console.obey()
        if rung is Rung.CAMERA:
            raise SourceFault(Reason.SOURCE_LOST, "no media came from it, so it is opened anew")
        if rung is Rung.ENCODER:
            self.sink.restart()
            if isinstance(self._video, VideoTranscode):
                self._video.restart()

    def _check(self, wishes: Wishes) -> None:
        encodes = isinstance(self._video, VideoTranscode)
        if wishes.fps is not None:
            raise ChangeRefused("fps: a source of this kind has its own rate")
        touched = (wishes.bitrate_bps, wishes.keyframe_us, wishes.text, wishes.shown)
        if not encodes and any(value is not None for value in touched):
            raise ChangeRefused(
                "this source is passed on as it is: only one that is encoded here can be told its"
                ' bitrate, keyframe, text and overlay (encoder = "libx264" has it encoded)'
            )
        if wishes.sub and self._options.sub is None:
            raise ChangeRefused("sub: this camera has no second stream in the configuration")

    def _apply(self, wishes: Wishes) -> None:
        if isinstance(self._video, VideoTranscode):
            self._video.change(wishes)
        if wishes.sub is not None:
            self.sink.set_second_wanted(wishes.sub)

    def _figures(self, now_us: int) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "rotation": self._options.rotation,
            "masks": len(self._options.masks),
            "encoder": "camera",
        }
        if isinstance(self._video, VideoTranscode):
            figures |= self._video.figures()
        elif self._video is not None and self._video.track is not None:
            config: Any = self._video.track.config
            figures |= {"width": config.width_px, "height": config.height_px}
        return figures | self.sink.figures()
