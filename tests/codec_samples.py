"""What real encoders write, and what ffprobe says of it: the reference for the codec parsers.

Run as a program it writes tests/corpus anew: parameter sets, configuration records, and
expectations.json with ffprobe's account of each.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.media import h264, h265
from appliance.media.nal import join_annexb, split_annexb

CORPUS = Path(__file__).parent / "corpus"
EXPECTATIONS = CORPUS / "expectations.json"


@dataclass(frozen=True, slots=True)
class Sample:
    """Two frames (or half a second) of one encoder setting.

    options: what `ffmpeg` is told besides source and encoder, as one string.
    """

    name: str
    codec: str
    size: str = "320x240"
    rate: str = "25"
    options: str = ""


H264 = (
    Sample("baseline", "h264", "320x240", "25", "-profile:v baseline"),
    Sample("main_b_frames", "h264", "638x362", "30000/1001", "-profile:v main -bf 2 -g 50"),
    Sample("high_1080p50", "h264", "1920x1080", "50", "-preset ultrafast -profile:v high -bf 3"),
    Sample("high10", "h264", "178x146", "24", "-pix_fmt yuv420p10le"),
    Sample("high422_odd", "h264", "178x145", "25", "-pix_fmt yuv422p"),
    Sample("high444_odd", "h264", "177x143", "60", "-pix_fmt yuv444p"),
    Sample("grey", "h264", "322x242", "12", "-pix_fmt gray"),
    Sample("interlaced", "h264", "720x568", "25", "-flags +ildct+ilme -top 1"),
    Sample("interlaced_1080", "h264", "1920x1080", "30000/1001", "-flags +ildct+ilme -top 1"),
    Sample("scaling_lists", "h264", "320x242", "25", "-x264-params cqm=jvt"),
    Sample(
        "hrd",
        "h264",
        "640x360",
        "25",
        "-x264-params nal-hrd=cbr -b:v 500k -maxrate 500k -bufsize 500k",
    ),
    Sample(
        "colour",
        "h264",
        "640x480",
        "15",
        "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range pc -aspect 16:9 "
        "-chroma_sample_location left",
    ),
    Sample("level_52", "h264", "4096x2176", "30", "-preset ultrafast -level 5.2"),
    Sample("slow", "h264", "160x120", "1/2", ""),
    Sample("fast", "h264", "160x120", "120", "-tune zerolatency"),
    Sample("intra", "h264", "160x122", "25", "-profile:v high10 -pix_fmt yuv420p10le -g 1"),
)
H265 = (
    Sample("main", "hevc", "320x240", "25"),
    Sample("main_cropped", "hevc", "638x362", "30000/1001", "-bf 2"),
    Sample("main10_1080p50", "hevc", "1920x1080", "50", "-pix_fmt yuv420p10le"),
    Sample("rext_422_10", "hevc", "178x146", "25", "-pix_fmt yuv422p10le"),
    Sample("rext_444_odd", "hevc", "177x143", "24", "-pix_fmt yuv444p"),
    Sample("rext_grey", "hevc", "322x242", "12", "-pix_fmt gray"),
    Sample("rext_12", "hevc", "176x144", "25", "-pix_fmt yuv420p12le"),
    Sample(
        "hrd", "hevc", "640x360", "25", "-x265-params hrd=1:vbv-maxrate=500:vbv-bufsize=500:aud=1"
    ),
    Sample("scaling_lists", "hevc", "320x242", "25", "-x265-params scaling-list=default"),
    Sample("temporal_layers", "hevc", "320x240", "60", "-x265-params temporal-layers=3"),
    Sample("high_tier", "hevc", "1280x720", "30", "-x265-params level-idc=51:high-tier=1"),
    Sample(
        "colour",
        "hevc",
        "640x480",
        "15",
        "-x265-params "
        "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=full:chromaloc=2",
    ),
    Sample("interlaced", "hevc", "720x576", "50", "-x265-params interlace=tff"),
    Sample("intra", "hevc", "160x122", "25", "-g 1"),
)
AAC = (
    Sample("lc_8000_1", "aac", "1", "8000"),
    Sample("lc_16000_1", "aac", "1", "16000"),
    Sample("lc_22050_2", "aac", "2", "22050"),
    Sample("lc_44100_2", "aac", "2", "44100"),
    Sample("lc_48000_2", "aac", "2", "48000"),
    Sample("lc_48000_6", "aac", "6", "48000"),
    Sample("lc_48000_8", "aac", "8", "48000"),
    Sample("lc_96000_1", "aac", "1", "96000"),
    Sample("main_44100_2", "aac", "2", "44100", "-profile:a aac_main"),
)
OPUS = (
    Sample("opus_1", "opus", "1", "48000"),
    Sample("opus_2", "opus", "2", "48000"),
    Sample("opus_6", "opus", "6", "48000", "-mapping_family 1"),
)
ENCODERS = {"h264": "libx264", "hevc": "libx265", "aac": "aac", "opus": "libopus"}
BARE_FORMATS = {"h264": "h264", "hevc": "hevc", "aac": "adts", "opus": "ogg"}


def ffmpeg(*arguments: str, stdin: bytes = b"") -> bytes:
    command = ("ffmpeg", "-v", "error", "-nostdin", *arguments, "pipe:1")
    return subprocess.run(command, input=stdin, check=True, stdout=subprocess.PIPE).stdout


@functools.cache
def encode(sample: Sample) -> bytes:
    """The bare stream: Annex B, ADTS, or Ogg for Opus."""
    options = [word for word in sample.options.split() if word]
    if sample.codec in {"h264", "hevc"}:
        source = f"testsrc=size={sample.size}:rate={sample.rate}"
        options = ["-frames:v", "12", *options]
        if "-pix_fmt" not in options:
            options = ["-pix_fmt", "yuv420p", *options]
        if sample.codec == "hevc":  # two logs, one for the encoder and one for its parameters
            options = ["-preset", "ultrafast", *_quiet(options)]
    else:
        channels = {"1": "mono", "2": "stereo", "6": "5.1", "8": "7.1"}[sample.size]
        source = f"sine=duration=0.3:sample_rate={sample.rate},aformat=channel_layouts={channels}"
    return ffmpeg(
        *("-f", "lavfi", "-i", source, "-c", ENCODERS[sample.codec], *options),
        *("-f", BARE_FORMATS[sample.codec]),
    )


def _quiet(options: list[str]) -> list[str]:
    if "-x265-params" not in options:
        return [*options, "-x265-params", "log-level=none"]
    at = options.index("-x265-params") + 1
    return [*options[:at], options[at] + ":log-level=none", *options[at + 1 :]]


def remux(data: bytes, form: str) -> bytes:
    """The bare stream in a container, not encoded again."""
    extra = ["-movflags", "frag_keyframe+delay_moov"] if form == "mp4" else []
    if data[0] == 0xFF:  # ADTS
        extra += ["-bsf:a", "aac_adtstoasc"]
    return ffmpeg("-i", "pipe:0", "-c", "copy", *extra, "-f", form, stdin=data)


def probe(data: bytes) -> dict[str, Any]:
    """ffprobe's account of the first stream; extradata as bytes under that name."""
    command = ("ffprobe", "-v", "error", "-show_streams", "-show_data", "-of", "json", "pipe:0")
    answer = subprocess.run(command, input=data, check=True, stdout=subprocess.PIPE).stdout
    stream: dict[str, Any] = json.loads(answer)["streams"][0]
    dump = re.findall(r"^[0-9a-f]{8}: (.{39})", stream.get("extradata", ""), re.MULTILINE)
    stream["extradata"] = bytes.fromhex("".join(dump))
    return stream


