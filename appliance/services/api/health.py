"""Health measured in media: a stream is well while its frames are young, whatever else lives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from appliance.hub.stream import Stream
from appliance.media.track import Kind
from appliance.services.contract import Context, StreamSettings


class State(StrEnum):
    """The first five are well."""

    LIVE = "live"
    STARTING = "starting"  # not yet due
    IDLE = "idle"  # on demand, and nobody watches
    WAITING = "waiting"  # for somebody to publish
    OFF = "off"  # the camera, by somebody's wish or its hours
    STALE = "stale"  # the newest frame is too old
    LOST = "lost"  # the same, and viewers see a still picture that says why
    KEYLESS = "keyless"  # frames come, but none that a viewer could join at


SICK = frozenset({State.STALE, State.LOST, State.KEYLESS})


@dataclass(frozen=True, slots=True)
class Health:
    """One configured stream; ages in microseconds, None before the first."""

    name: str
    state: State
    frame_age_us: int | None
    key_age_us: int | None
    max_age_us: int

    def shape(self) -> dict[str, Any]:
        return {
            "state": self.state.value,
            "frame_age_ms": _ms(self.frame_age_us),
            "key_age_ms": _ms(self.key_age_us),
            "max_age_ms": _ms(self.max_age_us),
        }


def _ms(value_us: int | None) -> int | None:
    return None if value_us is None else value_us // 1000


def key_age_us(stream: Stream) -> int | None:
    """Age of the newest key of the track that matters: video if there is any."""
    kind = Kind.VIDEO if stream.has_video else Kind.AUDIO
    stamps = [stream.stats[track.id].last_key_us for track in stream.tracks if track.kind is kind]
    newest = max((stamp for stamp in stamps if stamp is not None), default=None)
    return None if newest is None else stream.clock.monotonic_us() - newest


def examine(context: Context, since_us: int) -> list[Health]:
    """All enabled streams of the configuration. since_us: when the appliance started."""
    cameras = camera_states(context)
    return [
        _examine(settings, cameras.get(settings.name), context, since_us)
        for settings in context.streams
        if settings.enabled
    ]


def camera_states(context: Context) -> dict[str, str]:
    """What cameras say of themselves, by the names of their streams, second ones too."""
    states: dict[str, str] = {}
    for camera in context.cameras.all():
        about = camera.describe()
        for name in (camera.stream_name, about.get("sub_stream")):
            states[name or ""] = str(about.get("state"))
    return states


def _examine(
    settings: StreamSettings, camera: str | None, context: Context, since_us: int
) -> Health:
    if camera == "off":
        return Health(settings.name, State.OFF, None, None, settings.max_age_us)
    stream = context.hub.streams.get(settings.name)
    frame_us = stream.last_unit_age_us() if stream is not None else None
    key_us = key_age_us(stream) if stream is not None else None
    state = _state(settings, stream, frame_us, key_us, context.hub.clock.monotonic_us() - since_us)
    if camera == "starting" and state in SICK:
        state = State.STARTING  # switched on a moment ago; one that does not start is soon lost
    return Health(settings.name, state, frame_us, key_us, settings.max_age_us)


def _state(
    settings: StreamSettings,
    stream: Stream | None,
    frame_us: int | None,
    key_us: int | None,
    run_us: int,
) -> State:
    publisher = stream.publisher if stream is not None else None
    if settings.on_demand and (stream is None or not stream.demand.viewers):
        return State.LIVE if _is_young(frame_us, settings.max_age_us) else State.IDLE
    if not settings.source and publisher is None:
        return State.WAITING
    if _is_young(frame_us, settings.max_age_us):
        limit_us = max(settings.max_age_us, 2 * _key_interval_us(stream))
        return State.LIVE if _is_young(key_us, limit_us) else State.KEYLESS
    # On demand and published streams are due only since somebody wanted or opened them.
    if settings.on_demand or not settings.source:
        run_us = stream.clock.monotonic_us() - publisher.since_us if stream and publisher else 0
    if run_us < settings.max_age_us:
        return State.STARTING
    return State.LOST if stream is not None and stream.placeholder else State.STALE


def _is_young(age_us: int | None, max_age_us: int) -> bool:
    return age_us is not None and age_us <= max_age_us


def _key_interval_us(stream: Stream | None) -> int:
    """A stream with a keyframe a minute is not sick for it."""
    if stream is None:
        return 0
    intervals = [
        stream.stats[track.id].key_interval_us or 0
        for track in stream.tracks
        if track.kind is Kind.VIDEO
    ]
    return max(intervals, default=0)
