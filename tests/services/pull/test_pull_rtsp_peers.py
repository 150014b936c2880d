"""GStreamer's RTSP server as the camera, real players as viewers: the same frames out as in, by all
that we speak."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
from appliance_process import ApplianceProcess, appliance_process
from framehash import assert_same_times, clip_hashes, frame_hashes, make_clip, packet_times
from gstreamer_camera import gstreamer_camera
from hls_recording import RESOLUTION_US, record_hls
from recording import connections_to, count_packets, end_players, running, sessions_of, wait_until
from rtsp_frames import check_frames, has_all, player

PASSWORD = "s:e@c/r#t"
QUOTED = "s%3Ae%40c%2Fr%23t"
MISSED_SOUNDS = 3
ADTS_BYTES = 7
PAYS = {
    "h264": "h264parse ! rtph264pay config-interval=-1",
    "h265": "h265parse ! rtph265pay config-interval=-1",
    "aac": "aacparse ! rtpmp4gpay",
}
CONFIG = """
[auth]
play = "open"
[pull]
insecure = true
silence = "60s"
[rtsp]
wait = "60s"
[hls]
segment = "1s"
window = "30s"
"""


@dataclass(frozen=True)
class Setup:
    """kind: of clip. options: of the camera. transport: ours."""

    kind: str
    transport: str
    options: tuple[str, ...] = ()
    scheme: str = "rtsp"
    login: str = ""

    def launch(self) -> str:
        words = self.kind.split("+")
        source = [f"filesrc location={make_clip(self.kind)} ! qtdemux name=file"]
        for number, (word, pad) in enumerate(zip(words, ("video_0", "audio_0"), strict=False)):
            pay = PAYS[word.removesuffix("-b").removesuffix("-small")]
            source.append(f"file.{pad} ! queue ! {pay} name=pay{number} pt={96 + number}")
        return " ".join(source)


SETUPS = {
    "digest": Setup("h264-b+aac", "tcp", ("me", PASSWORD), login=f"me:{QUOTED}@"),
    "udp": Setup("h265-b+aac", "udp", ("--by", "udp")),
    "tunnel": Setup("h264-b+aac", "http"),
    "tls": Setup("h264+aac", "tcp", ("--tls", "{pem}"), scheme="rtsps"),
}


@pytest.fixture(scope="module")
def pem(certificate: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("pem") / "both.pem"
    file.write_text("".join(Path(part).read_text() for part in certificate))
    return str(file)


FULL, *OTHERS = SETUPS  # of the first one everything is recorded
FORMATS = {"flv": "flv", "ts": "mpegts", "rtmp": "flv", "hls-fmp4": "mp4", "hls-ts": "mpegts"}
CONNECTED = ("flv", "ts", "rtmp")
FILES = [(FULL, form) for form in FORMATS]
FILES += [(name, form) for name in OTHERS for form in ("flv", "hls-fmp4")]
WAYS = ("tcp", "udp")


@dataclass
class Recorded:
    """What viewers of each camera got, by its name and form; what RTSP's saw, by way; our log."""

    files: dict[tuple[str, str], Path]
    rtsp: dict[str, Path]
    log: str


def recorder(device: ApplianceProcess, name: str, form: str) -> tuple[object, ...]:
    """Writes to its standard output."""
    if form != "rtmp":
        return ("curl", "-sN", f"{device.url}live/{name}.{form}")
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}"
    copy = ("-map", "0:v", "-map", "0:a", "-c", "copy", "-flush_packets", "1", "-f", "flv", "-")
    return ("ffmpeg", "-v", "error", "-nostdin", "-i", url, *copy)


