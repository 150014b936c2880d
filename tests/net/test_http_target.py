"""Request targets: every way to write a path that is not one (hostile names of all ports)."""

from __future__ import annotations

import pytest

from appliance.errors import PeerError
from appliance.net.http_target import decode_path, parse_query, redact, split_target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", (None, "/", "")),
        ("/a?b=c?d", (None, "/a", "b=c?d")),
        ("/a?", (None, "/a", "")),
        ("*", (None, "*", "")),
        ("http://h:1/a?b", ("h:1", "/a", "b")),
        ("HTTPS://h?b/c", ("h", "/", "b/c")),
        ("http://h", ("h", "/", "")),
        ("/a#b?c", (None, "/a", "")),
        ("/http://h/", (None, "/http://h/", "")),
    ],
)
def test_target_forms_are_split(target: str, expected: tuple[str | None, str, str]) -> None:
    assert split_target(target) == expected


@pytest.mark.parametrize("target", ["", "a", "h:80", "ftp://h/", "?a", "/" + "a" * 5000])
def test_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(PeerError):
        split_target(target)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/live/cam.m3u8", "/live/cam.m3u8"),
        ("/a%20b", "/a b"),
        ("/%E2%82%AC", "/€"),
        ("/%252e%252e%252f", "/%2e%2e%2f"),
        ("/a%2Fb", "/a/b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a..b/c.", "/a..b/c."),
        ("/100%", "/100%"),
        ("/%zz", "/%zz"),
        ("/\N{EURO SIGN}", "/€"),
    ],
)
def test_path_is_decoded_once(path: str, expected: str) -> None:
    assert decode_path(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        *("/.", "/..", "/../x", "/a/../../x", "/a/./b", "/a//b", "//etc/passwd", "/a/.."),
        *("/%2e%2e%2fx", "/%2E%2E/x", "/a/%2e", "/a%2f%2fb", "/..%c0%af", "/%ff%fe"),
        *("/a%00.flv", "/a%0d%0aX:%20y", "/a%1b[2J", "/a\x7f", "/%C2%80", "/%E2%80%AE"),
        *("/\udcff", "/%ed%a0%80"),
    ],
)
def test_path_that_traverses_or_hides_is_refused(path: str) -> None:
    with pytest.raises(PeerError):
        decode_path(path)


def test_query_first_of_repeated_fields_wins() -> None:
    assert parse_query("a=1&b=&a=2&c=%26+x") == {"a": "1", "b": "", "c": "& x"}


@pytest.mark.parametrize("query", ["&".join("a=1" for _ in range(65)), "a=%ff"])
def test_query_beyond_limits_is_refused(query: str) -> None:
    with pytest.raises(PeerError):
        parse_query(query)


def test_redact_secrets_leave_no_trace() -> None:
    line = redact("/live/cam.m3u8", "format=ts&key=abc&TOKEN=def&p%61ss=ghi&x")
    assert line == "/live/cam.m3u8?format=ts&key=***&TOKEN=***&p%61ss=***&x"
