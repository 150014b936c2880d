"""GStreamer's RTSP server as the camera, real players as viewers: the same frames out as in."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
import pytest
from appliance_process import appliance_process
from framehash import assert_same_times, clip_hashes, frame_hashes, make_clip, packet_times
from gstreamer_camera import gstreamer_camera
from hls_recording import RESOLUTION_US, record_hls
from recording import count_packets, running, sessions_of, wait_until

PASSWORD = "s:e@c/r#t"
QUOTED = "s%3Ae%40c%2Fr%23t"
SYNC_US = (
    20_000  # GStreamer's sender reports tell when it sent, late by what its threads had to wait
)
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


@dataclass
class Recorded:
    """What viewers of each camera got: files by name of setup, and our log."""

    flv: dict[str, Path]
    hls: dict[str, Path]
    log: str


@pytest.fixture(scope="module")
def recorded(pem: str, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """All cameras at once, released when everybody is there."""
    folder = tmp_path_factory.mktemp("recorded")
    flv = {name: folder / f"{name}.flv" for name in SETUPS}
    hls = {name: folder / f"{name}.mp4" for name in SETUPS}
    config = CONFIG
    with ExitStack() as stack:
        cameras = []
        for name, setup in SETUPS.items():
            options = [one.format(pem=pem) for one in setup.options]
            camera = stack.enter_context(gstreamer_camera(setup.launch(), *options, "--hold"))
            cameras.append(camera)
            config += (
                f'[[stream]]\nname = "live/{name}"\n'
                f'source = "{setup.scheme}://{setup.login}127.0.0.1:{camera.port}/camera"\n'
                f'[stream.rtsp]\ntransport = "{setup.transport}"\n'
            )
        device = stack.enter_context(appliance_process(folder, config=config))
        for name, file in flv.items():
            url = f"{device.url}live/{name}.flv"
            stack.enter_context(running("curl", "-sN", url, stdout=file))
        wait_until(lambda: sessions_of(device) >= len(SETUPS), "all are there")
        for camera in cameras:
            camera.release()
        for name in SETUPS:
            device.wait_line(rf"live/{name} comes from")
        for name, file in hls.items():
            file.write_bytes(record_hls(device, name))
            wait_until(lambda name=name: is_complete(flv[name], name), f"all of {name}")
        log = device.log
    return Recorded(flv, hls, log)


def is_complete(file: Path, name: str) -> bool:
    """A player may begin with the first picture, so that some sound before it is left out."""
    total = sum(map(len, packet_times(make_clip(SETUPS[name].kind)).values()))
    return count_packets(file) >= total - 3


def sounds(file: Path, form: str) -> list[bytes]:
    """Coded: what a decoder makes of AAC depends on where it began."""
    with av.open(str(file), format=form) as demuxer:
        return [bytes(packet) for packet in demuxer.demux(audio=0) if packet.size]


@pytest.mark.parametrize("form", ["flv", "mp4"])
@pytest.mark.parametrize("name", SETUPS)
def test_camera_comes_out_as_it_went_in(recorded: Recorded, name: str, form: str) -> None:
    """By HTTP-FLV all of it, by HLS what its segments have. It begins with a picture, so some sound
    may be left out."""
    file = recorded.flv[name] if form == "flv" else recorded.hls[name]
    kind, clip = SETUPS[name].kind, make_clip(SETUPS[name].kind)
    pictures, found, expected = clip_hashes(kind)["video"], sounds(file, form), sounds(clip, "mp4")
    first = expected.index(found[0])
    assert first <= 3
    assert found == expected[first : first + len(found)]
    shown = frame_hashes(file, form)["video"]
    assert shown == pictures[: len(shown)]
    assert len(shown) >= (len(pictures) if form == "flv" else 50)
    times, clip_times = packet_times(file, form), packet_times(clip)
    clip_times["audio"] = clip_times["audio"][first:]
    kept = {word: clip_times[word][: len(times[word])] for word in clip_times}
    assert_same_times(kept, times, resolution_us=RESOLUTION_US, sync_us=SYNC_US)


def test_password_of_a_camera_is_nowhere(recorded: Recorded) -> None:
    assert PASSWORD not in recorded.log
    assert QUOTED not in recorded.log
