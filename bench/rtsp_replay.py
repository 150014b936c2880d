"""Sixteen cameras in one process, for bench/rtsp_pull.py: one clip, sent to each who plays it.

python bench/rtsp_replay.py CLIP.h264 FPS      says its port, then serves any path over TCP
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
from pathlib import Path

from appliance.media.h264 import H264Config
from appliance.media.nal import split_annexb
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.sender import RtpSender
from appliance.wire.sdp.tracks import packetizer, session_of

AUD, SPS, PPS, IDR = 9, 7, 8, 5
PAYLOAD_BYTES = 1400
CLOCK_HZ = 90_000


class Clip:
    """pictures: the payloads of each."""

    def __init__(self, data: bytes) -> None:
        groups: list[list[bytes]] = []
        for nal in map(bytes, split_annexb(data)):
            if nal[0] & 31 == AUD:
                groups.append([])
            else:
                groups[-1].append(nal)
        sets = {kind: [n for n in groups[0] if n[0] & 31 == kind] for kind in (SPS, PPS)}
        track = Track(1, H264Config(tuple(sets[SPS]), tuple(sets[PPS])))
        self.sdp = session_of([track], "bench").pack()
        make = packetizer(track.config, PAYLOAD_BYTES)
        self.pictures: list[list[Payload]] = []
        for group in groups:
            parts = tuple(nal for nal in group if nal[0] & 31 not in {SPS, PPS})
            key = any(nal[0] & 31 == IDR for nal in parts)
            self.pictures.append(make.payloads(AccessUnit(track, 0, 0, key, parts)))


async def serve(
    clip: Clip, fps: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    playing: asyncio.Task[None] | None = None
    try:
        while True:
            if (first := await reader.read(1)) == b"$":
                head = await reader.readexactly(3)
                await reader.readexactly(int.from_bytes(head[1:]))
                continue
            text = (first + await reader.readuntil(b"\r\n\r\n")).decode()
            method = text.partition(" ")[0]
            url = text.split(" ")[1]
            cseq = re.search(r"(?i)cseq: *(\d+)", text)
            body, headers = b"", "Session: 12345678;timeout=60\r\n"
            match method:
                case "OPTIONS":
                    headers = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n"
                case "DESCRIBE":
                    body = clip.sdp
                    headers = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\n"
                    headers += f"Content-Length: {len(body)}\r\n"
                case "SETUP":
                    headers += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            number = cseq[1] if cseq else "0"
            writer.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{headers}\r\n".encode() + body)
            if method == "PLAY":
                playing = asyncio.create_task(play(clip, fps, writer))
            elif method == "TEARDOWN":
                return
    except (asyncio.IncompleteReadError, OSError):
        return
    finally:
        if playing is not None:
            playing.cancel()
        writer.close()


async def play(clip: Clip, fps: int, writer: asyncio.StreamWriter) -> None:
    """Each viewer's pictures at a phase of their own, as those of cameras are."""
    loop = asyncio.get_running_loop()
    sender = RtpSender(96, random.getrandbits(32), 1, 0)
    begin_s, number = loop.time() + random.random() / fps, 0
    while True:
        await asyncio.sleep(begin_s + number / fps - loop.time())
        payloads = clip.pictures[number % len(clip.pictures)]
        writer.write(sender.interleaved(payloads, number * CLOCK_HZ // fps, 0))
        number += 1


def run(path: str, fps: int) -> None:
    """Says its port, then serves any path over TCP until it is ended."""
    asyncio.run(_run(Clip(Path(path).read_bytes()), fps))


async def _run(clip: Clip, fps: int) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: serve(clip, fps, reader, writer), "127.0.0.1", 0
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()
