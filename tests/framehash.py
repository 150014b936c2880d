"""One file in = the same frames out: clips made by ffmpeg, and what real tools find in a stream.

A kind names video and audio, joined by "+": h264, h264-b, h265, h265-b (-b: with B-frames), aac,
opus; for example "h264-b+aac". Others (see ENCODERS) serve single tests. Clips are made once per
test session.
"""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from appliance.media.aac import AacConfig
from appliance.media.h264 import H264Config
from appliance.media.h264 import split_parameter_sets as split_h264
from appliance.media.h265 import H265Config
from appliance.media.h265 import split_parameter_sets as split_h265
from appliance.media.nal import split_length_prefixed
from appliance.media.opus import OpusConfig
from appliance.media.track import CodecConfig, Track
from appliance.media.unit import AccessUnit

DURATION_S = 3
VIDEO_HZ = 30
KEY_FRAMES = 30
FIRST_DTS_US = 5_000_000

ENCODERS = {
    "h264": f"-c:v libx264 -preset veryfast -b:v 300k -g {KEY_FRAMES} -bf 0 -sc_threshold 0",
    "h264-b": f"-c:v libx264 -preset veryfast -b:v 300k -g {KEY_FRAMES} -bf 2 -sc_threshold 0",
    "h265": "-c:v libx265 -preset ultrafast -b:v 300k -tag:v hvc1 -x265-params "
    f"log-level=error:pools=1:keyint={KEY_FRAMES}:min-keyint={KEY_FRAMES}:scenecut=0:bframes=0",
    "h265-b": "-c:v libx265 -preset ultrafast -b:v 300k -tag:v hvc1 -x265-params "
    f"log-level=error:pools=1:keyint={KEY_FRAMES}:min-keyint={KEY_FRAMES}:scenecut=0:bframes=2"
    ":open-gop=0",
    "h264-small": "-c:v libx264 -preset veryfast -b:v 200k -g 15 -bf 0 -vf scale=160:96",
    "av1": f"-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 200k -g {KEY_FRAMES}",
    "vp9": f"-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g {KEY_FRAMES}",
    "aac": "-c:a aac -b:a 64k -ar 48000 -ac 2",
    "opus": "-c:a libopus -b:a 48k -ar 48000 -ac 2",
    "ac3": "-c:a ac3 -b:a 96k",
    "eac3": "-c:a eac3 -b:a 96k",
    "mp3": "-c:a libmp3lame -b:a 64k",
    "flac": "-c:a flac -strict experimental",
}
VIDEO_WORDS = {"h264", "h264-b", "h265", "h265-b", "h264-small", "av1", "vp9"}
CODECS = {"h264": "h264", "h265": "hevc", "aac": "aac", "opus": "opus"}
ENHANCED = (b"hvc1", b"Opus", b"av01", b"vp09", b"fLaC", b"ac-3", b"ec-3")
OLD_FLV_ENDS = 4096  # the sequence headers of an FLV of ours or ffmpeg's stand before this


@dataclass(slots=True)
class PacketTime:
    """A packet as a tool saw it."""

    dts_us: int
    pts_us: int
    key: bool


