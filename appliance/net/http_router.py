"""Which handler serves a path: a few dictionary look-ups, whatever the number of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from appliance.errors import MisuseError
from appliance.net.http_request import Request

Handler = Callable[[Request], Awaitable[web.StreamResponse]]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Route:
    """cross_origin: pages of other sites may call it with any method (WHIP, WHEP and the like);
    its handler then answers for CORS and for what a foreign page could do with it."""

    handler: Handler
    cross_origin: bool = False


Methods = dict[str, Route]


@dataclass(slots=True)
class Router:
    """Routes by what is most special: exact path, prefix, leaf, folder, suffix, then prefix ``/``.

    prefix: matches the prefix itself and what follows it at a ``/``: ``/web/`` serves
        ``/web/a/b.js``; the longest wins. The prefix ``/`` serves what nothing else does.
    folder: matches paths whose parent segment ends so: ``.hls`` serves ``/live/cam.hls/ts.m3u8``.
    suffix: matches paths that end so, from the last dot on: ``.m3u8``.
    leaf: matches paths of three segments or more whose last one is this: ``/live/cam/whep``.
    variant: matches an exact path whose query has this field, spelled exactly so, before anything
        else does: ``/`` with ``action=stream``.
    GET routes also serve HEAD. Adding a route twice is a MisuseError.
    """

    _variants: dict[str, dict[str, Methods]] = field(default_factory=dict)
    _exact: dict[str, Methods] = field(default_factory=dict)
    _prefix: dict[str, Methods] = field(default_factory=dict)
    _folder: dict[str, Methods] = field(default_factory=dict)
    _suffix: dict[str, Methods] = field(default_factory=dict)
    _leaf: dict[str, Methods] = field(default_factory=dict)

    def variant(self, method: str, path: str, query_field: str, handler: Handler) -> None:
        _check(path.startswith("/"), path)
        _check("&" not in query_field and query_field.isprintable(), query_field)
        _add(self._variants.setdefault(path, {}), query_field, method, Route(handler))

    def exact(
        self, method: str, path: str, handler: Handler, *, cross_origin: bool = False
    ) -> None:
        _check(path.startswith("/"), path)
        _add(self._exact, path, method, Route(handler, cross_origin))

    def prefix(
        self, method: str, prefix: str, handler: Handler, *, cross_origin: bool = False
    ) -> None:
        _check(prefix.startswith("/") and prefix.endswith("/"), prefix)
        _add(self._prefix, prefix, method, Route(handler, cross_origin))

    def folder(
        self, method: str, ending: str, handler: Handler, *, cross_origin: bool = False
    ) -> None:
        _check(ending.rfind(".") == 0 and "/" not in ending, ending)
        _add(self._folder, ending, method, Route(handler, cross_origin))

    def suffix(
        self, method: str, suffix: str, handler: Handler, *, cross_origin: bool = False
    ) -> None:
        _check(suffix.rfind(".") == 0 and "/" not in suffix, suffix)
        _add(self._suffix, suffix, method, Route(handler, cross_origin))

    def leaf(self, method: str, name: str, handler: Handler, *, cross_origin: bool = False) -> None:
        _check(bool(name) and "/" not in name, name)
        _add(self._leaf, name, method, Route(handler, cross_origin))

    def find(self, path: str, raw_query: str = "") -> Methods | None:
        """What serves this decoded path, by method; None if nothing does.

        raw_query: as sent; it only matters where a path has variants.
        """
        return (
            self._find_variant(path, raw_query)
            or self._exact.get(path)
            or self._find_prefix(path)
            or self._find_ending(path)
            or self._prefix.get("/")
        )

    def _find_variant(self, path: str, raw_query: str) -> Methods | None:
        variants = self._variants.get(path)
        if variants is None or not raw_query:
            return None
        found = (variants.get(query_field) for query_field in raw_query.split("&"))
        return next(filter(None, found), None)

    def _find_prefix(self, path: str) -> Methods | None:
        """The longest prefix, without ``/``: one look-up per segment, and a target is bounded."""
        end = len(path)
        while (end := path.rfind("/", 0, end)) > 0:
            found = self._prefix.get(path[: end + 1])
            if found is not None:
                return found
        return None

    def _find_ending(self, path: str) -> Methods | None:
        parent, _, name = path.rpartition("/")
        if name in self._leaf and parent.rfind("/") > 0:
            return self._leaf[name]
        dot = parent.rfind(".", parent.rfind("/") + 1)
        if dot >= 0:
            found = self._folder.get(parent[dot:])
            if found is not None:
                return found
        dot = name.rfind(".")
        return self._suffix.get(name[dot:]) if dot >= 0 else None


def allowed(methods: Methods) -> str:
    """The value of an Allow header."""
    names = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    return ", ".join(name for name in METHODS if name in names)


def _add(table: dict[str, Methods], key: str, method: str, route: Route) -> None:
    _check(method in METHODS, method)
    methods = table.setdefault(key, {})
    if method in methods:
        raise MisuseError(f"{method} {key} has a handler already")
    methods[method] = route


def _check(fits: bool, text: str) -> None:
    if not fits:
        raise MisuseError(f"{text!r} cannot be a route")
