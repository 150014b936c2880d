"""Sound, AV1 and Motion JPEG with ffmpeg, GStreamer and libav at the other end."""

from __future__ import annotations

import array
import io
import itertools
import subprocess
from pathlib import Path

import av
import pytest
from codec_samples import AAC, OPUS, encode, remux
from rtp_socket import (
    Lane,
    caps_sdp,
    depacketized,
    lane,
    play_to,
    port_of,
    ports,
    run_sender,
    write_sdp,
)

from appliance.media.aac import AacConfig, split_adts
from appliance.media.g711 import G711Config
from appliance.media.l16 import L16Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Track
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.packet import RtpPacket
from appliance.wire.sdp.offers import Format, offers
from appliance.wire.sdp.parse import parse

FFMPEG = ("ffmpeg", "-nostdin", "-v", "error")
TRIES = 5  # gst-launch at times ends before it has said all of what its pads carry
ADTS = {sample.name: encode(sample) for sample in AAC if sample.name == "lc_44100_2"}["lc_44100_2"]
OGG = {sample.name: encode(sample) for sample in OPUS if sample.name == "opus_2"}["opus_2"]


def parts(units: list[Assembled]) -> list[bytes]:
    return [bytes(unit.parts[0]) for unit in units]


def formats_of(text: str) -> list[Format]:
    found = [offer.format for offer in offers(parse(text))]
    assert None not in found, text
    return [one for one in found if one is not None]


def taken(found: Format, packets: list[RtpPacket]) -> list[Assembled]:
    return depacketized(found.depacketizer(), packets)


def assert_stamps_go_on(units: list[Assembled]) -> None:
    """Each begins where the one before ended."""
    for unit, following in zip(units, units[1:], strict=False):
        assert unit.duration and unit.stamp + unit.duration == following.stamp


def parts_of(frames: list[memoryview]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


def opus_packets() -> list[bytes]:
    with av.open(io.BytesIO(OGG)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def test_sound_of_ffmpeg_is_the_sound_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "s.mp4").write_bytes(remux(ADTS, "mp4"))
    (tmp_path / "s.opus").write_bytes(OGG)
    tone = ("-f", "lavfi", "-i", "sine=duration=0.3:sample_rate=8000,asetnsamples=160")
    sdp = tmp_path / "s.sdp"
    with ports(5) as sockets:
        to = [("-f", "rtp", f"rtp://127.0.0.1:{port_of(one)}") for one in sockets]
        aac, opus = ("-map", "0", "-c", "copy"), ("-map", "1", "-c", "copy")
        _, packets = run_sender(
            [
                *(*FFMPEG, "-i", str(tmp_path / "s.mp4"), "-i", str(tmp_path / "s.opus"), *tone),
                *(*aac, *to[0]),
                *(*aac, "-rtpflags", "latm", *to[1]),
                *(*opus, *to[2]),
                *("-map", "2", "-c", "pcm_alaw", *to[3]),
                *("-map", "2", "-c", "pcm_s16be", "-ar", "44100", "-ac", "2", *to[4]),
                *("-sdp_file", str(sdp)),
            ],
            sockets,
        )
    text = sdp.read_text()
    hbr, latm, opus_format, alaw, l16 = formats_of(text)
    _, frames = split_adts(ADTS)
    assert len(packets[0]) < len(frames) // 2  # several in a packet; ffmpeg 5.1 keeps the last few
    for found, got in ((hbr, packets[0]), (latm, packets[1])):
        units = taken(found, got)
        assert len(units) >= 8 and parts(units) == parts_of(frames)[: len(units)], found
        assert isinstance(found.config, AacConfig)
        assert (found.config.sample_rate_hz, found.config.channels) == (44_100, 2)
        assert_stamps_go_on(units)
    units = taken(opus_format, packets[2])
    assert parts(units) == opus_packets()
    assert_stamps_go_on(units)
    assert b"".join(parts(taken(alaw, packets[3]))) == tone_as("pcm_alaw", 8000, 1)
    assert (l16.payload_type, l16.channels) == (10, 2)
    assert b"".join(parts(taken(l16, packets[4]))) == tone_as("pcm_s16be", 44_100, 2)


def tone_as(codec: str, rate_hz: int, channels: int) -> bytes:
    command = [*FFMPEG, "-f", "lavfi", "-i", "sine=duration=0.3:sample_rate=8000,asetnsamples=160"]
    command += ["-c", codec, "-ar", str(rate_hz), "-ac", str(channels)]
    form = {"pcm_alaw": "alaw", "pcm_s16be": "s16be"}[codec]
    return subprocess.run([*command, "-f", form, "-"], check=True, stdout=subprocess.PIPE).stdout


def gst_file(path: Path, *elements: str) -> str:
    return " ! ".join((f"filesrc location={path}", *elements))


def test_sound_of_gstreamer_in_small_packets_is_the_sound_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "s.aac").write_bytes(ADTS)
    (tmp_path / "s.opus").write_bytes(OGG)
    ulaw, l16 = bytes(range(256)) * 4, bytes(range(256)) * 8
    (tmp_path / "s.ul").write_bytes(ulaw)
    (tmp_path / "s.raw").write_bytes(l16)
    raw = "rawaudioparse use-sink-caps=false"
    branches = [
        gst_file(tmp_path / "s.aac", "aacparse", "rtpmp4gpay name=hbr mtu=120"),
        gst_file(tmp_path / "s.aac", "aacparse", "rtpmp4apay name=latm mtu=120"),
        gst_file(tmp_path / "s.opus", "oggdemux", "opusparse", "rtpopuspay name=opus"),
        gst_file(
            tmp_path / "s.ul",
            f"{raw} format=mulaw sample-rate=8000 num-channels=1",
            "rtppcmupay name=ulaw mtu=172",
        ),
        gst_file(
            tmp_path / "s.raw",
            f"{raw} pcm-format=s16be sample-rate=16000 num-channels=2",
            "rtpL16pay name=l16 mtu=333",
        ),
    ]
    with ports(len(branches)) as sockets:
        pipeline = " ".join(
            f"{branch} ! udpsink sync=false host=127.0.0.1 port={port_of(one)}"
            for branch, one in zip(branches, sockets, strict=True)
        )
        for _ in range(TRIES):
            text, packets = run_sender(["gst-launch-1.0", "-v", *pipeline.split()], sockets)
            described = {name: formats_of(sdp)[0] for name, sdp in caps_sdp(text).items()}
            if len(described) == len(branches):
                break
    assert len(described) == len(branches), text
    units = {
        name: taken(described[name], got)
        for name, got in zip(("hbr", "latm", "opus", "ulaw", "l16"), packets, strict=True)
    }
    frames = parts_of(split_adts(ADTS)[1])
    assert len(packets[0]) > len(frames)  # some are fragments
    assert parts(units["hbr"]) == parts(units["latm"]) == frames
    assert described["latm"].config == AacConfig.lc(44_100, 2) == described["hbr"].config
    assert parts(units["opus"]) == opus_packets()
    assert b"".join(parts(units["ulaw"])) == ulaw
    assert (described["l16"].clock_rate_hz, described["l16"].channels) == (16_000, 2)
    assert b"".join(parts(units["l16"])) == l16
    assert_stamps_go_on(units["ulaw"])
    assert_stamps_go_on(units["l16"])