@functools.cache
def _directory() -> Path:
    path = Path(tempfile.mkdtemp(prefix="clips-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def _run(*command: str | Path) -> str:
    """The tool's output; it must succeed and complain about nothing."""
    result = subprocess.run([str(word) for word in command], capture_output=True, timeout=60)
    errors = result.stderr.decode(errors="replace")
    assert result.returncode == 0 and not errors, f"{command}: {errors}"
    return result.stdout.decode()


def make_clip(kind: str, format: str = "mp4") -> Path:
    """A clip of DURATION_S in the given container (mp4, mpegts, flv, nut …), made by ffmpeg."""
    return _clip(kind, format)


@functools.cache
def _clip(kind: str, format: str) -> Path:
    target = _directory() / f"{kind}.{format}"
    if format == "flv" and not set(kind.replace("-b", "").split("+")) <= {"h264", "aac", "mp3"}:
        target.write_bytes(remux(make_clip(kind), "mp4", "flv"))  # newer than the Debian ffmpeg
        return target
    if format != "mp4":
        _run(
            "ffmpeg",
            "-v",
            "error",
            "-nostdin",
            "-i",
            make_clip(kind),
            "-c",
            "copy",
            "-f",
            format,
            target,
        )
        return target
    command: list[str | Path] = ["ffmpeg", "-v", "error", "-nostdin"]
    words = kind.split("+")
    for word in words:
        source = (
            f"testsrc2=size=192x128:rate={VIDEO_HZ}"
            if word in VIDEO_WORDS
            else "sine=frequency=440"
        )
        command += ["-f", "lavfi", "-i", f"{source}:duration={DURATION_S}"]
    for index, word in enumerate(words):
        command += ["-map", str(index), *ENCODERS[word].split()]
    _run(*command, "-pix_fmt", "yuv420p", "-threads", "1", "-f", "mp4", target)
    return target


def remux(source: Path | bytes, format: str, to: str) -> bytes:
    """The same packets in another container, by PyAV's libav (newer than the Debian ffmpeg's)."""
    out = io.BytesIO()
    opened = source if isinstance(source, Path) else io.BytesIO(source)
    with av.open(opened, "r", format=format) as demuxer, av.open(out, "w", format=to) as muxer:
        streams = {s.index: muxer.add_stream_from_template(s, opaque=True) for s in demuxer.streams}
        for packet in demuxer.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                muxer.mux(packet)
    return out.getvalue()


def is_enhanced_flv(source: Path | bytes, format: str) -> bool:
    head = source.read_bytes() if isinstance(source, Path) else source
    head = head[:OLD_FLV_ENDS]
    return format == "flv" and any(name in head for name in ENHANCED)


def _as_file(source: Path | bytes, format: str) -> Path:
    if isinstance(source, Path):
        return source
    path = _directory() / f"source.{format}"
    path.write_bytes(source)
    return path


def frame_hashes(
    source: Path | bytes, format: str = "mp4", *, filters: str = "null"
) -> dict[str, list[str]]:
    """MD5 of every decoded picture and audio frame, in order, by "video" and "audio"; pictures
    turned as the container says, and then filtered.

    Fails if ffmpeg prints anything at `-v error` on the way.
    """
    if is_enhanced_flv(source, format):
        source, format = remux(source, "flv", "nut"), "nut"
    path = _as_file(source, format)
    found: dict[str, list[str]] = {}
    probe = ("ffprobe", "-v", "error", "-f", format, "-show_entries", "stream=codec_type")
    kinds = _run(*probe, "-of", "csv=p=0", path).replace(",", "").split()
    for kind in sorted(set(kinds)):
        select = ("-map", f"0:{kind[0]}:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
        if kind == "video":
            select = ("-vf", filters, *select)
        manual = ("-flags2", "+skip_manual", "-copyts", "-f", format, "-i", path)
        lines = _run("ffmpeg", "-v", "error", *manual, *select).splitlines()
        found[kind] = [line.split(",")[-1].strip() for line in lines if line[0] != "#"]
    return found


@functools.cache
def clip_hashes(kind: str) -> dict[str, list[str]]:
    """The frames of the clip itself."""
    return frame_hashes(make_clip(kind))


def packet_times(source: Path | bytes, format: str = "mp4") -> dict[str, list[PacketTime]]:
    """Time stamps and key flags of all packets, by "video" and "audio", as libav reads them."""
    if is_enhanced_flv(source, format):
        return packet_times_of_new_libav(source, format)
    path = _as_file(source, format)
    command = ("ffprobe", "-v", "error", "-f", format, "-show_streams", "-show_packets")
    report = json.loads(_run(*command, "-of", "json", path))
    bases = {s["index"]: Fraction(s["time_base"]) * 1_000_000 for s in report["streams"]}
    found: dict[str, list[PacketTime]] = {}
    for packet in report["packets"]:
        base = bases[packet["stream_index"]]
        times = (round(packet["dts"] * base), round(packet["pts"] * base))
        entry = PacketTime(*times, "K" in packet["flags"])
        found.setdefault(packet["codec_type"], []).append(entry)
    return found


def packet_times_of_new_libav(source: Path | bytes, format: str) -> dict[str, list[PacketTime]]:
    """The same by PyAV's libav, which reads more forms and may complain."""
    found: dict[str, list[PacketTime]] = {}
    opened = source if isinstance(source, Path) else io.BytesIO(source)
    with av.open(opened, "r", format=format) as demuxer:
        for packet in demuxer.demux():
            if packet.dts is not None and packet.pts is not None:
                base = packet.time_base * 1_000_000
                times = (round(packet.dts * base), round(packet.pts * base))
                found.setdefault(packet.stream.type, []).append(
                    PacketTime(*times, packet.is_keyframe)
                )
    return found


def assert_same_times(
    one: dict[str, list[PacketTime]],
    other: dict[str, list[PacketTime]],
    *,
    resolution_us: int,
) -> None:
    """Both show the same packets at the same times, but for one constant shift of everything."""
    assert one.keys() == other.keys()
    shifts_us: list[int] = []
    for kind, packets in one.items():
        assert len(packets) == len(other[kind]), kind
        own_us: list[int] = []
        for before, after in zip(packets, other[kind], strict=True):
            assert before.key == after.key, (kind, before, after)
            own_us += [after.dts_us - before.dts_us, after.pts_us - before.pts_us]
        assert max(own_us) - min(own_us) <= resolution_us, (kind, min(own_us), max(own_us))
        shifts_us += own_us
    assert max(shifts_us) - min(shifts_us) <= resolution_us, (min(shifts_us), max(shifts_us))


def unit_times(units: list[AccessUnit]) -> dict[str, list[PacketTime]]:
    """What `packet_times` would say of these units."""
    found: dict[str, list[PacketTime]] = {}
    for unit in units:
        entry = PacketTime(unit.dts_us, unit.pts_us, unit.key)
        found.setdefault(str(unit.track.kind), []).append(entry)
    return found


def _config(name: str, extradata: bytes) -> CodecConfig:
    makers: dict[str, Callable[[bytes], CodecConfig]] = {
        "h264": H264Config.from_avcc,
        "hevc": H265Config.from_hvcc,
        "aac": AacConfig,
        "opus": OpusConfig.from_opus_head,
    }
    return makers[name](extradata)


def _parts(name: str, data: bytes) -> tuple[bytes, ...]:
    if name in {"aac", "opus"}:
        return (data,)
    split = split_h264 if name == "h264" else split_h265
    return tuple(bytes(nal) for nal in split(split_length_prefixed(data)).media)


def clip_units(kind: str) -> tuple[tuple[Track, ...], list[AccessUnit]]:
    """The clip as our own types, fresh at each call; the earliest dts is FIRST_DTS_US."""
    tracks: dict[int, Track] = {}
    units: list[AccessUnit] = []
    with av.open(make_clip(kind)) as demuxer:
        for stream in demuxer.streams:
            context = stream.codec_context
            config = _config(context.name.removeprefix("lib"), context.extradata or b"")
            tracks[stream.index] = Track(stream.index + 1, config)
        for packet in demuxer.demux():
            if packet.dts is None or packet.pts is None:
                continue
            track = tracks[packet.stream.index]
            base = packet.time_base * 1_000_000
            name = CODECS.get(str(track.codec), "")
            units.append(
                AccessUnit(
                    track,
                    round(packet.dts * base),
                    round(packet.pts * base),
                    packet.is_keyframe,
                    _parts(name, bytes(packet)),
                )
            )
    units.sort(key=lambda unit: unit.dts_us)
    shift_us = FIRST_DTS_US - min(unit.dts_us for unit in units)
    for unit in units:
        unit.dts_us += shift_us
        unit.pts_us += shift_us
    return tuple(tracks.values()), units
