"""Cameras that do not answer as they should: each is told for what it is, once, without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from camera_login import Login
from fault_camera import FaultCamera, black_hole, fault_camera
from relay_site import Place, place, until
from rtsp_source import QUICK, from_camera, last_error, told

SECRET = "s3cr3t-Pa55"


async def until_error(at: Place, words: str) -> None:
    await until(lambda: re.search(words, last_error(at)))


def describe_as(body: str) -> dict[str, Any]:
    return {"edit_sdp": lambda _: body.encode()}


def without_video(sdp: bytes) -> bytes:
    head, _, rest = sdp.partition(b"m=video")
    return head + rest[rest.index(b"m=audio") :]


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "silent": ({"greets": False}, "silent: no media for 0.4 s"),
    "no media": ({"rounds": 0}, "silent: "),
    "404": ({"answers": {"DESCRIBE": "404 Not Found"}}, "refused: .*404"),
    "454": ({"answers": {"PLAY": "454 Session Not Found"}}, "refused: .*454"),
    "461": ({"refuses": {"TCP": "461 Unsupported Transport"}}, "refused: .*461"),
    "503": ({"answers": {"SETUP": "503 Service Unavailable"}}, "refused: .*503"),
    "no sdp": (describe_as(""), "garbage: |refused: "),
    "html": (describe_as("<html>"), "garbage: |refused: "),
    "no tracks": (describe_as("v=0\r\ns=-\r\nt=0 0\r\n"), "refused: |garbage: "),
    "no codec": (
        {"edit_sdp": lambda sdp: re.sub(rb"H264/|mpeg4-generic/", b"X-SECRET/", sdp)},
        "refused: |garbage: ",
    ),
    "1000 medias": (
        describe_as("v=0\r\ns=-\r\nt=0 0\r\n" + "m=video 0 RTP/AVP 96\r\n" * 1000),
        "garbage: ",
    ),
    "1 MiB": (describe_as("v=0\r\ns=" + "x" * (1 << 20)), "garbage: "),
    "silent video": ({"silent_tracks": {0}}, "silent: video track silent"),
    "silent sound": ({"silent_tracks": {1}}, "silent: audio track silent"),
    "swallowed": ({"swallows": {"TCP"}}, "silent: "),
    "redirect to a file": ({"redirect": "file:///etc/passwd"}, "redirected to what is no RTSP"),
    "redirect to the web": ({"redirect": "http://127.0.0.1/"}, "redirected to what is no RTSP"),
    "redirect in a circle": (
        {"redirect": "rtsp://127.0.0.1:{port}/live/main"},
        "redirected more than 3 times",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_pull_of_a_faulty_camera_tells_what_it_is(name: str) -> None:
    switches, words = FAULTS[name]
    async with (
        fault_camera(**switches) as camera,
        place(from_camera(camera), serves=False, pulls=QUICK) as edge,
    ):
        await until_error(edge, words)
        await until(lambda: camera.connections >= 2)
        assert camera.most_playing <= 1
    assert not camera.open


async def test_pull_of_a_camera_that_is_off_is_tried_again() -> None:
    async with fault_camera() as camera:
        stream = from_camera(camera)
        await camera.power_off()
        async with place(stream, serves=False, pulls=QUICK) as edge:
            await until_error(edge, "unreachable: connection refused")
            await camera.power_on()
            await until(lambda: edge.stream.is_live)


async def test_pull_of_a_black_hole_ends_by_the_clock() -> None:
    async with black_hole() as port:
        camera = FaultCamera(port=port)
        async with place(from_camera(camera), serves=False, pulls=QUICK) as edge:
            await until_error(edge, "silent: no media for 0.4 s|unreachable: ")


@pytest.mark.parametrize("scheme", ["Basic", "MD5", "SHA-256"])
async def test_pull_shows_its_password_as_the_camera_wants_it(scheme: str) -> None:
    login = Login(password=SECRET, schemes=(scheme,))
    async with fault_camera(login=login) as camera:
        stream = from_camera(camera, login=f"admin:{SECRET}@")
        async with place(stream, serves=False) as edge:
            await until(lambda: edge.stream.is_live)
            assert camera.connections == 1
            assert login.refused == 1
            if scheme != "Basic":
                assert not any(SECRET in one for one in camera.shown)


async def test_pull_takes_the_strongest_login_of_several() -> None:
    login = Login(schemes=("Basic", "MD5", "SHA-256"))
    async with fault_camera(login=login) as camera:
        stream = from_camera(camera, login="admin:s3cret@")
        async with place(stream, serves=False) as edge:
            await until(lambda: edge.stream.is_live)
    assert {one.partition(" ")[0] for one in camera.shown} == {"Digest"}


@pytest.mark.parametrize("says_stale", [True, False])
async def test_pull_renews_its_login_when_a_nonce_runs_out(says_stale: bool) -> None:
    login = Login(nonce_uses=2, says_stale=says_stale)
    async with fault_camera(login=login) as camera:
        stream = from_camera(camera, login="admin:s3cret@")
        async with place(stream, serves=False) as edge:
            await until(lambda: edge.stream.is_live)
            assert camera.connections == 1
            assert login.refused == 2


@pytest.mark.parametrize("shifty", [False, True])
async def test_pull_whose_password_is_wrong_is_told_and_does_not_storm(
    shifty: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    login = Login(never=True, shifty=shifty)
    async with fault_camera(login=login) as camera:
        stream = from_camera(camera, login=f"admin:{SECRET}@")
        async with place(stream, serves=False, pulls=QUICK) as edge:
            await until_error(edge, "login: wrong user or password .*401")
            assert login.refused <= 3 * camera.connections
            assert SECRET not in told(edge) + caplog.text


async def test_pull_without_a_password_is_told_that_one_is_wanted() -> None:
    async with (
        fault_camera(login=Login()) as camera,
        place(from_camera(camera), serves=False, pulls=QUICK) as edge,
    ):
        await until_error(edge, "login: it wants a user and password .*401")
        assert not camera.shown


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_pull_follows_a_redirect_and_shows_its_password_on_the_same_host_only(
    host: str,
) -> None:
    async with fault_camera(login=Login()) as last, fault_camera(login=Login()) as first:
        first.redirect = f"rtsp://{host}:{last.port}/live/main"
        stream = from_camera(first, login="admin:s3cret@")
        async with place(stream, serves=False, pulls=QUICK) as edge:
            if host == "127.0.0.1":
                await until(lambda: edge.stream.is_live)
                assert last.shown
            else:
                await until_error(edge, "login: it wants a user and password .*401")
                assert last.asked
                assert not last.shown


@pytest.mark.parametrize(
    "switches",
    [
        {"content_base": ""},
        {"content_base": "rtsp://0.0.0.0/other/"},
        {"content_base": "nonsense \x7f"},
        {"content_base": "http://127.0.0.1/"},
        {"session_tail": ""},
        {"session_tail": ";timeout=0"},
        {"session_tail": ";timeout=1000000000"},
        {"session_tail": ";timeout=-1;x=y"},
        {"public": ""},
        {"public": "PLAY"},
        {"answers": {"OPTIONS": "404 Not Found"}},
        {"answers": {"GET_PARAMETER": "501 Not Implemented"}},
        {"answers": {"GET_PARAMETER": ""}},
        {"dribble_bytes": 7, "speed": 0.5},
        {"between": b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"},
        {"between": b"OPTIONS * RTSP/1.0\r\nCSeq: 77\r\n\r\n"},
        {"between": b"SET_PARAMETER x RTSP/1.0\r\nCSeq: 9\r\nContent-Length: 3\r\n\r\n$\0\0"},
        {"between": b"$\x63\x00\x05hello$\x01\x00\x00"},
        {"between": bytes(20)},
        {"payload_types": {0: 111}},
        {"edit_sdp": lambda sdp: re.sub(rb";sprop[^\r]*", b"", sdp)},
        {"edit_sdp": lambda sdp: sdp.replace(b"\r\n", b"\n")},
        {"edit_sdp": lambda sdp: sdp + b"m=application 0 RTP/AVP 107\r\na=control:trackID=9\r\n"},
        {"ntp_of": lambda _: 0},
        {"ntp_of": lambda unix_us: unix_us * 7919 & (1 << 64) - 1},
        {"ntp_of": lambda _: (1 << 64) - 1},
        {"reports_s": 1e9},
        {"before_wrap_s": 0.3, "first_sequence": 65_500},
    ],
    ids=range(28),
)
async def test_pull_of_an_odd_camera_brings_its_picture_and_sound(
    switches: dict[str, Any],
) -> None:
    """What is odd is no fault: both tracks come as long as they are sent, on one connection."""
    async with (
        fault_camera(**switches) as camera,
        place(from_camera(camera), serves=False) as edge,
    ):
        await until(lambda: edge.stream.is_live)
        stats = edge.stream.stats
        await until(lambda: len(stats) == 2 and all(one.units > 25 for one in stats.values()))
        assert not last_error(edge)
        assert camera.connections == 1
        stamps = [unit.dts_us for unit in edge.stream.units.items if unit.track.id == 1]
        assert max(b - a for a, b in zip(stamps, stamps[1:], strict=False)) < 100_000


async def test_pull_keeps_a_session_alive_whose_camera_forgets_soon() -> None:
    """By what the camera has; every answer is as good as any."""
    async with (
        fault_camera(session_tail=";timeout=1") as camera,
        place(from_camera(camera), serves=False) as edge,
    ):
        await until(lambda: edge.stream.is_live)
        await until(lambda: camera.methods().count("GET_PARAMETER") >= 2)
        assert camera.connections == 1


@pytest.mark.parametrize("when", ["before", "while it plays"])
async def test_pull_of_what_never_makes_sense_is_left(when: str) -> None:
    """100 MB without a frame or a message, as fast as it is taken."""
    poured = 0

    async def pour(camera: FaultCamera) -> None:
        nonlocal poured
        while poured < 100 << 20:
            camera.say(b"x" * 65_536)
            await asyncio.gather(*(visit.writer.drain() for visit in camera.open))
            poured += 65_536
            await asyncio.sleep(0)

    async with (
        fault_camera(rounds=int(when != "before"), greets=when != "before") as camera,
        place(from_camera(camera), serves=False, pulls=QUICK) as edge,
    ):
        await until(lambda: camera.open if when == "before" else edge.stream.is_live)
        task = asyncio.create_task(pour(camera))
        try:
            await until_error(edge, "garbage: |silent: ")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert json.loads(told(edge))


async def test_pull_says_goodbye_when_nobody_watches() -> None:
    async with fault_camera() as camera, place(from_camera(camera), serves=False) as edge:
        await until(lambda: edge.stream.is_live)
    assert camera.methods()[-1] == "TEARDOWN"
    assert not camera.open
