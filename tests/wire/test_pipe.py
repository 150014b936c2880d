"""Both ends of the pipe joined in memory, and garbage of every kind."""

from __future__ import annotations

import random

import pytest
from mutation import assert_only_peer_error, corpus
from pipe_fixture import (
    AUDIO,
    REPORTS,
    TRACKS_OF_ALL_CODECS,
    VIDEO,
    audio_unit,
    spoken,
    video_unit,
)

from appliance.errors import PeerError
from appliance.wire.pipe.connection import PEER, Pipe, Role
from appliance.wire.pipe.frames import MAX_FRAME_BYTES
from appliance.wire.pipe.messages import Event, RequestKeyframe, SetBitrate

COMMANDS: list[Event] = [
    *(RequestKeyframe(), SetBitrate(500_000), RequestKeyframe()),
    *((AUDIO,), audio_unit(), audio_unit(2_000_000), RequestKeyframe()),
]


def receive_in_pieces(role: Role, data: bytes, sizes: list[int]) -> list[Event]:
    pipe = Pipe(role)
    events: list[Event] = []
    position = 0
    while position < len(data):
        size = sizes.pop() if sizes else len(data)
        events += pipe.receive(data[position : position + size])
        position += size
    pipe.receive_eof()
    return events


@pytest.mark.parametrize(("role", "events"), [(Role.WORKER, REPORTS), (Role.APPLIANCE, COMMANDS)])
def test_pipe_byte_by_byte_delivers_what_was_sent(role: Role, events: list[Event]) -> None:
    other = Role.APPLIANCE if role is Role.WORKER else Role.WORKER
    data = spoken(role, events)
    assert receive_in_pieces(other, data, [1] * len(data)) == events
    assert receive_in_pieces(other, data, []) == events


def test_pipe_in_random_pieces_delivers_what_was_sent() -> None:
    dice = random.Random(7)
    data = spoken(Role.WORKER, REPORTS)
    for _ in range(50):
        sizes = [dice.randint(1, 200) for _ in range(200)]
        assert receive_in_pieces(Role.APPLIANCE, data, sizes) == REPORTS


def test_pipe_joined_both_ways_answers_while_receiving() -> None:
    worker, appliance = Pipe(Role.WORKER), Pipe(Role.APPLIANCE)
    worker.send((VIDEO,))
    assert appliance.receive(worker.take_output()) == [(VIDEO,)]
    appliance.send(RequestKeyframe())
    assert worker.receive(appliance.take_output()) == [RequestKeyframe()]
    unit = video_unit()
    worker.send(unit)
    assert appliance.receive(worker.take_output()) == [unit]
    assert worker.take_output() == b""


def test_pipe_units_belong_to_the_newest_tracks() -> None:
    pipe = Pipe(Role.APPLIANCE)
    *_, first = pipe.receive(spoken(Role.WORKER, [(VIDEO,), video_unit()]))
    again = spoken(Role.WORKER, [(VIDEO,), video_unit()])[len(Pipe(Role.WORKER).take_output()) :]
    tracks, second = pipe.receive(again)
    assert isinstance(tracks, tuple)
    assert second.track is tracks[0]
    assert second.track is not first.track


def test_pipe_units_own_their_bytes() -> None:
    """The parts must outlive the receive buffer, which is used again."""
    pipe = Pipe(Role.APPLIANCE)
    unit = video_unit()
    data = bytearray(spoken(Role.WORKER, [(VIDEO,), unit]))
    *_, received = pipe.receive(data)
    data[:] = bytes(len(data))
    assert received == unit


def test_pipe_eof_inside_a_frame_is_told() -> None:
    pipe = Pipe(Role.APPLIANCE)
    pipe.receive(spoken(Role.WORKER, [(VIDEO,)])[:-1])
    with pytest.raises(PeerError):
        pipe.receive_eof()


def test_pipe_holds_one_incomplete_frame_at_most() -> None:
    """A worker that sends valid frames in any pieces never makes the buffer exceed a frame."""
    data = spoken(Role.WORKER, [TRACKS_OF_ALL_CODECS, *[video_unit()] * 500])
    pipe = Pipe(Role.APPLIANCE)
    for start in range(0, len(data), 1000):
        pipe.receive(data[start : start + 1000])
        assert pipe.pending_bytes < 400  # less than one of these units with its head
    assert MAX_FRAME_BYTES < 5 << 20


@pytest.mark.parametrize("role", list(Role))
def test_pipe_mutated_raises_only_peer_error(role: Role) -> None:
    """Mutants also after a good beginning, which most of them would otherwise not get past."""
    good = spoken(PEER[role], [(VIDEO,)])

    def parse(data: bytes) -> None:
        for beginning in (b"", good):
            pipe = Pipe(role)
            try:
                for start in range(0, len(beginning + data), 50):
                    pipe.receive((beginning + data)[start : start + 50])
                pipe.receive_eof()
            except PeerError:
                continue

    assert_only_peer_error(parse, corpus("pipe"), count=3000)
