"""The tracks of a camera: which of those it offers are taken, and what of them is published.

Nothing is published before every track is known and a picture can be shown, so that viewers do not
begin with sound and start anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.media.track import Kind, Track
from appliance.media.unit import AccessUnit
from appliance.services.pull.faults import ENDED, GARBAGE, SILENT, PullFault
from appliance.services.pull.intake import Inlet
from appliance.services.pull.rtsp_notes import Notes
from appliance.wire.rtp.formats.contract import Depacketizer
from appliance.wire.rtp.incoming import MAX_KEY_WAIT_US, IncomingTrack
from appliance.wire.rtp.session_clock import SessionClock
from appliance.wire.rtsp.client import Described
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.rtsp.target import resolve_control
from appliance.wire.sdp.offers import Format, Offer, offers
from appliance.wire.sdp.parse import parse
from appliance.wire.sdp.session import Media

UNKNOWN_US = 3_000_000  # how long a track is waited for whose parameters come in band
GOODBYE_US = 1_000_000  # how long nothing came from who said it: some go on, under another name
NO_KEY_US = 10_000_000  # then pictures are published that cannot be shown alone (intra refresh)


@dataclass(slots=True)
class CameraTrack:
    """url: for its SETUP. heard_us: when its newest unit came, or it was asked to come; arrived_us:
    its newest packet, as it was seen by the clock, and packets how many there were then."""

    kind: Kind
    url: str = field(repr=False)
    media: Media
    format: Format
    incoming: IncomingTrack
    is_set_up: bool = False
    heard_us: int = 0
    packets: int = 0
    arrived_us: int = 0


KINDS = {
    "all": (Kind.VIDEO, Kind.AUDIO),
    "video": (Kind.VIDEO,),
    "audio": (Kind.AUDIO,),
}


def choose_tracks(
    described: Described, patience_us: int, kinds: tuple[Kind, ...] = KINDS["all"]
) -> tuple[str, list[CameraTrack]]:
    """The URL of the whole, and of these kinds the first of each that we can read.

    Raises: PullFault, PeerError.
    """
    session = parse(described.sdp)
    base = resolve_control(described.base_url, session.control or "")
    found = offers(session)
    clock = SessionClock()
    tracks: list[CameraTrack] = []
    for kind in kinds:
        offer = next((one for one in found if one.kind is kind and one.format), None)
        if offer is None or offer.format is None:
            continue
        number = len(tracks) + 1
        incoming = IncomingTrack(
            number,
            _make_depacketizer(offer.format),
            clock.track(offer.format.clock_rate_hz),
            offer.format.payload_type,
            patience_us=patience_us,
        )
        url = resolve_control(base, offer.media.control or "")
        tracks.append(CameraTrack(kind, url, offer.media, offer.format, incoming))
    if not tracks:
        raise PullFault(GARBAGE, f"it offers no picture or sound that is read here{_why(found)}")
    return base, tracks


def _make_depacketizer(chosen: Format) -> Depacketizer:
    return chosen.depacketizer()


def _why(found: list[Offer]) -> str:
    words = [f"{one.kind.value}: {text}" for one in found for text in one.refused.values()]
    return f" ({'; '.join(words[:3])})" if words else ""


class Publishing:
    """What comes of all tracks, put into the intake.

    begun_us: since when packets are due; None before.
    """

    def __init__(
        self, tracks: list[CameraTrack], intake: Inlet, notes: Notes, silence_us: int
    ) -> None:
        self.begun_us: int | None = None
        self._tracks = {track.incoming.track_id: track for track in tracks}
        self._intake = intake
        self._notes = notes
        self._silence_us = silence_us
        self._described: tuple[Track, ...] = ()
        self._is_open = False

    def begin(self, now_us: int) -> None:
        self.begun_us = now_us
        for track in self._tracks.values():
            track.heard_us = track.arrived_us = now_us

    def note_beginnings(self, infos: Iterable[RtpInfo]) -> None:
        """Of the answer to PLAY, before any packet is taken. A camera may call itself by another
        address there, but its tracks by their names."""
        for info in infos:
            for track in self._tracks.values():
                if info.timestamp is not None and _last_name(info.url) == _last_name(track.url):
                    track.incoming.clock.begin(info.timestamp)

    @property
    def packets(self) -> int:
        return sum(track.incoming.reception.packets for track in self._tracks.values())

    def take(self, now_us: int) -> None:
        """What the packets of all tracks have completed."""
        batches = [units for one in self._tracks.values() if (units := one.incoming.take(now_us))]
        if len(batches) == 1:
            self.publish(batches[0], now_us)
        elif batches:
            units = [unit for batch in batches for unit in batch]
            self.publish(sorted(units, key=lambda unit: unit.dts_us), now_us)

    def publish(self, units: list[AccessUnit], now_us: int) -> None:
        """Raises: PullFault, PeerError, LimitExceeded."""
        for unit in units:
            self._tracks[unit.track.id].heard_us = now_us
        if not self._is_open:
            units = self._wait_beginning(units, now_us)
            if not units:
                self._intake.postpone()
                return
        if all(unit.track in self._described for unit in units):
            self._intake.take(units)
        else:
            for unit in units:
                self._publish_new(unit)

    def _publish_new(self, unit: AccessUnit) -> None:
        """A track began or has other parameters from this unit on."""
        if unit.track not in self._described:
            known = {track.id: track for track in self._described}
            if not known:
                known = self._expected()
            known[unit.track.id] = unit.track
            self._described = tuple(known[number] for number in sorted(known))
            self._intake.take([self._described])
        self._intake.take([unit])

    def _expected(self) -> dict[int, Track]:
        return {
            number: one.incoming.track
            for number, one in self._tracks.items()
            if one.incoming.track is not None and not self._notes.is_forgiven(one.kind)
        }

    def _wait_beginning(self, units: list[AccessUnit], now_us: int) -> list[AccessUnit]:
        """Of these units, those from the beginning on."""
        # GStreamer's server sends the first packets before its answer to PLAY.
        waited_us = 0 if self.begun_us is None else now_us - self.begun_us
        for track in self._tracks.values():
            is_due = not self._notes.is_forgiven(track.kind) and waited_us < UNKNOWN_US
            if track.incoming.track is None and is_due:
                return []
        has_video = any(track.kind is Kind.VIDEO for track in self._tracks.values())
        for at, unit in enumerate(units):
            is_picture = unit.track.kind is Kind.VIDEO
            if not has_video or (is_picture and (unit.key or waited_us > NO_KEY_US)):
                self._is_open = True
                return units[at:]
        return []

    def check(self, now_us: int) -> None:
        """Raises: PullFault that names the track which is silent, though it was promised."""
        if self.begun_us is None:
            return
        tracks = self._tracks.values()
        if all(one.incoming.ended and now_us - one.arrived_us > GOODBYE_US for one in tracks):
            raise PullFault(ENDED, "the camera said goodbye")
        silent = [
            track
            for track in self._tracks.values()
            if self._is_silent(track, now_us) and not self._is_forgiven(track)
        ]
        if not silent:
            if self._is_open:
                self._intake.postpone()
            return
        self._notes.good = None  # another way may be better
        seconds = self._silence_us / 1_000_000
        if len(silent) == len(self._tracks):
            raise PullFault(SILENT, f"no media for {seconds:g} s")
        kind = silent[0].kind
        self._notes.faults[kind] += 1
        raise PullFault(SILENT, f"{kind.value} track silent for {seconds:g} s")

    def _is_silent(self, track: CameraTrack, now_us: int) -> bool:
        """No packets; or packets that make no unit for longer than a lost one is waited out."""
        packets = track.incoming.reception.packets
        if packets != track.packets:
            track.packets, track.arrived_us = packets, now_us
        patience_us = self._silence_us + MAX_KEY_WAIT_US
        return now_us - track.arrived_us > self._silence_us or now_us - track.heard_us > patience_us

    def _is_forgiven(self, track: CameraTrack) -> bool:
        return len(self._tracks) > 1 and self._notes.is_forgiven(track.kind)

    def tell_wall_clock(self) -> None:
        """After a sender report: what the camera's clock says of the stamps, to the stream."""
        for track in self._tracks.values():
            if (offset_us := track.incoming.clock.wall_offset_us) is not None:
                self._intake.tell_wall_offset(offset_us)
                return

    def report(self, ssrc: int, cname: str, now_us: int) -> dict[int, bytes]:
        """Receiver reports, by track."""
        return {
            number: one.incoming.report(ssrc, cname, now_us) for number, one in self._tracks.items()
        }


def _last_name(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]
