"""All spellings of a stream's address mean the same."""

from __future__ import annotations

import pytest

from appliance.wire.rtmp.target import resolve

URL = "rtmp://cam.local:1935/live"


@pytest.mark.parametrize(
    ("tc_url", "app", "stream", "vhost", "query"),
    [
        (URL, "live", "camera", "cam.local", {}),
        (URL, "live", "camera?key=k", "cam.local", {"key": "k"}),
        (URL, "live?vhost=v", "camera", "v", {"vhost": "v"}),
        (URL, "live?domain=v&key=k", "camera", "v", {"domain": "v", "key": "k"}),
        (URL, "live...vhost...v", "camera", "v", {"vhost": "v"}),
        (URL, "live?key=a", "camera?key=b", "cam.local", {"key": "b"}),
        (URL, "live?vhost=v/camera", "", "v", {"vhost": "v"}),
        (URL, "live?vhost=v/camera?key=k", "", "v", {"vhost": "v", "key": "k"}),
        (URL, "live/_definst_", "camera", "cam.local", {}),
        (URL, "/live/", "/camera", "cam.local", {}),
        (URL, "live", "flv:camera", "cam.local", {}),
        (URL, "live", "mp4:camera", "cam.local", {}),
        ("rtmp://[fd00::1]:1935/live", "live", "camera", "fd00::1", {}),
        ("rtmp://user:pass@h/live", "live", "camera", "h", {}),
        ("rtmp://[::1", "live", "camera", "::1", {}),
        ("", "live", "camera", "", {}),
    ],
)
def test_spelling_means_live_camera(
    tc_url: str, app: str, stream: str, vhost: str, query: dict[str, str]
) -> None:
    target = resolve(tc_url, app, stream)
    assert (target.name, target.app, target.stream) == ("live/camera", "live", "camera")
    assert (target.vhost, dict(target.query)) == (vhost, query)


def test_app_of_several_parts_keeps_them() -> None:
    assert resolve(URL, "a/b", "c").name == "a/b/c"


def test_stream_without_a_name_is_the_app_alone() -> None:
    """R20: it is for the caller to refuse; nothing of the query gets into the name."""
    assert resolve(URL, "live", "?token=x").name == "live"


def test_hostile_lengths_are_cut() -> None:
    """R28."""
    target = resolve("rtmp://" + "h" * 65_536, "live?" + "a=b&" * 65_536, "camera")
    assert len(target.query) <= 64
