"""Whatever a worker says, in whatever order: a fault of the worker comes out, or nothing."""

from __future__ import annotations

import random

import pytest
from camera_fixture import NAME, PATIENT, camera, stream_settings

from appliance.media.aac import AacConfig
from appliance.media.h264 import H264Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.net.systemd import Watchdog
from appliance.net.worker_process import WorkerFault
from appliance.services.camera.recovery import Recovery
from appliance.services.camera.session import Plan, WorkerSession
from appliance.services.contract import Context, StreamSettings
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.messages import (
    SUB_VIDEO_ID,
    Answer,
    Event,
    Health,
    Picture,
    State,
    Tracks,
)

H264 = H264Config(
    (bytes.fromhex("6764001facb402802dd350101014000003000400000300f23c60ca80"),),
    (bytes.fromhex("68ef3cb0"),),
)
VIDEO, TURNED, SECOND = Track(1, H264), Track(1, H264, rotation_deg=90), Track(SUB_VIDEO_ID, H264)
AUDIO, OPUS = Track(2, AacConfig.lc(48_000, 1), 48_000), Track(2, OpusConfig(channels=2), 48_000)
TRACKS: list[Tracks] = [
    (VIDEO, AUDIO), (VIDEO, AUDIO, SECOND), (AUDIO,), (SECOND,), (VIDEO,), (TURNED, OPUS, SECOND),
    (SECOND, AUDIO),
]  # fmt: skip
OFFSETS_US = [0, 0, 0, 0, -10_000_000, 1_000_000, 6_000_000, -50_000_000]


def words(rng: random.Random) -> Event:
    """Anything but tracks and units, with values that make no sense."""
    document = {
        "encoder": rng.choice(["camera", "libx264", 3, None, [], {}]),
        "keyframe_us": rng.choice([1, -1, "x", 10**30, 2.5, None, True]),
        "controls": rng.choice([{}, [], 3, {"gain": 3}, {"gain": {"min": "x"}}]),
    }
    return rng.choice(
        [State(document), Answer(1, "x"), Picture(1, 0, 1, 1, b"\xff\xd8"), Health(1, 2, 3)]
    )


def make_session(context: Context) -> WorkerSession:
    sub = StreamSettings("live/small", "camera:camera/sub")
    clock, counters = context.hub.clock, context.counters
    return WorkerSession(
        context,
        Plan(stream_settings(), {}, PATIENT, sub, {}),
        context.sessions.open("camera", "camera-publish", "127.0.0.1", ours=True),
        Recovery(NAME, clock, counters, Watchdog(), 20),
    )


def play(session: WorkerSession, rng: random.Random, *, damage: bool) -> None:
    pipe, tracks = Pipe(Role.WORKER), TRACKS[0]
    pipe.send(tracks)
    for _ in range(40):
        now_us = session.main.stream.clock.monotonic_us()
        match rng.randrange(16):
            case 0 | 1:
                tracks = rng.choice(TRACKS)
                pipe.send(tracks)
            case 2:
                session.want_sub(rng.random() < 0.5)
            case 3:
                pipe.send(words(rng))
            case 4:
                session.main.pause()
            case _:
                at_us = max(0, now_us + rng.choice(OFFSETS_US))
                key = rng.random() < 0.5
                pipe.send(AccessUnit(rng.choice(tracks), at_us, at_us, key, (b"x" * 9,)))
        data = bytearray(pipe.take_output())
        if damage and data and rng.random() < 0.1:
            data[rng.randrange(len(data))] = rng.randrange(256)
        session._receive(bytes(data))
        session._key_interval_us()
        for output in (session.main, session.sub):
            if output is not None and output.ladder is not None:
                output.ladder.next(now_us + rng.randrange(20_000_000))


@pytest.mark.parametrize("damage", [False, True])
async def test_session_of_a_mad_worker_ends_by_a_fault_of_the_worker(damage: bool) -> None:
    rng, units, faults = random.Random(7), 0, 0
    async with camera() as device:
        for _ in range(600):
            session = make_session(device.context)
            play(session, rng, damage=damage)
            units += session.main.units
            if session._failed.done():
                faults += 1
                assert isinstance(session._failed.exception(), WorkerFault)
            session._close()
            device.context.sessions.close(session._session)
        assert units > 1000 and faults > 10
