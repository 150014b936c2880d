"""What we use of picamera2, as types that have its names: classes that nobody makes.

It has few types of its own and is no package of ours, so this page is the contract: mypy holds our
code to it, and tests/capture/test_picamera2_contract.py holds it to the real source. A default that
is written out is relied upon; `...` only says that there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Protocol

Configuration = dict[str, Any]
Range = tuple[Any, Any, Any]  # least, most, default


class CompletedRequest(Protocol):
    """One exposure: a buffer of each stream and what the camera says of it."""

    def get_metadata(self) -> dict[str, Any]: ...


class MappedArray(Protocol):
    """A request's buffer as an array; without `reshape` all its bytes in one row."""

    def __init__(
        self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True
    ) -> None: ...

    def __enter__(self) -> MappedArray: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None: ...

    @property
    def array(self) -> Any: ...


class Output(Protocol):
    """Takes what an encoder makes, in a thread of the encoder's."""

    def __init__(self) -> None: ...

    def outputframe(
        self,
        frame: Any,
        keyframe: bool = True,
        timestamp: int | None = None,
        packet: Any = None,
        audio: bool = False,
    ) -> None: ...


class H264Encoder(Protocol):
    """The hardware's where there is one, else another name of LibavH264Encoder.

    firsttimestamp: of the sensor's clock in microseconds; what `outputframe` gets counts from it.
    frame_skip_count: of so many pictures one is encoded.
    """

    firsttimestamp: int | None
    frame_skip_count: int

    def __init__(
        self,
        bitrate: int | None = None,
        repeat: bool = True,
        iperiod: int | None = ...,
        framerate: int | None = ...,
        *,
        profile: str | None = None,
    ) -> None: ...


class LibavH264Encoder(H264Encoder, Protocol):
    """threads: of libav; each holds a picture back. 0 lets libav choose."""

    threads: int


class V4L2Encoder(H264Encoder, Protocol):
    """vd: the encoder's device while it runs. What the hardware's H264Encoder is made of."""

    vd: BinaryIO | None


class Picamera2(Protocol):
    """pre_callback: sees each request before encoders do, in the camera's thread. An exception
    that leaves it ends that thread, and with it the camera, without a word to anybody."""

    pre_callback: Callable[[CompletedRequest], None] | None

    def __init__(self, camera_num: int = 0) -> None: ...

    @staticmethod
    def global_camera_info() -> list[Mapping[str, Any]]: ...

    @property
    def camera_controls(self) -> dict[str, Range]: ...

    def create_video_configuration(
        self,
        main: Configuration = ...,
        lores: Configuration | None = None,
        raw: Configuration | None = ...,
        transform: Any = ...,
        colour_space: Any = None,
        buffer_count: int = ...,
        controls: dict[str, Any] = ...,
        display: str | None = ...,
        encode: str | None = "main",
        queue: bool = ...,
    ) -> Configuration: ...

    def configure(self, camera_config: Configuration) -> None: ...

    def camera_configuration(self) -> Configuration: ...

    def set_controls(self, controls: dict[str, Any]) -> None: ...

    def start(self) -> None: ...

    def close(self) -> None: ...

    def start_encoder(
        self, encoder: H264Encoder, output: Output, *, name: str | None = None
    ) -> None: ...

    def stop_encoder(self, encoders: H264Encoder) -> None: ...
