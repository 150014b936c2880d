"""How late the loop is, as operators see it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from api_rig import api_rig
from relay_site import until

from appliance.services.api import loop_lag
from appliance.services.api.loop_lag import WINDOW, LoopLag

HELD_S = 0.25


async def test_lag_of_a_loop_that_is_held_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_lag, "PAUSE_S", 0.01)
    async with api_rig(tmp_path) as rig:
        time.sleep(HELD_S)  # noqa: ASYNC251 - this is what is looked for
        lag = rig.service._system.lag
        await until(lambda: lag.quantiles_s()["1"] > 0.9 * HELD_S)
        text = (await rig.ask("/metrics")).text
        told = re.search(r'^porthole_loop_lag_seconds\{quantile="1"\} (\S+)$', text, re.MULTILINE)
        assert told
        assert float(told[1]) > 0.9 * HELD_S
        summary = (await rig.ask("/api/v1/summaries")).json["data"]
        assert summary["porthole"]["loop_lag_ms"]["max"] > 900 * HELD_S


async def test_lag_is_looked_at_no_more_once_it_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_lag, "PAUSE_S", 0.001)
    lag = LoopLag()
    assert lag.quantiles_s() == {"0.5": 0.0, "0.99": 0.0, "1": 0.0}
    lag.start()
    await until(lambda: len(lag._late_s) == WINDOW)
    lag.stop()
    assert lag._timer is not None
    assert lag._timer.cancelled()
