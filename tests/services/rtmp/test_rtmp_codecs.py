"""Codecs beyond H.264, HEVC, AAC and Opus: published by programs we did not write, and played."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import av
import pytest
from appliance_process import ApplianceProcess
from framehash import clip_hashes, clip_units, frame_hashes, make_clip
from recording import sessions_of, wait_until
from rtmp_peer import KINDS, RtmpPeer, Tag

from appliance.containers.flv_tag_writer import sequence_header_body, tag_body
from appliance.media.track import Codec
from appliance.media.unit import AccessUnit

DEADLINE_S = 40.0


def publish(url: str, kind: str) -> None:
    """By the newer libav, in real time."""
    began_s = time.monotonic()
    with av.open(make_clip(kind)) as demuxer, av.open(url, "w", format="flv") as muxer:
        streams = {s.index: muxer.add_stream_from_template(s, opaque=True) for s in demuxer.streams}
        for packet in demuxer.demux():
            if packet.dts is not None:
                due_s = began_s + float(packet.dts * packet.time_base)
                time.sleep(max(0.0, due_s - time.monotonic()))  # the pace of a live encoder
                packet.stream = streams[packet.stream.index]
                muxer.mux(packet)


def fetch_hls(device: ApplianceProcess, name: str) -> tuple[str, bytes]:
    """The multivariant playlist, and two seconds or more as one file."""
    url = urljoin(device.url, f"live/{name}.hls/fmp4.m3u8")
    multivariant = urlopen(urljoin(device.url, f"live/{name}.m3u8")).read().decode()
    end_s = time.monotonic() + DEADLINE_S
    while True:
        playlist = urlopen(url).read().decode()
        if len(re.findall("#EXTINF:", playlist)) >= 2:
            break
        assert time.monotonic() < end_s, playlist
        time.sleep(0.1)
    names = re.findall(r'#EXT-X-MAP:URI="(.*?)"', playlist)[:1]
    names += [line for line in playlist.splitlines() if line and line[0] != "#"]
    return multivariant, b"".join(urlopen(urljoin(url, part)).read() for part in names)


def packets(url: str, pictures: int) -> dict[str, list[bytes]]:
    """Until there are so many pictures, as the newer libav reads them, by codec."""
    found: dict[str, list[bytes]] = {}
    with av.open(url, format="flv", timeout=DEADLINE_S) as player:
        for packet in player.demux():
            name = packet.stream.codec_context.codec.canonical_name
            found.setdefault(name, []).append(bytes(packet))
            pictures -= packet.stream.type == "video"
            if not pictures:
                break
    return found


CODECS = {
    "av1+flac": ("av01.0.00M.08,fLaC", "AV1", "FLAC"),
    "vp9+ac3": ("vp09.00.10.08,ac-3", "VP9", "AC-3"),
    "h264+eac3": ("avc1.64000D,ec-3", "H264", "E-AC-3"),
    "h264+mp3": ("avc1.64000D,mp4a.6B", "H264", "MP3"),
}


@pytest.mark.parametrize("kind", CODECS)
def test_clip_of_other_codecs_comes_out_as_it_went_in(device: ApplianceProcess, kind: str) -> None:
    strings, video_name, audio_name = CODECS[kind]
    name = kind.replace("+", "-")
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}"
    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(publish, url, kind)
        device.wait_line(f"live/{name} publishes")
        playing = pool.submit(packets, url, 45)
        multivariant, hls = fetch_hls(device, name)
        (stream,) = [row for row in streams(device) if row["name"] == name]
        page_rows = urlopen(device.url + "web/streams.json").read().decode()
        played = playing.result(DEADLINE_S)
        publishing.result(DEADLINE_S)
    assert f'CODECS="{strings}"' in multivariant
    assert f"/{name}.m3u8" in page_rows
    assert (stream["video"]["codec"], stream["audio"]["codec"]) == (video_name, audio_name)
    for which, hashes in frame_hashes(hls).items():
        assert len(hashes) >= 15 and hashes == clip_hashes(kind)[which][: len(hashes)]
    expected = packets(str(make_clip(kind, "flv")), 90)
    assert played.keys() == expected.keys()
    for codec, data in played.items():
        first = expected[codec].index(data[0])
        assert data == expected[codec][first : first + len(data)], codec


def streams(device: ApplianceProcess) -> list[dict[str, Any]]:
    fields = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(device.url + "api/v1/streams/?count=100", headers=fields)) as reply:
        return list(json.load(reply)["streams"])


def legacy_tags(kind: str) -> list[Tag]:
    """The clip as encoders write it that know no Enhanced RTMP: HEVC under codec id 12."""
    tracks, units = clip_units(kind)
    tags: list[Tag] = []
    for track in tracks:
        body = sequence_header_body(track.config) or b""
        if track.codec is Codec.H265:
            body = b"\x1c\0\0\0\0" + body[5:]  # the hvcC behind the FourCC
        tags.append((KINDS[track.kind], 0, body))
    for unit in units:
        stamp_ms = (unit.dts_us - units[0].dts_us + 500) // 1000
        body = legacy_picture(unit) if unit.track.codec is Codec.H265 else tag_body(unit)
        tags.append((KINDS[unit.track.kind], stamp_ms, body))
    return tags


def legacy_picture(unit: AccessUnit) -> bytes:
    composition_ms = (unit.pts_us - unit.dts_us + 500) // 1000
    head = (b"\x1c\x01" if unit.key else b"\x2c\x01") + composition_ms.to_bytes(3, "big")
    nals = (len(part).to_bytes(4, "big") + bytes(part) for part in unit.parts)
    return head + b"".join(nals)


def test_hevc_under_codec_id_12_comes_out_as_it_went_in(device: ApplianceProcess) -> None:
    kind, name = "h265-b+aac", "legacy-hevc"
    url = f"rtmp://127.0.0.1:{device.rtmp_port}/live/{name}"
    tags = legacy_tags(kind)
    begin = [tag for tag in tags if tag[1] < 500]
    with RtmpPeer(device.rtmp_port) as peer, ThreadPoolExecutor() as pool:
        assert peer.publish(name) == "NetStream.Publish.Start"
        peer.send_tags(begin)
        before = sessions_of(device)
        playing = pool.submit(packets, url, 60)
        wait_until(lambda: sessions_of(device) > before, "nobody plays")
        peer.send_tags(tags[len(begin) :])
        multivariant, hls = fetch_hls(device, name)
        (stream,) = [row for row in streams(device) if row["name"] == name]
        played = playing.result(DEADLINE_S)
    assert "hvc1." in multivariant
    assert (stream["video"]["codec"], stream["audio"]["codec"]) == ("HEVC", "AAC")
    for which, hashes in frame_hashes(hls).items():
        assert len(hashes) >= 15 and hashes == clip_hashes(kind)[which][: len(hashes)]
    expected = packets(str(make_clip(kind, "flv")), 90)
    assert played.keys() == expected.keys() == {"hevc", "aac"}
    for codec, data in played.items():
        assert data == expected[codec][: len(data)], codec
