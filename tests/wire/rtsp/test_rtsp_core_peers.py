"""The cores and programs that we did not write: FFmpeg and GStreamer, as clients and as servers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from gstreamer_words import is_well
from rtsp_pair import NOISE, accept
from rtsp_site import (
    Caller,
    now_us,
    open_caller,
    open_site,
    open_tunnelled_caller,
    run_program,
)

from appliance.wire.rtsp import events as e
from appliance.wire.rtsp.auth import (
    Algorithm,
    DigestShown,
    Gate,
    Verdict,
    make_ha1,
    parse_authorization,
)
from appliance.wire.rtsp.client import (
    Announced,
    Described,
    Event,
    Playing,
    Recording,
    Refused,
    RtspClient,
    SetUp,
)
from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.server import RtspServer
from appliance.wire.rtsp.target import parse_rtsp_address, resolve_control
from appliance.wire.rtsp.transport import Delivery, Mode, Transport

SDP = (
    "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n"
    "m=audio 0 RTP/AVP 0\r\na=control:trackID=0\r\n"
    "m=audio 0 RTP/AVP 8\r\na=control:trackID=1\r\n"
)
PACKETS = 100  # of 20 ms
CAMERA = Path(__file__).with_name("gst_camera.py")
PICTURE = "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120 ! jpegenc"
SOUND = "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! mulawenc"
LAUNCH = f"{PICTURE} ! rtpjpegpay name=pay0 {SOUND} ! rtppcmupay name=pay1"
USER, PASSWORD = "me", "s:e@c"
PLAYED = [e.DescribeAsked, e.SetupAsked, e.SetupAsked, e.PlayAsked, e.TornDown]
PLAYING = [Described, SetUp, SetUp, Playing]
RECORDED = [e.AnnounceAsked, e.SetupAsked, e.RecordAsked]


def packets(payload_type: int) -> list[bytes]:
    return [
        struct.pack(">BBHII", 0x80, payload_type, n, n * 160, 7) + bytes(160)
        for n in range(PACKETS)
    ]


def play_sound(server: RtspServer, event: e.Event) -> None:
    """Two seconds of sound on each track, all at once."""
    if isinstance(event, e.DescribeAsked):
        server.answer_describe(SDP)
        return
    accept(server, event)
    if not isinstance(event, e.PlayAsked):
        return
    for control, track in server.tracks.items():
        media = packets(8 if control == "trackID=1" else 0)
        if track.channels is not None:
            server.send_frames((track.channels[0], packet) for packet in media)
        elif track.client_ports is not None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for packet in media:
                    sender.sendto(packet, ("127.0.0.1", track.client_ports[0]))


class Guarded:
    """Lets in by Digest only."""

    def __init__(self) -> None:
        self.gate = Gate("porthole", NOISE)
        self.agreed: list[Algorithm] = []

    def __call__(self, server: RtspServer, event: e.Event) -> None:
        if isinstance(event, e.Asked):
            shown = parse_authorization(event.authorization)
            if not isinstance(shown, DigestShown):
                server.challenge(self.gate.challenges("peer", now_us()))
                return
            verdict = self.gate.check(
                shown, event.method, event.url, "peer", now_us(), self._secret_of
            )
            if verdict is not Verdict.RIGHT:
                server.refuse(403)
                return
            self.agreed.append(shown.algorithm)
        play_sound(server, event)

    def _secret_of(self, user: str) -> Mapping[Algorithm, str] | None:
        ha1s = {item: make_ha1(item, USER, "porthole", PASSWORD) for item in Algorithm}
        return ha1s if user == USER else None


# -- the server -----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "udp", "http"])
async def test_server_plays_to_ffmpeg(transport: str) -> None:
    async with open_site(play_sound) as site:
        status, said = await run_program(
            *("ffmpeg", "-v", "error", "-rtsp_transport", transport, "-nostdin"),
            *("-i", f"rtsp://127.0.0.1:{site.port}/live/camera?key=k", "-t", "1"),
            *("-map", "0", "-f", "framecrc", "-"),
        )
    assert (status, site.faults) == (0, [])
    assert {line[0] for line in said.splitlines() if line[0].isdigit()} == {"0", "1"}
    assert site.kinds == PLAYED
    assert all(
        event.target.query == {"key": "k"} for event in site.asked if isinstance(event, e.Asked)
    )


async def test_server_plays_to_gstreamer() -> None:
    async with open_site(play_sound) as site:
        source = (
            f"rtspsrc latency=0 protocols=tcp location=rtsp://127.0.0.1:{site.port}/live/camera"
        )
        sink = "rtppcmudepay ! fakesink num-buffers=20"
        status, said = await run_program(
            *("gst-launch-1.0", "-q", *f"{source}?key=k ! {sink}".split())
        )
    assert site.faults == [] and is_well(status, said), said
    assert [kind for kind in site.kinds if kind is not e.Paused] == PLAYED


@pytest.mark.parametrize("program", ["ffmpeg", "gstreamer"])
async def test_server_asks_for_digest_that_others_answer(program: str) -> None:
    guarded = Guarded()
    async with open_site(guarded) as site:
        place = f"127.0.0.1:{site.port}/live/camera"
        if program == "ffmpeg":
            words = ["ffprobe", "-v", "error", "-rtsp_transport", "tcp"]
            words += [f"rtsp://{USER}:s%3Ae%40c@{place}"]
        else:
            source = f"rtspsrc latency=0 protocols=tcp location=rtsp://{place}"
            words = f"gst-launch-1.0 -q {source} user-id={USER} user-pw={PASSWORD}".split()
            words += ["!", "rtppcmudepay", "!", "fakesink", "num-buffers=20"]
        status, said = await run_program(*words)
    assert site.faults == [] and is_well(status, said), said
    assert len(guarded.agreed) >= 4
    assert e.PlayAsked in site.kinds


@pytest.mark.parametrize("program", ["ffmpeg", "gstreamer"])
async def test_server_takes_what_others_push(program: str) -> None:
    async with open_site(accept) as site:
        url = f"rtsp://127.0.0.1:{site.port}/live/camera?key=k"
        if program == "ffmpeg":
            source = "-f lavfi -i sine=r=8000:d=2 -c:a pcm_mulaw"
            words = f"ffmpeg -v error -nostdin {source}".split()
            words += ["-f", "rtsp", "-rtsp_transport", "tcp", url]
        else:
            source = "audiotestsrc num-buffers=5 ! audio/x-raw,rate=8000,channels=1 ! mulawenc"
            sink = f"rtspclientsink protocols=tcp latency=0 location={url}"
            words = f"gst-launch-1.0 -q {source} ! {sink}".split()
        status, said = await run_program(*words)
    # At its end rtspclientsink 1.22 closes on its own PAUSE, and then calls that an error.
    assert site.faults == []
    assert status == 0 or program == "gstreamer", said
    assert site.kinds[:3] == RECORDED
    announce = site.asked[0]
    assert isinstance(announce, e.AnnounceAsked)
    assert (announce.target.name, announce.target.query) == ("live/camera", {"key": "k"})
    assert b"m=audio" in announce.sdp
    assert any(channel == 0 and len(packet) > 12 for channel, packet in site.frames)


# -- the client -----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def open_camera(*credentials: str) -> AsyncIterator[int]:
    """GStreamer's RTSP server; its port."""
    process = await asyncio.create_subprocess_exec(
        *("/usr/bin/python3", str(CAMERA), LAUNCH, *credentials), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def play_from(caller: Caller) -> list[Event]:
    """All that it told up to packets of both tracks."""
    core = caller.core
    core.begin(now_us())
    told = [await caller.next_event()]
    described = told[0]
    if not isinstance(described, Described):
        return told
    tracks = described.sdp.decode().split("\r\nm=")[1:]
    for number, track in enumerate(tracks):
        control = re.search("a=control:(.*)", track)
        assert control is not None
        channels = (2 * number, 2 * number + 1)
        url = resolve_control(described.base_url, control[1])
        core.setup(url, Transport(Delivery.TCP, channels=channels))
        told.append(await caller.next_event())
    core.play()
    heard: set[int] = set()
    while not {0, 2} <= heard:
        event = await caller.next_event()
        told.append(event)
        heard |= {channel for channel, _ in event.frames} if isinstance(event, Frames) else set()
    core.teardown()
    caller.flush()
    return told


async def test_client_plays_from_gstreamer_by_digest_and_is_refused_without() -> None:
    async with open_camera(USER, PASSWORD) as port:
        for password, expected in ((PASSWORD, PLAYING), ("bad", [Refused])):
            address = parse_rtsp_address(f"rtsp://{USER}:{password}@127.0.0.1:{port}/camera")
            core = RtspClient(address, noise=NOISE, agent="test")
            async with open_caller(core, port) as caller:
                told = await play_from(caller)
            assert [type(event) for event in told if not isinstance(event, Frames)] == expected
            assert core.garbage_bytes == 0


async def test_client_plays_from_gstreamer_by_udp() -> None:
    loop = asyncio.get_running_loop()
    kind = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*kind) as receiver, socket.socket(*kind) as controls:
        for end in (receiver, controls):
            end.bind(("127.0.0.1", 0))
            end.setblocking(False)
        ports = (receiver.getsockname()[1], controls.getsockname()[1])
        async with open_camera() as port:
            address = parse_rtsp_address(f"rtsp://127.0.0.1:{port}/camera")
            core = RtspClient(address, noise=NOISE, agent="test")
            async with open_caller(core, port) as caller:
                core.begin(now_us())
                described = await caller.next_event()
                assert isinstance(described, Described)
                url = resolve_control(described.base_url, "stream=1")
                core.setup(url, Transport(Delivery.UDP, client_ports=ports))
                agreed = await caller.next_event()
                assert isinstance(agreed, SetUp)
                assert agreed.transport.server_ports is not None
                core.play()
                assert isinstance(await caller.next_event(), Playing)
                async with asyncio.timeout(10):
                    packet = await loop.sock_recv(receiver, 2048)
                core.teardown()
                caller.flush()
    assert packet[:1] == b"\x80"


