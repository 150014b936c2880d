"""Addresses of cameras, controls of tracks, names of streams."""

from __future__ import annotations

import pytest

from appliance.errors import ConfigError, PeerError
from appliance.wire.rtsp.target import (
    Target,
    parse_rtsp_address,
    redirected,
    resolve,
    resolve_base,
    resolve_control,
    resolve_within,
)


@pytest.mark.parametrize(
    ("url", "host", "port", "resource", "user", "password"),
    [
        ("rtsp://h", "h", 554, "/", "", ""),
        ("RTSP://h/a?b=c&d", "h", 554, "/a?b=c&d", "", ""),
        ("rtsp://h?channel=1", "h", 554, "/?channel=1", "", ""),
        ("rtsps://h/a", "h", 322, "/a", "", ""),
        ("rtsp://h:8554/a/", "h", 8554, "/a/", "", ""),
        ("rtsp://[fd00::1]:8554/a", "fd00::1", 8554, "/a", "", ""),
        ("rtsp://u@h/a", "h", 554, "/a", "u", ""),
        ("rtsp://u:p@h/a", "h", 554, "/a", "u", "p"),
        ("rtsp://u:p%40%2F@h/a", "h", 554, "/a", "u", "p@/"),
        ("rtsp://u:p@ss:w#rd@h:1/a@b", "h", 1, "/a@b", "u", "p@ss:w#rd"),
        ("rtsp://u:a/b@h/x", "h", 554, "/x", "u", "a/b"),
        ("rtsp://h:554/a@b", "h", 554, "/a@b", "", ""),
        ("rtsp://u:a?b@h/x", "h", 554, "/x", "u", "a?b"),
        ("rtsp://u:a:b@h/x", "h", 554, "/x", "u", "a:b"),
        ("rtsp://u:50%@h/x", "h", 554, "/x", "u", "50%"),
        ("rtsp://u:50%25@h/x", "h", 554, "/x", "u", "50%"),
        ("rtsp://u:a]b@h/x", "h", 554, "/x", "u", "a]b"),
        ("rtsp://u:@h/x", "h", 554, "/x", "u", ""),
        ("rtsp://:p@h/x", "h", 554, "/x", "", "p"),
        ("rtsp://u:p@[fe80::1%25eth0]/x", "fe80::1%eth0", 554, "/x", "u", "p"),
        ("rtsp://[fe80::1%br-lan_2]:8554/x", "fe80::1%br-lan_2", 8554, "/x", "", ""),
        # Of go2rtc: what follows is for who asks, not for the camera.
        ("rtsp://u:p@h/x?a=1&b=2#backchannel=0#media=video", "h", 554, "/x?a=1&b=2", "u", "p"),
    ],
)
def test_address_is_read_as_owners_write_it(
    url: str, host: str, port: int, resource: str, user: str, password: str
) -> None:
    address = parse_rtsp_address(url)
    assert (address.host, address.port, address.resource) == (host, port, resource)
    assert (address.user, address.password) == (user, password)


def test_zone_of_a_link_local_address_is_told_to_no_camera() -> None:
    """RFC 6874 §1: it means something on this device only."""
    assert parse_rtsp_address("rtsp://[fe80::1%25eth0]:8554/x").url == "rtsp://[fe80::1]:8554/x"


def test_password_gets_into_no_url_and_no_log() -> None:
    address = parse_rtsp_address("rtsp://me:s3cret@h/a?key=k3y")
    assert "s3cret" not in address.url + repr(address)
    assert "k3y" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "http://h/",
        "file:///etc/passwd",
        "rtsp:///a",
        "rtsp://",
        "rtsp://h:0/",
        "rtsp://h:65536/",
        "rtsp://h:x/",
        "rtsp://[::1",
        "rtsp://h/a b",
        "rtsp://h/\r\nX: y",
        "rtsp://h/" + "a" * 3000,
    ],
)
def test_address_that_is_none_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rtsp_address(url)
    assert "passwd" not in str(caught.value)


def test_redirect_keeps_credentials_on_the_same_host_only() -> None:
    address = parse_rtsp_address("rtsp://u:p@cam/a")
    assert redirected(address, "rtsp://cam:5554/b").password == "p"
    assert redirected(address, "/b?c").url == "rtsp://cam/b?c"
    assert redirected(address, "rtsp://evil/b") == parse_rtsp_address("rtsp://evil/b")
    assert redirected(address, "rtsp://x:y@evil/b").password == ""


