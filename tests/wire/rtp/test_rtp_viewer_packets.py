"""Headers of one viewer's own, with extensions, around payloads that are everybody's."""

from __future__ import annotations

import random

import pytest
from mutation import assert_only_peer_error

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtp.extensions import (
    Extensions,
    HeaderForm,
    orientation_of,
    parse_elements,
)
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.outgoing import MAX_RUN_BYTES, Identity, RtpChunk, frame_payloads
from appliance.wire.rtp.packet import parse
from appliance.wire.rtp.viewer_packets import ViewerPackets
from appliance.wire.srtp.inbound import InboundSession
from appliance.wire.srtp.keys import MasterKey
from appliance.wire.srtp.outbound import OutboundSession
from appliance.wire.srtp.profile import AEAD_AES_128_GCM

MINE = Identity(0xABCDEF01, 65_535, 1000)
ALL = Extensions(
    transport_cc=3,
    abs_send_time=2,
    playout_delay=6,
    orientation=13,
    orientation_deg=90,
    mid=4,
    mid_value="video",
)


def packets_of(*sizes: int, sequence: int = 0) -> ViewerPackets:
    """A chunk of payloads of these sizes."""
    payloads = [Payload(bytes([at]) * size, at == len(sizes) - 1) for at, size in enumerate(sizes)]
    data, places = frame_payloads(payloads, 0, sequence, 90_000)
    return ViewerPackets(RtpChunk(data, 0, 0, True, places=places))


def test_headers_without_extensions_are_plain_and_the_viewers_own() -> None:
    packets = packets_of(10, 10, 5)
    headers = HeaderForm(102).headers(packets.places, MINE)
    read = [parse(head + body) for head, body in zip(headers, packets.payloads, strict=True)]
    assert [packet.sequence for packet in read] == [65_535, 0, 1]
    assert [packet.marker for packet in read] == [False, False, True]
    assert {(p.payload_type, p.ssrc, p.timestamp) for p in read} == {(102, MINE.ssrc, 91_000)}
    assert [bytes(p.payload) for p in read] == [b"\0" * 10, b"\1" * 10, b"\2" * 5]


def test_headers_with_all_extensions_are_read_again() -> None:
    packets = packets_of(10, 10, 5)
    form = HeaderForm(102, ALL)
    headers = form.headers(packets.places, MINE, transport_sequence=65_535, now_us=3_500_000)
    assert {len(head) for head in headers} == {form.size_bytes}
    for step, head in enumerate(headers):
        packet = parse(head + b"payload")
        assert bytes(packet.payload) == b"payload"
        assert parse_elements(packet.extension) == {
            3: (65_535 + step & 0xFFFF).to_bytes(2, "big"),
            2: (7 << 17).to_bytes(3, "big"),
            6: bytes(3),
            13: b"\1",
            4: b"video",
        }
    assert parse(headers[2] + b"x").marker


@pytest.mark.parametrize("seed", range(30))
def test_headers_of_any_choice_are_whole_words_of_one_size(seed: int) -> None:
    rng = random.Random(seed)
    ids = [rng.choice((0, number)) for number in (1, 2, 3, 4, 5)]
    wanted = Extensions(*ids[:4], 270, ids[4], "x" * rng.randrange(1, 17))
    form = HeaderForm(96, wanted)
    [head] = form.headers(packets_of(1).places, MINE, 7, 0)
    assert len(head) == form.size_bytes
    assert len(head) % 4 == 0
    elements = parse_elements(parse(head).extension)
    assert set(elements) == {number for number in ids if number}
    assert form.has_transport_cc == bool(ids[0])
    assert elements.get(4) in (None, b"\3")


def test_mid_that_is_too_long_is_a_fault_of_ours() -> None:
    with pytest.raises(MisuseError):
        HeaderForm(96, Extensions(mid=1, mid_value="x" * 17))


