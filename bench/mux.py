"""Muxing and demuxing, µs of CPU per access unit, beside PyAV's libav in one run.

One 1080p30 stream of about 4 Mbps with AAC, from memory to memory; one pinned core, rounds of all
alternate, medians are printed with their range. A unit is an FLV tag, and many TS packets. MP4 is
fragmented every 200 ms, and written only.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from measure import SERVER_CORE

from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.containers.flv_muxer import FlvMuxer
from appliance.containers.fmp4_muxer import Fmp4Muxer
from appliance.containers.mpegts import PACKET_BYTES
from appliance.containers.mpegts_demuxer import MpegTsDemuxer
from appliance.containers.mpegts_muxer import MpegTsMuxer
from appliance.media.unit import AccessUnit

READ_BYTES = 65_536  # as a socket gives it
OURS: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
    "flv": (FlvMuxer, FlvDemuxer),
    "mpegts": (MpegTsMuxer, MpegTsDemuxer),
    "mp4": (Fmp4Muxer, None),
}
OPTIONS = {
    "mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "200000"}
}


class Sink(io.RawIOBase):
    """Somewhere to write that keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(data)


@dataclass(slots=True)
class Contender:
    """prepare makes what run consumes, outside the clock."""

    name: str
    prepare: Callable[[], Any]
    run: Callable[[Any], object]
    spent_us: list[float] = field(default_factory=list)

    def round(self, units: int) -> None:
        prepared = self.prepare()
        start_ns = time.process_time_ns()
        self.run(prepared)
        self.spent_us.append((time.process_time_ns() - start_ns) / 1000 / units)


def make_source(seconds: int, target: Path) -> None:
    video = f"testsrc2=size=1920x1080:rate=30:duration={seconds},noise=alls=12:allf=t"
    audio = f"sine=frequency=440:duration={seconds}"
    inputs = ("-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio)
    x264 = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "4M", "-g", "60", "-bf", "0")
    aac = ("-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "128k", "-ar", "48000")
    subprocess.run(("ffmpeg", "-v", "error", *inputs, *x264, *aac, target), check=True)


def copy(source: Path, format: str) -> bytes:
    """The same packets in another container, by ffmpeg."""
    command = ("ffmpeg", "-v", "error", "-i", source, "-c", "copy", "-f", format, "-")
    return subprocess.run(command, check=True, capture_output=True).stdout


def our_units(flv: bytes) -> tuple[Any, list[AccessUnit]]:
    tracks, *units = FlvDemuxer().receive(flv)
    return tracks, units  # type: ignore[return-value]


def our_mux(make_muxer: Callable[[], Any], prepared: Any) -> int:
    """Chunks are dropped as they come, as a ring does in the end."""
    tracks, units = prepared
    muxer = make_muxer()
    size_bytes: int = len(muxer.header(tracks))
    for unit in units:
        for chunk in muxer.feed(unit):
            size_bytes += chunk.size_bytes
    size_bytes += sum(chunk.size_bytes for chunk in muxer.flush())
    return size_bytes


def our_demux(make_demuxer: Callable[[], Any], data: bytes) -> int:
    demuxer = make_demuxer()
    count = 0
    for position in range(0, len(data), READ_BYTES):
        count += len(demuxer.receive(data[position : position + READ_BYTES]))
    return count + len(demuxer.receive_eof())


def av_packets(path: Path) -> Any:
    demuxer = av.open(path, "r")
    return demuxer, [packet for packet in demuxer.demux() if packet.dts is not None]


def av_mux(format: str, prepared: Any) -> None:
    demuxer, packets = prepared
    with av.open(Sink(), "w", format=format, options=OPTIONS.get(format, {})) as muxer:
        streams = [muxer.add_stream_from_template(stream) for stream in demuxer.streams]
        for packet in packets:
            packet.stream = streams[packet.stream.index]
            muxer.mux(packet)
    demuxer.close()


def av_demux(format: str, data: bytes) -> int:
    with av.open(io.BytesIO(data), "r", format=format) as demuxer:
        return sum(packet.size for packet in demuxer.demux())


def compare(format: str, source: Path, rounds: int) -> None:
    make_muxer, make_demuxer = OURS[format]
    tracks, units = our_units(copy(source, "flv"))
    size_bytes = our_mux(make_muxer, (tracks, units))
    contenders = [
        Contender(f"{format} mux", lambda: (tracks, units), functools.partial(our_mux, make_muxer)),
        Contender(
            f"{format} mux PyAV", lambda: av_packets(source), functools.partial(av_mux, format)
        ),
    ]
    if make_demuxer is not None:
        theirs = copy(source, format)
        demux = functools.partial(our_demux, make_demuxer), functools.partial(av_demux, format)
        for name, run in zip((f"{format} demux", f"{format} demux PyAV"), demux, strict=True):
            contenders.append(Contender(name, lambda: theirs, run))
    for _ in range(rounds):
        for contender in contenders:
            contender.round(len(units))
    ts_packets = size_bytes / PACKET_BYTES / len(units)
    for contender in contenders:
        spent_us = contender.spent_us
        median, low, high = statistics.median(spent_us), min(spent_us), max(spent_us)
        per_packet = f" {median / ts_packets:6.2f} per TS packet" if format == "mpegts" else ""
        print(
            f"{contender.name:<20}{median:7.2f} µs per unit ({low:.2f} to {high:.2f}){per_packet}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "source.mp4"
        make_source(options.seconds, source)
        os.sched_setaffinity(0, {SERVER_CORE})
        for format in OURS:
            compare(format, source, options.rounds)


if __name__ == "__main__":
    main()
