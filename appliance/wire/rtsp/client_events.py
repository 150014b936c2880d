"""What an RTSP server answers its client, and what arrives from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.wire.rtsp.interleaved import Frames
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.rtsp.target import RtspAddress
from appliance.wire.rtsp.transport import Transport


@dataclass(frozen=True, slots=True)
class Described:
    """sdp: as it came; base_url: what relative controls in it start from."""

    sdp: bytes = field(repr=False)
    base_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Announced:
    """The server takes the SDP; tracks may be set up."""


@dataclass(frozen=True, slots=True)
class SetUp:
    """A track's way is agreed."""

    url: str = field(repr=False)
    transport: Transport


@dataclass(frozen=True, slots=True)
class Playing:
    """Packets come; many servers send no RTP-Info."""

    infos: tuple[RtpInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """Packets may be sent."""


@dataclass(frozen=True, slots=True)
class Refused:
    """method: of what was asked. After SETUP another transport may be tried (461, but also 400,
    404, 454, 455, 459 and 500 are what cameras say to a transport they do not have)."""

    method: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Redirected:
    """Where it is instead; without credentials if it is another host. The caller counts."""

    address: RtspAddress


@dataclass(frozen=True, slots=True)
class Ended:
    """The server ends the session."""


Event = Described | Announced | SetUp | Playing | Recording | Refused | Redirected | Ended | Frames
