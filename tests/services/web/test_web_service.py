"""The pages, their files and the figures, asked for over loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.hub.access import Access, AuthSettings, Policy
from appliance.hub.accounts import Account, Accounts, Action, digest_key, make_key
from appliance.hub.addresses import source_of
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.media.aac import AacConfig
from appliance.media.track import Codec, Kind, Track
from appliance.media.unit import AccessUnit
from appliance.net.http import HttpServer, HttpSettings, Router
from appliance.net.supervisor import Supervisor
from appliance.services import web
from appliance.services.contract import Context, StreamSettings
from appliance.services.web.assets import FOLDER, takes_gzip

AUDIO = Track(2, AacConfig.lc(48_000, 2), 48_000)


@dataclass(frozen=True, slots=True)
class PictureConfig:
    kind: Kind = Kind.VIDEO
    codec: Codec = Codec.H264
    rfc6381: str = "avc1.42E01E"
    width_px: int = 1280
    height_px: int = 720
    fps: float | None = 30.0


VIDEO = Track(1, PictureConfig())


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Device:
    context: Context
    server: HttpServer
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    async def get(self, target: str, *headers: str, method: str = "GET") -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        lines = [f"{method} {target} HTTP/1.1", "Connection: close", *headers]
        if not any(line.startswith("Host:") for line in headers):
            lines.append(f"Host: 127.0.0.1:{self.server.port}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            async with asyncio.timeout(10):
                answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in rest]
        return Answer(int(first.split()[1]), dict(pairs), body)


@asynccontextmanager
async def device(
    *streams: StreamSettings,
    play: Policy = Policy.LAN,
    state: Path | None = None,
    name: str = "front-door",
    settings: web.Settings | None = None,
    listen: str = "127.0.0.1:0",
) -> AsyncIterator[Device]:
    context = Context(
        hub=Hub(),
        router=Router(),
        access=Access(AuthSettings(play=play), state),
        sessions=Sessions(),
        faults=Faults(),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name=name,
        streams=streams,
    )
    service = web.create(settings or web.Settings(), context)
    await service.start()
    server = HttpServer(context.router, HttpSettings(listen=(listen,)))
    await server.start()
    try:
        yield Device(context, server)
    finally:
        await service.stop()
        await server.stop(1)


def publish_second(context: Context, name: str, fps: int = 30) -> None:
    """One second of picture and sound; the lease is kept."""
    publisher = context.hub.publish(name, "test#1")
    publisher.describe((VIDEO, AUDIO))
    for frame in range(fps):
        at_us = frame * 1_000_000 // fps
        publisher.write(AccessUnit(VIDEO, at_us, at_us, frame == 0, (bytes(4000),)))
        publisher.write(AccessUnit(AUDIO, at_us, at_us, True, (bytes(200),)))


# -- pages -----------------------------------------------------------------------------------------


async def test_web_pages_carry_a_policy_without_inline_or_foreign_content() -> None:
    async with device(StreamSettings("live/camera")) as here:
        for path, status in (("/", 200), ("/live/camera", 200), ("/live/nobody", 404)):
            answer = await here.get(path)
            assert answer.status == status
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy and "http" not in policy and "*" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            assert " style=" not in answer.text
            assert re.search(r"<script(?![^>]* src=)", answer.text) is None
            assert re.search(r"\son[a-z]+=", answer.text) is None
            assert re.search(r"(?:src|href)=\"(?!/)", answer.text) is None


async def test_web_every_file_a_page_names_is_there() -> None:
    async with device(StreamSettings("live/camera")) as here:
        for page in ("/", "/live/camera", "/live/nobody"):
            answer = await here.get(page)
            for path in re.findall(r"(?:src|href)=\"(/web/[^\"]+)\"", answer.text):
                assert (await here.get(path)).status == 200, path


async def test_web_every_module_a_script_imports_is_there() -> None:
    async with device() as here:
        base = f"/web/{(await here.get('/web/streams.json')).json['page']}"
        for file in FOLDER.glob("*.js"):
            for name in re.findall(r"(?:from '|import\(`)\./([\w./]+)", file.read_text()):
                assert (await here.get(f"{base}/{name}")).status == 200, (file.name, name)


async def test_web_device_name_is_escaped_where_it_stands() -> None:
    async with device(name='a"<b>&') as here:
        assert "a&quot;&lt;b&gt;&amp;" in (await here.get("/")).text
        assert (await here.get("/web/manifest.webmanifest")).json["name"] == 'a"<b>&'


@pytest.mark.parametrize(
    "path",
    [
        "/<script>alert(1)</script>", "/%3Cimg%20src=x%20onerror=alert(1)%3E", "/live/%22onload=x",
        "/live//camera", "/live/../camera", "/%2e%2e%2fetc/passwd", "/.hidden", "/-rf", "/a%00b",
        "/a%0d%0aX:y", "/..%c0%af", "/" + "a" * 129, "/a/b/c/d/e", "/a%20b", "/%E2%80%AEabc",
        "/live/camera/", "/live/cam.flv", "/web/../web/style.css", "/web/nothing.js", "/web/",
        "/web/..%2f..%2fservices%2fcontract.py", "/web/package.json", "/web/vendor.sh",
        "/web/device.html", "/web/000000000000/style.css",
    ],
)  # fmt: skip
async def test_web_path_of_nothing_is_refused_without_being_repeated(path: str) -> None:
    async with device(StreamSettings("live/camera")) as here:
        answer = await here.get(path)
    assert answer.status in {400, 404}
    assert b"<script>alert" not in answer.body and b"onerror" not in answer.body
    assert here.context.hub.streams == {}


async def test_web_page_of_a_stream_exists_while_it_is_configured_or_published() -> None:
    async with device(StreamSettings("live/later"), StreamSettings("x", enabled=False)) as here:
        publish_second(here.context, "239.1.1.1:1234")
        assert (await here.get("/live/later")).status == 200
        assert (await here.get("/239.1.1.1:1234")).status == 200
        assert (await here.get("/x")).status == 404
        missing = await here.get("/live/nobody")
    assert missing.status == 404 and "There is no stream live/nobody" in missing.text


async def test_web_head_answers_as_get_does_without_a_body() -> None:
    async with device(StreamSettings("live/camera")) as here:
        for path in ("/", "/live/camera", "/live/nobody", "/web/style.css", "/web/streams.json"):
            got, head = await here.get(path), await here.get(path, method="HEAD")
            assert (head.status, head.body) == (got.status, b"")
            for name in ("Content-Type", "Content-Length", "Cache-Control", "ETag"):
                assert name == "Content-Length" or head.headers.get(name) == got.headers.get(name)


async def test_web_disabled_serves_nothing() -> None:
    async with device(settings=web.Settings(enabled=False)) as here:
        for path in ("/", "/live/camera", "/web/style.css", "/web/streams.json"):
            assert (await here.get(path)).status == 404


# -- files -----------------------------------------------------------------------------------------


async def test_web_file_of_a_version_is_kept_for_ever_and_others_are_asked_for_again() -> None:
    async with device() as here:
        version = (await here.get("/web/streams.json")).json["page"]
        fixed = await here.get(f"/web/{version}/style.css")
        loose = await here.get("/web/style.css")
    assert "immutable" in fixed.headers["Cache-Control"]
    assert loose.headers["Cache-Control"] == "no-cache"
    assert fixed.body == loose.body == (FOLDER / "style.css").read_bytes()
    assert fixed.headers["Content-Type"] == "text/css; charset=utf-8"


async def test_web_file_goes_out_gzipped_to_whoever_takes_that() -> None:
    async with device() as here:
        packed = await here.get("/web/vendor/hls.mjs", "Accept-Encoding: br, gzip")
        plain = await here.get("/web/vendor/hls.mjs", "Accept-Encoding: gzip;q=0")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert len(packed.body) < len(plain.body) // 2
    assert gzip.decompress(packed.body) == plain.body


async def test_web_file_known_to_the_client_is_not_sent_again() -> None:
    async with device() as here:
        etag = (await here.get("/web/style.css")).headers["ETag"]
        for tags in (etag, f'"other", {etag}', "*"):
            answer = await here.get("/web/style.css", f"If-None-Match: {tags}")
            assert (answer.status, answer.body) == (304, b"")
            assert answer.headers["ETag"] == etag
        assert (await here.get("/web/style.css", 'If-None-Match: "other"')).status == 200


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        ("gzip", True), ("gzip, deflate, br", True), ("GZIP;q=0.5", True), ("*", True),
        ("gzip, identity;q=1, *;q=0", True), ("", False), ("identity", False), ("br", False),
        ("gzip;q=0", False), ("gzip; q=0.000, br", False), ("*;q=0", False),
    ],
)  # fmt: skip
def test_web_accept_encoding_says_whether_gzip_is_taken(accept: str, takes: bool) -> None:
    assert takes_gzip(accept) is takes


# -- figures ---------------------------------------------------------------------------------------


async def test_web_streams_tell_what_a_stream_is_and_does() -> None:
    async with device(StreamSettings("live/camera")) as here:
        publish_second(here.context, "live/camera")
        session = here.context.sessions.open("hls", "hls-play", "192.168.1.9")
        session.stream = "live/camera"
        answer = await here.get("/web/streams.json")
        [row] = answer.json["streams"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json["device"] == "front-door"
    assert row["name"] == "live/camera" and row["online"] is True
    assert row["video"] == {
        "codec": "h264", "rfc6381": "avc1.42E01E", "width_px": 1280, "height_px": 720,
        "rotation_deg": 0, "fps": 30.0,
    }  # fmt: skip
    assert row["audio"]["codec"] == "aac" and row["audio"]["channels"] == 2
    assert row["viewers"] == 1 and row["bitrate_bps"] > 0 and 0 <= row["age_ms"] < 10_000
    assert row["urls"] == {"page": "/live/camera", "hls": "/live/camera.m3u8"}
    assert row["forwards"] == []


async def test_web_streams_tell_how_destinations_do_and_nothing_of_where_they_are() -> None:
    async with device(StreamSettings("live/camera")) as here:
        made = {"stream": "live/camera", "url": "rtmp://origin/live/***", "last_error": "no"}
        other = {"stream": "live/other", "state": "live"}
        here.context.reports["forward"] = lambda: [
            made | {"state": "live"}, made | {"state": "waiting"}, other
        ]  # fmt: skip
        answer = await here.get("/web/streams.json")
        [row] = answer.json["streams"]
    assert row["forwards"] == ["live", "waiting"]
    assert "origin" not in answer.text


async def test_web_streams_name_destinations_to_who_may_read_them_in_the_api(
    tmp_path: Path,
) -> None:
    async with device(StreamSettings("live/camera"), state=tmp_path) as here:
        owner_key = here.context.access.make_owner()
        place = {"name": "origin/live", "state": "waiting", "bytes": 7, "lag_ms": 0}
        place |= {"stream": "live/camera", "last_error": "refused"}
        here.context.reports["forward"] = lambda: [
            place | {"attempts": 3}, place | {"stream": "live/other"}
        ]  # fmt: skip
        answer = await here.get("/web/streams.json", f"Authorization: Bearer {owner_key}")
        [row] = answer.json["streams"]
        stranger = await here.get("/web/streams.json")
    assert row["destinations"] == [place]
    assert "origin" not in stranger.text


PULL = {
    "stream": "live/camera",
    "from": "rtsp://10.1.2.3/live",
    "state": "waiting",
    "last_error": "login: wrong user or password (DESCRIBE: 401 cam-7)",
    "fault": "login",
    "retry_s": 63.4,
}


async def test_web_streams_tell_why_a_source_is_away_and_its_words_to_who_may_read_the_api(
    tmp_path: Path,
) -> None:
    async with device(StreamSettings("live/camera"), state=tmp_path) as here:
        owner_key = here.context.access.make_owner()
        here.context.reports["pull"] = lambda: [PULL]
        stranger = await here.get("/web/streams.json")
        answer = await here.get("/web/streams.json", f"Authorization: Bearer {owner_key}")
    assert stranger.json["streams"][0]["fault"] == {"reason": "login", "retry_s": 63}
    assert "cam-7" not in stranger.text and "10.1.2.3" not in stranger.text + answer.text
    assert answer.json["streams"][0]["fault"]["detail"] == PULL["last_error"]


async def test_web_streams_tell_no_fault_of_a_source_that_is_well(tmp_path: Path) -> None:
    async with device(StreamSettings("live/camera")) as here:
        here.context.reports["pull"] = lambda: [PULL | {"fault": "", "retry_s": None}]
        answer = await here.get("/web/streams.json")
    assert answer.json["streams"][0]["fault"] is None


class Camera:
    """Tells of itself what it is told to."""

    name, stream_name = "camera", "live/camera"

    def __init__(self, **about: Any) -> None:
        self.about = about

    def describe(self) -> dict[str, Any]:
        return self.about

    async def change(self, values: Any) -> None:
        raise NotImplementedError

    async def picture(self, ask: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("about", "row"),
    [
        (
            {"state": "live", "source": "v4l2", "encoder": "camera", "device": "/dev/video0",
             "last_fault": "it was unplugged", "controls": {"gain": {}},
             "recovery": {"rung": "kill", "why": "no picture for 10.0 s", "back": None}},
            {"encoder": "camera", "picture": True},
        ),
        (
            {"state": "live", "ladder": {"step": 2, "reason": "too slow"}, "source": "file"},
            {"slowed": "too slow"},
        ),
        ({"state": "live", "ladder": {"step": 0, "reason": "too slow"}}, {}),
        ({"state": "off", "enabled": False, "hours": ["07:00-22:00"]},
         {"why": "somebody switched it off"}),
        ({"state": "off", "enabled": True, "hours": ["07:00-22:00"]},
         {"why": "it captures 07:00-22:00"}),
        (
            {"state": "lost", "placeholder": "camera lost, retrying: it was unplugged",
             "recovery": {"rung": None}},
            {"why": "it was unplugged"},
        ),
        (
            {"state": "lost", "last_fault": "an old one",
             "recovery": {"rung": "encoder", "why": "no picture for 4.0 s", "back": None}},
            {"why": "no picture for 4.0 s", "rung": "encoder"},
        ),
        (
            {"state": "lost", "last_fault": "an old one",
             "recovery": {"rung": "encoder", "why": "x", "back": "picture is back"}},
            {"why": "an old one"},
        ),
        ({"state": "starting", "ladder": 5, "recovery": 7}, {}),
    ],
)  # fmt: skip
async def test_web_streams_tell_viewers_what_is_the_matter_with_a_camera_and_no_more(
    about: dict[str, Any], row: dict[str, Any]
) -> None:
    nothing = {"why": None, "rung": None, "encoder": None, "slowed": None, "picture": False}
    async with device(StreamSettings("live/camera", "pattern:")) as here:
        here.context.cameras.add(Camera(**about))
        answer = await here.get("/web/streams.json")
    [shown] = answer.json["streams"]
    assert shown["camera"] == {"name": "camera", "state": about["state"], **nothing, **row}
    assert "/dev/video0" not in answer.text and "controls" not in answer.text


async def test_web_streams_tell_a_slate_from_media() -> None:
    async with device(StreamSettings("live/camera", "pattern:")) as here:
        here.context.hub.publish("live/camera", "slate", placeholder="camera off")
        publish_second(here.context, "live/other")
        [row, other] = (await here.get("/web/streams.json")).json["streams"]
    assert (row["placeholder"], row["age_ms"]) == ("camera off", None)
    assert other["placeholder"] == ""


async def test_web_streams_show_the_measured_rate_of_a_slow_camera() -> None:
    async with device() as here:
        publish_second(here.context, "live/slow", fps=12)
        [row] = (await here.get("/web/streams.json")).json["streams"]
    assert row["video"]["fps"] == 12.0


async def test_web_streams_list_what_is_configured_and_not_there() -> None:
    async with device(StreamSettings("a", on_demand=True), StreamSettings("b")) as here:
        publish_second(here.context, "c")
        rows = (await here.get("/web/streams.json")).json["streams"]
    assert [(row["name"], row["online"], row["on_demand"]) for row in rows] == [
        ("a", False, True), ("b", False, False), ("c", True, False),
    ]  # fmt: skip
    assert rows[0]["video"] is None and rows[0]["age_ms"] is None


async def test_web_streams_are_hidden_from_whoever_may_not_play(tmp_path: Path) -> None:
    key = make_key()
    Accounts(tmp_path).add(
        Account("some", frozenset({Action.PLAY}), ("live/a",), key_digest=digest_key(key))
    )
    async with device(
        StreamSettings("live/a"), StreamSettings("live/b"), play=Policy.KEY, state=tmp_path
    ) as here:
        nobody = await here.get("/web/streams.json")
        wrong = await here.get("/web/streams.json", "Authorization: Bearer wrong")
        friend = await here.get("/web/streams.json", f"Authorization: Bearer {key}")
    assert (nobody.status, wrong.status) == (401, 401)
    # Basic would make browsers show a dialog of their own in place of the page's.
    assert nobody.headers["WWW-Authenticate"].startswith("Bearer")
    assert b"live/" not in nobody.body + wrong.body
    assert [row["name"] for row in friend.json["streams"]] == ["live/a"]


async def test_web_a_wrong_key_counts_as_one_guess_however_many_streams(tmp_path: Path) -> None:
    streams = [StreamSettings(f"live/{number}") for number in range(30)]
    async with device(*streams, play=Policy.KEY, state=tmp_path) as here:
        await here.get("/web/streams.json", "Authorization: Bearer wrong")
        # Five guesses are free; thirty would have to wait.
        assert here.context.access.attempts.wait_us(source_of("127.0.0.1")) == 0


async def test_web_pages_do_not_tell_strangers_which_streams_exist() -> None:
    async with device(StreamSettings("live/garden"), play=Policy.KEY) as here:
        there, missing = await here.get("/live/garden"), await here.get("/live/nobody")
    assert (there.status, missing.status) == (200, 200)
    assert there.text.replace("garden", "") == missing.text.replace("nobody", "")


async def test_web_asking_for_made_up_names_leaves_nothing_behind() -> None:
    async with device() as here:
        for number in range(300):
            assert (await here.get(f"/live/none-{number}")).status == 404
        assert here.context.hub.streams == {}


async def test_web_lan_address_is_told_on_loopback_only_and_only_if_it_answers() -> None:
    async with device() as here:
        for host in ("127.0.0.1", "localhost:1", "[::1]:8080", "127.9.9.9"):
            local = await here.get("/web/streams.json", f"Host: {host}")
            assert local.json["address"] == ""  # this server listens on loopback alone
        for host in ("front-door.local", "192.168.1.7:8080", "localhost.lan"):
            named = await here.get("/web/streams.json", f"Host: {host}")
            assert named.json["address"] is None


async def test_web_tells_the_port_of_rtsp_if_there_is_one() -> None:
    async with device() as here:
        assert (await here.get("/web/streams.json")).json["rtsp_port"] is None
        here.context.listening["rtsp"] = ("[::]:8554", "127.0.0.1:9554")
        assert (await here.get("/web/streams.json")).json["rtsp_port"] == 8554


async def test_web_lan_address_of_a_server_on_all_interfaces_answers() -> None:
    async with device(listen=":0") as here:
        address = (await here.get("/web/streams.json")).json["address"]
        if address:  # empty on a machine without a network
            _, writer = await asyncio.open_connection(address, here.server.port)
            writer.close()
