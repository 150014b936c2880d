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
HASH = 5  # its column; those of side data may follow


def player(way: str, url: str, folder: Path, *, copies_sound: bool = False) -> tuple[object, ...]:
    """Writes ``video`` and ``audio`` into the folder. RTSP tells no decoding times, so that
    ffmpeg cannot copy pictures that are out of order."""
    options = ("-rtsp_transport", way, "-threads", "1", "-flags2", "+skip_manual")
    video = ("-map", "0:v", "-fps_mode", "passthrough", *FORM, folder / "video")
    codec = ("-c:a", "copy") if copies_sound else ()
    audio = ("-map", "0:a", *codec, *FORM, folder / "audio")
    return (*FFMPEG, *options, "-i", url, *video, *audio)


def frame_lines(file: Path) -> list[list[str]]:
    if not file.exists():
        return []
    lines = file.read_text().splitlines()
    return [line.replace(" ", "").split(",") for line in lines if line[0] != "#"]


def has_all(folder: Path, kind: str, *, missed_sounds: int = 0) -> bool:
    """But for what its decoder holds until the stream ends."""
    return all(
        len(frame_lines(folder / name)) >= len(hashes) - HELD_FRAMES - missed_sounds
        for name, hashes in clip_hashes(kind).items()
    )


def check_frames(folder: Path, kind: str, *, sounds: list[str] | None = None) -> None:
    """The clip's own, at its times but for one shift of all; the last few may be missing.

    sounds: hashes of what is coded, if it was copied; then the first ones may be missing, too,
    without which a decoder would make others of those that follow.
    """
    shifts_us: list[Fraction] = []
    for name, hashes in clip_hashes(kind).items():
        lines = frame_lines(folder / name)
        found, expected, first = [line[HASH] for line in lines], hashes, 0
        if sounds is not None and name == "audio":
            expected, first = sounds, sounds.index(found[0])
            assert first <= HELD_FRAMES
        assert found == expected[first : first + len(lines)], (folder.name, name)
        assert len(lines) >= len(hashes) - HELD_FRAMES - first
        base = re.search(r"^#tb 0: (\d+/\d+)", (folder / name).read_text(), re.MULTILINE)
        assert base is not None
        tick_us = Fraction(base[1]) * 1_000_000
        times_us = sorted(packet.pts_us for packet in packet_times(make_clip(kind))[name])[first:]
        pairs = list(zip(lines, times_us, strict=False))[1:]  # the first one's ffmpeg 5 guesses
        shifts_us += [int(line[2]) * tick_us - expected_us for line, expected_us in pairs]
    assert max(shifts_us) - min(shifts_us) <= RESOLUTION_US
