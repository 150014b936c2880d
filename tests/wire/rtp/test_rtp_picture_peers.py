"""AV1 and Motion JPEG with ffmpeg, GStreamer and libav at the other end."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import av
from rtp_socket import (
    caps_sdp,
    depacketized,
    lane,
    play_to,
    port_of,
    ports,
    received,
    run_sender,
    write_sdp,
)

from appliance.media.av1 import Av1Config, split_temporal_unit
from appliance.media.mjpeg import MjpegConfig
from appliance.media.track import Track
from appliance.wire.rtp.formats.av1 import Av1Depacketizer
from appliance.wire.rtp.packet import RtpPacket
from appliance.wire.sdp.offers import offers
from appliance.wire.sdp.parse import parse

SIZE = (320, 240)
TEMPORAL_DELIMITER = b"\x12\x00"


def jpeg_pictures(count: int, *options: str) -> list[bytes]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240"]
    command += ["-frames:v", str(count), "-pix_fmt", "yuvj420p", "-huffman", "default", *options]
    data = subprocess.run(
        [*command, "-c:v", "mjpeg", "-f", "mjpeg", "-"], check=True, stdout=subprocess.PIPE
    ).stdout
    return [b"\xff\xd8" + picture for picture in data.split(b"\xff\xd8")[1:]]


def pixels(picture: bytes) -> bytes:
    with av.open(io.BytesIO(picture), format="mjpeg") as container:
        (frame,) = container.decode(video=0)
        assert (frame.width, frame.height) == SIZE
        return visible(frame)


def visible(frame: av.VideoFrame) -> bytes:
    """Of each plane the picture, without what fills its lines up."""
    return b"".join(
        bytes(plane)[row * plane.line_size :][: plane.width]
        for plane in frame.planes
        for row in range(plane.height)
    )


def test_jpeg_of_ffmpeg_and_gstreamer_shows_the_same_pictures(tmp_path: Path) -> None:
    pictures = jpeg_pictures(3)
    path = tmp_path / "s.mjpeg"
    path.write_bytes(b"".join(pictures))
    with ports(2) as sockets:
        sdp, (packets, _) = run_sender(
            ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-c", "copy"]
            + ["-f", "rtp", f"rtp://127.0.0.1:{port_of(sockets[0])}"],
            sockets,
        )
        pipeline = f"filesrc location={path} ! jpegparse ! rtpjpegpay mtu=500 name=jpeg ! udpsink"
        text, (_, others) = run_sender(
            ["gst-launch-1.0", "-v", *pipeline.split(), "host=127.0.0.1", "sync=false"]
            + [f"port={port_of(sockets[1])}"],
            sockets,
        )
    assert len(others) > len(packets) > len(pictures)
    for description, got in ((sdp, packets), (caps_sdp(text)["jpeg"], others)):
        (offer,) = offers(parse(description))
        assert offer.format is not None
        taken = offer.format.depacketizer()
        units = depacketized(taken, got)
        assert [pixels(bytes(unit.parts[0])) for unit in units] == list(map(pixels, pictures))
        assert taken.config == MjpegConfig(*SIZE)


def encode_av1(count: int) -> tuple[list[tuple[int, bytes]], list[RtpPacket]]:
    """Temporal units with their stamps, and the packets that libavformat makes of them."""
    units: list[tuple[int, bytes]] = []
    with ports(1) as (one,):
        url = f"rtp://127.0.0.1:{port_of(one)}?pkt_size=400"
        with av.open(url, "w", format="rtp", options={"strict": "-2"}) as out:
            stream = out.add_stream("libsvtav1", 25, options={"preset": "12"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            frames = [av.VideoFrame(*SIZE, "yuv420p") for _ in range(count)]
            for index, frame in enumerate(frames):
                frame.planes[0].update(bytes((at * (index + 3)) & 0xFF for at in range(320 * 240)))
                frame.pts = index
            for frame in (*frames, None):
                for packet in stream.encode(frame):
                    units.append((packet.pts, bytes(packet)))
                    out.mux(packet)
        return units, received(one)


def test_av1_of_libav_is_the_stream_it_was_given() -> None:
    sent, packets = encode_av1(4)
    assert len(packets) > 2 * len(sent) == 8
    taken = Av1Depacketizer()
    units = depacketized(taken, packets)
    assert [unit.key for unit in units] == [True, False, False, False]
    bare = [data.removeprefix(TEMPORAL_DELIMITER) for _, data in sent]
    assert [b"".join(map(bytes, unit.parts)) for unit in units] == bare
    assert isinstance(taken.config, Av1Config)


PLAYER = """
import sys, av
sys.path[:0] = sys.argv[3:]
from test_rtp_picture_peers import visible
options = {"protocol_whitelist": "file,udp,rtp"}
with av.open(sys.argv[1], format="sdp", options=options, timeout=20) as container:
    frame = next(container.decode(video=0))
with open(sys.argv[2], "wb") as out:
    out.write(visible(frame))
"""


def test_av1_of_ours_in_small_packets_is_decoded_by_libav(tmp_path: Path) -> None:
    ((_, key), *_), _ = encode_av1(1)
    split = split_temporal_unit(key)
    assert split.key and split.sequence_header is not None
    track = Track(1, Av1Config(split.sequence_header))
    parts = tuple(map(bytes, split.obus))
    pictures = lane(track, [(at * 3600, parts) for at in range(400)], max_bytes=300)
    assert len(pictures.payloads) > 3 * 400
    write_sdp(tmp_path / "s.sdp", [pictures])
    shown = tmp_path / "shown"
    play_to(
        [sys.executable, "-c", PLAYER, str(tmp_path / "s.sdp"), str(shown), *sys.path], [pictures]
    )
    decoder = av.CodecContext.create("libdav1d", "r")
    (frame,) = [*decoder.decode(av.Packet(key)), *decoder.decode(None)]
    assert shown.read_bytes() == visible(frame)
