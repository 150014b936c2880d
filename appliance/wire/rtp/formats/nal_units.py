"""What the payload formats of H.264 and HEVC share: NAL units gathered into access units.

Theory of operation: a unit ends where the timestamp changes. The marker bit ends it too, a frame
earlier, once a camera has shown that it means it: some set it on every packet or slice, some never.
A gap spoils the unit in progress, and the next one unless it shows its picture's first slice. A
spoiled unit is dropped, and what follows is marked damaged until a key unit. NAL units before a
picture wait for it even if their timestamp is another (cameras that stamp parameter sets apart).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from appliance.errors import PeerError
from appliance.media.nal import MAX_NALS, split_annexb
from appliance.media.sps import InBandSets, NalSplit
from appliance.media.track import CodecConfig
from appliance.media.unit import Buffer
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled
from appliance.wire.rtp.packet import HEADER_BYTES, PacketRun, RtpPacket

C = TypeVar("C", bound=CodecConfig)

_PIECE_COST_BYTES = 64  # counted for each NAL unit or fragment; against millions of tiny ones
_TRUST_UNITS = 2  # that ended where the marker was, before the marker alone ends one
_DISTRUST_UNITS = 64  # to go without the marker after it stood in the middle of a unit
_START_CODE = b"\0\0\1"


class NalDepacketizer(ABC, Generic[C]):
    """The gathering; the codec takes its payloads apart and calls `_add` and `_fragment`.

    dropped_units: how many were spoiled by loss or damage.
    ignored_payloads: of types that this receiver does not know, or damaged ones.
    """

    __slots__ = (
        "_damaged",
        "_done",
        "_fragments",
        "_gap",
        "_has_picture",
        "_marked",
        "_middle",
        "_nals",
        "_sets",
        "_size_bytes",
        "_spoiled",
        "_stamp",
        "_stray_markers",
        "_trust",
        "dropped_units",
        "ignored_payloads",
    )

    def __init__(self, sets: InBandSets[C]) -> None:
        self._sets = sets
        self._stamp: int | None = None
        self._nals: list[bytes] = []
        self._fragments: list[Buffer] = []
        self._middle = b""  # what payloads begin with that are the next of these fragments
        self._size_bytes = 0
        self._has_picture = False
        self._spoiled = False
        self._done = False  # the unit of this stamp was returned, by its marker
        self._gap = True  # packets are missing and no first slice has been seen since
        self._damaged = True  # until the first key unit
        self._marked = False  # the newest packet of the unit ended it by its marker
        self._stray_markers = False
        self._trust = 0
        self.dropped_units = 0
        self.ignored_payloads = 0

    @property
    def config(self) -> C | None:
        return self._sets.config

    def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
        """Never raises: a damaged payload spoils its unit."""
        units = [] if stamp == self._stamp else self._start(stamp)
        if packet.payload:  # else a keep-alive, or padding to probe the way
            units += self._push(packet.payload, packet.marker)
        return units

    def push_run(self, run: PacketRun, stamp: int) -> list[Assembled]:
        """As `push` for each of them."""
        units = [] if stamp == self._stamp else self._start(stamp)
        fragments, last = self._fragments, run.packets[-1]
        for packet in run.packets:
            if fragments and packet.startswith(self._middle, HEADER_BYTES):
                body = packet[HEADER_BYTES + len(self._middle) :]
                fragments.append(body)
                self._size_bytes += len(body) + _PIECE_COST_BYTES
            else:
                units += self._push(packet[HEADER_BYTES:], run.marker and packet is last)
        if self._size_bytes > MAX_UNIT_BYTES:
            self._spoil()
        return units

    def _push(self, payload: Buffer, marker: bool) -> list[Assembled]:
        """The next payload of the unit in progress."""
        if self._done:
            self._resume()
        elif not self._spoiled:
            if self._marked:
                self._marked, self._stray_markers = False, True
                if self._gap:  # the marker was no end, and what follows it is missing
                    self._spoil()
                    return []
            self._take(payload)
            if marker and self._has_picture and not self._fragments:
                self._marked = True
                if self._trust >= _TRUST_UNITS:
                    self._done = True
                    return self._close()
        return []

    def lost(self) -> None:
        self._gap = True
        is_ended = self._marked and self._trust >= 0  # by its marker, as far as is known
        if self._stamp is not None and not is_ended:
            self._spoil()

    def flush(self) -> list[Assembled]:
        units = self._start(None)
        self._nals.clear()
        return units

    @abstractmethod
    def _take(self, payload: Buffer) -> None:
        """Take one payload apart; it is not empty."""

    @abstractmethod
    def _is_picture(self, nal: bytes) -> bool:
        """Whether it is a slice."""

    @abstractmethod
    def _is_first_slice(self, nal: bytes) -> bool:
        """Whether this slice is the first of its picture."""

    @abstractmethod
    def _split(self, nals: list[bytes]) -> NalSplit: ...

    def _add(self, nal: bytes) -> None:
        """One whole NAL unit of the unit in progress."""
        if not nal[-1]:  # trailing_zero_8bits of a byte stream: ffmpeg 5.1 leaves them to HEVC
            nal = nal.rstrip(b"\0")
            if not nal:
                return
        self._size_bytes += len(nal) + _PIECE_COST_BYTES
        if self._size_bytes > MAX_UNIT_BYTES or len(self._nals) >= MAX_NALS:
            self._spoil()
        elif self._is_picture(nal):
            if self._gap and not self._has_picture and not self._is_first_slice(nal):
                self._spoil()
                return
            self._gap = False
            self._has_picture = True
            self._nals.append(nal)
        elif _START_CODE in nal:
            self._add_annexb(nal)
        else:
            self._nals.append(nal)

    def _add_annexb(self, nal: bytes) -> None:
        """Start codes within a payload, as some cameras send parameter sets."""
        try:
            nals = split_annexb(b"\0\0\1" + nal)
        except PeerError:
            self.ignored_payloads += 1
            return
        for part in nals:  # without start codes now, so this comes here no second time
            if not self._spoiled:
                self._add(bytes(part))

    def _fragment(self, header: bytes, body: Buffer, flags: int) -> None:
        """A fragment of a NAL unit. flags: the FU header, start and end in its two high bits."""
        fragments = self._fragments
        if flags & 0x80:
            if fragments:
                self._spoil()
                return
            fragments.append(header)
        elif not fragments:
            self._spoil()
            return
        fragments.append(body)
        self._size_bytes += len(body) + _PIECE_COST_BYTES
        if self._size_bytes > MAX_UNIT_BYTES:
            self._spoil()
        elif flags & 0x40:
            nal = b"".join(fragments)
            fragments.clear()
            self._size_bytes -= len(nal)
            self._add(nal)

    def _spoil(self) -> None:
        self._spoiled = True
        self._nals.clear()
        self._fragments.clear()

    def _resume(self) -> None:
        """More came with the stamp of a unit that its marker had ended: it was no end."""
        if self._trust >= 0:
            self._trust = -_DISTRUST_UNITS
            self._damaged = True
            self.dropped_units += 1

    def _start(self, stamp: int | None) -> list[Assembled]:
        """End the unit in progress, because another stamp begins."""
        units = [] if self._done else self._close()
        if self._marked and not self._stray_markers:
            self._trust += 1
        elif self._stray_markers:
            self._trust = -_DISTRUST_UNITS
        self._damaged = self._damaged or self._gap
        self._stamp = stamp
        self._done = self._marked = self._stray_markers = False
        return units

    def _close(self) -> list[Assembled]:
        """The unit in progress if it is whole; if it has no picture yet, it goes on."""
        if self._fragments:
            self._spoil()
        if self._spoiled:
            self.dropped_units += 1
            self._damaged = True
        elif not self._has_picture:
            return []
        nals, self._nals = self._nals, []
        self._size_bytes = 0
        has_picture, self._has_picture = self._has_picture, False
        spoiled, self._spoiled = self._spoiled, False
        return [] if spoiled or not has_picture else self._assemble(nals)

    def _assemble(self, nals: list[bytes]) -> list[Assembled]:
        split = self._split(nals)
        try:
            self._sets.update(split)
        except PeerError:  # a set that we do not understand; what was known before stays
            self.ignored_payloads += 1
        if split.key:
            self._damaged = False
        if not split.media or self._stamp is None:
            return []
        media = tuple(split.media)
        return [Assembled(self._stamp, media, split.key, 0, self._damaged, self.config)]
