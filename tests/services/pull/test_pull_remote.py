"""Where streams are pulled from: parsed, followed, and shown without secrets."""

from __future__ import annotations

from base64 import b64encode

import pytest

from appliance.errors import ConfigError, PeerError
from appliance.redact import redact
from appliance.services.pull.remote import (
    HttpAddress,
    http_redirected,
    on_origin,
    parse_remote,
    scrub,
    shown,
)

SECRET = "s3cret-K3y"


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        (f"rtmp://h:1936/live/cam?key={SECRET}", "rtmp://h:1936/live/***"),
        (f"rtmps://h/live/{SECRET}/x", "rtmps://h/live/***"),
        (f"http://u:{SECRET}@h:8080/live/cam.flv?key={SECRET}", "http://h:8080/live/cam.flv"),
        ("https://u@[::1]/cam.flv", "https://[::1]/cam.flv"),
        (f"rtsp://u:{SECRET}@h:5540/s1?token={SECRET}", "rtsp://h:5540/s1"),
        (f"rtsps://u:{SECRET}/x@h/a/b", "rtsps://h/a/b"),
        (f"rtsp://h/user=admin_password={SECRET}_channel=1_stream=0.sdp", "rtsp://h/***"),
    ],
)
def test_remote_is_shown_without_its_secrets(url: str, seen: str) -> None:
    address = parse_remote(url)
    assert shown(address) == seen
    assert SECRET not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        f"rtmp://h/live/cam?a=1&key={SECRET}",
        f"http://u:{SECRET}@h/cam.flv",
        f"http://h/cam.flv?x={SECRET}",
        "rtmp://h/live/cam?key=s3cret%2DK3y",
    ],
)
def test_scrub_takes_out_what_a_peer_repeats(url: str) -> None:
    text = scrub(parse_remote(url), f"no such stream cam?a=1&key={SECRET}, {SECRET}!")
    assert SECRET not in text
    assert "no such stream" in text


@pytest.mark.parametrize(
    "url",
    ["http://h/x.m3u8", "http:///x.flv", "http://h:0/x.flv", "http://[::1/x.flv", "file:/x.flv"],
)
def test_remote_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        parse_remote(url)


def test_http_redirect_keeps_the_login_for_its_own_server_only() -> None:
    address = parse_remote(f"http://u:{SECRET}@h/live/cam.flv")
    assert isinstance(address, HttpAddress)
    assert http_redirected(address, "/other.flv").password == SECRET
    assert http_redirected(address, "http://h:80/other.flv").password == SECRET
    for elsewhere in ("http://i/x.flv", "http://h:8080/x.flv", "https://h/x.flv", "//i/x.flv"):
        assert not http_redirected(address, elsewhere).password
        assert not http_redirected(address, elsewhere).user


def test_http_redirect_never_takes_a_login_or_leaves_tls() -> None:
    address = HttpAddress("https://h/cam.flv")
    assert http_redirected(address, "https://a:b@i/x.flv") == HttpAddress("https://i/x.flv")
    with pytest.raises(PeerError, match="without TLS"):
        http_redirected(address, "http://h/cam.flv")


@pytest.mark.parametrize(
    ("origin", "name", "seen"),
    [
        ("rtmp://h/", "live/cam", "rtmp://h/live/***"),
        ("http://h:8080/", "live/cam", "http://h:8080/live/cam.flv"),
        ("http://h/x/?key=k", "live/239.1.1.1:1234", "http://h/x/live/239.1.1.1:1234.flv"),
        ("http://h/", "cam", "http://h/cam.flv"),
    ],
)
def test_stream_on_an_origin_has_its_name_there(origin: str, name: str, seen: str) -> None:
    assert shown(on_origin(origin, name)) == seen


def test_stream_on_an_origin_takes_the_prefix_and_the_key_along() -> None:
    address = on_origin(f"rtmp://h/site/?key={SECRET}", "live/cam")
    assert (address.app, address.name) == ("site/live", f"cam?key={SECRET}")  # type: ignore[union-attr]
    with pytest.raises(ConfigError):
        on_origin("rtmp://h/", "cam")


@pytest.mark.parametrize(
    "url",
    [
        f"rtsp://u:{SECRET}@h/x",
        f"rtsp://h/x?channel=1&pwd={SECRET}",
        f"rtsp://h/user=admin_password={SECRET}_channel=1_stream=0.sdp",
    ],
)
def test_what_a_camera_says_is_scrubbed_of_secrets_and_of_nothing_else(url: str) -> None:
    text = scrub(parse_remote(url), f"DESCRIBE: 401 {SECRET} 1")
    assert text == "DESCRIBE: 401 *** 1"


@pytest.mark.parametrize("port", [7441, 7447])
def test_path_of_a_camera_of_unifi_is_its_password(port: int) -> None:
    url = f"rtsps://10.0.0.1:{port}/{SECRET}?enableSrtp"
    address = parse_remote(url)
    assert shown(address) == f"rtsps://10.0.0.1:{port}/***"
    assert scrub(address, f"SETUP: 404 {SECRET}/trackID=1") == "SETUP: 404 ***/trackID=1"
    assert SECRET not in redact(url)


def test_what_basic_makes_of_a_password_is_a_secret_too() -> None:
    address = parse_remote(f"rtsp://ann:{SECRET}@h/main")
    text = b64encode(f"ann:{SECRET}".encode()).decode()
    assert scrub(address, f"DESCRIBE: 403 not by {text}") == "DESCRIBE: 403 not by ***"


def test_origin_of_an_edge_is_not_asked_by_rtsp() -> None:
    with pytest.raises(ConfigError, match="RTMP or HTTP"):
        on_origin("rtsp://origin/", "live/cam")
