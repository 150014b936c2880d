"""RTMP commands: a name, a transaction and values in AMF0 (RTMP 1.0 §7.1.1, §7.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.errors import PeerError
from appliance.media.amf0 import Value, decode, encode
from appliance.wire.rtmp.message import Message, MessageType

COMMAND_CSID = 3
STATUS_CSID = 5
AUDIO_CSID, VIDEO_CSID, DATA_CSID = 4, 6, 5
MEDIA_CSIDS: Mapping[int, int] = {MessageType.AUDIO: AUDIO_CSID, MessageType.VIDEO: VIDEO_CSID}


@dataclass(slots=True)
class Command:
    """arguments: what follows the command object, which is `about` (None where there is none)."""

    name: str
    transaction: float = 0.0
    about: Value = None
    arguments: list[Value] = field(default_factory=list)

    def text(self, index: int) -> str:
        """An argument that must be a string. Raises: PeerError for anything else."""
        value = self.arguments[index] if index < len(self.arguments) else None
        if not isinstance(value, str):
            raise PeerError(f"argument {index + 1} of {self.name[:40]!r} is no string")
        return value

    def number(self, index: int, default: float = 0.0) -> float:
        """An argument that should be a finite number."""
        value = self.arguments[index] if index < len(self.arguments) else None
        if isinstance(value, bool) or not isinstance(value, float) or not math.isfinite(value):
            return default
        return value

    def flag(self, index: int) -> bool:
        value = self.arguments[index] if index < len(self.arguments) else None
        return bool(value) if isinstance(value, bool | float) else False

    def field(self, name: str) -> str:
        """A string of the command object; empty if it is not there."""
        value = self.about.get(name) if isinstance(self.about, Mapping) else None
        return value if isinstance(value, str) else ""


def read_command(message: Message) -> Command:
    """Raises: PeerError if it has no name, or is not AMF0."""
    payload = message.payload
    if message.kind == MessageType.COMMAND_AMF3:  # a byte that says "AMF0 follows", mostly
        payload = payload[1:] if payload[:1] == b"\0" else payload
    values = decode(payload)
    if not values or not isinstance(values[0], str):
        raise PeerError("a command without a name")
    transaction = values[1] if len(values) > 1 else 0.0
    if (
        isinstance(transaction, bool)
        or not isinstance(transaction, float)
        or not math.isfinite(transaction)
    ):
        transaction = 0.0
    return Command(values[0], transaction, values[2] if len(values) > 2 else None, values[3:])


def write_command(stream_id: int, name: str, transaction: float, *values: Value) -> Message:
    payload = encode(name, transaction, *values)
    return Message(MessageType.COMMAND, stream_id, 0, payload)


def write_data(stream_id: int, *values: Value) -> Message:
    return Message(MessageType.DATA, stream_id, 0, encode(*values))


def status(level: str, code: str, text: str, **more: Value) -> dict[str, Value]:
    """The information object of onStatus, _result and _error."""
    return {"level": level, "code": code, "description": text, **more}
