"""Fragmented MP4 taken apart for tests, by the letter of ISO/IEC 14496-12, without our muxer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.media.bits import Reader

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"mvex", b"moof", b"traf"}
SYNC, NON_SYNC = 0x0200_0000, 0x0101_0000


@dataclass(slots=True)
class Sample:
    dts: int
    duration: int
    composition: int
    is_sync: bool
    data: bytes


@dataclass(slots=True)
class TrackRun:
    """One traf: its samples, with times in the track's own ticks."""

    track_id: int
    samples: list[Sample] = field(default_factory=list)


def boxes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Type, position and body of each box at this level; they fill `data` exactly."""
    reader = Reader(data)
    while reader.remaining:
        position = reader.position
        size, kind = reader.u32(), bytes(reader.take(4))
        yield kind, position, bytes(reader.take(size - 8))


def find(data: bytes, *path: bytes) -> list[bytes]:
    """The bodies of all boxes at this path."""
    found = [data]
    for kind in path:
        found = [body for outer in found for name, _, body in boxes(outer) if name == kind]
    return found


def tree(data: bytes, depth: int = 0) -> Iterator[str]:
    """The types of all boxes, indented, for comparison with what must be there."""
    for kind, _, body in boxes(data):
        yield "  " * depth + kind.decode()
        if kind in CONTAINERS:
            yield from tree(body, depth + 1)


def fragments(data: bytes) -> list[list[TrackRun]]:
    """Every moof with its mdat, as the runs of its tracks; other boxes are passed over."""
    found: list[list[TrackRun]] = []
    moof_position = 0
    moof = b""
    for kind, position, body in boxes(data):
        if kind == b"moof":
            moof, moof_position = body, position
        elif kind == b"mdat":
            assert moof, "mdat without moof"
            found.append(_runs(moof, data[moof_position:], position + 8 - moof_position, len(body)))
            moof = b""
    return found


def _runs(moof: bytes, from_moof: bytes, first_byte: int, mdat_bytes: int) -> list[TrackRun]:
    runs = []
    at = first_byte
    for traf in find(moof, b"traf"):
        head, defaults = _tfhd(find(traf, b"tfhd")[0])
        decode = Reader(find(traf, b"tfdt")[0])
        assert decode.u32() == 1 << 24, "tfdt must have 64 bits"
        run = TrackRun(head)
        at = _trun(find(traf, b"trun")[0], run, decode.u64(), defaults, from_moof, at)
        runs.append(run)
    assert at == first_byte + mdat_bytes, "samples do not fill the mdat"
    return runs


def _tfhd(body: bytes) -> tuple[int, int]:
    """Track and default duration."""
    reader = Reader(body)
    flags = reader.u32()
    assert flags & 0x2_0000, "default-base-is-moof"
    assert flags & ~0x2_0008 == 0
    return reader.u32(), reader.u32() if flags & 8 else 0


def _trun(
    body: bytes, run: TrackRun, dts: int, default_duration: int, from_moof: bytes, at: int
) -> int:
    reader = Reader(body)
    flags = reader.u32()
    assert flags >> 24 == 1 or not flags & 0x800, "composition offsets must be signed"
    assert flags & ~0x0100_0B05 == 0
    count, offset = reader.u32(), reader.u32()
    assert offset == at, "the data of tracks must follow each other"
    first_flags = reader.u32() if flags & 4 else None
    for index in range(count):
        duration = reader.u32() if flags & 0x100 else default_duration
        size = reader.u32()
        composition = reader.u32() if flags & 0x800 else 0
        is_sync = flags & 0x800 == 0 or (index == 0 and first_flags == SYNC)
        data = from_moof[at : at + size]
        assert len(data) == size
        signed = composition - (1 << 32) if composition >= 1 << 31 else composition
        run.samples.append(Sample(dts, duration, signed, is_sync, data))
        dts += duration
        at += size
    assert not reader.remaining
    return at
