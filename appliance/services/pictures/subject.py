"""What a picture is of: the camera behind a stream, by any name that users give it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from appliance.errors import StreamNotFound
from appliance.hub.cameras import PictureAsk
from appliance.hub.names import stream_name
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.services.contract import Context

DEFAULT_STREAM = "live/camera"


@dataclass(frozen=True, slots=True)
class Subject:
    """camera: its stream's name, or None if no camera of this device makes this stream.

    sub: the stream is the second, smaller one of that camera.
    """

    stream: str
    camera: str | None
    sub: bool = False


def find_subject(context: Context, name: str) -> Subject:
    """name: a stream's or a camera's; empty means the default. Raises: NameInvalid."""
    if not name:
        names = [camera.stream_name for camera in context.cameras.all()]
        name = DEFAULT_STREAM if DEFAULT_STREAM in names or not names else names[0]
    source = next((s.source for s in context.streams if s.name == stream_name(name)), "")
    scheme, _, whose = source.partition(":")
    sub = scheme == "camera"
    try:
        camera = context.cameras.find(whose.rpartition("/")[0] if sub else name).stream_name
    except StreamNotFound:
        return Subject(name, None)
    return Subject(name if sub else camera, camera, sub)


def fit(ask: PictureAsk, stream: Stream) -> PictureAsk:
    """Wider than the stream is as wide as the stream, which is one shape and not thousands."""
    video = next((track for track in stream.tracks if track.kind is Kind.VIDEO), None)
    width_px: int = getattr(video.config, "width_px", 0) if video is not None else 0
    return replace(ask, width=0) if width_px and ask.width >= width_px else ask
