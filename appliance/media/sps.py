"""What H.264 and HEVC share: access units sorted, parameter sets gathered, caps, parts of VUI."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from appliance.errors import PeerError
from appliance.media.bits import BitReader
from appliance.media.unit import Buffer

C = TypeVar("C")

MAX_PARAMETER_SET_BYTES = 4096  # each; against sets whose parsing would hold up everybody else
MAX_PARAMETER_SETS_BYTES = 65_536  # all of a track; against 256 sets of the greatest size
MAX_SIDE_PX = 16_384
MAX_FPS = 1000.0
MIN_FPS = 0.01

_SAR_EXTENDED = 255


@dataclass(slots=True)
class NalSplit:
    """One access unit's NAL units by use; delimiters, filler and unknown types are gone.

    media: slices and SEI, in order.
    key: decoding can start here.
    """

    media: list[Buffer] = field(default_factory=list)
    vps: list[Buffer] = field(default_factory=list)
    sps: list[Buffer] = field(default_factory=list)
    pps: list[Buffer] = field(default_factory=list)
    key: bool = False


def check_sets(sets: Sequence[bytes]) -> None:
    """Raises: PeerError if a set is empty or the sets exceed the caps."""
    if not all(0 < len(nal) <= MAX_PARAMETER_SET_BYTES for nal in sets):
        raise PeerError("an empty or huge parameter set")
    if sum(map(len, sets)) > MAX_PARAMETER_SETS_BYTES:
        raise PeerError("too many parameter sets")


def frame_rate(time_scale: int, ticks_per_frame: int) -> float | None:
    """Frames per second as a VUI tells it; None for values that cannot be meant."""
    if not time_scale or not ticks_per_frame:
        return None
    fps = time_scale / ticks_per_frame
    return fps if MIN_FPS <= fps <= MAX_FPS else None


def skip_vui_picture_fields(bits: BitReader) -> None:
    """Aspect ratio to chroma location: the same in ISO/IEC 14496-10 and 23008-2, Annex E."""
    if bits.flag() and bits.u(8) == _SAR_EXTENDED:
        bits.skip(32)  # sar_width, sar_height
    if bits.flag():
        bits.skip(1)  # overscan_appropriate_flag
    if bits.flag():
        bits.skip(4)  # video_format, video_full_range_flag
        if bits.flag():
            bits.skip(24)  # colour_primaries, transfer_characteristics, matrix_coeffs
    if bits.flag():
        bits.ue()  # chroma_sample_loc_type_top_field
        bits.ue()  # chroma_sample_loc_type_bottom_field


def _distinct(sets: Sequence[Buffer]) -> tuple[bytes, ...]:
    """In order, each once: GStreamer 1.22's payloader repeats those of the first unit."""
    return tuple(dict.fromkeys(map(bytes, sets)))


class InBandSets(ABC, Generic[C]):
    """Gathers in-band parameter sets; the codec says how they make a configuration.

    config: the newest complete configuration, if any.
    """

    __slots__ = ("_pps", "_sps", "_vps", "config")

    def __init__(self, config: C | None) -> None:
        self.config = config
        self._vps: tuple[bytes, ...] = ()
        self._sps: tuple[bytes, ...] = ()
        self._pps: dict[int, bytes] = {}  # by id, of which a codec has at most 256

    def update(self, split: NalSplit) -> C | None:
        """The new configuration if this access unit completed or changed it, else None.

        An access unit's SPS replace all earlier ones, and when they differ the earlier PPS go too
        (as in decoders), so that the track is described by what is in force.
        Raises: PeerError if a set is damaged; what was known before stays.
        """
        if not (split.vps or split.sps or split.pps):
            return None
        vps = _distinct(split.vps) or self._vps
        sps = _distinct(split.sps) or self._sps
        is_new = sps != self._sps
        if is_new:
            self._check_sps(sps[0])
        pps = {} if is_new and self._sps else dict(self._pps)
        check_sets((*vps, *sps, *map(bytes, split.pps)))
        pps |= {self._pps_id(nal): bytes(nal) for nal in split.pps}
        if vps == self._vps and sps == self._sps and pps == self._pps:
            return None
        config = self._make(vps, sps, tuple(pps[pps_id] for pps_id in sorted(pps)))
        self._vps, self._sps, self._pps = vps, sps, pps
        if config is None or config == self.config:
            return None
        self.config = config
        return config

    def _hold(self, vps: tuple[bytes, ...], sps: tuple[bytes, ...], pps: tuple[bytes, ...]) -> None:
        self._vps, self._sps, self._pps = vps, sps, {self._pps_id(nal): nal for nal in pps}

    @abstractmethod
    def _check_sps(self, nal: bytes) -> None: ...

    @abstractmethod
    def _pps_id(self, nal: Buffer) -> int: ...

    @abstractmethod
    def _make(
        self, vps: tuple[bytes, ...], sps: tuple[bytes, ...], pps: tuple[bytes, ...]
    ) -> C | None: ...
