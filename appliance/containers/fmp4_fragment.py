"""The boxes of one fragment: moof and mdat.

ISO/IEC 14496-12 §8.8; what samples are in them is for the muxer to say.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.media.unit import Buffer

# ISO/IEC 14496-12 §8.8.7, §8.8.8
_DEFAULT_BASE_IS_MOOF = 0x02_0000
_DEFAULT_DURATION = 0x8
_TRUN_OFFSET = 0x1
TRUN_FIRST_FLAGS = 0x4
TRUN_DURATION = 0x100
TRUN_SIZE = 0x200
TRUN_COMPOSITION = 0x800
TRUN_VERSION_1 = 1 << 24


@dataclass(slots=True)
class Run:
    """One track's part of a fragment; the data offset inside `traf` is still 0."""

    traf: bytes
    payload: list[Buffer]
    payload_bytes: int


def traf(
    track_id: int,
    first_ticks: int,
    default_ticks: int,
    trun_flags: int,
    count: int,
    values: Sequence[int],
) -> bytes:
    """tfhd, tfdt and trun (§8.8.6 to §8.8.8, §8.8.12) in one go.

    values: of all samples, in the order of §8.8.8, what `trun_flags` say; without TRUN_DURATION all
    last `default_ticks`.
    """
    trun_bytes = 20 + 4 * len(values)
    return struct.pack(
        f">I4sI4sIIII4sIQI4sIII{len(values)}I",
        8 + 20 + 20 + trun_bytes,
        b"traf",
        20,
        b"tfhd",
        _DEFAULT_BASE_IS_MOOF | _DEFAULT_DURATION,
        track_id,
        default_ticks,
        20,
        b"tfdt",
        1 << 24,
        first_ticks,
        trun_bytes,
        b"trun",
        trun_flags | _TRUN_OFFSET,
        count,
        0,
        *values,
    )


_OFFSET_IN_TRAF = 8 + 20 + 20 + 16


def fragment(sequence: int, runs: Sequence[Run]) -> bytes:
    """A moof with one traf per track and the mdat with their samples (§8.8.4, §8.1.1)."""
    moof_bytes = 24 + sum(len(run.traf) for run in runs)
    moof = bytearray(
        struct.pack(">I4sI4sII", moof_bytes, b"moof", 16, b"mfhd", 0, sequence & 0xFFFFFFFF)
    )
    payload: list[Buffer] = []
    data_offset = moof_bytes + 8
    for run in runs:
        position = len(moof) + _OFFSET_IN_TRAF
        moof += run.traf
        struct.pack_into(">I", moof, position, data_offset)
        payload += run.payload
        data_offset += run.payload_bytes
    mdat_head = struct.pack(">I4s", data_offset - moof_bytes, b"mdat")
    return b"".join((moof, mdat_head, *payload))
