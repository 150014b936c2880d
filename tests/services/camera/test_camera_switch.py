"""Cameras switched off, by hand and by the clock: off is off, and stays so."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from camera_fixture import NAME, camera, stream_settings
from camera_site import camera_site, wait_until
from scripted_worker import Play

from appliance.errors import ConfigError, StreamNotFound
from appliance.hub.cameras import PictureAsk
from appliance.hub.clock import Clock
from appliance.services.camera import Settings, feed, player
from appliance.services.camera.switches import MAX_CAMERAS, Switches
from appliance.services.contract import PresetSettings

FILM = "listen()\nsay((VIDEO, AUDIO))\nfilm()\n"
WELL = Settings(nice=0)

# 2026-11-20 is a Friday.
FRIDAY_US = 1_795_132_800_000_000
HOUR_US = 3_600_000_000


class WallClock(Clock):
    """The real one, but for the wall."""

    def __init__(self, unix_us: int) -> None:
        self.wall_us = unix_us

    def unix_us(self) -> int:
        return self.wall_us


@pytest.fixture
def greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(player, "TICK_S", 0.1)
    monkeypatch.setattr(feed, "CLOCK_S", 0.05)


async def test_camera_switched_off_has_no_worker_and_its_viewers_see_why(play: Play) -> None:
    play(FILM)
    async with camera_site(stream_settings(), settings=WELL) as site:
        device = site.device
        await site.viewer.wait_more(1)
        await device.camera.change({"enabled": False})
        assert device.workers == []  # when it returns, not some time after
        await wait_until(lambda: device.stream.placeholder == "camera off")
        described = device.camera.describe()
        assert (described["state"], described["enabled"]) == ("off", False)
        await site.viewer.wait_more(2)
        with pytest.raises(StreamNotFound, match="off"):
            await device.camera.picture(PictureAsk())
        age_us = device.stream.last_unit_age_us()
        assert age_us is not None and age_us > 1_000_000  # the slate's pictures are none
        await device.camera.change({"enabled": True})
        await wait_until(lambda: device.stream.is_live)
        await site.viewer.wait_more(2)
        site.viewer.assert_content()
        assert device.camera.describe()["state"] == "live"
        assert device.context.faults.counts == {}


async def test_camera_that_is_off_at_start_shows_that_at_once(play: Play, tmp_path: Path) -> None:
    play(FILM)
    Switches(tmp_path).set(NAME, False)
    async with camera(stream_settings(), settings=WELL, state_dir=tmp_path) as device:
        await wait_until(lambda: device.stream.placeholder == "camera off")
        video, audio = device.stream.tracks
        assert (video.config.width_px, audio.config.sample_rate_hz) == (320, 48_000)  # type: ignore[attr-defined]
        assert device.workers == []
        assert device.stream.restarts == 0 and not device.stream.has_run
        await device.camera.change({"enabled": True})
        await device.wait_units(3)
        assert device.stream.restarts == 0
    assert json.loads((tmp_path / "cameras.json").read_text()) == {"off": []}


async def test_camera_off_outlives_a_restart_of_the_service(play: Play, tmp_path: Path) -> None:
    play(FILM)
    for _ in range(2):
        async with camera(stream_settings(), settings=WELL, state_dir=tmp_path) as device:
            await device.camera.change({"enabled": False})
            assert device.workers == []
    assert not Switches(tmp_path).is_on(NAME)


async def test_camera_slate_can_be_left_out(play: Play) -> None:
    play(FILM)
    async with camera(stream_settings(slate=False), settings=WELL) as device:
        await device.wait_units(3)
        await device.camera.change({"enabled": False})
        await device.wait(lambda: device.stream.publisher is None)
        assert device.children == []


async def test_camera_on_demand_shows_its_slate_to_viewers_alone(play: Play) -> None:
    play(FILM)
    async with camera(stream_settings(on_demand=True), settings=WELL) as device:
        await device.camera.change({"enabled": False})
        assert device.children == []
        with device.stream.demand.viewer():
            await wait_until(lambda: device.stream.placeholder == "camera off")
        await wait_until(lambda: not device.stream.placeholder)


async def test_camera_slate_gives_way_to_whoever_publishes(play: Play) -> None:
    play(FILM)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.camera.change({"enabled": False})
        await wait_until(lambda: device.stream.placeholder)
        async with device.context.hub.publish(NAME, "rtmp#9") as publisher:
            await device.wait(lambda: device.stream.publisher is publisher)
            assert device.stream.placeholder == ""
        await wait_until(lambda: device.stream.placeholder == "camera off")


# -- hours -------------------------------------------------------------------------------------


async def test_camera_keeps_its_hours(play: Play, greenwich: None) -> None:
    play(FILM)
    clock = WallClock(FRIDAY_US + 7 * HOUR_US)
    settings = stream_settings(hours=("mon-fri 08:00-18:00",))
    async with camera(settings, settings=WELL, clock=clock) as device:
        await wait_until(lambda: device.stream.placeholder == "camera off")
        described = device.camera.describe()
        assert (described["state"], described["enabled"]) == ("off", True)
        clock.wall_us = FRIDAY_US + 8 * HOUR_US
        await wait_until(lambda: device.stream.is_live)
        clock.wall_us = FRIDAY_US + 18 * HOUR_US
        await wait_until(lambda: not device.workers)
        clock.wall_us = FRIDAY_US + 34 * HOUR_US  # ten o'clock on Saturday
        await wait_until(lambda: device.stream.placeholder == "camera off")
        assert device.workers == []
        assert device.context.faults.counts == {}


async def test_camera_with_hours_captures_while_the_clock_is_not_set(
    play: Play, greenwich: None
) -> None:
    """A board without a battery boots in 1970; nothing is known then."""
    play(FILM)
    clock = WallClock(3 * HOUR_US)
    async with camera(
        stream_settings(hours=("08:00-09:00",)), settings=WELL, clock=clock
    ) as device:
        await device.wait_units(3)
        clock.wall_us = FRIDAY_US + 3 * HOUR_US  # the time is there, and it is night
        await wait_until(lambda: not device.workers)


async def test_camera_preset_holds_in_its_hours(
    play: Play, greenwich: None, tmp_path: Path
) -> None:
    play(
        "told = Path(__file__).with_suffix('.told')\n"
        "told.write_text(json.dumps([OPTIONS['fps'], OPTIONS['controls']]) + '\\n')\n"
        "def obey(command):\n"
        "    if isinstance(command, Change):\n"
        "        told.write_text(told.read_text() + json.dumps(command.values) + '\\n')\n"
        "        say(Answer(command.serial))\n"
        "listen(obey)\n"
        "say(State({'controls': {'gain': {'type': 'int', 'min': 0, 'max': 9, 'default': 1}}}))\n"
        "say((VIDEO, AUDIO))\nfilm()\n"
    )
    night = PresetSettings(
        "night", hours=("22:00-06:00",), fps=10, controls={"exposure": 900, "gain": 5}
    )
    clock = WallClock(FRIDAY_US + 12 * HOUR_US)
    settings = stream_settings(preset=(night,), controls={"exposure": 100})
    async with camera(settings, settings=WELL, clock=clock) as device:
        await device.wait_units(3)
        assert device.camera.describe()["preset"] is None
        clock.wall_us = FRIDAY_US + 23 * HOUR_US
        await wait_until(lambda: device.camera.describe()["preset"] == "night")
        assert device.camera.describe()["settings"]["fps"] == 10
        clock.wall_us = FRIDAY_US + 30 * HOUR_US
        await wait_until(lambda: device.camera.describe()["preset"] is None)
        told = tmp_path / "worker.told"
        await wait_until(lambda: told.read_text().count("\n") == 3)
        lines = [json.loads(line) for line in told.read_text().splitlines()]
        assert lines == [
            [25, {"exposure": 100}],
            {"fps": 10, "controls": {"exposure": 900, "gain": 5}},
            {"fps": 25, "controls": {"exposure": 100, "gain": 1}},
        ]


# -- the file ----------------------------------------------------------------------------------


def test_switches_are_kept(tmp_path: Path) -> None:
    switches = Switches(tmp_path)
    switches.set("live/a", False)
    switches.set("live/b", False)
    switches.set("live/a", True)
    fresh = Switches(tmp_path)
    assert fresh.is_on("live/a") and not fresh.is_on("live/b")
    assert [path.name for path in tmp_path.iterdir()] == ["cameras.json"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"off": 3}', '{"off": [3]}', '{"on": []}', "\0" * 100, "[" * 100_000, "7"],
)
def test_switches_of_a_broken_file_are_on_and_told_once(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cameras.json").write_text(content)
    switches = Switches(tmp_path)
    assert switches.is_on("live/a")
    assert len(caplog.records) == 1
    switches.set("live/a", False)
    assert not Switches(tmp_path).is_on("live/a")


def test_switches_are_bounded(tmp_path: Path) -> None:
    switches = Switches(tmp_path)
    for number in range(2 * MAX_CAMERAS):
        switches.set(f"live/{number}", False)
    assert len(json.loads((tmp_path / "cameras.json").read_text())["off"]) == MAX_CAMERAS


def test_switches_that_cannot_be_written_hold_until_the_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The place of the directory is taken by a file, which stops root as well."""
    (tmp_path / "state").write_text("")
    switches = Switches(tmp_path / "state")
    switches.set("live/a", False)
    assert not switches.is_on("live/a")
    assert "will not outlive" in caplog.text
    assert os.listdir(tmp_path) == ["state"]  # noqa: PTH208


def test_switches_without_a_directory_are_kept_in_memory() -> None:
    switches = Switches(None)
    switches.set("live/a", False)
    assert not switches.is_on("live/a")


async def test_camera_change_of_unknown_things_changes_nothing(play: Play) -> None:
    play(FILM)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        with pytest.raises(ConfigError):
            await device.camera.change({"enabled": False, "colour": "red"})
        assert device.camera.describe()["enabled"]
