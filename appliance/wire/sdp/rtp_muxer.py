"""A stream as RTP: its units packetised once, for every receiver of RTSP and WebRTC."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from appliance.errors import CodecUnsupported
from appliance.media.clock import us_to_ticks
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Chunk
from appliance.wire.rtp.formats.contract import DEFAULT_PAYLOAD_BYTES, Packetizer
from appliance.wire.rtp.outgoing import RtpChunk, frame_payloads
from appliance.wire.sdp.session import Connection, Media, Session
from appliance.wire.sdp.tracks import FIRST_DYNAMIC, describe, packetizer


@dataclass(slots=True)
class Carried:
    """A track that RTP carries, with its media section. control: ``trackID=`` and its id."""

    track: Track
    media: Media
    payload_type: int
    clock_rate_hz: int

    @property
    def control(self) -> str:
        return f"trackID={self.track.id}"

    @property
    def shape(self) -> tuple[int, int, str, CodecConfig | None]:
        """What may not change while somebody receives it. Parameter sets may: they are in band."""
        config = None if self.track.kind is Kind.VIDEO else self.track.config
        return self.track.id, self.payload_type, self.track.codec, config


def carry(tracks: Sequence[Track]) -> list[Carried]:
    """Those of the tracks that RTP can carry. Raises: CodecUnsupported if there are none."""
    carried = []
    for number, track in enumerate(tracks, FIRST_DYNAMIC):
        try:
            packetizer(track.config)
            media = describe(track, number, f"trackID={track.id}")
        except CodecUnsupported:
            continue
        payload_type = media.payload_types[0]
        rtpmap = media.rtpmap(payload_type)
        assert rtpmap is not None, "describe() always writes one"
        carried.append(Carried(track, media, payload_type, rtpmap.clock_rate_hz))
    if not carried:
        raise CodecUnsupported("RTP carries none of these tracks")
    return carried


def live_session(name: str, carried: Sequence[Carried], address: str = "0.0.0.0") -> Session:
    """The description of what is live. address: a multicast group's, or of anything."""
    session = Session(
        name=name or "-", connection=Connection(address, is_ipv6=":" in address), origin=""
    )
    family = "IP6" if ":" in address else "IP4"
    session.origin = f"- 0 0 IN {family} {address}"
    session.add("control", "*")
    session.add("range", "npt=now-")
    session.media = [one.media for one in carried]
    return session


@dataclass(slots=True)
class _Way:
    """What a track's packets are numbered with.

    base_us: of its first unit. Stamps count from there, or rounding would move every other one of
    a sound by a tick.
    """

    carried: Carried
    packetizer: Packetizer
    index: int
    sequence: int = 0
    packets: int = 0
    payload_bytes: int = 0
    base_us: int | None = None
    last_us: int | None = None

    def stamp(self, pts_us: int) -> int:
        rate_hz = self.carried.clock_rate_hz
        if self.base_us is None:
            self.base_us = pts_us
        return us_to_ticks(self.base_us, rate_hz) + us_to_ticks(pts_us - self.base_us, rate_hz)


class RtpMuxer:
    """A chunk per access unit. ids: of the tracks that are wanted; None for all. has_sound: whether
    there is any among them, which may be in another form then.

    The rendition ends when what a description told does not hold any more.
    """

    def __init__(
        self,
        ids: Collection[int] | None = None,
        max_bytes: int = DEFAULT_PAYLOAD_BYTES,
        *,
        has_sound: bool = True,
    ) -> None:
        self._ids = ids
        self._has_sound = has_sound
        self._max_bytes = max_bytes
        self._ways: dict[int, _Way] = {}
        self._video = False

    def takes(self, config: CodecConfig) -> bool:
        """What has a payload format needs no other form."""
        if not self._has_sound:
            return True
        try:
            packetizer(config, self._max_bytes)
        except CodecUnsupported:
            return False
        return True

    def header(self, tracks: Sequence[Track]) -> bytes:
        """Nothing. Raises: CodecUnsupported."""
        carried = [one for one in carry(tracks) if self._ids is None or one.track.id in self._ids]
        if not carried:
            raise CodecUnsupported("the tracks that were asked for are gone")
        if self._ways:
            if [way.carried.shape for way in self._ways.values()] != [c.shape for c in carried]:
                raise CodecUnsupported("its tracks are others now; players learn them anew")
            return b""
        self._ways = {
            one.track.id: _Way(one, packetizer(one.track.config, self._max_bytes), index)
            for index, one in enumerate(carried)
        }
        self._video = any(one.track.kind is Kind.VIDEO for one in carried)
        return b""

    def feed(self, unit: AccessUnit) -> list[Chunk]:
        way = self._ways.get(unit.track.id)
        if way is None:
            return []
        payloads = way.packetizer.payloads(unit)
        if not payloads:
            return []
        carried = way.carried
        stamp = way.stamp(unit.pts_us)
        data, places = frame_payloads(payloads, carried.payload_type, way.sequence, stamp)
        before = way.packets, way.payload_bytes
        way.sequence = (way.sequence + len(payloads)) & 0xFFFF
        way.packets += len(payloads)
        way.payload_bytes += sum(len(payload.data) for payload in payloads)
        duration_us = 0 if way.last_us is None else max(0, unit.dts_us - way.last_us)
        way.last_us = unit.dts_us
        key = unit.key and (unit.track.kind is Kind.VIDEO or not self._video)
        return [
            RtpChunk(
                data,
                unit.dts_us,
                duration_us,
                key,
                b"",
                unit.discontinuity,
                way.index,
                places,
                *before,
            )
        ]

    def flush(self) -> list[Chunk]:
        """Nothing: every unit is complete at once."""
        return []
