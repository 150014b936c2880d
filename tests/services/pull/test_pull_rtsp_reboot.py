"""A camera that loses its power and comes back: programs that watch it go on as they are."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from appliance_process import appliance_process
from gstreamer_camera import PICTURE, SOUND, gstreamer_camera
from recording import running, wait_until

CONFIG = """
[auth]
play = "open"
[pull]
silence = "1s"
[hls]
segment = "1s"
window = "8s"
[[stream]]
name = "live/camera"
source = "rtsp://127.0.0.1:{port}/camera"
"""
FFMPEG = ("ffmpeg", "-v", "error", "-nostdin", "-analyzeduration", "500000")
COPY = ("-map", "0:v", "-map", "0:a", "-c", "copy", "-flush_packets", "1", "-f", "framecrc", "-")
ENOUGH = 20


def stamps(file: Path) -> dict[str, list[int]]:
    """Decoding times of whole lines, by track."""
    found: dict[str, list[int]] = {"0": [], "1": []}
    lines = file.read_text().rpartition("\n")[0].splitlines()
    for line in lines:
        if line[0] != "#":
            track, dts = line.split(",")[:2]
            found[track].append(int(dts))
    return found


def test_players_of_a_camera_that_reboots_go_on(tmp_path: Path) -> None:
    """As the same programs, with times that never go back."""
    with ExitStack() as stack:
        camera = stack.enter_context(gstreamer_camera(f"{PICTURE} {SOUND}"))
        config = CONFIG.format(port=camera.port)
        device = stack.enter_context(appliance_process(tmp_path, config=config))
        device.wait_line("live/camera comes from")
        rtsp = f"rtsp://127.0.0.1:{device.rtsp_port}/live/camera"
        sources = {
            "rtmp": ("-i", f"rtmp://127.0.0.1:{device.rtmp_port}/live/camera"),
            "rtsp-tcp": ("-rtsp_transport", "tcp", "-i", rtsp),
            "rtsp-udp": ("-rtsp_transport", "udp", "-i", rtsp),
            "flv": ("-i", f"{device.url}live/camera.flv"),
            "hls": ("-i", f"{device.url}live/camera.m3u8"),
        }
        files = {name: tmp_path / name for name in sources}
        players = {
            name: stack.enter_context(running(*FFMPEG, *words, *COPY, stdout=files[name]))
            for name, words in sources.items()
        }

        def have_more() -> bool:
            return all(len(stamps(file)[track]) >= seen[name, track] + ENOUGH
                       for name, file in files.items() for track in "01")  # fmt: skip

        seen = {(name, track): 0 for name in files for track in "01"}
        wait_until(have_more, f"all play: {files}")
        camera.cut_power()
        device.wait_line("live/camera (is lost|ended)")
        known = len(device.lines)
        stack.enter_context(gstreamer_camera(f"{PICTURE} {SOUND}", "--port", str(camera.port)))
        device.wait_line("live/camera comes from", since=known)
        seen = {(name, track): len(stamps(files[name])[track]) for name, track in seen}
        wait_until(have_more, f"all go on: {seen}")
        for name, player in players.items():
            assert player.poll() is None, name
            player.kill()  # it would wait for a packet
            for times in stamps(files[name]).values():
                # Of RTSP, which has none, ffmpeg makes them up.
                assert times == sorted(set(times)) or name.startswith("rtsp"), name
