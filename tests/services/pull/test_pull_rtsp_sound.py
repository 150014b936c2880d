"""Cameras with the sound of telephones, and what is heard of them where that has no place."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from appliance_process import appliance_process
from clapper import BEEP, FLASH, VIDEO, check_claps, claps
from gstreamer_camera import gstreamer_camera

SOUNDS = {"pcm_alaw": "rtppcmapay pt=8", "pcm_mulaw": "rtppcmupay pt=0"}  # RFC 3551, Table 4
TRANSPORTS = {"pcm_alaw": "udp", "pcm_mulaw": "tcp"}
FILM_S = 20
WATCHED_S = 2.5
CONFIG = """
[auth]
play = "open"
[hls]
segment = "1s"
"""


def make_film(folder: Path, sound: str) -> Path:
    film = folder / f"{sound}.mkv"
    both = ("-f", "lavfi", "-i", FLASH, "-f", "lavfi", "-i", BEEP)
    words = ("ffmpeg", "-v", "error", *both, *VIDEO, "-c:a", sound, "-t", str(FILM_S), film)
    subprocess.run(words, check=True, timeout=30)
    return film


def codecs(url: str, *options: str) -> list[str]:
    words = ("ffprobe", "-v", "error", *options, "-show_entries", "stream=codec_name")
    done = subprocess.run(
        [*words, "-of", "csv=p=0", url], check=True, timeout=30, capture_output=True, text=True
    )
    return list(dict.fromkeys(line.strip(",") for line in done.stdout.split()))


def test_g711_of_cameras_is_aac_in_hls_once_somebody_listens(tmp_path: Path) -> None:
    """By both laws, and together with the picture. Who can take it as it is gets it so."""
    config = CONFIG
    with ExitStack() as stack:
        for sound, pay in SOUNDS.items():
            launch = (
                f"filesrc location={make_film(tmp_path, sound)} ! matroskademux name=film "
                "film.video_0 ! queue ! h264parse ! rtph264pay name=pay0 config-interval=-1 "
                f"film.audio_0 ! queue ! {pay} name=pay1"
            )
            camera = stack.enter_context(gstreamer_camera(launch))
            config += (
                f'[[stream]]\nname = "live/{sound}"\nsource = "{camera.url}"\n'
                f'[stream.rtsp]\ntransport = "{TRANSPORTS[sound]}"\n'
            )
        device = stack.enter_context(appliance_process(tmp_path, config=config))
        for sound in SOUNDS:
            device.wait_line(f"live/{sound} comes from")
            url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/{sound}"
            assert codecs(url, "-rtsp_transport", "tcp") == ["h264", sound]
        assert not device.children()  # nobody needed another form so far

        def watch(sound: str) -> tuple[list[float], list[float]]:
            folder = tmp_path / sound
            folder.mkdir()
            return claps(f"{device.url}live/{sound}.m3u8", folder, WATCHED_S)

        with ThreadPoolExecutor() as threads:
            watched = list(threads.map(watch, SOUNDS))
        assert len(device.children()) == len(SOUNDS)
        for sound in SOUNDS:
            assert codecs(f"{device.url}live/{sound}.m3u8") == ["h264", "aac"]
    for flashes, beeps in watched:
        check_claps(flashes, beeps)