def tone(codec: str, form: str, rate_hz: int, channels: int) -> bytes:
    command = [
        *FFMPEG,
        "-f",
        "lavfi",
        "-i",
        f"sine=frequency=1000:duration=8:sample_rate={rate_hz}",
    ]
    command += ["-ac", str(channels), "-c", codec, "-f", form, "-"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def frames_of(data: bytes, frame_bytes: int) -> list[bytes]:
    return [data[at : at + frame_bytes] for at in range(0, len(data), frame_bytes)]


def lane_of(config: CodecConfig, frames: list[bytes], samples: int, max_bytes: int = 300) -> Lane:
    return lane(Track(1, config), [(at * samples, (f,)) for at, f in enumerate(frames)], max_bytes)


def test_sound_of_ours_is_a_tone_of_the_right_pitch_in_ffmpeg(tmp_path: Path) -> None:
    with av.open(io.BytesIO(tone("libopus", "ogg", 48_000, 2))) as container:
        opus = [bytes(packet) for packet in container.demux() if packet.size]
    aac = parts_of(split_adts(tone("aac", "adts", 44_100, 2))[1])
    alaw, l16 = tone("pcm_alaw", "alaw", 8000, 1), tone("pcm_s16be", "s16be", 16_000, 2)
    lanes = [
        lane_of(AacConfig.lc(44_100, 2), aac, 1024),
        lane_of(OpusConfig(2), opus, 960),
        lane_of(G711Config(Codec.PCMA), frames_of(alaw, 1000), 1000),
        lane_of(L16Config(16_000, 2), frames_of(l16, 4000), 1000),
    ]
    sdp = tmp_path / "s.sdp"
    write_sdp(sdp, lanes)
    outputs: list[str] = []
    for index in range(len(lanes)):
        outputs += ["-map", f"0:{index}", "-t", "0.5", "-ac", "1", "-ar", "48000"]
        outputs += ["-f", "s16le", str(tmp_path / f"{index}.raw")]
    play_to(
        [*FFMPEG, "-protocol_whitelist", "file,udp,rtp", "-analyzeduration", "500000"]
        + ["-i", str(sdp), *outputs],
        lanes,
    )
    for index in range(len(lanes)):
        assert pitch_hz((tmp_path / f"{index}.raw").read_bytes()) == pytest.approx(1000, rel=0.03)


def pitch_hz(data: bytes) -> float:
    """Of half a second at 48 kHz, by its rising crossings of zero."""
    samples = array.array("h", data)
    assert len(samples) == 24_000
    loud = samples[4800:]
    assert max(loud) > 1000
    crossings = sum(a < 0 <= b for a, b in itertools.pairwise(loud))
    return crossings * 48_000 / len(loud)
