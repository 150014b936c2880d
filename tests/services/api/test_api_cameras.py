"""/api/v1/cameras: who sees and changes which camera, and how refusals read."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_rig import BenchCamera, Rig, api_rig

from appliance.errors import ConfigError, StreamNotFound
from appliance.hub.accounts import Account, Accounts, Action, digest_key

PATH = "/api/v1/cameras/"
DOOR_KEY = "D" * 22


def with_cameras(rig: Rig, *names: str) -> list[BenchCamera]:
    cameras = [BenchCamera(name) for name in names or ("live/front", "live/door")]
    for camera in cameras:
        rig.context.cameras.add(camera)
    return cameras


async def test_cameras_are_listed_and_found_by_either_name(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        assert (await rig.ask(PATH)).json["cameras"] == []
        with_cameras(rig)
        reply = (await rig.ask(PATH)).json
        assert reply["code"] == 0 and reply["server"].startswith("vid-") and reply["total"] == 2
        assert reply["cameras"][0] == {
            "name": "front", "stream": "live/front", "device": "/dev/video0", "fps": 30,
        }  # fmt: skip
        for name in ("door", "live/door"):
            assert (await rig.ask(PATH + name)).json["camera"]["stream"] == "live/door"
        moved = await rig.ask("/api/v1/cameras?x=1")
        assert moved.status == 302 and moved.headers["Location"] == f"{PATH}?x=1"


async def test_cameras_figures_keep_their_digits(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        with_cameras(rig)[0].state = {"controls": {"gain": {"step": 0.001}}, "reason": "é\u202e"}
        reply = await rig.ask(f"{PATH}front")
        assert reply.json["camera"]["controls"]["gain"]["step"] == 0.001
        assert reply.text.isascii() and reply.headers["Cache-Control"] == "no-store"


async def test_cameras_unknown_one_is_404_and_says_which_there_are(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        with_cameras(rig)
        for method in ("GET", "PATCH"):
            reply = await rig.ask(f"{PATH}back", method=method)
            assert reply.status == 404
            assert reply.json == {
                "code": 404, "error": "there is no camera back; there are front, door",
            }  # fmt: skip


async def test_cameras_change_takes_all_values_at_once_and_shows_the_result(
    tmp_path: Path,
) -> None:
    async with api_rig(tmp_path) as rig:
        front, door = with_cameras(rig)
        body = {"fps": 15, "bitrate": "1500k", "keyframe": "2s", "controls": {"brightness": 10}}
        reply = await rig.ask(f"{PATH}front", method="PATCH", json=body)
        assert reply.status == 200 and reply.json["code"] == 0
        assert reply.json["camera"]["fps"] == 15
        assert front.changes == [
            {"fps": 15, "bitrate": 1_500_000, "keyframe": 2_000_000, "controls": {"brightness": 10}}
        ]
        assert door.changes == []


async def test_cameras_one_wrong_value_changes_nothing(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        front, _ = with_cameras(rig)
        for body in ({"fps": 15, "bitrate": 5}, {"text": "x", "colour": "red"}, {}, [], 5):
            reply = await rig.ask(f"{PATH}front", method="PATCH", json=body)
            assert reply.status == 400 and reply.json["code"] == 400
        assert front.changes == []
        front.refusal = ConfigError("brightness = 900: must be from -64 to 64")
        reply = await rig.ask(
            f"{PATH}front", method="PATCH", json={"controls": {"brightness": 900}}
        )
        assert reply.status == 400
        assert reply.json["error"] == "brightness = 900: must be from -64 to 64"


async def test_cameras_whose_worker_ends_meanwhile_is_503(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        front, _ = with_cameras(rig)
        front.refusal = StreamNotFound("the camera has stopped")
        reply = await rig.ask(f"{PATH}front", method="PATCH", json={"fps": 5})
        assert reply.status == 503 and reply.json["error"] == "the camera has stopped; try again"


async def test_cameras_that_does_not_answer_is_503(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        front, _ = with_cameras(rig)
        front.refusal = TimeoutError()
        reply = await rig.ask(f"{PATH}front", method="PATCH", json={"fps": 5})
        assert reply.status == 503 and "does not answer" in reply.json["error"]
        assert rig.context.faults.counts["http", "internal error"] == 0


async def test_cameras_of_a_limited_key_are_those_of_its_streams(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        front, door = with_cameras(rig)
        account = Account(
            "door", frozenset({Action.API}), ("live/door",), key_digest=digest_key(DOOR_KEY)
        )
        Accounts(tmp_path).add(account)
        rig.context.access.reload()
        bearer = f"Bearer {DOOR_KEY}"
        assert [one["name"] for one in (await rig.ask(PATH, bearer)).json["cameras"]] == ["door"]
        for name in ("front", "live/front"):
            assert (await rig.ask(PATH + name, bearer)).status == 403
            reply = await rig.ask(PATH + name, bearer, "PATCH", json={"enabled": False})
            assert reply.status == 403
        assert "front" not in (await rig.ask(f"{PATH}nope", bearer)).text
        assert front.changes == []
        reply = await rig.ask(f"{PATH}door", bearer, "PATCH", json={"enabled": False})
        assert reply.status == 200 and door.changes == [{"enabled": False}]


async def test_clients_of_other_streams_are_not_ended_by_a_limited_key(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        account = Account(
            "door", frozenset({Action.API}), ("live/door",), key_digest=digest_key(DOOR_KEY)
        )
        Accounts(tmp_path).add(account)
        rig.context.access.reload()
        ended: list[str] = []
        for name, status in (("live/front", 403), ("live/door", 200)):
            session = rig.context.sessions.open("camera", "camera-publish", "127.0.0.1")
            session.stream = name
            session.kick = lambda name=name: ended.append(name)  # type: ignore[misc]
            path = f"/api/v1/clients/{session.slug}"
            assert (await rig.ask(path, f"Bearer {DOOR_KEY}", "DELETE")).status == status
        assert ended == ["live/door"]


@pytest.mark.parametrize("role", ["", "viewer", "publisher", "Bearer wrong"])
async def test_cameras_are_for_who_may_use_the_api(tmp_path: Path, role: str) -> None:
    async with api_rig(tmp_path) as rig:
        front, _ = with_cameras(rig)
        for method, path in (("GET", PATH), ("GET", f"{PATH}front"), ("PATCH", f"{PATH}front")):
            reply = await rig.ask(path, role, method, near=True)
            assert reply.status in {401, 403} and "dev" not in reply.text
        reply = await rig.ask(f"{PATH}front", role, "PATCH", json={"fps": 5})
        assert reply.status in {401, 403} and front.changes == []


async def test_cameras_pages_of_other_sites_and_forms_change_nothing(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        front, _ = with_cameras(rig)
        path = f"{PATH}front"
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
        ):
            assert (
                await rig.ask(path, method="PATCH", json={"fps": 5}, headers=headers)
            ).status == 403
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml"):
            reply = await rig.ask(
                path, method="PATCH", data=b'{"fps": 5}', headers={"Content-Type": kind}
            )
            assert reply.status == 415
        for query in ("?method=PATCH&fps=5", "?callback=f", "?fps=5"):
            assert (await rig.ask(path + query)).text.startswith("{")
        assert (await rig.ask(path, method="POST", json={"fps": 5})).status == 405
        assert front.changes == []


@pytest.mark.parametrize(
    "body",
    [b"[" * 5000, b'{"a":' * 5000, b'{"fps":NaN}', b'{"fps":1e999}', b'{"fps":5,"fps":6}',
     b'{"text":"\\ud800"}', b"\xff\xfe", b"", b"{", b"x" * 100_000, b'{"fps":' + b"9" * 5000 + b"}",
     b'{"text":"' + b"x" * 16_000 + b'"}', b'{"fps": 5} {"fps": 6}', b'{"__proto__": {"fps": 5}}'],
)  # fmt: skip
async def test_cameras_hostile_bodies_change_nothing(tmp_path: Path, body: bytes) -> None:
    async with api_rig(tmp_path) as rig:
        front, _ = with_cameras(rig)
        headers = {"Content-Type": "application/json"}
        reply = await rig.ask(f"{PATH}front", method="PATCH", data=body, headers=headers)
        assert reply.status in {400, 413} and reply.text.isascii()
        assert front.changes == []
        assert rig.context.faults.counts["http", "internal error"] == 0
