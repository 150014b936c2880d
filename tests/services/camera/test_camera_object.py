"""A camera as the API and the picture service use it: described, changed, asked for pictures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from camera_fixture import NAME, Camera, camera, stream_settings
from camera_site import wait_until
from scripted_worker import Play

from appliance.errors import CodecUnsupported, ConfigError, LimitExceeded, StreamNotFound
from appliance.hub.cameras import PictureAsk
from appliance.services.camera import Settings, asks
from appliance.services.camera import camera as camera_module
from appliance.services.camera.asks import MAX_PICTURES
from appliance.services.camera.knobs import Knobs, worker_options
from appliance.services.contract import PresetSettings

WELL = Settings(nice=0)
STATE = {
    "device": "/dev/video0",
    "name": "A camera",
    "encoder": "libx264",
    "secret": "hush",
    "controls": {
        "gain": {"type": "int", "min": 0, "max": 9, "step": 1, "default": 1, "value": 1},
        "mode": {"type": "menu", "choices": ["auto", "night"], "default": "auto"},
    },
}
# It obeys, but for a gain of 7; notes what it was told where a test can ask: in its state.
OBEDIENT = (
    f"STATE = {STATE!r}\n"
    "told = []\n"
    "def obey(command):\n"
    "    if isinstance(command, Change):\n"
    "        refused = command.values.get('controls', {}).get('gain') == 7\n"
    "        if not refused: told.append(command.values)\n"
    "        say(State(STATE | {'why': json.dumps(told)}))\n"
    "        say(Answer(command.serial, 'gain = 7: give 0 to 6 at this exposure' * refused))\n"
    "    if isinstance(command, RequestPicture):\n"
    "        if command.width == 13: say(Picture(command.serial, error='not so small'))\n"
    "        else: say(Picture(command.serial, now_us(), command.width or 320, 180,\n"
    "                  b'\\xff\\xd8' + bytes(command.quality)))\n"
    "listen(obey)\n"
    "say(State(STATE | {'why': json.dumps(told), 'height': OPTIONS['bitrate_bps']}))\n"
    "say((VIDEO, AUDIO))\nfilm()\n"
)


def told(device: Camera) -> list[dict[str, Any]]:
    return list(json.loads(device.camera.describe()["why"]))


async def test_camera_describes_what_its_worker_tells(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        assert device.camera.describe()["state"] == "starting"
        await device.wait_units(3)
        described = device.camera.describe()
        assert (described["device"], described["device_name"]) == ("/dev/video0", "A camera")
        assert described["state"] == "live"
        assert described["source"] == "pattern"
        assert described["settings"]["fps"] == 25
        assert described["controls"]["gain"]["max"] == 9
        assert described["health"]["frame_age_ms"] < 5_000
        assert described["recovery"] == {"rung": None, "rounds": 0}
        assert described["recoveries"]["kill"] == 0
        assert described["last_fault"] is None
        assert "hush" not in json.dumps(described)


async def test_camera_whose_worker_tells_nonsense_of_itself_can_be_changed(play: Play) -> None:
    play(
        "listen(lambda c: say(Answer(c.serial)) if isinstance(c, Change) else None)\n"
        "say(State({'controls': [1, 2], 'encoder': {}, 'keyframe_us': 'x', 'width': []}))\n"
        "say((VIDEO, AUDIO))\nfilm()\n"
    )
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        await device.camera.change({"fps": 10, "controls": {"gain": 3}})
        assert device.camera.describe()["settings"]["controls"] == {"gain": 3}


async def test_camera_tells_no_secret_of_its_source(play: Play) -> None:
    play(OBEDIENT)
    source = "av:rtsp://user:hush@camera/x?key=hush"
    async with camera(stream_settings(source), settings=WELL) as device:
        await device.wait_units(3)
        assert "hush" not in json.dumps(device.camera.describe())


async def test_camera_tells_viewers_no_secret_that_its_worker_complains_of(play: Play) -> None:
    play(
        "url = 'rtmp://far/app/hush-key'\n"
        "say(State({'device': url}))\n"
        "say(Fault(Reason.CANNOT_OPEN, f'{url} and rtsp://me:hush@far/ cannot be opened'))\n"
    )
    async with camera(stream_settings()) as device:
        await wait_until(lambda: device.stream.placeholder)
        assert "rtmp://far/app/***" in device.stream.placeholder
        assert "hush" not in device.stream.placeholder
        assert "hush" not in json.dumps(device.camera.describe())


async def test_camera_is_changed_while_it_runs(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(3)
        worker = device.workers
        values = {"fps": 10, "bitrate": 900_000, "controls": {"gain": 4}}
        await device.camera.change(values)
        assert told(device) == [values]
        await device.camera.change({"fps": 10, "text": "a visitor"})
        assert told(device)[1:] == [{"text": "a visitor"}]  # what is so already is not told
        assert device.camera.describe()["settings"]["controls"] == {"gain": 4}
        assert device.workers == worker


async def test_camera_changes_hold_for_the_next_worker(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(3)
        await device.camera.change({"bitrate": 777_000})
        (session,) = device.context.sessions.active.values()
        assert session.kick is not None
        session.kick()
        await wait_until(lambda: device.camera.describe().get("height") == 777_000)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"fps": 0}, "fps = 0: give 1 to 120 pictures/s"),
        ({"fps": True}, "fps = True"),
        ({"fps": "fast"}, "fps = fast"),
        ({"bitrate": 1}, "give 16000 to 200000000 bits/s"),
        ({"keyframe": 1}, "give 100000 to 60000000 µs"),
        ({"overlay": 1}, "give true or false"),
        ({"text": "x" * 201}, "at most 200 characters"),
        ({"controls": 3}, "give an object"),
        ({"controls": {"gain": 10}}, "gain = 10: give 0 to 9"),
        ({"controls": {"mode": "day"}}, "mode: give one of auto, night"),
        ({"controls": {"zoom": 1}}, "there is no 'zoom'"),
        ({"controls": {"gain": 7}}, "give 0 to 6 at this exposure"),  # the worker's own word
        ({"preset": "night"}, "there is no such preset; there are none"),
        ({"colour": "red"}, "'colour' cannot be changed"),
        ({"fps": 10, "controls": {"gain": 99}}, "gain = 99"),
    ],
)
async def test_camera_change_that_cannot_be_is_refused_whole(
    play: Play, values: dict[str, Any], sentence: str
) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        before = device.camera.describe()["settings"]
        with pytest.raises(ConfigError) as refused:
            await device.camera.change(values)
        assert sentence in str(refused.value)
        assert device.camera.describe()["settings"] == before
        assert told(device) == []


async def test_camera_that_answers_nothing_is_not_waited_for(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks, "PATIENCE_S", 0.3)
    play("listen()\nsay((VIDEO, AUDIO))\nfilm()\n")
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        with pytest.raises(TimeoutError):
            await device.camera.change({"fps": 10})
        assert device.camera.describe()["settings"]["fps"] == 25
        with pytest.raises(TimeoutError):
            await device.camera.picture(PictureAsk())
        await device.wait_units(1)


async def test_camera_is_switched_off_though_its_worker_answers_nothing(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks, "PATIENCE_S", 3600)
    play("listen()\nsay((VIDEO, AUDIO))\nfilm()\n")
    async with camera(stream_settings(slate=False), settings=WELL) as device:
        await device.wait_units(1)
        waiting = [asyncio.create_task(device.camera.change({"fps": n})) for n in range(2, 50)]
        await asyncio.sleep(0)
        await device.camera.change({"enabled": False, "fps": 7})
        assert device.workers == []
        results = await asyncio.gather(*waiting, return_exceptions=True)
        refused = [each for each in results if isinstance(each, LimitExceeded)]
        assert len(refused) == len(waiting) - camera_module.MAX_CHANGING
        assert device.camera.describe()["enabled"] is False


async def test_camera_change_while_it_is_off_is_for_the_next_worker(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(slate=False), settings=WELL) as device:
        await device.wait_units(1)
        await device.camera.change({"enabled": False})
        await device.camera.change({"bitrate": 333_000, "controls": {"gain": 3}})
        await device.camera.change({"enabled": True})
        await wait_until(lambda: device.camera.describe().get("height") == 333_000)
        assert told(device) == []  # it began with them


async def test_camera_pictures_come_from_the_worker(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        still = await device.camera.picture(PictureAsk(width=160, quality=50))
        assert (still.width, still.height, len(still.jpeg)) == (160, 180, 52)
        assert abs(device.stream.clock.monotonic_us() - still.taken_us) < 10_000_000
        with pytest.raises(CodecUnsupported, match="not so small"):
            await device.camera.picture(PictureAsk(width=13))
        with pytest.raises(CodecUnsupported, match="no second stream"):
            await device.camera.picture(PictureAsk(sub=True))


async def test_camera_that_is_asked_for_many_pictures_is_no_flood(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        for _ in range(400):
            await device.camera.picture(PictureAsk(width=160))
        assert not device.context.faults.counts


async def test_camera_pictures_asked_for_by_a_crowd_are_bounded(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks, "PATIENCE_S", 1.0)
    play("listen()\nsay((VIDEO, AUDIO))\nfilm()\n")
    async with camera(stream_settings(), settings=WELL) as device:
        await device.wait_units(1)
        same = [device.camera.picture(PictureAsk(width=64)) for _ in range(50)]
        others = [device.camera.picture(PictureAsk(width=n)) for n in range(100, 150)]
        answers = await asyncio.gather(*same, *others, return_exceptions=True)
        kinds = [type(answer) for answer in answers]
        assert set(kinds[:50]) == {TimeoutError}  # all fifty wait for one
        assert kinds[50:].count(LimitExceeded) == 50 - (MAX_PICTURES - 1)


async def test_camera_on_demand_is_started_for_a_picture(play: Play) -> None:
    play(OBEDIENT)
    settings = stream_settings(on_demand=True, on_demand_close_us=200_000)
    async with camera(settings, settings=WELL) as device:
        assert device.camera.describe()["state"] == "idle"
        assert (await device.camera.picture(PictureAsk())).width == 320
        await wait_until(lambda: not device.workers and device.camera.describe()["state"] == "idle")


async def test_camera_that_is_lost_has_no_picture(play: Play) -> None:
    play("say(Fault(Reason.SOURCE_LOST, 'it was unplugged'))")
    async with camera(stream_settings(slate=False), settings=WELL) as device:
        await device.wait(lambda: device.restarts("source-lost"))
        with pytest.raises(StreamNotFound, match="it was unplugged"):
            await device.camera.picture(PictureAsk())


async def test_camera_worker_that_dies_ends_what_was_asked(play: Play) -> None:
    play(
        "def obey(command):\n"
        "    if isinstance(command, (Change, RequestPicture)): os._exit(3)\n"
        "listen(obey)\nsay((VIDEO, AUDIO))\nfilm()\n"
    )
    async with camera(stream_settings(slate=False), settings=WELL) as device:
        await device.wait_units(1)
        with pytest.raises(StreamNotFound):
            await device.camera.picture(PictureAsk())
        await device.wait_units(1)
        with pytest.raises(StreamNotFound):
            await device.camera.change({"fps": 10})


async def test_cameras_are_found_while_they_are_configured(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), settings=WELL) as device:
        cameras = device.context.cameras
        assert cameras.find("camera") is cameras.find(NAME) is device.camera
        device.service.reload(WELL, ())
        assert cameras.all() == []


# -- layers of settings ------------------------------------------------------------------------


def make_knobs() -> Knobs:
    presets = (
        PresetSettings("night", fps=10, controls={"gain": 5}),
        PresetSettings("dim", bitrate_bps=1_000_000),
    )
    return Knobs(stream_settings(preset=presets, controls={"gain": 1, "zoom": 2}))


def test_worker_begins_at_the_preset_s_rate_and_can_go_back_to_the_day_s() -> None:
    """A camera opened at the night's ten pictures a second could not give more in the morning."""
    presets = (PresetSettings("night", fps=10), PresetSettings("race", fps=60))
    for settings, most in (
        (stream_settings(preset=presets[:1]), 25),
        (stream_settings(preset=presets), 60),
    ):
        knobs = Knobs(settings)
        knobs.switch("night")
        options = worker_options(settings, "front-door", knobs.values(), None)
        assert (options["fps"], options["pace"]) == (most, 10)