@pytest.mark.parametrize(
    "location",
    ["", "file:///etc/passwd", "http://169.254.169.254/", "//evil/a", "/a b", "rtsp://cam/a"],
)
def test_redirect_elsewhere_is_refused(location: str) -> None:
    with pytest.raises(PeerError):
        redirected(parse_rtsp_address("rtsps://cam/a"), location)


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        ((), "rtsp://cam:8554/a?b=c"),
        (("", ""), "rtsp://cam:8554/a?b=c"),
        (("rtsp://192.168.0.2/x/",), "rtsp://cam:8554/x/"),
        (("rtsp://0.0.0.0:0/x/", "rtsp://cam/y"), "rtsp://cam:8554/y"),
        (("http://evil/x", "nonsense"), "rtsp://cam:8554/a?b=c"),
        (("rtsp://u:p@cam/x",), "rtsp://cam:8554/x"),
    ],
)
def test_content_base_of_cameras_counts_for_its_path(headers: tuple[str, ...], base: str) -> None:
    assert resolve_base(parse_rtsp_address("rtsp://cam:8554/a?b=c"), headers) == base


@pytest.mark.parametrize(
    ("base", "control", "url"),
    [
        ("rtsp://h/a", "", "rtsp://h/a"),
        ("rtsp://h/a", "*", "rtsp://h/a"),
        ("rtsp://h/a", "trackID=0", "rtsp://h/a/trackID=0"),
        ("rtsp://h/a/", "trackID=0", "rtsp://h/a/trackID=0"),
        ("rtsp://h/a/", "/trackID=0", "rtsp://h/a/trackID=0"),
        ("rtsp://h/a", "?ctype=video", "rtsp://h/a?ctype=video"),
        ("rtsp://h/a?channel=1&subtype=0", "trackID=0", "rtsp://h/a?channel=1&subtype=0/trackID=0"),
        ("rtsp://h:8554/a", "rtsp://10.0.0.1/a/t1?x", "rtsp://h:8554/a/t1?x"),
        ("rtsp://h:8554/a", "rtsp://[::1/a", "rtsp://h:8554/a"),
        ("rtsp://h/a", "t\r\nX: y", "rtsp://h/a/tX:y"),
    ],
)
def test_control_is_resolved_as_cameras_mean_it(base: str, control: str, url: str) -> None:
    assert resolve_control(base, control) == url


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("rtsp://h/live/camera", Target("live/camera", {})),
        ("rtsp://h:8554/live/camera/", Target("live/camera", {})),
        ("rtsps://[::1]/live/camera?key=k", Target("live/camera", {"key": "k"})),
        ("rtsp://u:p@evil.example/live/camera", Target("live/camera", {})),
        ("rtsp://h/live/camera/trackID=1", Target("live/camera", {}, "trackID=1")),
        ("rtsp://h/live/camera?key=k/trackID=1", Target("live/camera", {"key": "k"}, "trackID=1")),
        ("rtsp://h/live/camera/?key=k/", Target("live/camera", {"key": "k"})),
        ("rtsp://h/live/caf%C3%A9", Target("live/café", {})),
        ("rtsp://h/live/track1", Target("live/track1", {})),
        ("rtsp://h/live/a?video&audio", Target("live/a", {"video": "", "audio": ""})),
        ("rtsp://h", Target("", {})),
        ("rtsp://h/../../etc/passwd", Target("../../etc/passwd", {})),
    ],
)
def test_stream_is_named_by_a_url(url: str, target: Target) -> None:
    """What of it is no name is for who looks it up."""
    assert resolve(url) == target


@pytest.mark.parametrize("url", ["", "*", "/a", "http://h/a", "rtsp:/a", "rtsp://h/" + "a" * 2048])
def test_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(PeerError):
        resolve(url)


def test_query_fields_are_bounded() -> None:
    assert len(resolve("rtsp://h/a?" + "&".join(f"a{n}=b" for n in range(200))).query) == 64


def test_request_within_a_session_keeps_its_query() -> None:
    base = Target("live/camera", {"key": "k"})
    assert resolve_within(base, resolve("rtsp://h/live/camera/")) == base
    track = resolve_within(base, resolve("rtsp://h/live/camera/trackID=1"))
    assert track == Target("live/camera", {"key": "k"}, "trackID=1")
    named = resolve_within(base, resolve("rtsp://h/live/camera/video"))
    assert named == Target("live/camera", {"key": "k"}, "video")
    for url in ("rtsp://h/live/other/trackID=1", "rtsp://h/live/camera2"):
        assert resolve_within(base, resolve(url)) == resolve(url)
