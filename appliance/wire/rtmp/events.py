"""What a peer asks of an RTMP server."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from appliance.wire.rtmp.message import Message


class Media(Enum):
    """What a player can switch off."""

    AUDIO = "audio"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class ConnectAsked:
    """The first command. flash_version tells encoders apart."""

    app: str
    tc_url: str
    page_url: str = ""
    flash_version: str = ""


@dataclass(frozen=True, slots=True)
class PublishAsked:
    """is_fmle: it announced itself by FCPublish."""

    stream_id: int
    name: str = field(repr=False)  # its query may hold a key
    is_fmle: bool = False


@dataclass(frozen=True, slots=True)
class PlayAsked:
    stream_id: int
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The peer ended what it did on this message stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class Paused:
    stream_id: int
    paused: bool


@dataclass(frozen=True, slots=True)
class Switched:
    """receiveAudio, receiveVideo."""

    stream_id: int
    media: Media
    wanted: bool


Event = ConnectAsked | PublishAsked | PlayAsked | Stopped | Paused | Switched | Message
