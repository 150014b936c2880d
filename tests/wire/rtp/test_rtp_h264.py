"""RFC 6184 both ways, and what cameras and networks do to it."""

from __future__ import annotations

import random

import pytest
from framehash import clip_units
from video_units import TICKS, clip_config, packet, push_all, unit

from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled, Payload
from appliance.wire.rtp.formats.h264 import H264Depacketizer, H264Packetizer

IDR = b"\x65\x88" + bytes(range(1, 200))
SLICE = b"\x41\x9a" + bytes(range(1, 100))
SECOND_SLICE = b"\x41\x4a" + bytes(range(1, 50))
SEI = b"\x06\x05\x04abcd\x80"


def fragments(nal: bytes, count: int) -> list[bytes]:
    """FU-A of a NAL unit in `count` pieces."""
    body, step = nal[1:], -(-(len(nal) - 1) // count)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    flags = [0x80, *[0] * (count - 2), 0x40]
    head = nal[0] & 0xE0 | 28
    return [
        bytes((head, flag | nal[0] & 31)) + piece for flag, piece in zip(flags, pieces, strict=True)
    ]


def stap(*nals: bytes) -> bytes:
    return b"\x78" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def joined() -> H264Depacketizer:
    """One that has seen a key unit, and does not trust markers yet."""
    depacketizer = H264Depacketizer(clip_config("h264"))
    push_all(depacketizer, [IDR], -TICKS)
    assert push_all(depacketizer, [], 0) == []
    return depacketizer


def parts(units: list[Assembled]) -> list[tuple[bytes, ...]]:
    return [tuple(map(bytes, found.parts)) for found in units]


@pytest.mark.parametrize(
    "payloads",
    [[IDR], [stap(IDR)], fragments(IDR, 3), [b"\0\0\0\1" + IDR], [stap(b"\x09\xf0", IDR)]],
    ids=["single", "stap-a", "fu-a", "start code", "delimiter dropped"],
)
def test_depacketizer_each_form_gives_the_unit(payloads: list[bytes]) -> None:
    depacketizer = H264Depacketizer()
    assert push_all(depacketizer, payloads, 900) == []
    assert depacketizer.flush() == [Assembled(900, (IDR,), key=True)]


def test_depacketizer_new_stamp_ends_the_unit_without_marker() -> None:
    depacketizer = H264Depacketizer()
    units = [push_all(depacketizer, [IDR if n == 0 else SLICE], n * TICKS) for n in range(4)]
    assert [[found.stamp for found in part] for part in units] == [[], [0], [TICKS], [2 * TICKS]]


def test_depacketizer_marker_ends_the_unit_once_it_has_proved_itself() -> None:
    depacketizer = H264Depacketizer()
    stamps = []
    for n in range(5):
        found = push_all(depacketizer, [Payload(IDR if n == 0 else SLICE, True)], n * TICKS)
        stamps.append([unit.stamp // TICKS for unit in found])
    assert stamps == [[], [0], [1, 2], [3], [4]]


def test_depacketizer_marker_on_every_slice_keeps_units_whole() -> None:
    depacketizer = H264Depacketizer()
    found: list[Assembled] = []
    for n in range(6):
        first = IDR if n == 0 else SLICE
        found += push_all(depacketizer, [Payload(first, True), Payload(SECOND_SLICE, True)], n)
    found += depacketizer.flush()
    assert parts(found) == [(IDR, SECOND_SLICE)] + [(SLICE, SECOND_SLICE)] * 5
    assert not any(unit.damaged for unit in found)


def test_depacketizer_marker_on_every_fragment_keeps_units_whole() -> None:
    depacketizer = H264Depacketizer()
    found: list[Assembled] = []
    for n in range(6):
        pieces = fragments(IDR, 4)
        found += push_all(depacketizer, [Payload(piece, True) for piece in pieces], n)
    assert parts(found + depacketizer.flush()) == [(IDR,)] * 6


def test_depacketizer_trusted_marker_that_lies_is_trusted_no_more() -> None:
    depacketizer = H264Depacketizer()
    found: list[Assembled] = []
    for n in range(4):
        found += push_all(depacketizer, [Payload(IDR, True)], n)
    for n in range(4, 8):
        found += push_all(depacketizer, [Payload(SLICE, True), Payload(SECOND_SLICE, True)], n)
    found += depacketizer.flush()
    assert [len(unit.parts) for unit in found] == [1, 1, 1, 1, 1, 2, 2, 2]
    assert [unit.damaged for unit in found] == [False] * 5 + [True] * 3
    assert depacketizer.dropped_units == 1


def test_depacketizer_marker_is_trusted_again_after_a_long_good_stretch() -> None:
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [Payload(IDR, True), Payload(SECOND_SLICE, True)], 0)
    delayed = [bool(push_all(depacketizer, [Payload(SLICE, True)], n)) for n in range(1, 80)]
    assert all(delayed)
    assert push_all(depacketizer, [Payload(SLICE, True)], 80)[0].stamp == 80


def test_depacketizer_parameter_sets_in_band_make_and_change_the_config() -> None:
    small, large = clip_config("h264-small"), clip_config("h264")
    depacketizer = H264Depacketizer()
    for config in (small, large):
        push_all(depacketizer, [stap(*config.sps, *config.pps), IDR], config.width_px)
        depacketizer.flush()
        assert depacketizer.config == config
    unchanged = depacketizer.config
    push_all(depacketizer, [*large.sps, *large.pps, IDR], 7)
    depacketizer.flush()
    assert depacketizer.config is unchanged


def test_depacketizer_parameter_sets_of_another_stamp_wait_for_their_picture() -> None:
    config = clip_config("h264")
    depacketizer = H264Depacketizer()
    assert push_all(depacketizer, [Payload(config.sps[0], True)], 1) == []
    assert push_all(depacketizer, [Payload(config.pps[0], True)], 2) == []
    assert push_all(depacketizer, [Payload(SEI, True)], 3) == []
    assert push_all(depacketizer, [Payload(IDR, True)], 4) == []
    assert depacketizer.flush() == [Assembled(4, (SEI, IDR), key=True)]
    assert depacketizer.config == config


def test_depacketizer_parameter_sets_joined_by_start_codes_are_parted() -> None:
    config = clip_config("h264")
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [config.sps[0] + b"\0\0\0\1" + config.pps[0], IDR])
    assert depacketizer.flush()[0].parts == (IDR,)
    assert depacketizer.config == config


def test_depacketizer_broken_parameter_set_leaves_the_unit_and_the_config() -> None:
    config = clip_config("h264")
    depacketizer = H264Depacketizer(config)
    push_all(depacketizer, [b"\x67\x64", IDR])
    assert len(depacketizer.flush()) == 1
    assert depacketizer.config is config
    assert depacketizer.ignored_payloads == 1


@pytest.mark.parametrize(
    "payloads",
    [
        fragments(SLICE, 3)[:2],
        fragments(SLICE, 3)[1:],
        [fragments(SLICE, 3)[0], *fragments(SLICE, 3)],
        [*fragments(SLICE, 3)[:2], SECOND_SLICE],
        [*fragments(SLICE, 3)[:2], SECOND_SLICE, fragments(SLICE, 3)[2]],
        [stap(SLICE)[:-1]],
        [b"\x78\xff\xff" + SLICE],
        [SLICE, b"\x7c"],
    ],
    ids=[
        "no end",
        "no start",
        "two starts",
        "cut short",
        "broken in",
        "stap short",
        "stap size",
        "empty fu",
    ],
)
def test_depacketizer_damaged_unit_is_dropped_and_the_next_marked(payloads: list[bytes]) -> None:
    depacketizer = joined()
    push_all(depacketizer, payloads, TICKS)
    found = push_all(depacketizer, [SLICE], 2 * TICKS) + push_all(depacketizer, [IDR], 3 * TICKS)
    found += push_all(depacketizer, [SLICE], 4 * TICKS) + depacketizer.flush()
    assert [(unit.stamp // TICKS, unit.damaged) for unit in found] == [
        (2, True),
        (3, False),
        (4, False),
    ]
    assert depacketizer.dropped_units == 1


@pytest.mark.parametrize(
    "payload", [b"\x00rest", b"\x1erest", b"\x1frest", b"\x79rest", b"\x7drest"]
)
def test_depacketizer_unknown_type_is_passed_over_and_counted(payload: bytes) -> None:
    depacketizer = joined()
    push_all(depacketizer, [payload, SLICE], TICKS)
    assert parts(depacketizer.flush()) == [(SLICE,)]
    assert depacketizer.ignored_payloads == 1


def test_depacketizer_empty_payloads_and_stap_entries_are_nothing() -> None:
    depacketizer = joined()
    push_all(depacketizer, [b"", stap(b"", SLICE, b""), b""], TICKS)
    assert parts(depacketizer.flush()) == [(SLICE,)]


def test_depacketizer_padding_behind_a_marker_is_no_stray() -> None:
    depacketizer = H264Depacketizer()
    found: list[Assembled] = []
    for n in range(5):
        found += push_all(depacketizer, [Payload(IDR, True), b""], n)
    assert [unit.stamp for unit in found] == [0, 1, 2, 3, 4]


def test_depacketizer_gap_within_a_unit_drops_it() -> None:
    depacketizer = joined()
    pieces = fragments(SLICE, 4)
    push_all(depacketizer, pieces[:2], TICKS)
    depacketizer.lost()
    push_all(depacketizer, pieces[3:], TICKS)
    found = push_all(depacketizer, [SLICE], 2 * TICKS) + depacketizer.flush()
    assert [(unit.stamp, unit.damaged) for unit in found] == [(2 * TICKS, True)]


def test_depacketizer_gap_after_the_marker_leaves_the_unit() -> None:
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [Payload(IDR, True)], 0)
    depacketizer.lost()
    found = push_all(depacketizer, [Payload(SLICE, True)], TICKS) + depacketizer.flush()
    assert [(unit.stamp, unit.damaged) for unit in found] == [(0, False), (TICKS, True)]


def test_depacketizer_gap_after_a_marker_that_was_no_end_drops_the_unit() -> None:
    depacketizer = joined()
    push_all(depacketizer, [Payload(SLICE, True)], TICKS)
    depacketizer.lost()
    push_all(depacketizer, [Payload(SECOND_SLICE, True)], TICKS)
    assert depacketizer.flush() == []
    assert depacketizer.dropped_units == 1


def test_depacketizer_gap_that_may_hold_the_first_slice_drops_the_unit() -> None:
    depacketizer = joined()
    depacketizer.lost()
    push_all(depacketizer, [SECOND_SLICE], TICKS)
    found = push_all(depacketizer, [SLICE, SECOND_SLICE], 2 * TICKS) + depacketizer.flush()
    assert parts(found) == [(SLICE, SECOND_SLICE)]
    assert found[0].damaged


def test_depacketizer_key_unit_after_a_gap_is_whole_again() -> None:
    depacketizer = joined()
    depacketizer.lost()
    found = push_all(depacketizer, [IDR], TICKS) + push_all(depacketizer, [SLICE], 2 * TICKS)
    assert [unit.damaged for unit in found + depacketizer.flush()] == [False, False]


def test_depacketizer_before_the_first_key_units_are_marked() -> None:
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [SLICE], 0)
    found = push_all(depacketizer, [IDR], TICKS) + depacketizer.flush()
    assert [unit.damaged for unit in found] == [True, False]


