"""`file:` — a recording as live stream: played in real time, again and again, on one timeline.

Each time round the input is opened anew and its stamps are moved on by its length, so viewers
see one stream without an end; codecs that need no transcoding pass untouched.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import av

from appliance.capture.commands import Commands
from appliance.capture.fault import SourceFault
from appliance.capture.lanes.choosing import choose_lanes
from appliance.capture.lanes.console import LaneConsole
from appliance.capture.lanes.lane import Lane
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.playout import Playout
from appliance.capture.reading import FORMATS, describe_error, feed_packet
from appliance.media.track import Kind
from appliance.wire.pipe.messages import Reason

log = logging.getLogger(__name__)

OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
MAX_LATE_US = 2_000_000
MAX_SOUND_OVERHANG_US = 100_000  # some frames of sound, which the joint cuts off
MIN_LENGTH_US = 200_000  # what is shorter would mean opening a file more than five times a second


def create(rest: str, options: Options) -> FileSource:
    return FileSource(path_of(rest), options)


def path_of(rest: str) -> Path:
    """``file:clip.mp4``, ``file:/clip.mp4`` as they are; ``file:///my%20clip.mp4`` as a URL.

    Raises: SourceFault if there is no path, or one on another host.
    """
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host not in {"", "localhost"} or not slash:
            raise SourceFault(Reason.SOURCE_INVALID, "write file:///path, without a host")
        return Path("/" + unquote(path))
    if not rest:
        raise SourceFault(Reason.SOURCE_INVALID, "write file: and a path, such as file:/clip.mp4")
    return Path(rest)


class FileSource:
    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options

    def run(self, sink: Sink, commands: Commands) -> None:
        document = {"device": self._path.name, "driver": "file"}
        console = LaneConsole(self._options, sink, commands, document)
        playout = Playout(console.sink, max_late_us=MAX_LATE_US)
        lanes: dict[int, Lane] = {}
        shift_us = 0
        while True:
            with open_file(self._path) as container:
                lanes = self._lanes(container, lanes)
                for lane in lanes.values():
                    lane.stamps.shift_us = shift_us
                console.set_lanes(lanes.values())
                self._play(container, lanes, playout, console, commands)
            shift_us += self._length_us(lanes)

    def _lanes(self, container: Any, lanes: dict[int, Lane]) -> dict[int, Lane]:
        """The same lanes each time round; new ones if the file was replaced by another kind."""
        try:
            fresh = choose_lanes(container, self._options)
        except SourceFault as fault:
            raise SourceFault(fault.reason, f"{self._path}: {fault}") from None
        if fresh.keys() != lanes.keys() or any(
            type(fresh[index]) is not type(lanes[index]) for index in fresh
        ):
            return fresh
        for index, lane in lanes.items():
            lane.reopen(container.streams[index])
        return lanes

    def _play(
        self,
        container: Any,
        lanes: dict[int, Lane],
        playout: Playout,
        console: LaneConsole,
        commands: Commands,
    ) -> None:
        streams = [container.streams[index] for index in lanes]
        try:
            for packet in container.demux(streams):
                console.obey()
                lane = lanes[packet.stream.index]
                playout.send(lanes.values(), feed_packet(lane, packet, commands, playout.late_us))
        except av.FFmpegError as error:  # damaged from here on: begin again
            log.warning("%s cannot be read further: %s", self._path, describe_error(error))

    def _length_us(self, lanes: dict[int, Lane]) -> int:
        """What one time round adds to all stamps: as long as the picture lasts, so that its
        cadence goes on, or the sound if that is really longer."""
        spans = {lane.stamps.kind: lane.stamps.span_us for lane in lanes.values()}
        sound_us = spans.get(Kind.AUDIO, 0)
        length_us = spans.get(Kind.VIDEO, sound_us)
        if sound_us > length_us + MAX_SOUND_OVERHANG_US:
            length_us = sound_us
        if length_us < MIN_LENGTH_US:
            raise SourceFault(
                Reason.UNSUPPORTED, f"{self._path} lasts less than 0.2 s: give a longer recording"
            )
        return length_us


def open_file(path: Path) -> Any:
    """Raises: SourceFault that says what is wrong with the file."""
    if not path.exists():
        raise SourceFault(
            Reason.SOURCE_MISSING, f"{path.absolute()} does not exist: put the file there"
        )
    if not path.is_file():
        raise SourceFault(Reason.SOURCE_INVALID, f"{path.absolute()} is not a file")
    try:
        # "file:" keeps libav from reading a protocol into a name such as 239.1.1.1:1234.ts
        return av.open(f"file:{path}", container_options=OPTIONS)
    except (av.FFmpegError, OSError) as error:
        raise SourceFault(
            Reason.CANNOT_OPEN, f"{path.absolute()} cannot be read: {describe_error(error)}"
        ) from None
