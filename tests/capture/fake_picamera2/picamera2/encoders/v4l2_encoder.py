"""Chunks come out of a thread, as the driver's do."""

from __future__ import annotations

import queue
import tempfile
import threading
from typing import Any, BinaryIO

from .. import stage
from .encoder import Encoder


class V4L2Encoder(Encoder):
    def __init__(self, bitrate: int | None, pixformat: int) -> None:
        super().__init__()
        self.bitrate = bitrate
        self.vd: BinaryIO | None = None

    def start(self, quality: Any = None) -> None:
        self._chunks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        super().start(quality)
        self.vd = tempfile.TemporaryFile()  # noqa: SIM115 - a file knows no V4L2 either
        self.thread = threading.Thread(target=self.thread_poll, args=(None,), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        super().stop()
        self._chunks.put(None)
        self.thread.join()
        if self.vd is not None:
            self.vd.close()

    def _encode(self, stream: str, request: Any) -> None:
        for packet in self._packets(stream, request):
            self._chunks.put(packet)

    def thread_poll(self, buf_available: Any) -> None:
        while (packet := self._chunks.get()) is not None:
            data, key, timestamp = packet
            if stage.is_on("encoder-stall"):
                stage.note("encoder stalls")
                self._chunks = queue.SimpleQueue()
                return
            if key and stage.settings["parameter_sets_alone"]:
                at = data.index(b"\0\0\1\x65")
                self.outputframe(data[:at], False, timestamp)
                data = b"\0" + data[at:]
            self.outputframe(data, key, timestamp)
