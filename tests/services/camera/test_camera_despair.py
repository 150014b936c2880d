"""When only a new start of the service may help, and when there is hope again."""

from __future__ import annotations

import logging

import pytest

from appliance.hub.clock import Clock
from appliance.hub.stats import Counters
from appliance.net.systemd import Watchdog
from appliance.net.worker_process import DIED
from appliance.services.camera.faults import STALLED
from appliance.services.camera.ladder import Step
from appliance.services.camera.recovery import GOOD_US, Recovery

LOG = logging.getLogger(__name__)
NAME = "live/camera"


def make(rounds: int = 3) -> tuple[Recovery, Watchdog]:
    watchdog = Watchdog()
    return Recovery(NAME, Clock(), Counters(), watchdog, rounds), watchdog


def test_recovery_despairs_after_so_many_rounds() -> None:
    recovery, watchdog = make()
    for number in range(3):
        assert watchdog.reasons == {}
        assert recovery.rounds == number
        recovery.end_worker(DIED, 0, LOG)
    assert list(watchdog.reasons) == [f"camera {NAME}"]
    assert recovery.describe()["rung"] == "watchdog"


def test_recovery_never_despairs_if_it_is_told_not_to() -> None:
    recovery, watchdog = make(rounds=0)
    for _ in range(1000):
        recovery.end_worker(STALLED, 0, LOG)
    assert watchdog.reasons == {}


@pytest.mark.parametrize("ran_us", [GOOD_US, 10 * GOOD_US])
def test_recovery_counts_anew_after_a_good_minute(ran_us: int) -> None:
    recovery, watchdog = make()
    for _ in range(20):
        recovery.end_worker(DIED, 0, LOG)
        recovery.end_worker(DIED, ran_us, LOG)
        assert recovery.rounds == 1
    assert watchdog.reasons == {}


def test_recovery_hopes_as_soon_as_media_has_come_for_a_minute() -> None:
    recovery, watchdog = make()
    for _ in range(3):
        recovery.end_worker(STALLED, GOOD_US - 1, LOG)
    assert watchdog.reasons
    recovery.see_media(GOOD_US - 1)
    assert watchdog.reasons
    recovery.see_media(GOOD_US)
    assert watchdog.reasons == {} and recovery.rounds == 0


@pytest.mark.parametrize("reason", ["source-missing", "cannot-open", "kicked", "taken-over"])
def test_recovery_of_a_camera_that_is_away_is_no_case_for_despair(reason: str) -> None:
    recovery, watchdog = make(rounds=1)
    for _ in range(50):
        recovery.end_worker(reason, 0, LOG)
    assert watchdog.reasons == {} and recovery.rounds == 0


def test_recovery_tells_what_it_did_and_that_it_helped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recovery, _ = make()
    recovery.tell_live(5_000_000, LOG)  # nothing was done, so nothing is told
    recovery.take(Step.ENCODER, "no picture for 4.0 s (last keyframe 5.1 s ago)", LOG)
    assert recovery.describe()["back"] is None
    recovery.tell_live(14_200_000, LOG)
    recovery.tell_live(14_200_000, LOG)
    assert recovery.describe()["back"] == "picture is back after 14.2 s"
    assert [record.getMessage() for record in caplog.records] == [
        "no picture for 4.0 s (last keyframe 5.1 s ago): restarting the encoder",
        "picture is back after 14.2 s",
    ]