async def test_client_plays_from_gstreamer_through_http() -> None:
    async with open_camera() as port:
        address = parse_rtsp_address(f"rtsp://127.0.0.1:{port}/camera")
        core = RtspClient(address, noise=NOISE, agent="test")
        async with open_tunnelled_caller(core, port) as caller:
            told = await play_from(caller)
    kinds = [type(event) for event in told if not isinstance(event, Frames)]
    assert kinds == PLAYING


async def test_client_records_to_ffmpeg(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"rtsp://127.0.0.1:{port}/live/camera"
    out = tmp_path / "out.wav"
    process = await asyncio.create_subprocess_exec(
        *("ffmpeg", "-v", "info", "-nostdin", "-rtsp_flags", "listen", "-i", url),
        *("-t", "0.5", str(out)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    core = RtspClient(parse_rtsp_address(url), noise=NOISE, agent="test")
    try:
        async with asyncio.timeout(20):
            async with open_caller(core, port) as caller:
                sdp = SDP.split("m=")
                core.begin_record(f"{sdp[0]}m={sdp[1]}".encode(), now_us())
                assert await caller.next_event() == Announced()
                asked = Transport(Delivery.TCP, channels=(0, 1), mode=Mode.RECORD)
                core.setup(f"{url}/trackID=0", asked)
                assert isinstance(await caller.next_event(), SetUp)
                core.record()
                assert await caller.next_event() == Recording()
                core.send_frames((0, packet) for packet in packets(0))
                core.teardown()
                caller.flush()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert out.stat().st_size > 8000 * 0.4
