"""HEVC parameter sets of any shape, for what no encoder at hand writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bit_writer import BitWriter

GENERAL_PROFILE = bytes.fromhex("0160000000b00000000000") + b"\x5d"  # Main, Main tier, level 3.1


def profile_tier_level(
    writer: BitWriter, general: bytes, sub_layers: list[tuple[int, int]]
) -> None:
    """§7.3.3; sub_layers: for each but the highest, whether profile and level are present."""
    writer.u(96, int.from_bytes(general, "big"))
    for has_profile, has_level in sub_layers:
        writer.flag(has_profile).flag(has_level)
    if sub_layers:
        writer.u(2 * (8 - len(sub_layers)), 0)
    for has_profile, has_level in sub_layers:
        if has_profile:
            writer.u(88, int.from_bytes(general[:11], "big"))
        if has_level:
            writer.u(8, 90)


@dataclass(slots=True)
class SpsPlan:
    """§7.3.2.2, field by field; callables write what has inner structure."""

    general: bytes = GENERAL_PROFILE
    sub_layers: list[tuple[int, int]] = field(default_factory=list)
    sps_id: int = 0
    chroma_format_idc: int = 1
    separate_planes: bool = False
    size: tuple[int, int] = (320, 240)
    window: tuple[int, int, int, int] | None = None
    luma_minus8: int = 0
    chroma_minus8: int = 0
    order_bits: int = 8
    ordering: list[tuple[int, int, int]] = field(default_factory=lambda: [(4, 2, 0)])
    scaling: Callable[[BitWriter], object] | None = None
    pcm: bool = False
    short_term: Callable[[BitWriter], object] = field(default=lambda w: w.ue(0))
    long_term: int = -1
    vui: Callable[[BitWriter], object] | None = None

    def writer(self) -> BitWriter:
        writer = BitWriter().u(4, 0).u(3, len(self.sub_layers)).flag(1)
        profile_tier_level(writer, self.general, self.sub_layers)
        writer.ue(self.sps_id, self.chroma_format_idc)
        if self.chroma_format_idc == 3:
            writer.flag(self.separate_planes)
        writer.ue(*self.size).flag(self.window)
        if self.window:
            writer.ue(*self.window)
        writer.ue(self.luma_minus8, self.chroma_minus8, self.order_bits - 4)
        writer.flag(len(self.ordering) > 1)
        for limits in self.ordering:
            writer.ue(*limits)
        writer.ue(0, 1, 0, 2, 1, 1).flag(self.scaling)
        if self.scaling:
            self.scaling(writer.flag(1))
        writer.flag(0).flag(1).flag(self.pcm)
        if self.pcm:
            writer.u(8, 0x77).ue(0, 1).flag(0)
        self.short_term(writer)
        writer.flag(self.long_term >= 0)
        if self.long_term >= 0:
            writer.ue(self.long_term)
            for number in range(self.long_term):
                writer.u(self.order_bits, number).flag(1)
        writer.flag(1).flag(1).flag(self.vui)
        if self.vui:
            self.vui(writer)
        return writer

    def nal(self) -> bytes:
        return b"\x42\x01" + self.writer().flag(0).to_rbsp()


def scaling_lists(writer: BitWriter) -> None:
    """§7.3.4: some predicted, some written out."""
    for size_id in range(4):
        for matrix_id in range(2 if size_id == 3 else 6):
            if matrix_id % 2:
                writer.flag(0).ue(1)
                continue
            writer.flag(1)
            if size_id > 1:
                writer.se(5)
            writer.se(*[matrix_id - 2, 3] * (8 if size_id == 0 else 32))


def short_term_sets(writer: BitWriter) -> None:
    """§7.3.7: written out, then predicted, where one offset becomes 0 and falls away, and again."""
    writer.ue(4)
    writer.ue(2, 1).ue(0).flag(1).ue(1).flag(1).ue(0).flag(1)  # -1 -3 +1
    writer.flag(1).flag(1).ue(0)  # each less 1: -2 -4 0, and -1 itself
    writer.flag(1).flag(1).flag(1).flag(0).flag(1)  # all kept, though 0 counts for nothing
    writer.flag(1).flag(0).ue(1)  # three and itself, plus 2: +1 0 -2 +2
    writer.flag(1).flag(1).flag(0).flag(0).flag(1)  # the third is dropped: +1 +2
    writer.flag(0).ue(1, 0).ue(0).flag(1)


def vui(timing: tuple[int, int] | None, *, full: bool = False) -> Callable[[BitWriter], object]:
    """Annex E.2.1 as far as the timing. timing: num_units_in_tick, time_scale."""

    def write(writer: BitWriter) -> None:
        if full:
            writer.flag(1).u(8, 255).u(16, 4).u(16, 3).flag(1).flag(0)
            writer.flag(1).u(3, 5).flag(1).flag(1).u(24, 0x010101).flag(1).ue(1, 2)
            writer.flag(0).flag(0).flag(0).flag(1).ue(1, 2, 3, 4)
        else:
            writer.u(4, 0).u(3, 0).flag(0)
        writer.flag(timing)
        if timing:
            writer.u(32, timing[0]).u(32, timing[1]).flag(0).flag(0)
        writer.flag(0)

    return write


def vps(
    timing: tuple[int, int] | None = None,
    *,
    general: bytes = GENERAL_PROFILE,
    sub_layers: list[tuple[int, int]] | None = None,
    layer_sets: int = 1,
    max_layer_id: int = 0,
) -> bytes:
    sub_layers = sub_layers or []
    writer = BitWriter().u(4, 0).u(2, 3).u(6, 0).u(3, len(sub_layers)).flag(1).u(16, 0xFFFF)
    profile_tier_level(writer, general, sub_layers)
    writer.flag(0).ue(4, 2, 0).u(6, max_layer_id).ue(layer_sets - 1)
    for _ in range(1, min(layer_sets, 1024)):
        writer.u(max_layer_id + 1, 1)
    writer.flag(timing)
    if timing:
        writer.u(32, timing[0]).u(32, timing[1]).flag(0).ue(0)
    return b"\x40\x01" + writer.flag(0).to_rbsp()


def pps(pps_id: int = 0, sps_id: int = 0) -> bytes:
    writer = BitWriter().ue(pps_id, sps_id).u(7, 0).ue(0, 0).se(0).u(3, 0).se(0, 0)
    return b"\x44\x01" + writer.u(10, 0).ue(0).u(2, 0).to_rbsp()
