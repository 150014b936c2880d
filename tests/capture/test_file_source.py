"""Recordings as live streams: what passes is untouched, loops have no seam, faults are told."""

from __future__ import annotations

import hashlib
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from worker_fixture import Worker, decode_video, make_clip, run_to_end

from appliance.media import h264, h265
from appliance.media.nal import split_annexb, split_length_prefixed
from appliance.media.track import Codec, Kind
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import RequestKeyframe

FPS = 25
FRAMES = 15
LENGTH_US = FRAMES * 1_000_000 // FPS
PICTURE = ("-f", "lavfi", "-i", f"testsrc2=size=192x128:rate={FPS}:duration={FRAMES / FPS}")
SOUND = ("-f", "lavfi", "-i", f"sine=frequency=440:sample_rate=48000:duration={FRAMES / FPS}")
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50")
H265 = ("-c:v", "libx265", "-x265-params", "log-level=error:pools=1", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac")
OPUS = ("-c:a", "libopus", "-b:a", "48k")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


def digests(units: list[AccessUnit]) -> list[str]:
    return [hashlib.sha256(b"|".join(unit.parts)).hexdigest()[:16] for unit in units]


def stored_units(path: Path, kind: Kind) -> list[tuple[str, Fraction | None, Fraction]]:
    """What the file holds, read without our lanes: digest, dts and pts in seconds."""
    stored = []
    with av.open(str(path)) as container:
        stream = container.streams.best(str(kind))
        extradata = bytes(stream.codec_context.extradata or b"")
        for packet in container.demux(stream):
            if not packet.size:
                continue
            data = bytes(packet)
            if kind is Kind.VIDEO:
                split = split_length_prefixed if extradata[:1] == b"\1" else split_annexb
                sets = h265 if stream.codec_context.name == "hevc" else h264
                data = b"|".join(sets.split_parameter_sets(split(data)).media)
            base = packet.time_base
            digest = hashlib.sha256(data).hexdigest()[:16]
            dts = packet.dts * base if packet.dts is not None else None
            stored.append((digest, dts, packet.pts * base))
    return stored


def assert_growing(units: list[AccessUnit]) -> None:
    assert all(before.dts_us < after.dts_us for before, after in pairwise(units))


CASES = [
    ("h264-b.mp4", (*PICTURE, *SOUND, *H264, "-bf", "2", *AAC), Codec.H264, Codec.AAC),
    ("h264-b.ts", (*PICTURE, *SOUND, *H264, "-bf", "2", *AAC), Codec.H264, Codec.AAC),
    ("h264.flv", (*PICTURE, *SOUND, *H264, "-bf", "0", *AAC), Codec.H264, Codec.AAC),
    ("h265-b.mp4", (*PICTURE, *SOUND, *H265, "-tag:v", "hvc1", *AAC), Codec.H265, Codec.AAC),
    ("h264-b-opus.mkv", (*PICTURE, *SOUND, *H264, "-bf", "2", *OPUS), Codec.H264, Codec.OPUS),
]


@pytest.mark.parametrize(("name", "arguments", "video", "audio"), CASES, ids=lambda c: str(c)[:14])
def test_file_that_can_pass_loops_untouched_on_one_timeline(
    folder: Path, name: str, arguments: tuple[str, ...], video: Codec, audio: Codec
) -> None:
    path = make_clip(folder, name, *arguments)
    stored = stored_units(path, Kind.VIDEO)
    assert len(stored) == FRAMES
    with Worker(f"file:{path}") as worker:
        pictures = worker.read_units(2 * FRAMES + 5)
        sounds = worker.units(Kind.AUDIO)
        (tracks,) = worker.descriptions  # the same ones all the time
    assert [track.codec for track in tracks] == [video, audio]
    assert digests(pictures) == ([digest for digest, _, _ in stored] * 3)[: len(pictures)]
    assert_growing(pictures)
    assert_growing(sounds)
    assert not any(unit.discontinuity for unit in pictures + sounds)
    for unit, (_, dts_s, pts_s) in zip(pictures, stored, strict=False):
        if dts_s is not None:  # Matroska begins without
            assert abs((unit.pts_us - unit.dts_us) - (pts_s - dts_s) * 1_000_000) <= 1
    shown = sorted(unit.pts_us for unit in pictures[:FRAMES])
    assert all(abs(after - before - 40_000) <= 2_000 for before, after in pairwise(shown))
    # The cadence of the picture goes on over the joint.
    assert all(
        abs(pictures[n + FRAMES].dts_us - pictures[n].dts_us - LENGTH_US) <= 2_000
        for n in range(len(pictures) - FRAMES)
    )
    assert [unit.key for unit in pictures[: 2 * FRAMES]] == ([True] + [False] * (FRAMES - 1)) * 2
    sound_set = {digest for digest, _, _ in stored_units(path, Kind.AUDIO)}
    if path.suffix != ".ts":  # where stored frames have ADTS headers
        assert set(digests(sounds)) <= sound_set
    gaps_us = [after.dts_us - before.dts_us for before, after in pairwise(sounds)]
    assert max(gaps_us) < 60_000  # at most a frame or two are missing at the joint


def test_file_b_frames_keep_their_order_of_showing(folder: Path) -> None:
    path = make_clip(folder, "b.mp4", *PICTURE, *H264, "-bf", "2")
    with Worker(f"file:{path}") as worker:
        units = worker.read_units(FRAMES)
    assert any(unit.pts_us != unit.dts_us for unit in units)
    frames = decode_video(units)
    shown = [frame.pts for frame in frames]
    assert shown == sorted(unit.pts_us for unit in units)


def test_file_is_paced_in_real_time(folder: Path) -> None:
    path = make_clip(folder, "pace.mp4", *PICTURE, *H264, "-bf", "0")
    with Worker(f"file:{path}") as worker:
        worker.read_units(1)
        started_us = time.monotonic_ns() // 1000
        units = worker.read_units(2 * FRAMES)
        now_us = time.monotonic_ns() // 1000
    assert now_us - started_us > 2 * LENGTH_US * 0.8
    assert 0 <= now_us - units[-1].dts_us < 500_000


@pytest.mark.parametrize(
    ("name", "arguments", "audio"),
    [
        (
            "vp9.webm",
            (*PICTURE, *SOUND, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")
            + OPUS,
            Codec.OPUS,
        ),
        ("mpeg4.mkv", (*PICTURE, *SOUND, "-c:v", "mpeg4", "-c:a", "libmp3lame"), Codec.AAC),
        (
            "h264-422.mkv",
            (*PICTURE, *SOUND, "-c:v", "libx264", "-pix_fmt", "yuv422p", "-c:a", "pcm_s16le"),
            Codec.AAC,
        ),
    ],
    ids=lambda value: str(value)[:12],
)
def test_file_that_cannot_pass_is_transcoded(
    folder: Path, name: str, arguments: tuple[str, ...], audio: Codec
) -> None:
    path = make_clip(folder, name, *arguments)
    with Worker(f"file:{path}", keyframe_us=400_000) as worker:
        pictures = worker.read_units(2 * FRAMES + 5)
        sounds = worker.units(Kind.AUDIO)
        (tracks,) = worker.descriptions
    assert [track.codec for track in tracks] == [Codec.H264, audio]
    frames = decode_video(pictures)
    assert len(frames) == len(pictures)
    assert (frames[0].width, frames[0].height) == (192, 128)
    assert_growing(pictures)
    assert_growing(sounds)
    assert not any(unit.discontinuity for unit in pictures + sounds)
    keys = [unit.dts_us for unit in pictures if unit.key]
    assert all(300_000 < after - before < 600_000 for before, after in pairwise(keys))
    assert all(abs(after.dts_us - before.dts_us - 40_000) <= 2_000
               for before, after in pairwise(pictures))  # fmt: skip
    gaps_us = [after.dts_us - before.dts_us for before, after in pairwise(sounds)]
    assert max(gaps_us) < 90_000


def test_file_transcoded_obeys_keyframe_request(folder: Path) -> None:
    path = make_clip(folder, "key.avi", *PICTURE, "-c:v", "mpeg4")
    with Worker(f"file:{path}", keyframe_us=60_000_000) as worker:
        worker.read_units(5)
        asked = len(worker.units(Kind.VIDEO))
        worker.send(RequestKeyframe())
        worker.read_until(lambda w: any(u.key for u in w.units(Kind.VIDEO)[asked:]))


def test_file_larger_than_the_settings_is_scaled_when_transcoded(folder: Path) -> None:
    path = make_clip(folder, "large.avi", *PICTURE, "-vf", "scale=640:480", "-c:v", "mpeg4")
    with Worker(f"file:{path}", width=320, height=320) as worker:
        worker.read_units(1)
        config = worker.descriptions[0][0].config
    assert (config.width_px, config.height_px) == (320, 240)


def test_file_of_sound_alone_plays(folder: Path) -> None:
    path = make_clip(folder, "sound.mp3", *SOUND, "-c:a", "libmp3lame")
    with Worker(f"file:{path}") as worker:
        sounds = worker.read_units(60, Kind.AUDIO)
    assert_growing(sounds)
    assert not worker.units(Kind.VIDEO)


def test_file_audio_none_leaves_the_sound_out(folder: Path) -> None:
    path = make_clip(folder, "both.mp4", *PICTURE, *SOUND, *H264, *AAC)
    with Worker(f"file:{path}", audio="none") as worker:
        worker.read_units(5)
        assert [len(tracks) for tracks in worker.descriptions] == [1]


def test_file_whose_sound_comes_first_plays_its_picture_alone(folder: Path) -> None:
    """The stream left out has the number 0, as what libav says at the end of every input has."""
    path = make_clip(folder, "sound-first.mkv", *SOUND, *PICTURE, *AAC, *H264, "-map", "0",
                     "-map", "1")  # fmt: skip
    with Worker(f"file:{path}", audio="none") as worker:
        worker.read_units(FRAMES + 5)


def test_file_cover_picture_is_not_a_picture(folder: Path) -> None:
    cover = make_clip(folder, "cover.png", *PICTURE, "-frames:v", "1")
    plain = make_clip(folder, "plain.mp3", *SOUND, "-c:a", "libmp3lame")
    path = make_clip(
        folder, "covered.mp3", "-i", str(plain), "-i", str(cover), "-map", "0", "-map", "1",
        "-c", "copy", "-disposition:v", "attached_pic",
    )  # fmt: skip
    with Worker(f"file:{path}") as worker:
        worker.read_units(5, Kind.AUDIO)
        assert [track.kind for track in worker.descriptions[0]] == [Kind.AUDIO]


@pytest.mark.parametrize("form", ["relative", "absolute", "url", "colon"])
def test_file_is_found_by_every_form_of_its_name(folder: Path, form: str) -> None:
    name = "239.1.1.1:1234.mp4" if form == "colon" else "my clip.mp4"
    path = folder / name
    plain = make_clip(folder, "plain.mp4", *PICTURE, *H264)
    path.write_bytes(plain.read_bytes())
    source = {
        "relative": f"file:{name}",
        "absolute": f"file:{path}",
        "url": f"file://{folder}/my%20clip.mp4",
        "colon": f"file:{name}",
    }[form]
    with Worker(source, cwd=folder) as worker:
        worker.read_units(3)


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("file:missing.mp4", "source-missing", "does not exist"),
        ("file:.", "source-invalid", "is not a file"),
        ("file:", "source-invalid", "write file: and a path"),
        ("file://host/clip.mp4", "source-invalid", "without a host"),
        ("file:/dev/zero", "source-invalid", "is not a file"),
        ("file:text.txt", "cannot-open", "no format we read"),
        ("file:empty.mp4", "cannot-open", "cannot be read"),
        ("file:short.mp4", "unsupported", "longer recording"),
        ("file:subtitles.srt", "cannot-open", "no format we read"),
        ("pattern:x", "source-invalid", "nothing follows"),
        ("exec:ls", "source-invalid", "pattern:, file:, av:"),
        ("nothing", "source-invalid", "pattern:, file:, av:"),
    ],
)
def test_source_that_cannot_be_read_says_why(
    folder: Path, source: str, reason: str, words: str
) -> None:
    (folder / "text.txt").write_text("These are words and no pictures.\n" * 50)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "subtitles.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n\n" * 3)
    if "short" in source:
        make_clip(folder, "short.mp4", *PICTURE, "-frames:v", "2", *H264)
    fault = run_to_end(source, cwd=folder)
    assert (fault.reason, words in fault.text) == (reason, True), fault


def test_file_damaged_in_the_middle_plays_around_the_damage(folder: Path) -> None:
    plain = make_clip(folder, "whole.ts", *PICTURE, *SOUND, *H264, *AAC)
    data = bytearray(plain.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(range(250)) * 12
    (folder / "damaged.ts").write_bytes(data)
    with Worker(f"file:{folder / 'damaged.ts'}") as worker:
        units = worker.read_units(2 * FRAMES)
    assert_growing(units)


def test_file_playlist_that_names_other_files_is_not_followed_out_of_the_allowlist(
    folder: Path,
) -> None:
    """A local playlist may not make libav open a network connection."""
    (folder / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    )
    fault = run_to_end(f"file:{folder / 'list.m3u8'}")
    assert fault.reason in {"cannot-open", "unsupported"}
