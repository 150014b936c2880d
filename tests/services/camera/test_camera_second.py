"""The second stream of a camera: made while somebody wants it, and a stream like every other."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from camera_fixture import NAME, PATIENT, Camera, camera, stream_settings
from camera_site import camera_site, wait_until
from scripted_worker import Play

from appliance.errors import ConfigError
from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.services.camera import Settings, player
from appliance.services.camera.service import paired
from appliance.services.contract import StreamSettings, VideoSettings

SUB = "live/small"
TINY = VideoSettings(width=160, height=90, fps=10, bitrate_bps=100_000, keyframe_us=500_000)

# It makes the second stream while it is wanted, and notes what it was told.
OBEDIENT = (
    "wanted = threading.Event()\n"
    "def obey(command):\n"
    "    if isinstance(command, Change):\n"
    "        if 'sub' in command.values:\n"
    "            (wanted.set if command.values['sub'] else wanted.clear)()\n"
    "        say(Answer(command.serial))\n"
    "listen(obey)\n"
    "say((VIDEO, AUDIO, SUB))\n"
    "film(tracks=lambda: (VIDEO, SUB) if wanted.is_set() else (VIDEO,))\n"
)


def sub_settings(**more: object) -> StreamSettings:
    more.setdefault("on_demand", True)
    more.setdefault("on_demand_close_us", 300_000)
    return StreamSettings(SUB, "camera:camera/sub", video=TINY, **more)  # type: ignore[arg-type]


def sub_of(device: Camera) -> Stream:
    return device.context.hub.find(SUB)


async def test_second_stream_is_made_by_the_same_worker_while_somebody_watches() -> None:
    """The real worker with the test pattern."""
    async with camera(stream_settings(), sub_settings()) as device:
        await device.wait_units(5)
        sub, tracks = sub_of(device), device.stream.tracks
        assert not sub.is_live and not sub.tracks
        for _ in range(2):
            with sub.demand.viewer():
                await wait_until(lambda: sub.is_live)
                start = sub.units.next
                await wait_until(lambda start=start: sub.units.next > start + 10)
                video, audio = sub.tracks
                assert (video.config.width_px, video.config.height_px) == (160, 90)  # type: ignore[attr-defined]
                assert audio.kind is Kind.AUDIO
                assert len(device.workers) == 1
            await wait_until(lambda: not sub.is_live)
        assert device.stream.tracks is tracks  # the first stream went on without a seam
        assert device.stream.restarts == 0
        assert not any(unit.discontinuity for unit in device.stream.units.items)
        assert not device.context.faults.counts


async def test_second_stream_has_the_sound_of_the_camera_at_its_time(play: Play) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), sub_settings(on_demand=False)) as device:
        sub = sub_of(device)
        await wait_until(lambda: len(sub.units.items) > 60)
        mine = {unit.dts_us for unit in sub.units.items if unit.track.kind is Kind.AUDIO}
        its = {unit.dts_us for unit in device.stream.units.items if unit.track.kind is Kind.AUDIO}
        assert len(mine) > 20 and mine <= its | {max(mine)}


async def test_second_stream_has_keyframes_on_request(play: Play) -> None:
    play(OBEDIENT.replace("say(Answer", "print(end=''); say(Answer"))
    async with camera(stream_settings(), sub_settings()) as device:
        sub = sub_of(device)
        with sub.demand.viewer():
            await wait_until(lambda: sub.is_live)
            assert sub.request_keyframe()


async def test_second_stream_starts_an_on_demand_camera(play: Play) -> None:
    play(OBEDIENT)
    main = stream_settings(on_demand=True, on_demand_close_us=300_000)
    async with camera(main, sub_settings()) as device:
        sub = sub_of(device)
        assert device.workers == []
        with sub.demand.viewer():
            await wait_until(lambda: sub.is_live)
        await wait_until(lambda: not device.workers)


@pytest.mark.alone  # its slate has 1.2 s to be made in
async def test_second_stream_of_its_own_silence_climbs_its_own_ladder(
    play: Play, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first stream goes on; the second comes back when the encoder is restarted."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(player, "LOST_US", 800_000)
    monkeypatch.setattr(player, "TICK_S", 0.1)
    play(
        "listen(lambda c: say(Answer(c.serial)) if isinstance(c, Change) else None)\n"
        "say((VIDEO, AUDIO, SUB))\n"
        "end = now_us() + 3_000_000\n"
        "film(lambda: not saw(Recover),\n"
        "     tracks=lambda: (VIDEO, SUB) if now_us() < end else (VIDEO,))\n"
        "film(tracks=lambda: (VIDEO, SUB))\n"
    )
    settings = Settings(
        keyframe_after_us=600_000, encoder_after_us=2_000_000, stall_us=20_000_000, nice=0
    )
    subs = sub_settings(on_demand=False)
    async with camera_site(stream_settings(), subs, settings=settings, names=(SUB,)) as site:
        device, sub = site.device, sub_of(site.device)
        await wait_until(lambda: sub.placeholder)
        assert device.stream.is_live
        await wait_until(lambda: device.recoveries("encoder", SUB))
        await wait_until(lambda: sub.is_live)
        await site.viewer.wait_more(2)
        site.viewer.assert_content()
        assert device.recoveries("keyframe", SUB) == 1
        assert device.recoveries("keyframe") == 0
        assert device.restarts("stalled") == 0
    assert f"{SUB}: no picture for" in caplog.text
    assert f"{SUB} picture is back after" in caplog.text


async def test_second_stream_that_somebody_else_publishes_leaves_the_first_alone(
    play: Play,
) -> None:
    play(OBEDIENT)
    async with camera(stream_settings(), sub_settings(on_demand=False)) as device:
        sub = sub_of(device)
        await wait_until(lambda: sub.is_live)
        async with device.context.hub.publish(SUB, "rtmp#9", takeover=True):
            await device.wait_units(20)
            assert device.restarts("taken-over") == 0
        await wait_until(lambda: sub.is_live)


async def test_second_stream_goes_with_its_camera_and_comes_with_it(play: Play) -> None:
    play(OBEDIENT)
    main, sub = stream_settings(), sub_settings(on_demand=False)
    async with camera(main, settings=PATIENT) as device:
        await device.wait_units(3)
        assert device.service.reload(PATIENT, (main, sub)) == []
        await wait_until(lambda: SUB in device.context.hub.streams and sub_of(device).is_live)
        assert device.service.reload(PATIENT, (main,)) == []
        assert SUB not in device.context.hub.streams
        assert NAME in device.context.hub.streams
        await device.wait_units(3)


def test_second_streams_are_paired_by_either_name() -> None:
    main, sub = stream_settings(), sub_settings()
    assert paired((main, sub)) == {NAME: (main, sub)}
    whole = replace(sub, source="camera:live/camera/sub")
    assert paired((whole, main)) == {NAME: (main, whole)}
    assert paired((main, replace(sub, enabled=False))) == {NAME: (main, None)}
    assert paired((replace(main, enabled=False), sub)) == {}


def test_second_stream_without_a_camera_or_beside_another_is_refused() -> None:
    main, sub = stream_settings(), sub_settings()
    with pytest.raises(ConfigError, match="there is no camera front"):
        paired((main, replace(sub, source="camera:front/sub")))
    with pytest.raises(ConfigError, match="camera has a second stream already"):
        paired((main, sub, replace(sub, name="live/tiny")))
    rtsp = StreamSettings("live/rtsp", "rtsp://camera/")
    assert paired((rtsp, replace(sub, source="camera:rtsp/sub"))) == {}


async def test_second_stream_that_cannot_be_leaves_cameras_as_they_are(
    caplog: pytest.LogCaptureFixture, play: Play
) -> None:
    play(OBEDIENT)
    main = stream_settings()
    wrong = replace(sub_settings(), source="camera:front/sub")
    async with camera(main) as device:
        await device.wait_units(3)
        before = device.workers
        assert device.service.reload(PATIENT, (main, wrong)) == ["camera"]
        await asyncio.sleep(0)
        assert device.workers == before
    assert "there is no camera front" in caplog.text