def test_depacketizer_unit_beyond_the_cap_is_dropped_and_bounded() -> None:
    depacketizer = joined()
    start, middle, end = fragments(SLICE, 3)
    push_all(depacketizer, [start], TICKS)
    big = packet(middle[:2] + bytes(60_000), TICKS)
    for _ in range(2 * MAX_UNIT_BYTES // 60_000):
        depacketizer.push(big, TICKS)
        assert sum(map(len, depacketizer._fragments)) <= MAX_UNIT_BYTES
    push_all(depacketizer, [end], TICKS)
    assert depacketizer.flush() == []


def test_depacketizer_flood_of_tiny_units_is_bounded() -> None:
    depacketizer = joined()
    tiny = stap(*[b"\x41\x9a"] * 5000)
    push_all(depacketizer, [tiny], TICKS)
    assert depacketizer.flush() == []
    for n in range(5000):
        push_all(depacketizer, [SEI], 2 * TICKS + n)
    assert len(depacketizer._nals) <= 4096


def test_depacketizer_units_own_their_bytes() -> None:
    depacketizer = joined()
    buffer = bytearray(stap(SLICE, SECOND_SLICE))
    depacketizer.push(packet(memoryview(buffer).toreadonly(), TICKS), TICKS)  # type: ignore[arg-type]
    buffer[:] = bytes(len(buffer))
    assert parts(depacketizer.flush()) == [(SLICE, SECOND_SLICE)]


@pytest.mark.parametrize("max_bytes", [100, 1200, 65_000])
@pytest.mark.parametrize("kind", ["h264", "h264-b"])
def test_packetizer_gives_back_the_clip(kind: str, max_bytes: int) -> None:
    tracks, units = clip_units(kind)
    packetizer, depacketizer = H264Packetizer(max_bytes), H264Depacketizer()
    found: list[Assembled] = []
    for number, source in enumerate(units):
        payloads = packetizer.payloads(source)
        assert max(len(payload.data) for payload in payloads) <= max_bytes
        assert [payload.marker for payload in payloads] == [False] * (len(payloads) - 1) + [True]
        found += push_all(depacketizer, payloads, number)
    assert [(unit.parts, unit.key) for unit in found] == [(u.parts, u.key) for u in units]
    assert not any(unit.damaged for unit in found)
    assert depacketizer.config == tracks[0].config


def test_packetizer_key_unit_carries_its_parameter_sets_in_one_packet() -> None:
    config = clip_config("h264")
    payloads = H264Packetizer().payloads(unit(Track(1, config), IDR, key=True))
    assert [payload.data for payload in payloads] == [stap(*config.sps, *config.pps, IDR)]
    payloads = H264Packetizer().payloads(unit(Track(1, config), SLICE))
    assert [payload.data for payload in payloads] == [SLICE]


def test_packetizer_unit_at_the_limit_is_not_fragmented() -> None:
    track = Track(1, clip_config("h264"))
    for size, count in ((100, 1), (101, 2)):
        nal = b"\x41" + bytes(size - 1)
        assert len(H264Packetizer(100).payloads(unit(track, nal))) == count


def test_packetizer_fragments_are_of_equal_size_but_the_last() -> None:
    track = Track(1, clip_config("h264"))
    payloads = H264Packetizer(100).payloads(unit(track, b"\x65" + bytes(1000)))
    assert {len(payload.data) for payload in payloads[:-1]} == {100}
    assert payloads[0].data[:2] == b"\x7c\x85"
    assert payloads[1].data[:2] == b"\x7c\x05"
    assert payloads[-1].data[:2] == b"\x7c\x45"


def test_packetizer_unit_of_no_parts_makes_no_packet() -> None:
    assert H264Packetizer().payloads(unit(Track(1, clip_config("h264")))) == []


@pytest.mark.parametrize("seed", range(4))
def test_depacketizer_under_loss_gives_only_units_that_were_sent(seed: int) -> None:
    rng = random.Random(seed)
    _, units = clip_units("h264-b")
    packetizer, depacketizer = H264Packetizer(300), H264Depacketizer()
    sent: dict[int, AccessUnit] = dict(enumerate(units * 3))
    found: list[Assembled] = []
    for number, source in sent.items():
        for payload in packetizer.payloads(source):
            if rng.random() < 0.03:
                depacketizer.lost()
            else:
                found += push_all(depacketizer, [payload], number)
    found += depacketizer.flush()
    assert 20 < len(found) < len(sent)
    assert all(unit.parts == sent[unit.stamp].parts for unit in found)
    previous = -1
    broken = False
    for got in found:
        broken = not got.key and (broken or got.stamp != previous + 1)
        assert got.damaged or not broken
        previous = got.stamp
