"""RTP with programs that we did not write: the same units come in, the same frames go out."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from framehash import clip_hashes, clip_units, make_clip
from video_units import clip_config

from appliance.media.clock import Unroller, us_to_ticks
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.dts import DtsFinder
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.formats.h264 import H264Depacketizer, H264Packetizer
from appliance.wire.rtp.formats.h265 import H265Depacketizer, H265Packetizer
from appliance.wire.rtp.packet import is_rtcp, parse
from appliance.wire.rtp.reorder import Lost, Reorder
from appliance.wire.rtp.sender import RtpSender

DEADLINE_S = 20
BUFFER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Format:
    name: str  # as a=rtpmap and GStreamer's elements spell it
    depacketizer: Callable[[], H264Depacketizer | H265Depacketizer]
    packetizer: Callable[[], H264Packetizer | H265Packetizer]


FORMATS = {
    "h264": Format("H264", H264Depacketizer, H264Packetizer),
    "h265": Format("H265", H265Depacketizer, H265Packetizer),
}


def format_of(kind: str) -> Format:
    return FORMATS[kind.removesuffix("-b")]


def udp() -> socket.socket:
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    receiver.bind(("127.0.0.1", 0))
    receiver.settimeout(DEADLINE_S)
    return receiver


def ffmpeg_sender(kind: str, port: int) -> list[str]:
    to = f"rtp://127.0.0.1:{port}?pkt_size=1300"
    source = ("-i", str(make_clip(kind)), "-c", "copy")
    return ["ffmpeg", "-v", "error", "-nostdin", *source, "-f", "rtp", to]


def gstreamer_sender(kind: str, port: int) -> list[str]:
    """With parameter sets in band, which ffmpeg's leaves to the session description."""
    name = format_of(kind).name.lower()
    line = (
        f"filesrc location={make_clip(kind)} ! qtdemux ! {name}parse"
        f" ! rtp{name}pay config-interval=-1 mtu=1000 aggregate-mode=zero-latency"
        f" ! udpsink host=127.0.0.1 port={port} sync=false"
    )
    return ["gst-launch-1.0", "-q", *line.split()]


SENDERS = {"ffmpeg": ffmpeg_sender, "gstreamer": gstreamer_sender}


def sent_by(command: list[str], receiver: socket.socket) -> Iterator[bytes]:
    """The datagrams of a program that runs to its end."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
    receiver.setblocking(False)
    while True:
        try:
            yield receiver.recv(65_536)
        except BlockingIOError:
            return


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize("kind", ["h264-b", "h265-b"])
def test_depacketizer_gets_a_peers_clip_unit_by_unit(kind: str, sender: str) -> None:
    reorder, unroller = Reorder(), Unroller(32)
    depacketizer = format_of(kind).depacketizer()
    found: list[Assembled] = []
    with udp() as receiver:
        for data in sent_by(SENDERS[sender](kind, receiver.getsockname()[1]), receiver):
            if is_rtcp(data):
                assert rtcp.parse(data)
                continue
            reorder.push(parse(data), 0)
    for packet in reorder.take(0):
        assert not isinstance(packet, Lost)
        found += depacketizer.push(packet, unroller.unroll(packet.timestamp))
    found += depacketizer.flush()
    _, units = clip_units(kind)
    assert len(found) == len(units)
    assert [u.parts for u in found] == [u.parts for u in units]
    assert [(u.key, u.damaged) for u in found] == [(u.key, False) for u in units]
    config = clip_config(kind)
    assert depacketizer.config == (config if sender == "gstreamer" else None)
    shifts = [
        u.stamp - us_to_ticks(sent.pts_us, 90_000) for u, sent in zip(found, units, strict=True)
    ]
    assert max(shifts) - min(shifts) <= 1
    finder = DtsFinder(config.max_reorder_frames)
    placed = [(finder.dts_us(u.stamp * 100 // 9), u.stamp * 100 // 9) for u in found]
    assert all(dts_us <= pts_us for dts_us, pts_us in placed)
    assert all(one[0] < other[0] for one, other in zip(placed, placed[1:], strict=False))


def free_even_port() -> int:
    """With its odd neighbour free as well, for RTCP."""
    while True:
        with udp() as one, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as neighbour:
            port: int = one.getsockname()[1]
            with contextlib.suppress(OSError):
                neighbour.bind(("127.0.0.1", port + 1))
                if port % 2 == 0:
                    return port


def wait_until_bound(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until somebody listens on this UDP port, as the kernel's table tells."""
    deadline_s = time.monotonic() + DEADLINE_S
    wanted = re.compile(rf"^ *\d+: [0-9A-F]+:{port:04X} ", re.MULTILINE)
    while not wanted.search(Path("/proc/net/udp").read_text()):
        assert process.poll() is None and time.monotonic() < deadline_s


def describe(kind: str, port: int) -> str:
    """A session description without parameter sets: they must be found in band."""
    mode = "a=fmtp:96 packetization-mode=1\n" if kind.startswith("h264") else ""
    return (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=video {port} RTP/AVP 96\na=rtpmap:96 {format_of(kind).name}/90000\n{mode}"
    )


@pytest.mark.parametrize("kind", ["h264-b", "h265-b"])
def test_packetizer_lets_ffmpeg_decode_the_clips_frames(kind: str, tmp_path: Path) -> None:
    port = free_even_port()
    description = tmp_path / "clip.sdp"
    description.write_text(describe(kind, port))
    command = ["ffmpeg", "-v", "error", "-nostdin", "-protocol_whitelist", "file,udp,rtp"]
    command += ["-buffer_size", str(BUFFER_BYTES), "-i", str(description)]
    command += ["-fps_mode", "passthrough", "-f", "framemd5", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            wait_until_bound(port, process)
            send_clip(kind, port)
            output, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    lines = output.decode().splitlines()
    hashes = [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]
    assert errors.decode() == ""
    assert len(hashes) == len(clip_hashes(kind)["video"])
    assert hashes == clip_hashes(kind)["video"]


def send_clip(kind: str, port: int) -> None:
    packetizer, sender = format_of(kind).packetizer(), RtpSender(96, 0x1234, 65_500, 0xFFFFFFF0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outgoing:
        for unit in clip_units(kind)[1]:
            stamp = us_to_ticks(unit.pts_us, 90_000)
            for data in sender.datagrams(packetizer.payloads(unit), stamp):
                outgoing.sendto(data, ("127.0.0.1", port))
        bye = sender.report(0, stamp).pack() + rtcp.Goodbye((sender.ssrc,)).pack()
        # On the media's port: by its own, ffmpeg 5.1 would read it before the media.
        outgoing.sendto(bye, ("127.0.0.1", port))
