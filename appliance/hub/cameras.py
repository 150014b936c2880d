"""The cameras of this device, as services that do not run them see them.

Whoever runs a camera registers it; who wants a picture of it, or to change it, finds it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.errors import StreamNotFound

MAX_WIDTH_PX = 4096


@dataclass(frozen=True, slots=True)
class PictureAsk:
    """width: in pixels, 0 for the stream's own; it is never enlarged. quality: 1 to 100.

    sub: of the second, smaller stream. Equal asks at one time share one answer.
    """

    width: int = 0
    quality: int = 80
    sub: bool = False


@dataclass(frozen=True, slots=True)
class StillPicture:
    """A JPEG; taken_us: CLOCK_MONOTONIC of its exposure."""

    jpeg: bytes = field(repr=False)
    taken_us: int
    width: int
    height: int


class Camera(Protocol):
    """One local source."""

    @property
    def name(self) -> str:
        """The last segment of its stream's name."""
        ...

    @property
    def stream_name(self) -> str: ...

    def describe(self) -> dict[str, Any]:
        """Everything an owner or a monitor may know, as JSON."""
        ...

    async def change(self, values: Mapping[str, Any]) -> None:
        """Take over settings while it runs, all or none.

        Raises: ConfigError that says which value is wrong and what is possible; TimeoutError if
        the camera does not answer.
        """
        ...

    async def picture(self, ask: PictureAsk) -> StillPicture:
        """The newest picture as JPEG.

        Raises: CodecUnsupported (this source can make none), StreamNotFound (there is no picture
        now; the text says why), LimitExceeded (too many asks at once), TimeoutError.
        """
        ...


class Cameras:
    """Cameras by stream name, found by that or by their own name."""

    def __init__(self) -> None:
        self._by_stream: dict[str, Camera] = {}  # as many as the configuration has

    def add(self, camera: Camera) -> None:
        self._by_stream[camera.stream_name] = camera

    def remove(self, camera: Camera) -> None:
        if self._by_stream.get(camera.stream_name) is camera:
            del self._by_stream[camera.stream_name]

    def all(self) -> list[Camera]:
        return list(self._by_stream.values())

    def of_stream(self, stream_name: str) -> Camera | None:
        """The camera of this stream, if it is one's."""
        return self._by_stream.get(stream_name)

    def find(self, name: str) -> Camera:
        """By stream name, else by camera name (the first one configured wins).

        Raises: StreamNotFound.
        """
        camera = self._by_stream.get(name)
        if camera is None:
            camera = next((one for one in self._by_stream.values() if one.name == name), None)
        if camera is None:
            raise StreamNotFound(f"there is no camera {name}")
        return camera
