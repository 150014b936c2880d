"""H.264 parameter sets of any shape, for what no encoder at hand writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bit_writer import BitWriter


@dataclass(slots=True)
class SpsPlan:
    """ISO/IEC 14496-10 §7.3.2.1.1, field by field; callables write what has inner structure."""

    profile_idc: int = 100
    constraint_flags: int = 0
    level_idc: int = 31
    sps_id: int = 0
    chroma_format_idc: int = 1
    separate_planes: bool = False
    luma_minus8: int = 0
    chroma_minus8: int = 0
    scaling: Callable[[BitWriter], object] | None = None
    log2_max_frame_num_minus4: int = 0
    order: Callable[[BitWriter], object] = field(default=lambda w: order_type_0(w))
    max_refs: int = 1
    mbs: tuple[int, int] = (20, 15)
    frame_mbs_only: bool = True
    crop: tuple[int, int, int, int] | None = None
    vui: Callable[[BitWriter], object] | None = None

    def writer(self) -> BitWriter:
        writer = BitWriter().u(8, self.profile_idc).u(8, self.constraint_flags)
        writer.u(8, self.level_idc).ue(self.sps_id)
        if self.profile_idc in {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}:
            writer.ue(self.chroma_format_idc)
            if self.chroma_format_idc == 3:
                writer.flag(self.separate_planes)
            writer.ue(self.luma_minus8, self.chroma_minus8).flag(0).flag(self.scaling)
            if self.scaling:
                self.scaling(writer)
        writer.ue(self.log2_max_frame_num_minus4)
        self.order(writer)
        writer.ue(self.max_refs).flag(0).ue(self.mbs[0] - 1, self.mbs[1] - 1)
        writer.flag(self.frame_mbs_only)
        if not self.frame_mbs_only:
            writer.flag(0)
        writer.flag(1).flag(self.crop)
        if self.crop:
            writer.ue(*self.crop)
        writer.flag(self.vui)
        if self.vui:
            self.vui(writer)
        return writer

    def nal(self) -> bytes:
        return b"\x67" + self.writer().to_rbsp()


def order_type_0(writer: BitWriter) -> None:
    writer.ue(0, 4)


def order_type_1(cycle: int, written: int | None = None) -> Callable[[BitWriter], object]:
    """num_ref_frames_in_pic_order_cnt_cycle, and how many offsets really follow."""

    def write(writer: BitWriter) -> None:
        writer.ue(1).flag(0).se(-3, 5).ue(cycle)
        writer.se(*range(cycle if written is None else written))

    return write


def order_type_2(writer: BitWriter) -> None:
    writer.ue(2)


def vui(
    *,
    head: Callable[[BitWriter], object] = lambda w: w.u(4, 0),
    timing: tuple[int, int] | None = None,
    hrd: Callable[[BitWriter], object] | None = None,
    reorder: tuple[int, int] | None = None,
) -> Callable[[BitWriter], object]:
    """Annex E.1.1. timing: num_units_in_tick, time_scale; reorder: frames, max buffered."""

    def write(writer: BitWriter) -> None:
        head(writer)
        writer.flag(timing)
        if timing:
            writer.u(32, timing[0]).u(32, timing[1]).flag(1)
        for _ in range(2):  # NAL and VCL
            writer.flag(hrd)
            if hrd:
                hrd(writer)
        if hrd:
            writer.flag(0)
        writer.flag(0).flag(reorder)
        if reorder:
            writer.flag(1).ue(0, 0, 16, 16, *reorder)

    return write


def full_head(writer: BitWriter) -> None:
    """Every optional field from the aspect ratio to the chroma location."""
    writer.flag(1).u(8, 255).u(16, 4).u(16, 3).flag(1).flag(0)
    writer.flag(1).u(3, 5).flag(1).flag(1).u(24, 0x010101).flag(1).ue(1, 2)


def hrd(count: int) -> Callable[[BitWriter], object]:
    def write(writer: BitWriter) -> None:
        writer.ue(count - 1).u(8, 0x12)
        for number in range(min(count, 32)):
            writer.ue(1000 + number, 2000 + number).flag(1)
        writer.u(20, 0)

    return write


def scaling_lists(writer: BitWriter) -> None:
    """Eight lists: absent, default (ends at once), ended early, full."""
    writer.flag(0)
    writer.flag(1).se(-8)
    writer.flag(1).se(1, 1, -10)
    writer.flag(1).se(*[0] * 16)
    writer.flag(0).flag(0)
    writer.flag(1).se(*[1, -1] * 32)
    writer.flag(1).se(127, -128, -7)  # 135, then 7, then 0: the end


def pps(pps_id: int = 0, sps_id: int = 0) -> bytes:
    return b"\x68" + BitWriter().ue(pps_id, sps_id).flag(1).flag(0).ue(0, 0, 0).to_rbsp()
