"""Sources by scheme: a file each, imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol, cast

from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.wire.pipe.messages import Reason

# scheme → module here, which offers `create(rest_of_url, options) -> Source`
SCHEMES = {
    "pattern": "pattern",
    "file": "file",
    "av": "url",
    "slate": "slate",
    "transcode": "transcode",
    "v4l2": "v4l2",
    "picamera2": "picamera2",
}


class Source(Protocol):
    def run(self, sink: Sink, commands: Commands) -> None:
        """Deliver units until killed. Raises: SourceFault when it cannot go on."""
        ...


def open_source(url: str, options: Options) -> Source:
    """Raises: SourceFault if no source has this scheme or the rest makes no sense to it."""
    scheme, colon, rest = url.partition(":")
    module = SCHEMES.get(scheme)
    if module is None or not colon:
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise SourceFault(Reason.SOURCE_INVALID, f"no source begins like this; known are {known}")
    create = import_module(f"{__name__}.{module}").create
    return cast(Source, create(rest, options))
