"""Every service the appliance has. A new protocol is one line here and a folder in services/."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """name: its table in the configuration; schemes: the source URLs it fetches."""

    name: str
    module: str
    schemes: tuple[str, ...] = ()

    def load(self) -> ModuleType:
        """The service's module; imported only when it is to run or its table is to be read."""
        return import_module(self.module)


CATALOG = (
    # first, so that its taken port is known before a camera is opened
    Entry("rtmp", "appliance.services.rtmp"),
    Entry("rtsp", "appliance.services.rtsp"),
    Entry("webrtc", "appliance.services.webrtc"),
    Entry(
        "camera",
        "appliance.services.camera",
        schemes=("pattern", "v4l2", "picamera2", "camera", "file", "av"),
    ),
    Entry(
        "pull",
        "appliance.services.pull",
        schemes=("rtmp", "rtmps", "rtsp", "rtsps", "http", "https"),
    ),
    Entry("edge", "appliance.services.pull.edge"),
    Entry("forward", "appliance.services.forward"),
    Entry("transcode", "appliance.services.transcode"),
    Entry("hls", "appliance.services.hls"),
    Entry("live", "appliance.services.httpflv"),
    Entry("pictures", "appliance.services.pictures"),
    Entry("web", "appliance.services.web"),
    Entry("api", "appliance.services.api"),
)


def settings_types() -> dict[str, type[Any]]:
    """The Settings class of every service, by the name of its table."""
    return {entry.name: entry.load().Settings for entry in CATALOG}


def source_schemes() -> frozenset[str]:
    """All schemes that `source = "scheme:…"` may have."""
    return frozenset(scheme for entry in CATALOG for scheme in entry.schemes)
