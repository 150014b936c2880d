"""What one player is sent of a stream, from PLAY until PAUSE or the end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from appliance.hub.rendition import Rendition
from appliance.hub.stream import Stream
from appliance.media.clock import us_to_ticks
from appliance.media.track import Kind
from appliance.net.datagram_fanout import DatagramFanOut, DatagramViewer
from appliance.net.datagrams import DatagramSender
from appliance.net.fanout import End, FanOut, Viewer
from appliance.net.fanout_pool import Latency
from appliance.net.fanout_sink import sink_of
from appliance.net.fanout_viewer import Batch
from appliance.net.tcp import TcpConnection
from appliance.net.udp import UdpAddress
from appliance.services.rtsp.core import CoreEvent, RtspCore
from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.outgoing import DatagramBatch, FrameBatch, Identity, RtpChunk
from appliance.wire.rtp.rtcp import Goodbye, ReceiverReport, SenderReport, SourceDescription
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.sdp.rtp_muxer import Carried, RtpMuxer

if TYPE_CHECKING:
    from appliance.services.rtsp.outlets import Outlets

RECENT_CHUNKS = 64  # among which each track has one


def make_identity(channel: int = 0) -> Identity:
    """A source of its own: nobody takes two sessions for one (RFC 3550 §5.1)."""
    return Identity(
        secrets.randbits(32), secrets.randbits(16), secrets.randbits(32), channel=channel
    )


class Ports(Protocol):
    """What datagrams leave from."""

    rtp: DatagramSender

    def send_control(self, data: bytes, address: UdpAddress) -> None: ...


@dataclass(slots=True)
class Leg:
    """One track that a player has set up. By UDP, addresses: of its RTP and RTCP, and ports."""

    carried: Carried
    control: str
    identity: Identity
    addresses: tuple[UdpAddress, UdpAddress] | None = None
    ports: Ports | None = None


@dataclass(slots=True)
class _Counts:
    packets: int = 0
    payload_bytes: int = 0


class Playing:
    """legs: in the order of the stream's tracks, all by TCP or all by UDP.

    is_all: whether they are all of the stream's tracks that RTP carries. By TCP, the fan-out
    writes to the connection's socket, past the connection, from `start` to `stop`; before and
    after that nothing of a frame is left over, so that the connection may speak.
    """

    __slots__ = (
        *("_begun", "_connection", "_core", "_counted_bytes", "_key", "_latency", "_legs"),
        *("_outlets", "_place", "_rendition", "_sent_bytes", "_stream", "lost_units"),
    )

    def __init__(
        self,
        stream: Stream,
        legs: Sequence[Leg],
        connection: TcpConnection[CoreEvent],
        core: RtspCore,
        outlets: Outlets,
        latency: Latency,
        *,
        is_all: bool,
    ) -> None:
        """Raises: CodecUnsupported, LimitExceeded, StreamNotFound."""
        ids = None if is_all else [leg.carried.track.id for leg in legs]
        name = "rtp" if ids is None else f"rtp-{'-'.join(map(str, ids))}"
        self._stream = stream
        self._legs = legs
        self._connection = connection
        self._core = core
        self._outlets = outlets
        self._latency = latency
        has_sound = any(leg.carried.track.kind is Kind.AUDIO for leg in legs)
        self._rendition: Rendition = stream.rendition(
            name, lambda: RtpMuxer(ids, has_sound=has_sound)
        )
        self._place: tuple[FanOut, Viewer] | tuple[DatagramFanOut, DatagramViewer] | None = None
        self._key: int | None = None  # where it starts; None: where it may by then
        self._begun: dict[int, _Counts] = {}  # what was sent to nobody of us, by track
        self._sent_bytes = 0  # not yet counted, of runs that are over
        self._counted_bytes = 0  # of this run
        self.lost_units = 0

    @property
    def is_running(self) -> bool:
        return self._place is not None

    @property
    def is_interleaved(self) -> bool:
        return self._legs[0].addresses is None

    # -- where it begins ---------------------------------------------------------------------------

    def prepare(self, url_of: Callable[[str], str]) -> list[RtpInfo]:
        """It will start at what is now the newest key. For RTP-Info: the first packet of each track
        from there on, and when that is on its clock; nothing if there is no key yet."""
        ring = self._rendition.ring
        key = self._stream.place_to_join(ring)
        if key == ring.next:
            self._key = None
            return []
        self._key = key
        chunks = cast("list[RtpChunk]", ring.since(key))
        start_us = chunks[0].dts_us
        infos = []
        for index, leg in enumerate(self._legs):
            first = next((chunk for chunk in chunks if chunk.index == index), None)
            mine = leg.identity
            sequence = None if first is None else mine.sequence(first.places[0].sequence)
            stamp = mine.timestamp(us_to_ticks(start_us, leg.carried.clock_rate_hz))
            infos.append(RtpInfo(url_of(leg.control), sequence, stamp))
        return infos

    def _place_to_start(self) -> int:
        if self._key is not None:
            return self._key
        return self._stream.place_to_join(self._rendition.ring)

    # -- beginning and end -------------------------------------------------------------------------

    def start(self, on_end: Callable[[End], object]) -> None:
        """on_end: called once unless `stop` is; then call that. By TCP the connection must be
        drained. Raises: OSError if no descriptor is left.
        """
        if self.is_interleaved:
            self._start_frames(on_end)
        else:
            self._start_datagrams(on_end)
        self.request_keyframe()

    def request_keyframe(self) -> None:
        """If it waits for one."""
        if self._place is not None and self._place[1].needs_key:
            self._stream.request_keyframe()

    def _start_frames(self, on_end: Callable[[End], object]) -> None:
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            on_end(End.GONE)
            return
        sink = sink_of(transport)
        fanout = self._outlets.pool.of(self._rendition.ring, self._latency)
        self._core.is_muted = True
        self._connection.rest()
        self._rendition.demand.join()
        viewer = fanout.add(sink, self._place_to_start(), self._dress)
        self._place = fanout, viewer
        if viewer.end is not None:
            on_end(viewer.end)
            return
        viewer.on_end = on_end
        self.report()

    def _dress(self, batch: Batch) -> bytearray:
        frames = batch.memo
        if not isinstance(frames, FrameBatch):
            frames = FrameBatch(batch.data, cast("list[RtpChunk]", batch.chunks))
            batch.memo = frames
        return frames.dress([leg.identity for leg in self._legs])

    def _start_datagrams(self, on_end: Callable[[End], object]) -> None:
        settings = self._outlets.settings.fan_out
        fanout = self._outlets.datagrams.of(self._rendition.ring, settings)
        self._rendition.demand.join()
        self.report()
        viewer = fanout.add(self._send, self._place_to_start())
        viewer.on_end = on_end
        self._place = fanout, viewer

    def _send(self, batch: DatagramBatch) -> None:
        leg = self._legs[batch.index]
        assert leg.addresses is not None and leg.ports is not None, "all legs are by UDP"
        leg.ports.rtp.send(batch.dress(leg.identity), batch.runs, leg.addresses[0])

    def stop(self) -> None:
        """Safe to call again."""
        match self._place:
            case FanOut() as fanout, Viewer() as viewer:
                rest = bytes(viewer.rest or b"")
                viewer.on_end = None
                fanout.remove(viewer)
                self._core.is_muted = False
                self._connection.resume()
                self._connection.write(rest)
            case DatagramFanOut() as datagrams, DatagramViewer() as receiver:
                receiver.on_end = None
                datagrams.remove(receiver)
            case _:
                return
        self._rendition.demand.leave()
        self._sent_bytes = self.take_sent_bytes()
        self._counted_bytes = 0
        self._place = None

    # -- words between the media -------------------------------------------------------------------

    def speak(self) -> None:
        """Lets the connection say what it has to, if the fan-out is between two frames."""
        match self._place:
            case FanOut() as fanout, Viewer() as viewer if viewer.end is None:
                if viewer.rest is None and (said := self._core.take_said()):
                    fanout.interject(viewer, said)

    def report(self) -> None:
        """Tells of every track which stamp belongs to which time (RFC 3550 §6.4.1)."""
        stream = self._stream
        anchor, newest_us = stream.anchor, stream.newest_dts_us
        if anchor is None or newest_us is None:
            return
        ntp = unix_us_to_ntp(anchor.unix_us_at(newest_us))
        reports = []
        for index, leg in enumerate(self._legs):
            stamp = leg.identity.timestamp(us_to_ticks(newest_us, leg.carried.clock_rate_hz))
            counts = self._counts(index)
            report = SenderReport(leg.identity.ssrc, ntp, stamp, *counts).pack()
            reports.append(report + self._name_of(leg))
        self._send_control(reports)

    def say_goodbye(self) -> None:
        self._send_control(
            [
                ReceiverReport(leg.identity.ssrc).pack()  # a compound begins with a report
                + self._name_of(leg)
                + Goodbye((leg.identity.ssrc,)).pack()
                for leg in self._legs
            ]
        )

    def _name_of(self, leg: Leg) -> bytes:
        """The same for all tracks of a player, who shall know that they belong together."""
        name = f"{self._legs[0].identity.ssrc:08x}"
        return SourceDescription(leg.identity.ssrc, name).pack()

    def _counts(self, index: int) -> tuple[int, int]:
        """Packets and bytes of a track from where this player first began up to where it is; what
        it was too slow for counts as if it had been sent."""
        if self._place is None:
            return 0, 0
        ring, position = self._rendition.ring, self._place[1].position
        chunks = cast("list[RtpChunk]", ring.since(position - RECENT_CHUNKS))
        past = chunks[: max(0, position - max(ring.first, position - RECENT_CHUNKS))]
        newest = next((chunk for chunk in reversed(past) if chunk.index == index), None)
        if newest is None:
            return 0, 0
        begun = self._begun.setdefault(index, _Counts(newest.sent_packets, newest.sent_bytes))
        return newest.sent_packets - begun.packets, newest.sent_bytes - begun.payload_bytes

    def _send_control(self, packets: Sequence[bytes]) -> None:
        if self.is_interleaved:
            channels = [leg.identity.channel + 1 for leg in self._legs]
            self._core.rtsp.send_frames(list(zip(channels, packets, strict=True)))
            if self.is_running:
                self.speak()
            return
        for leg, packet in zip(self._legs, packets, strict=True):
            if leg.addresses is not None and leg.ports is not None:
                leg.ports.send_control(packet, leg.addresses[1])

    def take_sent_bytes(self) -> int:
        """Since it was asked last."""
        sent, self._sent_bytes = self._sent_bytes, 0
        if self._place is not None:
            viewer = self._place[1]
            self.lost_units = viewer.lost_units
            sent += viewer.sent_bytes - self._counted_bytes
            self._counted_bytes = viewer.sent_bytes
        return sent