def traced_fields(data: bytes, form: str) -> dict[str, int]:
    """The syntax elements of a bare video stream as libavcodec's own reader names and reads them.

    form: h264 or hevc. Of an element that occurs more than once, the last value.
    """
    command = ["ffmpeg", "-v", "trace", "-nostdin", "-f", form, "-i", "pipe:0", "-c", "copy"]
    command += ["-bsf:v", "trace_headers", "-f", "null", "-"]
    trace = subprocess.run(command, input=data, capture_output=True, check=False).stderr
    lines = re.findall(r"\d+ +(\w+)(?:\[\d+\])* +[01]+ = (-?\d+)", trace.decode())
    return {name: int(value) for name, value in lines}


VIDEO_KEYS = ("width", "height", "profile", "level", "pix_fmt", "r_frame_rate", "has_b_frames")
AUDIO_KEYS = ("profile", "sample_rate", "channels")


def expectation(sample: Sample) -> dict[str, Any]:
    """What ffprobe says of the sample, reduced to what the parsers tell too."""
    stream = probe(encode(sample))
    keys = VIDEO_KEYS if sample.codec in {"h264", "hevc"} else AUDIO_KEYS
    return {key: stream[key] for key in keys if key in stream}


def parameter_sets(sample: Sample) -> bytes:
    """The first access unit's parameter sets, as Annex B."""
    nals = split_annexb(encode(sample))
    if sample.codec == "h264":
        split = h264.split_parameter_sets(nals)
    else:
        split = h265.split_parameter_sets(nals)
    return join_annexb([*split.vps[:1], *split.sps[:1], *split.pps[:1]])


def write_corpus() -> None:
    told: dict[str, dict[str, Any]] = {}
    for folder, samples in (("h264", H264), ("h265", H265), ("adts", AAC), ("opus_head", OPUS)):
        for sample in samples:
            told[f"{folder}/{sample.name}"] = expectation(sample)
            data = encode(sample)
            record = probe(remux(data, "ogg" if sample.codec == "opus" else "mp4"))["extradata"]
            if folder in {"h264", "h265"}:
                _write(folder, sample.name, parameter_sets(sample))
                _write({"h264": "avcc", "h265": "hvcc"}[folder], sample.name, record)
            elif folder == "adts":
                _write(folder, sample.name, data[:1500])
                _write("asc", sample.name, record)
            else:
                _write(folder, sample.name, record)
    lines = (f'  "{name}": {json.dumps(account)}' for name, account in sorted(told.items()))
    EXPECTATIONS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _write(folder: str, name: str, data: bytes) -> None:
    (CORPUS / folder).mkdir(parents=True, exist_ok=True)
    (CORPUS / folder / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    write_corpus()
