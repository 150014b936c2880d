"""Addresses of streams on other servers, and where redirects lead."""

from __future__ import annotations

import pytest

from appliance.errors import ConfigError, PeerError
from appliance.wire.rtmp.address import parse_rtmp_address, redirected

SECRET = "s3cret-K3y"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("rtmp://h/live/cam", ("h", 1935, "live", "cam", "rtmp://h/live")),
        ("rtmps://h/live/cam", ("h", 443, "live", "cam", "rtmps://h/live")),
        ("rtmp://h:1936/a/b/c?k=v&x", ("h", 1936, "a/b", "c?k=v&x", "rtmp://h:1936/a/b")),
        ("RTMP://H/live/cam", ("h", 1935, "live", "cam", "rtmp://h/live")),
        ("rtmp://[fe80::1]:1/a/b", ("fe80::1", 1, "a", "b", "rtmp://[fe80::1]:1/a")),
    ],
)
def test_address_is_taken_apart(url: str, parts: tuple[str, int, str, str, str]) -> None:
    found = parse_rtmp_address(url)
    assert (found.host, found.port, found.app, found.name, found.tc_url) == parts
    assert found.is_tls == url.lower().startswith("rtmps")


@pytest.mark.parametrize(
    "url",
    [
        "", "rtmp:", "rtmp://", "rtmp:///a/b", "rtmp://h", "rtmp://h/", "rtmp://h/a", "rtmp://h/a/",
        "rtmp://h:0/a/b", "rtmp://h:99999/a/b", "rtmp://h:x/a/b", "rtmp://[::1/a/b", "http://h/a/b",
        "rtmp://h/a b/c", "rtmp://h/a/b\r\nX: y", "rtmp://u:p@h/a/b", "rtmp://h/a/" + "b" * 1024,
    ],
)  # fmt: skip
def test_address_that_is_none_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rtmp_address(url.replace("/b", f"/{SECRET}") if len(url) < 99 else url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "leads"),
    [
        ("rtmp://h:2/live", ("h", 2, "live", "cam?key=k")),
        ("rtmp://i/live", ("i", 1935, "live", "cam")),
        ("rtmp://i/live/", ("i", 1935, "live", "cam")),
        ("rtmp://i/other/", ("i", 1935, "other", "cam")),
        ("rtmp://i/live/cam2?t=1", ("i", 1935, "live", "cam2?t=1")),
        ("rtmps://h/live", ("h", 443, "live", "cam?key=k")),
    ],
)
def test_redirect_leads_to_the_app_or_the_stream_it_names(
    target: str, leads: tuple[str, int, str, str]
) -> None:
    found = redirected(parse_rtmp_address("rtmp://h/live/cam?key=k"), target)
    assert (found.host, found.port, found.app, found.name) == leads


def test_redirect_keeps_the_query_for_another_host_only_if_told() -> None:
    address = parse_rtmp_address("rtmp://h/live/cam?key=k")
    assert redirected(address, "rtmp://i/live", keep_query=True).name == "cam?key=k"


@pytest.mark.parametrize("target", ["", "x", "http://h/live", "rtmp://", "rtmp://h:0/a", "//h/a/b"])
def test_redirect_to_what_is_no_address_is_refused(target: str) -> None:
    with pytest.raises(PeerError, match="no RTMP address"):
        redirected(parse_rtmp_address("rtmp://h/live/cam"), target)


def test_redirect_out_of_tls_is_refused() -> None:
    with pytest.raises(PeerError, match="without TLS"):
        redirected(parse_rtmp_address("rtmps://h/live/cam"), "rtmp://h/live")
