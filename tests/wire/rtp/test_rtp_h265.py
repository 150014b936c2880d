"""RFC 7798 both ways."""

from __future__ import annotations

import pytest
from framehash import clip_units
from video_units import TICKS, clip_config, push_all, unit

from appliance.media.h265 import H265Config
from appliance.media.track import Track
from appliance.wire.rtp.formats.contract import Assembled
from appliance.wire.rtp.formats.h265 import H265Depacketizer, H265Packetizer

IDR = b"\x26\x01\xaf" + bytes(range(1, 200))
SLICE = b"\x02\x01\xd0" + bytes(range(1, 100))
SECOND_SLICE = b"\x02\x01\x40" + bytes(range(1, 50))


def fragments(nal: bytes, count: int) -> list[bytes]:
    body, step = nal[2:], -(-(len(nal) - 2) // count)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    flags = [0x80, *[0] * (count - 2), 0x40]
    head = bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
    return [
        head + bytes((flag | nal[0] >> 1 & 0x3F,)) + piece
        for flag, piece in zip(flags, pieces, strict=True)
    ]


def aggregate(*nals: bytes) -> bytes:
    return b"\x60\x01" + b"".join(len(nal).to_bytes(2, "big") + nal for nal in nals)


def joined() -> H265Depacketizer:
    depacketizer = H265Depacketizer(clip_config("h265"))  # type: ignore[arg-type]
    push_all(depacketizer, [IDR], -TICKS)
    push_all(depacketizer, [], 0)
    return depacketizer


@pytest.mark.parametrize(
    "payloads",
    [
        [IDR],
        [aggregate(IDR)],
        fragments(IDR, 3),
        [b"\0\0\0\1" + IDR],
        [aggregate(b"\x46\x01\x10", IDR)],
    ],
    ids=["single", "aggregation", "fragments", "start code", "delimiter dropped"],
)
def test_depacketizer_each_form_gives_the_unit(payloads: list[bytes]) -> None:
    depacketizer = H265Depacketizer()
    push_all(depacketizer, payloads, 900)
    assert depacketizer.flush() == [Assembled(900, (IDR,), key=True)]


@pytest.mark.parametrize(
    "payloads",
    [
        fragments(SLICE, 3)[:2],
        fragments(SLICE, 3)[1:],
        [fragments(SLICE, 3)[0], *fragments(SLICE, 3)],
        [*fragments(SLICE, 3)[:2], SECOND_SLICE],
        [*fragments(SLICE, 3)[:2], SECOND_SLICE, fragments(SLICE, 3)[2]],
        [aggregate(SLICE)[:-1]],
        [SLICE, b"\x62\x01"],
    ],
    ids=[
        "no end",
        "no start",
        "two starts",
        "cut short",
        "broken in",
        "aggregate short",
        "empty fragment",
    ],
)
def test_depacketizer_damaged_unit_is_dropped_and_the_next_marked(payloads: list[bytes]) -> None:
    depacketizer = joined()
    push_all(depacketizer, payloads, TICKS)
    found = push_all(depacketizer, [SLICE], 2 * TICKS) + push_all(depacketizer, [IDR], 3 * TICKS)
    assert [(u.stamp // TICKS, u.damaged) for u in found + depacketizer.flush()] == [
        (2, True),
        (3, False),
    ]


def test_depacketizer_gap_that_may_hold_the_first_slice_drops_the_unit() -> None:
    depacketizer = joined()
    depacketizer.lost()
    push_all(depacketizer, [SECOND_SLICE], TICKS)
    found = push_all(depacketizer, [SLICE, SECOND_SLICE], 2 * TICKS) + depacketizer.flush()
    assert [unit.parts for unit in found] == [(SLICE, SECOND_SLICE)]


def test_depacketizer_zeros_behind_a_nal_unit_are_no_part_of_it() -> None:
    depacketizer = joined()
    push_all(depacketizer, [SLICE + b"\0", SECOND_SLICE + b"\0\0", b"\0\0\0"], TICKS)
    assert [unit.parts for unit in depacketizer.flush()] == [(SLICE, SECOND_SLICE)]


def test_depacketizer_parameter_sets_sent_twice_are_kept_once() -> None:
    config = clip_config("h265")
    assert isinstance(config, H265Config)
    depacketizer = H265Depacketizer()
    twice = [*config.vps, *config.vps, *config.sps, *config.sps, *config.pps, *config.pps]
    push_all(depacketizer, [*twice, IDR])
    depacketizer.flush()
    assert depacketizer.config == config


@pytest.mark.parametrize(
    "payload", [b"\x02", b"\x64\x01rest", b"\x7e\x01rest", b"\x60", b"\x60\x01\0"]
)
def test_depacketizer_unknown_or_stunted_payloads_do_no_harm(payload: bytes) -> None:
    depacketizer = joined()
    push_all(depacketizer, [payload, SLICE], TICKS)
    assert [unit.parts for unit in depacketizer.flush()] == [(SLICE,)]


@pytest.mark.parametrize("max_bytes", [100, 1200, 65_000])
@pytest.mark.parametrize("kind", ["h265", "h265-b"])
def test_packetizer_gives_back_the_clip(kind: str, max_bytes: int) -> None:
    tracks, units = clip_units(kind)
    packetizer, depacketizer = H265Packetizer(max_bytes), H265Depacketizer()
    found: list[Assembled] = []
    for number, source in enumerate(units):
        payloads = packetizer.payloads(source)
        assert max(len(payload.data) for payload in payloads) <= max_bytes
        found += push_all(depacketizer, payloads, number)
    assert [(unit.parts, unit.key) for unit in found] == [(u.parts, u.key) for u in units]
    assert not any(unit.damaged for unit in found)
    assert depacketizer.config == tracks[0].config


def test_packetizer_aggregates_small_units_under_their_lowest_layer_and_time() -> None:
    track = Track(1, clip_config("h265"))
    sei, later = b"\x4e\x01\x05abcd", b"\x02\x03\xd0tail"
    payloads = H265Packetizer().payloads(unit(track, sei, later))
    assert [payload.data for payload in payloads] == [aggregate(sei, later)]


def test_packetizer_fragments_carry_type_layer_and_flags() -> None:
    payloads = H265Packetizer(100).payloads(
        unit(Track(1, clip_config("h265")), b"\x26\x01" + bytes(1000))
    )
    assert payloads[0].data[:3] == b"\x62\x01\x93"
    assert payloads[1].data[:3] == b"\x62\x01\x13"
    assert payloads[-1].data[:3] == b"\x62\x01\x53"
    assert {len(payload.data) for payload in payloads[:-1]} == {100}
