"""Requests: one exposure with a buffer for each stream."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class CompletedRequest:
    def __init__(self, request: Any, picam2: Any) -> None:
        self.request = request
        self.picam2 = picam2
        self.config = picam2.camera_config.copy()

    def get_metadata(self) -> dict[str, Any]:
        return dict(self.request["metadata"])


class MappedArray:
    def __init__(
        self, request: CompletedRequest, stream: str, reshape: bool = True, write: bool = True
    ) -> None:
        assert not reshape, "an array in rows needs numpy"
        self.__buffer = request.request["buffers"][stream]
        self.__array: memoryview | None = None

    def __enter__(self) -> MappedArray:
        self.__array = memoryview(self.__buffer)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self.__array = None

    @property
    def array(self) -> memoryview | None:
        return self.__array
