"""Every route × every role × every method, and what pages of other sites try."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from api_rig import FAR, KEYS, api_rig

from appliance.hub.access import AuthSettings, Policy
from appliance.services.api import Settings

API_ROUTES = (
    "/api/", "/api/v1", "/api/v1/", "/api/v1/versions", "/api/v1/summaries", "/api/v1/features",
    "/api/v1/authors", "/api/v1/streams", "/api/v1/streams/", "/api/v1/streams/vid-0000000",
    "/api/v1/clients", "/api/v1/clients/", "/api/v1/clients/hls-1", "/api/v1/vhosts",
    "/api/v1/vhosts/", "/api/v1/vhosts/vid-0000000", "/api/v1/cameras", "/api/v1/cameras/",
    "/api/v1/forwards", "/api/v1/forwards/", "/api/v1/pulls", "/api/v1/pulls/",
    "/api/v1/transcodes", "/api/v1/transcodes/", "/api/v1/webrtc", "/api/v1/webrtc/",
    "/api/v1/anything", "/api/other/deep/er",
)  # fmt: skip
MONITORING = ("/healthz", "/metrics")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ROLES = {
    "": 401,
    "viewer": 403,
    "publisher": 403,
    "owner": 200,
    "Bearer wrong": 401,
    "Basic !!!": 401,
    "Basic": 401,
    "Digest x": 401,
    "bearer " + KEYS["owner"]: 200,
}


def expected(route: str, method: str, access: int) -> int:
    if method == "OPTIONS":
        return 204
    if method == "DELETE" and route.startswith("/api/v1/clients/"):
        return access
    if method == "PATCH" and route == "/api/v1/cameras/":
        return 404 if access == 200 else access  # the list is nothing to change
    if method not in {"GET", "HEAD"}:
        return 405
    lists = ("streams", "clients", "vhosts", "cameras", "forwards", "pulls", "transcodes", "webrtc")
    is_list = route in {f"/api/v1/{name}" for name in lists}
    return 302 if access == 200 and is_list else access


async def test_api_lets_each_role_do_with_each_route_what_it_may(tmp_path: Path) -> None:
    wrong = []
    for role, access in ROLES.items():
        async with api_rig(tmp_path) as rig:
            for route in (*API_ROUTES, *MONITORING):
                for method in METHODS:
                    # At the sixth wrong key the answer is 403 until a second has passed.
                    rig.clock.now_us += 70_000_000
                    reply = await rig.ask(route, role, method)
                    if reply.status != expected(route, method, access):
                        wrong.append((role, route, method, reply.status))
                    if reply.status in {401, 403} and method != "HEAD":
                        assert KEYS["owner"] not in reply.text
                        assert re.fullmatch(
                            r'\{"code": 40[13], "error": "[^"]+"\}|40[13] .*\n', reply.text
                        )
                    if reply.status == 401:
                        assert reply.headers["WWW-Authenticate"].startswith("Basic ")
                    assert "Access-Control-Allow-Origin" not in reply.headers
    assert wrong == []


async def test_api_router_holds_no_route_that_the_matrix_forgot(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        router = rig.context.router
        exact = {path for path in router._exact}
        assert exact <= {*API_ROUTES, *MONITORING}
        for prefix in router._prefix:
            assert any(route.startswith(prefix) for route in API_ROUTES)
        assert not router._suffix and not router._folder


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("near", [True, False])
async def test_api_monitoring_is_open_to_whom_the_settings_say(
    tmp_path: Path, policy: Policy, near: bool
) -> None:
    async with api_rig(tmp_path, settings=Settings(health=policy, metrics=policy)) as rig:
        is_open = policy is Policy.OPEN or (policy is Policy.LAN and near)
        for route in MONITORING:
            assert (await rig.ask(route, "", near=near)).status == (200 if is_open else 401)
            assert (await rig.ask(route, "owner", near=near)).status == 200
        assert (await rig.ask("/api/v1/versions", "", near=near)).status == 401


async def test_api_policy_of_the_api_lets_in_whom_it_says(tmp_path: Path) -> None:
    async with api_rig(tmp_path, auth=AuthSettings(api=Policy.LAN)) as rig:
        assert (await rig.ask("/api/v1/versions", "", near=True)).status == 200
        assert (await rig.ask("/api/v1/versions", "", near=False)).status == 401


async def test_api_key_may_come_as_basic_password_but_never_in_the_query(tmp_path: Path) -> None:
    from base64 import b64encode

    basic = b64encode(f"anyone:{KEYS['owner']}".encode()).decode()
    async with api_rig(tmp_path) as rig:
        assert (await rig.ask("/api/v1/versions", f"Basic {basic}")).status == 200
        for name in ("key", "token", "access_token"):
            reply = await rig.ask(f"/api/v1/versions?{name}={KEYS['owner']}", "")
            assert reply.status == 401


async def test_api_two_authorizations_are_refused(tmp_path: Path) -> None:
    from multidict import CIMultiDict

    async with api_rig(tmp_path) as rig:
        headers = CIMultiDict(
            [("Authorization", f"Bearer {KEYS['owner']}"), ("Authorization", "Bearer x")]
        )
        async with rig.client.get(f"{rig.url}/api/v1/versions", headers=headers) as response:
            assert response.status == 400


async def test_api_refusals_are_counted_and_slowed(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        answers = [(await rig.ask("/api/v1/versions", "Bearer x")).status for _ in range(8)]
        assert answers == [401] * 5 + [403] * 3
        assert rig.context.faults.counts["api", "unauthorized"] == 5
        assert rig.context.faults.counts["api", "forbidden"] == 3
        assert (await rig.ask("/api/v1/versions")).status == 200, "the right key still passes"
        metrics = (await rig.ask("/metrics")).text
        assert 'porthole_rejects_total{proto="api",reason="unauthorized"} 5' in metrics


async def test_api_pages_of_other_sites_can_neither_read_nor_change(tmp_path: Path) -> None:
    async with api_rig(tmp_path, auth=AuthSettings(api=Policy.OPEN)) as rig:
        session = rig.context.sessions.open("hls", "hls-play", FAR)
        session.kick = lambda: rig.context.sessions.close(session)
        evil = {"Origin": "https://evil.example"}
        reply = await rig.ask("/api/v1/clients/", "", headers=evil)
        assert not [name for name in reply.headers if name.startswith("Access-Control")]
        path = f"/api/v1/clients/{session.slug}"
        assert (await rig.ask(path, "", "DELETE", headers=evil)).status == 403
        assert (await rig.ask(path, "", "OPTIONS", headers=evil)).headers.get(
            "Access-Control-Allow-Methods"
        ) is None
        for query in ("?method=DELETE", "?method=DELETE&callback=f", "?_method=DELETE"):
            await rig.ask(path + query, "")
        form = {"Content-Type": "text/plain"}
        assert (await rig.ask(path, "", "DELETE", headers=form)).status == 415
        assert session.slug in rig.context.sessions.active
        assert (await rig.ask(path, "", "DELETE")).status == 200
        assert session.slug not in rig.context.sessions.active


async def test_api_jsonp_is_off_until_configured(tmp_path: Path) -> None:
    async with api_rig(tmp_path) as rig:
        assert (await rig.ask("/api/v1/versions?callback=f")).status == 400


@pytest.mark.parametrize("callback", ["f", "$", "_x9", "jQuery1_2.done", "a" * 64])
async def test_api_jsonp_calls_a_function(tmp_path: Path, callback: str) -> None:
    async with api_rig(tmp_path, settings=Settings(jsonp=True)) as rig:
        reply = await rig.ask(f"/api/v1/versions?callback={callback}")
        assert reply.text.startswith(f"/**/{callback}({{") and reply.text.endswith("})")
        assert reply.headers["Content-Type"].startswith("text/javascript")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "callback",
    ["", "<script>alert(1)</script>", "a b", "1a", "a-b", "alert(1)//", "a;b", "a%0Ab", "é",
     "a" * 65, "a[0]", "%00", "ａ"],
)  # fmt: skip
async def test_api_jsonp_refuses_what_is_no_function_s_name(tmp_path: Path, callback: str) -> None:
    async with api_rig(tmp_path, settings=Settings(jsonp=True)) as rig:
        reply = await rig.ask(f"/api/v1/versions?callback={callback}")
        assert reply.status == 400
        assert "script" not in reply.text


HOSTILE_BODIES = (
    b"[" * 5000, b'{"a":' * 5000, b"NaN", b"Infinity", b"1e999", b'{"a":1,"a":2}', b"9" * 5000,
    b'"\\ud800"', b"\xff\xfe", b"", b"{", b"x" * 100_000,
)  # fmt: skip


@pytest.mark.parametrize("body", HOSTILE_BODIES)
async def test_api_hostile_bodies_change_nothing_and_end_nothing(
    tmp_path: Path, body: bytes
) -> None:
    async with api_rig(tmp_path) as rig:
        session = rig.context.sessions.open("hls", "hls-play", FAR)
        json_type = {"Content-Type": "application/json"}
        for path, method in (
            ("/api/v1/clients/none-1", "DELETE"),
            ("/api/v1/streams/", "POST"),
            ("/api/v1/clients/", "PUT"),
            ("/healthz", "POST"),
        ):
            reply = await rig.ask(path, method=method, data=body, headers=json_type)
            assert reply.status in {200, 400, 405}
            if reply.status == 200:
                assert reply.json == {"code": 2049}
        assert session.slug in rig.context.sessions.active
        assert (await rig.ask("/api/v1/versions")).status == 200
        assert rig.context.faults.counts["http", "internal error"] == 0


async def test_api_hostile_names_find_nothing_and_make_nothing(tmp_path: Path) -> None:
    from urllib.parse import quote

    from yarl import URL

    names = (
        "..", "../x", "a/../../x", "a//b", "..\\x", "%2e%2e%2fx", "a\x00.flv", "a\r\nX: y", "$(id)",
        "a\x1b[2J", "<script>", "\u202e", "\uff0e\uff0e\uff0f", "x" * 3000, "\x7f", "１２",
    )  # fmt: skip
    async with api_rig(tmp_path) as rig:
        for name in names:
            for form in (quote(name, safe=""), quote(name, safe="/.")):
                for path, method in (
                    (f"/api/v1/streams/{form}", "GET"),
                    (f"/api/v1/clients/{form}", "GET"),
                    (f"/api/v1/clients/{form}", "DELETE"),
                    (f"/api/v1/vhosts/{form}", "GET"),
                    (f"/api/v1/versions?callback={form}", "GET"),
                ):
                    headers = {"Authorization": f"Bearer {KEYS['owner']}"}
                    url = URL(rig.url + path, encoded=True)
                    async with rig.client.request(method, url, headers=headers) as response:
                        text = await response.text()
                        assert response.status in {200, 400, 404, 405}, (path, response.status)
                        assert "<script>" not in text and "X: y" not in response.headers
        assert rig.context.hub.streams == {} and rig.context.sessions.active == {}
        assert rig.context.faults.counts["http", "internal error"] == 0
