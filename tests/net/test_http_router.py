"""Which handler serves which path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from appliance.errors import MisuseError
from appliance.net.http import Request, Router

Handler = Callable[[Request], Awaitable[web.StreamResponse]]


def named(name: str) -> Handler:
    async def handler(request: Request) -> web.StreamResponse:
        return web.Response(text=name)

    handler.__name__ = name
    return handler


@pytest.fixture
def router() -> Router:
    router = Router()
    router.exact("GET", "/", named("index"))
    router.exact("GET", "/web/exact.js", named("exact"))
    router.prefix("GET", "/", named("fallback"))
    router.prefix("GET", "/web/", named("web"))
    router.prefix("GET", "/web/deep/", named("deep"))
    router.folder("GET", ".hls", named("folder"))
    router.suffix("GET", ".ts", named("suffix"))
    router.leaf("GET", "whep", named("leaf"))
    return router


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "index"),
        ("/web/exact.js", "exact"),
        ("/web/other.ts", "web"),
        ("/web/", "web"),
        ("/web", "fallback"),
        ("/web/deep/x", "deep"),
        ("/web/deeper/x", "web"),
        ("/webx/y", "fallback"),
        ("/live/cam.hls/ts-1.ts", "folder"),
        ("/live/cam.hls/a/ts-1.ts", "suffix"),
        ("/live.hls/x/y", "fallback"),
        ("/cam.hls", "fallback"),
        ("/live/cam.ts", "suffix"),
        ("/live/a.b.ts", "suffix"),
        ("/live.ts/cam", "fallback"),
        ("/live/ts", "fallback"),
        ("/live/cam/whep", "leaf"),
        ("/live/a.b/whep", "leaf"),
        ("/live/whep", "fallback"),
        ("/whep", "fallback"),
        ("/web/a/whep", "web"),
        ("/live/cam/whep/x", "fallback"),
        ("*", "fallback"),
    ],
)
def test_router_most_special_route_wins(router: Router, path: str, name: str) -> None:
    methods = router.find(path)
    assert methods is not None
    assert methods["GET"].handler.__name__ == name


@pytest.mark.parametrize(
    ("path", "query", "name"),
    [
        ("/", "action=stream", "variant"),
        ("/", "n=1&action=stream&x", "variant"),
        ("/", "action=streams", "index"),
        ("/", "xaction=stream", "index"),
        ("/", "action", "index"),
        ("/", "&&", "index"),
        ("/webcam/", "action=stream", "webcam"),
        ("/webcam/", "", "fallback"),
        ("/live/cam.ts", "action=stream", "suffix"),
    ],
)
def test_router_variant_is_chosen_by_its_query_field_alone(
    router: Router, path: str, query: str, name: str
) -> None:
    router.variant("GET", "/", "action=stream", named("variant"))
    router.variant("GET", "/webcam/", "action=stream", named("webcam"))
    methods = router.find(path, query)
    assert methods is not None
    assert methods["GET"].handler.__name__ == name


def test_router_variant_that_can_never_match_is_misuse(router: Router) -> None:
    router.variant("GET", "/", "action=stream", named("variant"))
    for path, query_field in [("/", "action=stream"), ("x", "a=b"), ("/", "a=b&c"), ("/", "a\n")]:
        with pytest.raises(MisuseError):
            router.variant("GET", path, query_field, named("again"))


def test_router_without_fallback_finds_nothing() -> None:
    assert Router().find("/x") is None


def test_router_second_handler_for_a_route_is_misuse(router: Router) -> None:
    with pytest.raises(MisuseError):
        router.exact("GET", "/", named("again"))
    router.exact("POST", "/", named("other method"))


@pytest.mark.parametrize("suffix", ["ts", ".tar.gz", "/.ts"])
def test_router_route_that_can_never_match_is_misuse(suffix: str) -> None:
    with pytest.raises(MisuseError):
        Router().suffix("GET", suffix, named("x"))