@pytest.fixture(scope="module")
def recorded(pem: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """All cameras at once, released when everybody is there."""
    folder = tmp_path_factory.mktemp("recorded")
    files = {(name, form): folder / f"{name}.{form}" for name, form in FILES}
    rtsp = {way: folder / way for way in WAYS}
    config = CONFIG
    with ExitStack() as stack:
        cameras = []
        for name, setup in SETUPS.items():
            options = [one.format(pem=pem) for one in setup.options]
            camera = stack.enter_context(
                gstreamer_camera(setup.launch(), *options, "--hold", "--once")
            )
            cameras.append(camera)
            config += (
                f'[[stream]]\nname = "live/{name}"\n'
                f'source = "{setup.scheme}://{setup.login}127.0.0.1:{camera.port}/camera"\n'
                f'[stream.rtsp]\ntransport = "{setup.transport}"\n'
            )
        device = stack.enter_context(appliance_process(folder, config=config))
        url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/{FULL}"
        for way, place in rtsp.items():
            place.mkdir()
            stack.enter_context(running(*player(way, url, place, copies_sound=True)))
        recorders = [one for one in FILES if one[1] in CONNECTED]
        for one in recorders:
            stack.enter_context(running(*recorder(device, *one), stdout=files[one]))
        wait_until(lambda: sessions_of(device) >= len(recorders), "all are there")
        wait_until(lambda: connections_to(device.rtsp_port) >= len(rtsp), "RTSP's, too")
        for camera in cameras:
            camera.release()
        for name in SETUPS:
            device.wait_line(rf"live/{name} comes from")
        for name, form in FILES:
            if form.startswith("hls-"):
                files[name, form].write_bytes(record_hls(device, name, form[4:]))
        for way, place in rtsp.items():
            wait_until(lambda place=place: has_all_shown(place), f"all by {way}")
        for one in sorted(recorders, key=lambda one: one[1] == "rtmp"):
            if one[1] == "rtmp":  # ffmpeg keeps the last ones to itself
                end_players(device)
            wait_until(lambda one=one: is_complete(files[one], *one), f"all of {one}")
        log = device.log
    return Recorded(files, rtsp, log)


def is_complete(file: Path, name: str, form: str) -> bool:
    """A player may begin with the first picture, so that some sound before it is left out."""
    total = sum(map(len, packet_times(make_clip(SETUPS[name].kind)).values()))
    return count_packets(file, FORMATS[form]) >= total - MISSED_SOUNDS


def has_all_shown(folder: Path) -> bool:
    return has_all(folder, SETUPS[FULL].kind, missed_sounds=MISSED_SOUNDS)


def sounds(file: Path, form: str) -> list[bytes]:
    """Coded: what a decoder makes of AAC depends on where it began."""
    with av.open(str(file), format=form) as demuxer:
        packets = [bytes(packet) for packet in demuxer.demux(audio=0) if packet.size]
    return [packet[ADTS_BYTES if form == "mpegts" else 0 :] for packet in packets]


@pytest.mark.parametrize(("name", "form"), FILES, ids=map("-".join, FILES))
def test_camera_comes_out_as_it_went_in(recorded: Recorded, name: str, form: str) -> None:
    """In pictures, sounds and times, those of decoding too, which RTP does not tell. By HLS as much
    as its segments have."""
    file, format = recorded.files[name, form], FORMATS[form]
    kind, clip = SETUPS[name].kind, make_clip(SETUPS[name].kind)
    pictures, found, expected = (
        clip_hashes(kind)["video"],
        sounds(file, format),
        sounds(clip, "mp4"),
    )
    first = expected.index(found[0])
    assert first <= MISSED_SOUNDS
    assert found == expected[first : first + len(found)]
    shown = frame_hashes(file, format)["video"]
    assert shown == pictures[: len(shown)]
    assert len(shown) >= (len(pictures) if form in CONNECTED else 50)
    times, clip_times = packet_times(file, format), packet_times(clip)
    clip_times["audio"] = clip_times["audio"][first:]
    kept = {word: clip_times[word][: len(times[word])] for word in clip_times}
    assert_same_times(kept, times, resolution_us=RESOLUTION_US)


@pytest.mark.parametrize("way", WAYS)
def test_camera_comes_out_of_rtsp_as_it_went_in(recorded: Recorded, way: str) -> None:
    kind = SETUPS[FULL].kind
    hashes = [hashlib.md5(sound).hexdigest() for sound in sounds(make_clip(kind), "mp4")]
    check_frames(recorded.rtsp[way], kind, sounds=hashes)


def test_password_of_a_camera_is_nowhere(recorded: Recorded) -> None:
    assert PASSWORD not in recorded.log
    assert QUOTED not in recorded.log