def test_runs_grow_with_the_overhead_and_stay_within_one_send() -> None:
    packets = packets_of(1200, 1200, 300)
    [run] = packets.runs(28)
    assert (run.start, run.end, run.size) == (0, 2 * 1228 + 328, 1228)
    assert packets.sizes(28) == [1228, 1228, 328]
    many = packets_of(*[1200] * 120)
    assert len(many.runs(12)) == 3
    for overhead in (12, 28, 44):
        runs = many.runs(overhead)
        assert runs[0].start == 0
        assert runs[-1].end == 120 * (1200 + overhead)
        assert all(run.end - run.start <= MAX_RUN_BYTES for run in runs)
        assert all(a.end == b.start for a, b in zip(runs, runs[1:], strict=False))


def test_small_packet_in_front_is_a_run_of_its_own() -> None:
    """As parameter sets before a key picture are."""
    runs = packets_of(40, 1200, 1200, 7).runs(30)
    assert [(run.start, run.end, run.size) for run in runs] == [
        (0, 70, 70),
        (70, 70 + 2 * 1230 + 37, 1230),
    ]


def test_frame_protected_for_a_viewer_is_cut_apart_by_its_runs() -> None:
    """The whole way out of one frame, and in again."""
    packets = packets_of(40, 1200, 1200, 7, sequence=500)
    master = MasterKey(AEAD_AES_128_GCM, bytes(16), bytes(12))
    form, session, receiver = HeaderForm(102, ALL), OutboundSession(master), InboundSession(master)
    headers = form.headers(packets.places, MINE, 9, 0)
    first = MINE.sequence(packets.places[0].sequence)
    data = session.stream(MINE.ssrc).protect(first, headers, packets.payloads)
    opened = [
        receiver.open(data[start : min(start + run.size, run.end)])
        for run in packets.runs(form.size_bytes + session.tag_bytes)
        for start in range(run.start, run.end, run.size)
    ]
    assert [bytes(parse(packet).payload) for packet in opened] == [*map(bytes, packets.payloads)]
    assert [parse(packet).sequence for packet in opened] == [499, 500, 501, 502]


@pytest.mark.parametrize(
    ("profile", "body", "elements"),
    [
        (0xBEDE, "10ff", {1: b"\xff"}),
        (0xBEDE, "0010ff00", {1: b"\xff"}),
        (0xBEDE, "10fff0", {1: b"\xff"}),
        (0xBEDE, "10ff1001", {1: b"\x01"}),
        (0x1000, "0102aabb00", {1: b"\xaa\xbb"}),
        (0x100F, "1000", {16: b""}),
        (0xABAC, "ffff", {}),
        (0xBEDE, "", {}),
    ],
)
def test_elements_are_read_in_both_forms(
    profile: int, body: str, elements: dict[int, bytes]
) -> None:
    assert parse_elements((profile, bytes.fromhex(body))) == elements


@pytest.mark.parametrize(
    ("profile", "body"),
    [(0xBEDE, "1f00"), (0xBEDE, "10"), (0xBEDE, "03000000"), (0x1000, "01ff00"), (0x1000, "01")],
)
def test_elements_that_pass_the_end_are_refused(profile: int, body: str) -> None:
    with pytest.raises(PeerError):
        parse_elements((profile, bytes.fromhex(body)))


def test_elements_with_seeded_damage_raise_nothing_but_peer_error() -> None:
    [head] = HeaderForm(96, ALL).headers(packets_of(1).places, MINE, 7, 0)
    seeds = [head, b"\x90" + head[1:12] + bytes.fromhex("10000001 0102aabb"), head + b"x"]
    assert_only_peer_error(lambda data: parse_elements(parse(data).extension), seeds, 2000)


def test_orientation_is_told_in_degrees() -> None:
    assert [orientation_of(bytes([code])) for code in range(4)] == [0, 90, 180, 270]
    assert orientation_of(b"") == 0
