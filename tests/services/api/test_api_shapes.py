"""The shapes that tools for SRS read, field by field."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from api_rig import FAR, SPS, VIDEO, BenchCamera, api_rig

from appliance.media.h265 import H265Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Track
from appliance.services.api.envelope import encode
from appliance.services.api.shapes import audio_shape, stream_id, video_shape

KBPS = {"recv_30s": int, "send_30s": int}
STREAM = {
    "id": str, "name": str, "vhost": str, "app": str, "tcUrl": str, "url": str, "live_ms": int,
    "clients": int, "frames": int, "video_frames": int, "audio_frames": int, "send_bytes": int,
    "recv_bytes": int, "kbps": KBPS, "publish": {"active": bool, "cid": str},
    "video": {"codec": str, "profile": str, "level": str, "width": int, "height": int},
    "audio": {"codec": str, "sample_rate": int, "channel": int, "profile": str},
    "porthole": {
        "name": str, "origin": str, "camera": str, "placeholder": str, "rotation": int,
        "permanent": bool, "restarts": int, "frame_age_ms": int, "renditions": list, "codecs": list,
        "other_sounds": list,
    },
}  # fmt: skip
CLIENT = {
    "id": str, "vhost": str, "stream": str, "ip": str, "pageUrl": str, "swfUrl": str, "tcUrl": str,
    "url": str, "name": str, "type": str, "publish": bool, "alive": float, "send_bytes": int,
    "recv_bytes": int, "kbps": KBPS,
    "porthole": {
        "id": str, "stream": str, "user_agent": str, "lost_units": int, "kickable": bool,
    },
}  # fmt: skip
VHOST = {
    "id": str, "name": str, "enabled": bool, "clients": int, "streams": int, "send_bytes": int,
    "recv_bytes": int, "kbps": KBPS, "hls": {"enabled": bool},
}  # fmt: skip
SUMMARIES = {
    "ok": bool, "now_ms": int,
    "self": {
        "version": str, "pid": int, "ppid": int, "argv": str, "cwd": str, "mem_kbyte": int,
        "mem_percent": float, "cpu_percent": float, "srs_uptime": int,
    },
    "system": {
        "cpu_percent": float, "disk_read_KBps": int, "disk_write_KBps": int,
        "disk_busy_percent": float, "mem_ram_kbyte": int, "mem_ram_percent": float,
        "mem_swap_kbyte": int, "mem_swap_percent": float, "cpus": int, "cpus_online": int,
        "uptime": float, "ilde_time": float, "load_1m": float, "load_5m": float,
        "load_15m": float, "net_sample_time": int, "net_recv_bytes": int, "net_send_bytes": int,
        "net_recvi_bytes": int, "net_sendi_bytes": int, "srs_sample_time": int,
        "srs_recv_bytes": int, "srs_send_bytes": int, "conn_sys": int, "conn_sys_et": int,
        "conn_sys_tw": int, "conn_sys_udp": int, "conn_srs": int,
    },
    "porthole": {"loop_lag_ms": {"p50": float, "p99": float, "max": float}},
}  # fmt: skip
FEATURES = {
    "options": str, "options2": str, "build": str, "build2": str,
    "features": dict.fromkeys(
        ("ssl", "hls", "hds", "callback", "api", "httpd", "dvr", "transcode", "ingest", "stat",
         "caster", "complex_send", "tcp_nodelay", "so_sendbuf", "mr"), bool,
    ),
}  # fmt: skip


def misfits(value: Any, shape: Any, path: str = "") -> list[str]:
    """Where the value has not exactly these fields with exactly these types."""
    if isinstance(shape, dict):
        if not isinstance(value, dict) or value.keys() != shape.keys():
            return [f"{path}: {value!r}"]
        return [
            fault for key in shape for fault in misfits(value[key], shape[key], f"{path}.{key}")
        ]
    return [] if type(value) is shape else [f"{path}: {value!r} is no {shape.__name__}"]


def payload(document: dict[str, Any]) -> dict[str, Any]:
    """What follows the envelope, which is checked."""
    envelope = {key: document.pop(key) for key in ("code", "server", "service", "pid")}
    assert not misfits(envelope, {"code": int, "server": str, "service": str, "pid": str})
    assert envelope["code"] == 0
    assert re.fullmatch(r"vid-[0-9a-z]{7}", envelope["server"])
    assert re.fullmatch(r"[0-9a-z]{8}", envelope["service"]) and envelope["pid"].isdigit()
    return document


async def test_api_stream_tells_of_its_camera_slate_and_rotation(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        rig.context.cameras.add(BenchCamera("live/camera"))
        slate = rig.context.hub.publish("live/camera", "slate", stamped=True, placeholder="off")
        slate.describe([dataclasses.replace(VIDEO, rotation_deg=90)])
        (stream,) = (await rig.ask("/api/v1/streams/")).json["streams"]
        own = stream["porthole"]
        assert (own["camera"], own["placeholder"], own["rotation"]) == ("camera", "off", 90)


async def test_api_stream_has_the_fields_that_srs_gives(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        rig.publish()
        rig.context.cameras.add(BenchCamera("live/camera"))
        publisher = rig.context.sessions.open("rtmp", "fmle-publish", "10.0.0.9")
        publisher.stream, publisher.is_publisher = "live/camera", True
        viewer = rig.context.sessions.open("hls", "hls-play", FAR)
        viewer.stream = "live/camera"
        viewer.sent.add(500, rig.clock.now_us)
        document = payload((await rig.ask("/api/v1/streams/")).json)
        (stream,) = document["streams"]
        assert document["total"] == 1
        assert misfits(stream, STREAM) == []
        assert stream["name"] == "camera" and stream["app"] == "live"
        assert stream["url"] == "/live/camera"
        assert stream["tcUrl"] == "rtmp://127.0.0.1/live"
        rig.context.listening["rtmp"] = ("0.0.0.0:1936",)
        (stream,) = payload((await rig.ask("/api/v1/streams/")).json)["streams"]
        assert stream["tcUrl"] == "rtmp://127.0.0.1:1936/live", "not the port of HTTP"
        assert stream["live_ms"] == rig.clock.unix_us() // 1000
        assert stream["clients"] == 2
        assert stream["recv_bytes"] == 1100 and stream["send_bytes"] == 500
        assert stream["frames"] == 1 and stream["audio_frames"] == 1
        assert stream["publish"] == {"active": True, "cid": publisher.slug}
        assert stream["video"] == {
            "codec": "H264", "profile": "High", "level": "3.1", "width": 640, "height": 360,
        }  # fmt: skip
        assert stream["audio"] == {
            "codec": "AAC", "sample_rate": 48_000, "channel": 2, "profile": "LC",
        }  # fmt: skip
        single = payload((await rig.ask(f"/api/v1/streams/{stream['id']}")).json)
        assert single["stream"]["id"] == stream["id"]


async def test_api_stream_without_media_has_null_tracks(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        rig.context.hub.declare("239.1.1.1:1234")
        (stream,) = (await rig.ask("/api/v1/streams/")).json["streams"]
        assert stream["video"] is None and stream["audio"] is None
        assert stream["publish"] == {"active": False} and stream["clients"] == 0
        assert stream["app"] == "" and stream["name"] == "239.1.1.1:1234"


async def test_api_client_has_the_fields_that_srs_gives(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        session = rig.context.sessions.open("hls", "hls-play", FAR)
        session.stream, session.url = "live/camera", "/live/camera.m3u8?key=***"
        session.page_url = "http://front-door/live/camera?t=secret"
        session.sent.add(3_000_000, rig.clock.now_us)
        rig.clock.now_us += 1_500_000
        reply = await rig.ask("/api/v1/clients/")
        (client,) = payload(reply.json)["clients"]
        assert misfits(client, CLIENT) == []
        assert '"alive":1.50,' in reply.text
        assert client["id"] == session.slug and client["type"] == "hls-play"
        assert client["stream"] == stream_id("live/camera")
        assert client["name"] == "camera.m3u8" and client["url"] == "/live/camera"
        assert client["ip"] == FAR and client["kbps"]["send_30s"] > 1000
        assert "secret" not in reply.text
        single = payload((await rig.ask(f"/api/v1/clients/{session.slug}")).json)
        assert single["client"]["id"] == session.slug


async def test_api_client_is_ended_by_delete(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        ended = []
        session = rig.context.sessions.open("rtmp", "rtmp-play", FAR)
        assert (await rig.ask(f"/api/v1/clients/{session.slug}", method="DELETE")).json == {
            "code": 400
        }
        session.kick = lambda: ended.append(session)
        document = (await rig.ask(f"/api/v1/clients/{session.slug}", method="DELETE")).json
        assert payload(document) == {}
        assert ended == [session]


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/api/v1/streams/none", "GET", 2048),
        ("/api/v1/clients/none", "GET", 2049),
        ("/api/v1/clients/none", "DELETE", 2049),
        ("/api/v1/clients/", "DELETE", 2049),
        ("/api/v1/vhosts/none", "GET", 2014),
    ],
)
async def test_api_what_is_not_there_is_a_code_with_status_200(
    tmp_path: Path, path: str, method: str, code: int
) -> None:
    async with api_rig(tmp_path) as rig:
        reply = await rig.ask(path, method=method)
        assert (reply.status, reply.text) == (200, f'{{"code":{code}}}')


@pytest.mark.parametrize(
    ("path", "key", "shape"),
    [
        ("/api/v1/summaries", "data", SUMMARIES),
        ("/api/v1/features", "data", FEATURES),
        ("/api/v1/authors", "data", {"license": str, "contributors": str}),
        ("/api/v1/versions", "data", {"major": int, "minor": int, "revision": int, "version": str}),
    ],
)
async def test_api_page_has_the_fields_that_srs_gives(
    tmp_path: Path, path: str, key: str, shape: Any
) -> None:
    async with api_rig(tmp_path) as rig:
        reply = await rig.ask(path)
        assert misfits(payload(reply.json), {key: shape}) == []
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.headers["Cache-Control"] == "no-store"
        assert ": " not in reply.text


async def test_api_vhost_is_the_one_there_is(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        rig.publish()
        (vhost,) = payload((await rig.ask("/api/v1/vhosts/")).json)["vhosts"]
        assert misfits(vhost, VHOST) == []
        single = payload((await rig.ask(f"/api/v1/vhosts/{vhost['id']}")).json)
        assert single["vhost"]["id"] == vhost["id"]
        (stream,) = (await rig.ask("/api/v1/streams/")).json["streams"]
        assert stream["vhost"] == vhost["id"]


@pytest.mark.parametrize("name", ["streams", "clients", "vhosts"])
async def test_api_list_without_slash_is_redirected_with_its_query(
    tmp_path: Path, name: str
) -> None:
    async with api_rig(tmp_path) as rig:
        reply = await rig.ask(f"/api/v1/{name}?start=1&count=2%0D%0AX:y")
        assert reply.status == 302
        assert reply.headers["Location"] == f"/api/v1/{name}/?start=1&count=2%0D%0AX:y"


async def test_api_unknown_path_lists_what_there_is(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        for path in ("/api/v1", "/api/v1/", "/api/v1/anything"):
            urls = payload((await rig.ask(path)).json)["urls"]
            assert {"versions", "summaries", "streams", "clients"} <= urls.keys()
        assert payload((await rig.ask("/api/")).json)["urls"].keys() == {"v1"}


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ("", 0, 10), ("?count=3", 0, 3), ("?start=12", 12, 3), ("?start=99", 99, 0),
        ("?start=2&count=1", 2, 1), ("?count=0", 0, 1), ("?count=-5", 0, 10), ("?start=abc", 0, 10),
        ("?count=1e9", 0, 10), ("?count=999999999", 0, 15), ("?count=99999999999999", 0, 10),
        ("?count=%EF%BC%93", 0, 10), ("?start=", 0, 10),
    ],
)  # fmt: skip
async def test_api_lists_come_in_pages(tmp_path: Path, query: str, first: int, count: int) -> None:
    async with api_rig(tmp_path) as rig:
        for number in range(15):
            rig.context.hub.declare(f"live/s{number:02}")
        document = (await rig.ask(f"/api/v1/streams/{query}")).json
        names = [stream["name"] for stream in document["streams"]]
        assert names == [f"s{number:02}" for number in range(first, first + count)][:15]
        assert document["total"] == 15


async def test_api_reading_makes_no_stream(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        for number in range(50):
            await rig.ask(f"/api/v1/streams/random{number}")
        assert rig.context.hub.streams == {}


def test_video_shape_of_hevc_names_profile_and_level() -> None:
    config = H265Config(
        (bytes.fromhex("40010c01ffff01600000030090000003000003003f959809"),),
        (
            bytes.fromhex(
                "42010101600000030090000003000003003fa00502016965959a4932bc05a02000000300200000030321"
            ),
        ),
        (bytes.fromhex("4401c172b46240"),),
    )
    assert video_shape(Track(1, config)) == {
        "codec": "HEVC", "profile": "Main", "level": "2.1", "width": 640, "height": 360,
    }  # fmt: skip


def test_audio_shape_of_opus_has_no_profile() -> None:
    shape = audio_shape(Track(1, OpusConfig()))
    assert shape == {"codec": "Opus", "sample_rate": 48_000, "channel": 2, "profile": None}


def test_encode_writes_floats_with_two_decimals_and_escapes_text() -> None:
    value = {"a": 0.5, "b": [1.0, 2.006, 3, True, None], "c": '</script>"\n', "d": {}}
    assert encode(value) == ('{"a":0.50,"b":[1.00,2.01,3,true,null],"c":"</script>\\"\\n","d":{}}')


def test_sps_of_the_rig_is_real() -> None:
    assert SPS[0] & 0x1F == 7
