"""Packets made once and dressed for each receiver are those that a sender of its own would make."""

from __future__ import annotations

import pytest

from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.outgoing import (
    MAX_RUN_BYTES,
    DatagramBatch,
    FrameBatch,
    Identity,
    RtpChunk,
    frame_payloads,
)
from appliance.wire.rtp.packet import parse
from appliance.wire.rtp.sender import RtpSender

SSRCS = (0x11223344, 0xFFFFFFFE)


def payloads(*sizes: int) -> list[Payload]:
    last = len(sizes) - 1
    return [
        Payload(bytes((n,)) * size, n == last, stamp_offset=7 * n) for n, size in enumerate(sizes)
    ]


def chunk(made: list[Payload], sequence: int, stamp: int, index: int = 0) -> RtpChunk:
    data, places = frame_payloads(made, 96 + index, sequence, stamp)
    return RtpChunk(data, 0, 0, True, index=index, places=places)


def test_frames_are_those_of_a_sender_per_receiver() -> None:
    """Two tracks, whose counters wrap on the way."""
    units = [(0, payloads(3, 1200, 5)), (1, payloads(100)), (0, payloads(9)), (1, payloads(1))]
    for first, offset in ((0, 0), (0xFFFE, 0xFFFFFFF0)):
        identities = [Identity(ssrc, first, offset, 2 * n) for n, ssrc in enumerate(SSRCS)]
        senders = [RtpSender(96 + n, ssrc, first, offset) for n, ssrc in enumerate(SSRCS)]
        sent, expected, chunks = [0, 0], b"", []
        for stamp, (index, made) in enumerate(units, 0xFFFFFFFA):
            chunks.append(chunk(made, sent[index], stamp, index))
            sent[index] += len(made)
            expected += senders[index].interleaved(made, stamp, 2 * index)
        data = b"".join(one.data for one in chunks)
        batch = FrameBatch(data, chunks)
        assert bytes(batch.dress(identities)) == expected
        assert bytes(batch.dress(identities)) == expected  # and nothing was left in it
        assert len(expected) == len(data)


def test_datagrams_are_those_of_a_sender_per_receiver() -> None:
    made = payloads(30, 1200, 1200, 700)
    batch = DatagramBatch(chunk(made, 5, 90_000))
    mine = Identity(7, 0xFFFA, 11)
    dressed = bytes(batch.dress(mine))
    assert dressed == b"".join(RtpSender(96, 7, 0xFFFF, 11).datagrams(made, 90_000))
    assert parse(dressed[:42]).sequence == mine.sequence(5) == 0xFFFF
    assert parse(dressed[:42]).timestamp == mine.timestamp(90_000)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((100,), [1]),
        ((30, 1200, 1200, 700), [1, 3]),
        ((1200, 700, 1200), [2, 1]),
        ((5, 5, 9, 9, 2, 2), [2, 3, 1]),
        ((10,) * 130, [64, 64, 2]),
        ((1388,) * 50, [46, 4]),
    ],
)
def test_runs_are_as_long_as_the_kernel_takes_them(
    sizes: tuple[int, ...], expected: list[int]
) -> None:
    batch = DatagramBatch(chunk(payloads(*sizes), 0, 0))
    counts = [-(-(run.end - run.start) // run.size) for run in batch.runs]
    assert counts == expected
    assert all(run.end - run.start <= MAX_RUN_BYTES for run in batch.runs)
    assert batch.runs[-1].end == len(batch.dress(Identity(1, 0, 0)))
    places = [0]
    for run in batch.runs:  # what is cut up is what was put together
        places += [min(run.end, at + run.size) for at in range(run.start, run.end, run.size)]
    wanted = [0]
    for size in sizes:
        wanted.append(wanted[-1] + size + 12)
    assert places == wanted
