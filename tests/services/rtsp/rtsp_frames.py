"""What ffmpeg decodes of an RTSP stream while it comes: hashes and times of all frames."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

from framehash import clip_hashes, make_clip, packet_times

FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-y")
FORM = ("-enc_time_base", "-1", "-flush_packets", "1", "-f", "framemd5")
HELD_FRAMES = 6  # by a decoder until nothing follows; of AAC by ffmpeg, which never sends them
RESOLUTION_US = 300


def player(way: str, url: str, folder: Path) -> tuple[object, ...]:
    """Writes ``video`` and ``audio`` into the folder. RTSP tells no decoding times, so that
    ffmpeg cannot copy pictures that are out of order."""
    video = ("-map", "0:v", "-fps_mode", "passthrough", *FORM, folder / "video")
    audio = ("-map", "0:a", *FORM, folder / "audio")
    return (
        *FFMPEG,
        "-rtsp_transport",
        way,
        "-threads",
        "1",
        "-flags2",
        "+skip_manual",
        "-i",
        url,
        *video,
        *audio,
    )


def frame_lines(file: Path) -> list[list[str]]:
    if not file.exists():
        return []
    lines = file.read_text().splitlines()
    return [line.replace(" ", "").split(",") for line in lines if line[0] != "#"]


def has_all(folder: Path, kind: str) -> bool:
    """But for what its decoder holds until the stream ends."""
    return all(
        len(frame_lines(folder / name)) >= len(hashes) - HELD_FRAMES
        for name, hashes in clip_hashes(kind).items()
    )


def check_frames(folder: Path, kind: str) -> None:
    """The clip's own, at its times but for one shift of all; the last few may be missing."""
    shifts_us: list[Fraction] = []
    for name, hashes in clip_hashes(kind).items():
        lines = frame_lines(folder / name)
        assert [line[-1] for line in lines] == hashes[: len(lines)], (folder.name, name)
        assert len(lines) >= len(hashes) - HELD_FRAMES
        found = re.search(r"^#tb 0: (\d+/\d+)", (folder / name).read_text(), re.MULTILINE)
        assert found is not None
        tick_us = Fraction(found[1]) * 1_000_000
        times_us = sorted(packet.pts_us for packet in packet_times(make_clip(kind))[name])
        pairs = list(zip(lines, times_us, strict=False))[1:]  # the first one's ffmpeg 5 guesses
        shifts_us += [int(line[2]) * tick_us - expected_us for line, expected_us in pairs]
    assert max(shifts_us) - min(shifts_us) <= RESOLUTION_US
