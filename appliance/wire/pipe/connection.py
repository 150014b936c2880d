"""Either end of the pipe, sans-IO.

Theory of operation: each direction begins with HELLO. After it the worker may send TRACKS, UNIT,
HEALTH, STATE, ANSWER, PICTURE and FAULT, the appliance KEYFRAME, BITRATE, CHANGE, REQUEST_PICTURE
and RECOVER, and TRACKS and UNIT to a worker that encodes anew; anything else is a fault of the
peer, after which the pipe is useless: the appliance kills the worker, the worker exits. Units refer
to the tracks of the newest TRACKS frame of their direction. At most one incomplete frame is held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from appliance.errors import MisuseError, PeerError
from appliance.media.bits import Reader
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe import frames
from appliance.wire.pipe.frames import LENGTH_BYTES, MAX_FRAME_BYTES, Type
from appliance.wire.pipe.messages import (
    Answer,
    Change,
    Event,
    Fault,
    Health,
    Picture,
    Recover,
    RequestKeyframe,
    RequestPicture,
    SetBitrate,
    State,
)


class Role(Enum):
    APPLIANCE = "appliance"
    WORKER = "worker"


FROM = {
    Role.WORKER: frozenset(
        {Type.TRACKS, Type.UNIT, Type.HEALTH, Type.STATE, Type.ANSWER, Type.PICTURE, Type.FAULT}
    ),
    Role.APPLIANCE: frozenset(
        {
            *(Type.KEYFRAME, Type.BITRATE, Type.CHANGE, Type.REQUEST_PICTURE, Type.RECOVER),
            *(Type.TRACKS, Type.UNIT),
        }
    ),
}
PEER = {Role.WORKER: Role.APPLIANCE, Role.APPLIANCE: Role.WORKER}


class Pipe:
    """`receive` bytes → events, `send` events → `take_output` bytes."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self._may_send = FROM[role]
        self._may_receive = FROM[PEER[role]]
        self._input = bytearray()
        self._output: list[bytes] = [frames.encode_hello()]
        self._greeted = False
        self._tracks: dict[int, Track] = {}

    @property
    def pending_bytes(self) -> int:
        """Bytes of an incomplete frame; never more than a frame's cap plus one `receive`."""
        return len(self._input)

    def take_output(self) -> bytes:
        """What must be written now; empty if nothing."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def send(self, event: Event) -> None:
        """Queue one frame. Raises: MisuseError if this end may not send it or it is too large."""
        kind, data = _encode(event)
        if kind not in self._may_send:
            raise MisuseError(f"a {self.role.value} does not send {kind.name}")
        self._output.append(data)

    def receive(self, data: bytes | memoryview) -> list[Event]:
        """The events that `data` completes.

        Raises: PeerError if the other end broke the rules; the pipe is not used after it.
        """
        self._input += data
        events: list[Event] = []
        start = 0
        while (end := self._frame_end(start)) is not None:
            event = self._decode(bytes(self._input[start + LENGTH_BYTES : end]))
            if event is not None:
                events.append(event)
            start = end
        if start:
            del self._input[:start]
        return events

    def receive_eof(self) -> None:
        """The other end closed. Raises: PeerError if that cut a frame in two."""
        if self._input:
            raise PeerError(f"the pipe ended inside a frame, after {len(self._input)} bytes of it")

    def _frame_end(self, start: int) -> int | None:
        """Where the frame at `start` ends, if it is complete."""
        available = len(self._input) - start
        if available < LENGTH_BYTES:
            return None
        length = int.from_bytes(self._input[start : start + LENGTH_BYTES], "big")
        if not 1 <= length <= MAX_FRAME_BYTES:
            raise PeerError(f"a frame of {length} bytes")
        return start + LENGTH_BYTES + length if available >= LENGTH_BYTES + length else None

    def _decode(self, data: bytes) -> Event | None:
        reader = Reader(data)
        number = reader.u8()
        if not self._greeted:
            if number != Type.HELLO:
                raise PeerError("the pipe does not begin with a hello")
            frames.decode_hello(reader)
            self._greeted = True
            event = None
        elif number in self._may_receive:
            event = self._decode_event(Type(number), reader)
        else:
            raise PeerError(f"a frame of type {number:#04x} has no place here")
        if reader.remaining:
            raise PeerError(f"{reader.remaining} bytes too many in a frame")
        return event

    def _decode_event(self, kind: Type, reader: Reader) -> Event:
        match kind:
            case Type.UNIT:
                return frames.decode_unit(reader, self._tracks)
            case Type.TRACKS:
                tracks = frames.decode_tracks(reader)
                self._tracks = {track.id: track for track in tracks}
                return tracks
            case Type.KEYFRAME:
                return RequestKeyframe()
        return _DECODERS[kind](reader)


_DECODERS: Mapping[Type, Callable[[Reader], Event]] = {
    Type.HEALTH: frames.decode_health,
    Type.STATE: frames.decode_state,
    Type.ANSWER: frames.decode_answer,
    Type.PICTURE: frames.decode_picture,
    Type.FAULT: frames.decode_fault,
    Type.BITRATE: frames.decode_bitrate,
    Type.CHANGE: frames.decode_change,
    Type.REQUEST_PICTURE: frames.decode_request_picture,
    Type.RECOVER: frames.decode_recover,
}
_ENCODERS: Mapping[type[Any], tuple[Type, Callable[[Any], bytes]]] = {
    Health: (Type.HEALTH, frames.encode_health),
    State: (Type.STATE, frames.encode_state),
    Answer: (Type.ANSWER, frames.encode_answer),
    Picture: (Type.PICTURE, frames.encode_picture),
    Fault: (Type.FAULT, frames.encode_fault),
    SetBitrate: (Type.BITRATE, frames.encode_bitrate),
    Change: (Type.CHANGE, frames.encode_change),
    RequestPicture: (Type.REQUEST_PICTURE, frames.encode_request_picture),
    Recover: (Type.RECOVER, frames.encode_recover),
}


def _encode(event: Event) -> tuple[Type, bytes]:
    match event:
        case AccessUnit():
            return Type.UNIT, frames.encode_unit(event)
        case tuple():
            return Type.TRACKS, frames.encode_tracks(event)
        case RequestKeyframe():
            return Type.KEYFRAME, frames.frame(Type.KEYFRAME)
    kind, encode = _ENCODERS[type(event)]
    return kind, encode(event)
