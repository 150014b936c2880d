"""What real muxers write, as seeds for mutation. Run as a program it writes tests/corpus anew."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from framehash import remux
from mutation import CORPUS

from appliance.media.amf0 import EcmaArray, Value, encode

VIDEO = "testsrc2=size=64x48:rate=25:duration=0.25"
AUDIO = "sine=frequency=440:duration=0.2"
X264 = "-c:v libx264 -preset veryfast -pix_fmt yuv420p -x264-params info=0"
X265 = (
    "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -tag:v hvc1"
    " -x265-params log-level=error:info=0"
)
AAC = "-c:a aac -b:a 24k -ar 48000"
OPUS = "-c:a libopus -b:a 16k"
AV1 = "-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 50k"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 50k"
FLAC = "-c:a flac -strict experimental -ar 8000"
AC3 = "-c:a ac3 -b:a 32k -ac 1 -ar 48000"
EAC3 = "-c:a eac3 -b:a 32k -ac 1 -ar 48000"
MP3 = "-c:a libmp3lame -b:a 32k"


def by_ffmpeg(codecs: str, format: str, *, audio_tracks: int = 1) -> bytes:
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", VIDEO, "-f", "lavfi", "-i", AUDIO]
    command += ["-map", "0", *["-map", "1"] * audio_tracks, *codecs.split(), "-bitexact"]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "clip"
        subprocess.run([*command, "-f", format, path], check=True)
        return path.read_bytes()


def by_gstreamer(source: bytes, muxer: str) -> bytes:
    """The packets of an MP4 of H.264 and AAC."""
    with tempfile.TemporaryDirectory() as directory:
        path, target = Path(directory) / "clip.mp4", Path(directory) / "clip"
        path.write_bytes(source)
        pipeline = (
            f"filesrc location={path} ! qtdemux name=in"
            f" {muxer} name=out ! filesink location={target}"
            " in.video_0 ! queue ! h264parse ! out. in.audio_0 ! queue ! aacparse ! out."
        )
        subprocess.run(["gst-launch-1.0", "-q", *pipeline.split()], check=True, timeout=60)
        return target.read_bytes()


def corpora() -> dict[str, bytes]:
    new_codecs = by_ffmpeg(f"{X265} {OPUS}", "mp4")
    plain = by_ffmpeg(f"{X264} {AAC}", "mp4")
    several = by_ffmpeg(f"{X264} {AAC}", "mp4", audio_tracks=2)
    connect: dict[str, Value] = {
        "app": "live",
        "tcUrl": "rtmp://host/live",
        "fpad": False,
        "capabilities": 15,
    }
    return {
        "flv/ffmpeg": by_ffmpeg(f"{X264} -bf 2 {AAC}", "flv"),
        "flv/enhanced": remux(new_codecs, "mp4", "flv"),
        "flv/multitrack": remux(several, "mp4", "flv"),
        "flv/av1_flac": remux(by_ffmpeg(f"{AV1} {FLAC}", "mp4"), "mp4", "flv"),
        "flv/vp9_ac3": remux(by_ffmpeg(f"{VP9} {AC3}", "mp4"), "mp4", "flv"),
        "flv/eac3": remux(by_ffmpeg(f"{X264} {EAC3}", "mp4"), "mp4", "flv"),
        "flv/mp3": by_ffmpeg(f"{X264} {MP3}", "flv"),
        "flv/gstreamer": by_gstreamer(plain, "flvmux"),
        "mpegts/ffmpeg": by_ffmpeg(f"{X264} -bf 2 {AAC}", "mpegts"),
        "mpegts/hevc_opus": by_ffmpeg(f"{X265} {OPUS}", "mpegts"),
        "mpegts/gstreamer": by_gstreamer(plain, "mpegtsmux"),
        "amf0/connect": encode("connect", 1, connect),
        "amf0/metadata": encode("onMetaData", EcmaArray(width=640, list=[1, [True, None], "x"])),
    }


if __name__ == "__main__":
    for name, data in corpora().items():
        target = CORPUS / f"{name}.bin"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