def test_knobs_later_layers_win() -> None:
    knobs = make_knobs()
    assert knobs.values()["controls"] == {"gain": 1, "zoom": 2}
    knobs.switch("night")
    assert knobs.values()["fps"] == 10
    assert knobs.values()["controls"] == {"gain": 5, "zoom": 2}
    knobs.change({"controls": {"gain": 9}, "fps": 12})
    assert (knobs.values()["fps"], knobs.values()["controls"]["gain"]) == (12, 9)


def test_knobs_of_a_preset_win_over_what_was_set_before_it() -> None:
    knobs = make_knobs()
    knobs.change({"fps": 12, "bitrate": 400_000, "controls": {"gain": 9, "zoom": 7}})
    knobs.change({"preset": "night"})
    values = knobs.values()
    assert (values["fps"], values["bitrate"]) == (10, 400_000)
    assert values["controls"] == {"gain": 5, "zoom": 7}
    knobs.switch("")
    assert knobs.values()["fps"] == 25


def test_knobs_preview_changes_nothing() -> None:
    knobs = make_knobs()
    knobs.change({"controls": {"zoom": 3}})
    before = knobs.values()
    assert knobs.preview({"preset": "night", "text": "x"}, before, {}) == {
        "fps": 10,
        "text": "x",
        "controls": {"gain": 5},
    }
    assert (knobs.values(), knobs.preset) == (before, "")


def test_knobs_control_that_nothing_sets_any_more_goes_to_its_default() -> None:
    knobs = Knobs(stream_settings(preset=(PresetSettings("night", controls={"gain": 5}),)))
    knobs.switch("night")
    before = knobs.values()
    knobs.switch("")
    assert knobs.step(before, {"gain": {"default": 2}}) == {"controls": {"gain": 2}}
    assert knobs.step(before, {}) == {}
