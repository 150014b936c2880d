"""The camera that tests use is one that others can play from, and its faults are what they say."""

from __future__ import annotations

import asyncio
import json

import pytest
from camera_film import burst, film, weather
from camera_login import Login
from fault_camera import black_hole, fault_camera

from appliance.wire.rtsp.credentials import ClientAuth


async def probe(url: str, transport: str) -> dict[str, int]:
    """Packets of a second by codec, as ffprobe reads them; it complains about nothing."""
    words = f"-v error -rtsp_transport {transport} -count_packets"
    words += " -show_entries stream=codec_name,nb_read_packets -read_intervals %+1 -of json"
    process = await asyncio.create_subprocess_exec(
        *("ffprobe", *words.split(), url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, errors = await asyncio.wait_for(process.communicate(), 20)
    except TimeoutError:
        process.kill()
        said, errors = await process.communicate()
    assert not errors, errors.decode()
    return {one["codec_name"]: int(one["nb_read_packets"]) for one in json.loads(said)["streams"]}


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_camera_plays_to_ffprobe(transport: str) -> None:
    async with fault_camera(speed=3) as camera:
        found = await probe(camera.url(), transport)
        assert found["h264"] >= 25
        assert found["aac"] >= 40
        assert camera.methods()[:5] == ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
        assert (camera.connections, camera.plays, camera.most_playing) == (1, 1, 1)
        assert set(camera.sent) == {"units", transport.upper()}


@pytest.mark.parametrize("scheme", ["Basic", "MD5"])
async def test_camera_with_a_login_lets_ffprobe_in_by_it(scheme: str) -> None:
    login = Login(schemes=(scheme,))
    async with fault_camera(speed=3, login=login) as camera:
        assert (await probe(camera.url(login="admin:s3cret@"), "tcp"))["h264"] >= 25
        assert (login.refused, login.proven) == (1, len(camera.shown))
        assert {one.partition(" ")[0] for one in camera.shown} <= {"Basic", "Digest"}


def test_login_takes_sha_256_and_says_when_a_nonce_is_used_up() -> None:
    login = Login(schemes=("SHA-256",), nonce_uses=2)
    auth = ClientAuth(login.user, login.password, bytes(range(32)))

    def ask() -> str:
        return "; ".join(login.refusal("PLAY", auth.header("PLAY", "rtsp://c/")))

    assert auth.challenge([ask().partition(": ")[2]])
    assert [ask(), ask()] == ["", ""]
    assert ask().endswith("stale=true")
    assert login.refusal("PLAY", "") != ()


def test_weather_loses_doubles_and_delays_what_it_is_told_to() -> None:
    packets = [bytes((number,)) for number in range(200)]
    assert weather(1)(0)(packets) == packets
    assert 150 < len(weather(1, loss=0.1)(0)(packets)) < 195
    doubled = weather(1, duplicate=0.5)(0)(packets)
    assert sorted(set(doubled)) == packets
    assert len(doubled) > 250
    late = weather(1, late=0.1)(0)(packets)
    assert late != packets
    assert sorted(late)[:150] == packets[:150]
    blow = burst(10, 20)(0)
    assert [*blow(packets[:15]), *blow(packets[15:])] == packets[:10] + packets[30:]


def test_film_runs_on_without_a_step_from_round_to_round() -> None:
    made = film("h264-small+aac")
    takes = [take for take in made.run(3) if take.track == 0]
    steps = [b.at_us - a.at_us for a, b in zip(takes, takes[1:], strict=False)]
    assert len(takes) == 270
    assert max(steps) < 80_000
    assert min(steps) > 0


async def test_black_hole_takes_no_connection() -> None:
    async with black_hole() as port:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.open_connection("127.0.0.1", port)
