"""Frames of the pipe as bytes: ``length u32 | type u8 | payload``, big endian.

`length` counts the type and the payload. Times are unsigned microseconds of CLOCK_MONOTONIC.
Not a public protocol: both ends are of one version, which HELLO proves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from appliance.errors import MisuseError, PeerError
from appliance.media.bits import Reader
from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.configs import DECODERS, config_bytes
from appliance.wire.pipe.messages import (
    Answer,
    Change,
    Fault,
    Health,
    Picture,
    Reason,
    Recover,
    RequestPicture,
    Rung,
    SetBitrate,
    State,
    Tracks,
)

VERSION = 3
MAGIC = b"PORTHOLE"
LENGTH_BYTES = 4

# Against a worker that a hostile source has taken over: nothing it announces is believed.
MAX_UNIT_BYTES = 4 << 20
MAX_FRAME_BYTES = MAX_UNIT_BYTES + (64 << 10)  # a unit and its head
MAX_TRACKS = 8
MAX_CONFIG_BYTES = 80 << 10  # media/sps.py lets parameter sets be 64 KiB
MAX_FAULT_BYTES = 1024
MAX_DOCUMENT_BYTES = 64 << 10
MAX_PICTURE_BYTES = 4 << 20
ROTATIONS_DEG = frozenset({0, 90, 180, 270})
MAX_TIME_US = 1 << 62
MAX_BITRATE_BPS = 1_000_000_000


class Type(IntEnum):
    """HELLO opens both directions; 0x1x comes from the worker, 0x2x goes to it, and tracks and
    units go to one that encodes them anew, too."""

    HELLO = 0x01
    TRACKS = 0x10
    UNIT = 0x11
    HEALTH = 0x12
    FAULT = 0x13
    STATE = 0x14
    ANSWER = 0x15
    PICTURE = 0x16
    KEYFRAME = 0x20
    BITRATE = 0x21
    CHANGE = 0x22
    REQUEST_PICTURE = 0x23
    RECOVER = 0x24


KEY = 0x01
DISCONTINUITY = 0x02


def frame(kind: Type, *payload: bytes | memoryview) -> bytes:
    """One frame, ready to be written."""
    length = 1 + sum(map(len, payload))
    if length > MAX_FRAME_BYTES:
        raise MisuseError(f"a frame of {length} bytes")
    return b"".join((length.to_bytes(LENGTH_BYTES, "big"), bytes((kind,)), *payload))


# -- hello -------------------------------------------------------------------------------------


def encode_hello() -> bytes:
    return frame(Type.HELLO, MAGIC, VERSION.to_bytes(2, "big"))


def decode_hello(reader: Reader) -> None:
    """Raises: PeerError unless the other end is a Porthole of this very pipe version."""
    if bytes(reader.take(len(MAGIC))) != MAGIC:
        raise PeerError("the other end of the pipe is not ours")
    version = reader.u16()
    if version != VERSION:
        raise PeerError(f"pipe version {version} at the other end, {VERSION} here")


# -- tracks ------------------------------------------------------------------------------------


def encode_tracks(tracks: Tracks) -> bytes:
    parts: list[bytes] = [bytes((len(tracks),))]
    for track in tracks:
        config = config_bytes(track.config)
        name = track.codec.encode("ascii")
        parts += [
            bytes((track.id, len(name))),
            name,
            track.clock_rate_hz.to_bytes(4, "big"),
            track.rotation_deg.to_bytes(2, "big"),
            len(config).to_bytes(4, "big"),
            config,
        ]
    return frame(Type.TRACKS, *parts)


def decode_tracks(reader: Reader) -> Tracks:
    count = reader.u8()
    if not 1 <= count <= MAX_TRACKS:
        raise PeerError(f"{count} tracks, 1 to {MAX_TRACKS} are possible")
    tracks = tuple(_decode_track(reader) for _ in range(count))
    if len({track.id for track in tracks}) != count:
        raise PeerError("two tracks with one id")
    return tracks


def _decode_track(reader: Reader) -> Track:
    track_id = reader.u8()
    name = str(bytes(reader.take(reader.u8())), "ascii", "replace")
    clock_rate_hz = reader.u32()
    rotation_deg = reader.u16()
    length = reader.u32()
    if length > MAX_CONFIG_BYTES:
        raise PeerError(f"a codec configuration of {length} bytes")
    data = bytes(reader.take(length))
    decode = DECODERS.get(name)
    if decode is None:
        raise PeerError("a track of an unknown codec")
    if not clock_rate_hz:
        raise PeerError("a track without a clock")
    if rotation_deg not in ROTATIONS_DEG:
        raise PeerError(f"a picture turned by {rotation_deg} degrees")
    return Track(track_id, decode(data), clock_rate_hz, rotation_deg)


# -- access units ------------------------------------------------------------------------------


def encode_unit(unit: AccessUnit) -> bytes:
    flags = KEY * unit.key | DISCONTINUITY * unit.discontinuity
    head = b"".join(
        (
            bytes((unit.track.id, flags)),
            unit.dts_us.to_bytes(8, "big"),
            (unit.pts_us - unit.dts_us).to_bytes(4, "big", signed=True),
            len(unit.parts).to_bytes(2, "big"),
            *(len(part).to_bytes(4, "big") for part in unit.parts),
        )
    )
    return frame(Type.UNIT, head, *unit.parts)


def decode_unit(reader: Reader, tracks: Mapping[int, Track]) -> AccessUnit:
    """A unit whose parts are views of the frame, which nobody else keeps."""
    track = tracks.get(reader.u8())
    if track is None:
        raise PeerError("a unit of a track that was not described")
    flags = reader.u8()
    dts_us = reader.u64()
    offset_us = reader.u32()
    if offset_us >= 1 << 31:
        offset_us -= 1 << 32
    count = reader.u16()
    if dts_us > MAX_TIME_US:
        raise PeerError("a time beyond all clocks")
    if not count or (track.kind is Kind.AUDIO and count != 1):
        raise PeerError(f"{count} parts in a unit of {track.kind}")
    sizes = Reader(reader.take(4 * count))
    parts = tuple(reader.take(sizes.u32()) for _ in range(count))
    if not all(parts):
        raise PeerError("an empty part in a unit")
    return AccessUnit(
        track,
        dts_us,
        dts_us + offset_us,
        key=bool(flags & KEY),
        parts=parts,
        discontinuity=bool(flags & DISCONTINUITY),
    )


# -- health, faults, commands ------------------------------------------------------------------


def encode_health(health: Health) -> bytes:
    values = (health.dropped_frames, health.late_us, health.rss_bytes)
    return frame(Type.HEALTH, *(value.to_bytes(8, "big") for value in values))


def decode_health(reader: Reader) -> Health:
    return Health(reader.u64(), reader.u64(), reader.u64())


def encode_fault(fault: Fault) -> bytes:
    reason = fault.reason.encode("ascii")
    text = fault.text.encode("utf-8", "replace")[:MAX_FAULT_BYTES]
    return frame(Type.FAULT, bytes((len(reason),)), reason, text)


def decode_fault(reader: Reader) -> Fault:
    word = str(bytes(reader.take(reader.u8())), "ascii", "replace")
    if reader.remaining > MAX_FAULT_BYTES:
        raise PeerError(f"a fault of {reader.remaining} bytes")
    text = str(bytes(reader.rest()), "utf-8", "replace")
    try:
        return Fault(Reason(word), text)
    except ValueError:
        raise PeerError("a fault of an unknown kind") from None


def encode_state(state: State) -> bytes:
    return frame(Type.STATE, _document(state.document))


def decode_state(reader: Reader) -> State:
    return State(_parse_document(reader))


def encode_answer(answer: Answer) -> bytes:
    text = answer.error.encode("utf-8", "replace")[:MAX_FAULT_BYTES]
    return frame(Type.ANSWER, answer.serial.to_bytes(4, "big"), text)


def decode_answer(reader: Reader) -> Answer:
    return Answer(reader.u32(), _text(reader))


def encode_picture(picture: Picture) -> bytes:
    """Raises: MisuseError for a picture beyond MAX_PICTURE_BYTES."""
    if len(picture.jpeg) > MAX_PICTURE_BYTES:
        raise MisuseError(f"a picture of {len(picture.jpeg)} bytes")
    body = picture.jpeg or picture.error.encode("utf-8", "replace")[:MAX_FAULT_BYTES]
    head = b"".join(
        (
            picture.serial.to_bytes(4, "big"),
            picture.time_us.to_bytes(8, "big"),
            picture.width.to_bytes(2, "big"),
            picture.height.to_bytes(2, "big"),
            bytes((bool(picture.jpeg),)),
        )
    )
    return frame(Type.PICTURE, head, body)


def decode_picture(reader: Reader) -> Picture:
    serial, time_us = reader.u32(), reader.u64()
    width, height, there = reader.u16(), reader.u16(), reader.u8()
    if time_us > MAX_TIME_US:
        raise PeerError("a time beyond all clocks")
    if not there:
        return Picture(serial, error=_text(reader) or "there is no picture")
    jpeg = bytes(reader.rest())
    if len(jpeg) > MAX_PICTURE_BYTES or jpeg[:2] != b"\xff\xd8":
        raise PeerError(f"a picture of {len(jpeg)} bytes that is no JPEG")
    return Picture(serial, time_us, width, height, jpeg)


def encode_change(change: Change) -> bytes:
    return frame(Type.CHANGE, change.serial.to_bytes(4, "big"), _document(change.values))


def decode_change(reader: Reader) -> Change:
    return Change(reader.u32(), _parse_document(reader))


def encode_request_picture(ask: RequestPicture) -> bytes:
    return frame(
        Type.REQUEST_PICTURE,
        ask.serial.to_bytes(4, "big"),
        ask.width.to_bytes(2, "big"),
        bytes((ask.quality, ask.sub)),
    )


def decode_request_picture(reader: Reader) -> RequestPicture:
    serial, width, quality, sub = reader.u32(), reader.u16(), reader.u8(), reader.u8()
    if not 1 <= quality <= 100:
        raise PeerError(f"a picture of quality {quality}")
    return RequestPicture(serial, width, quality, bool(sub))


def encode_recover(recover: Recover) -> bytes:
    return frame(Type.RECOVER, bytes((recover.rung,)))


def decode_recover(reader: Reader) -> Recover:
    number = reader.u8()
    try:
        return Recover(Rung(number))
    except ValueError:
        raise PeerError(f"a rung {number} of no ladder") from None


def _document(values: Mapping[str, Any]) -> bytes:
    """Raises: MisuseError beyond MAX_DOCUMENT_BYTES."""
    data = json.dumps(values, separators=(",", ":"), allow_nan=False).encode("utf-8")
    if len(data) > MAX_DOCUMENT_BYTES:
        raise MisuseError(f"a document of {len(data)} bytes")
    return data


def _parse_document(reader: Reader) -> dict[str, Any]:
    if reader.remaining > MAX_DOCUMENT_BYTES:
        raise PeerError(f"a document of {reader.remaining} bytes")
    try:
        document = json.loads(
            bytes(reader.rest()), parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError):
        raise PeerError("a document that is not JSON") from None
    if not isinstance(document, dict):
        raise PeerError("a document that is no object")
    return document


def _refuse_constant(_: str) -> float:
    raise ValueError("NaN and infinities are not JSON")


def _finite(text: str) -> float:
    """``1e999`` is JSON, and an infinity to Python."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number out of range")
    return value


def _text(reader: Reader) -> str:
    if reader.remaining > MAX_FAULT_BYTES:
        raise PeerError(f"a text of {reader.remaining} bytes")
    return str(bytes(reader.rest()), "utf-8", "replace")


def encode_bitrate(command: SetBitrate) -> bytes:
    return frame(Type.BITRATE, command.bitrate_bps.to_bytes(4, "big"))


def decode_bitrate(reader: Reader) -> SetBitrate:
    bitrate_bps = reader.u32()
    if not 0 < bitrate_bps <= MAX_BITRATE_BPS:
        raise PeerError(f"a bit rate of {bitrate_bps}")
    return SetBitrate(bitrate_bps)
