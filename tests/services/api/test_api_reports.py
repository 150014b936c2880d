"""What services report of themselves: destinations and sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_rig import api_rig


def row(stream: str, **more: Any) -> dict[str, Any]:
    return {
        "stream": stream,
        "name": "h/app",
        "url": "rtmp://origin/live/***",
        "state": "live",
        "since_ms": 1,
        "bytes": 5000,
        "lag_ms": 40,
        "dropped_units": 3,
        "attempts": 2,
        "last_error": "",
    } | more


async def test_forwards_are_listed_in_the_envelope_page_by_page(tmp_path: Path) -> None:
    rows = [row("live/a"), row("live/a", state="waiting"), row("live/b")]
    async with api_rig(tmp_path) as rig:
        assert (await rig.ask("/api/v1/forwards/")).json["forwards"] == []
        rig.context.reports["forward"] = lambda: rows
        answer = (await rig.ask("/api/v1/forwards/")).json
        assert answer["code"] == 0 and answer["total"] == 3 and answer["forwards"] == rows
        page = (await rig.ask("/api/v1/forwards/?start=1&count=1")).json
        assert page["forwards"] == rows[1:2]
        assert (await rig.ask("/api/v1/forwards/vid-0000000")).status == 404
        assert "forwards" in (await rig.ask("/api/v1/")).json["urls"]


@pytest.mark.parametrize("service", ["pull", "edge"])
async def test_pulls_of_both_services_are_one_list(tmp_path: Path, service: str) -> None:
    async with api_rig(tmp_path) as rig:
        rig.context.reports[service] = lambda: [{"stream": "live/x"}]
        answer = (await rig.ask("/api/v1/pulls/")).json
        assert answer["pulls"] == [{"stream": "live/x"}] and answer["total"] == 1


async def test_metrics_name_the_destinations_of_each_stream(tmp_path: Path) -> None:
    rows = [row("live/a"), row("live/a", name="h/app #2"), row("live/b", lag_ms=1500)]
    rows[1]["state"] = "waiting"
    async with api_rig(tmp_path) as rig:
        rig.context.reports["forward"] = lambda: rows
        text = (await rig.ask("/metrics", "", near=True)).text
    for line in (
        'porthole_forward_up{stream="live/a",destination="h/app"} 1',
        'porthole_forward_up{stream="live/a",destination="h/app #2"} 0',
        'porthole_forward_lag_seconds{stream="live/b",destination="h/app"} 1.5',
        'porthole_forward_sent_bytes_total{stream="live/b",destination="h/app"} 5000',
        'porthole_forward_dropped_units_total{stream="live/a",destination="h/app #2"} 3',
        'porthole_forward_attempts_total{stream="live/a",destination="h/app"} 2',
    ):
        assert line in text.split("\n")
    assert "rtmp://" not in text


async def test_metrics_tell_of_sound_that_is_encoded_anew(tmp_path: Path) -> None:
    made = {"stream": "live/a", "to": "aac", "listeners": 2, "missing": True, "workers": 3}
    async with api_rig(tmp_path) as rig:
        rig.context.reports["transcode"] = lambda: [made]
        text = (await rig.ask("/metrics", "", near=True)).text
        assert (await rig.ask("/api/v1/transcodes/")).json["transcodes"] == [made]
    for line in (
        'porthole_transcode_listeners{stream="live/a",to="aac"} 2',
        'porthole_transcode_missing{stream="live/a",to="aac"} 1',
        'porthole_transcode_workers_total{stream="live/a",to="aac"} 3',
    ):
        assert line in text.split("\n")
