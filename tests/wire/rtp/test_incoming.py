"""A track received whole: from datagrams to access units, with all that goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from framehash import clip_units
from video_units import clip_config

from appliance.errors import PeerError
from appliance.media.clock import us_to_ticks
from appliance.media.h264 import H264Config
from appliance.media.track import CodecConfig
from appliance.media.unit import AccessUnit
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled, Payload
from appliance.wire.rtp.formats.h264 import H264Depacketizer, H264Packetizer
from appliance.wire.rtp.formats.h265 import H265Depacketizer, H265Packetizer
from appliance.wire.rtp.incoming import ADOPT_PACKETS, MAX_KEY_WAIT_US, IncomingTrack
from appliance.wire.rtp.packet import SEQUENCE_MASK, PacketRun, RtpPacket
from appliance.wire.rtp.sender import RtpSender
from appliance.wire.rtp.session_clock import SessionClock

NOW_US = 70_000_000
SSRC = 0x1234


def h264(patience_us: int = 0, **options: bool) -> IncomingTrack:
    clock = SessionClock().track(90_000)
    return IncomingTrack(5, H264Depacketizer(), clock, 96, patience_us=patience_us, **options)


def datagrams(
    kind: str, sender: RtpSender | None = None, stamp_shift: int = 0
) -> Iterator[list[bytes]]:
    """A clip, unit by unit."""
    packetizer = H264Packetizer(500) if kind.startswith("h264") else H265Packetizer(500)
    sender = sender or RtpSender(96, SSRC, 65_500, 0xFFFFFF00)
    for unit in clip_units(kind)[1]:
        stamp = us_to_ticks(unit.pts_us, 90_000) + stamp_shift
        yield sender.datagrams(packetizer.payloads(unit), stamp)


def receive(
    incoming: IncomingTrack, packets: list[bytes], now_us: int = NOW_US
) -> list[AccessUnit]:
    for data in packets:
        incoming.receive(data, now_us)
    return incoming.take(now_us)


@pytest.mark.parametrize("kind", ["h264", "h264-b", "h265-b"])
def test_clip_comes_out_as_it_went_in_shifted_to_its_arrival(kind: str) -> None:
    incoming = h264()
    if kind == "h265-b":
        clock = SessionClock().track(90_000)
        incoming = IncomingTrack(5, H265Depacketizer(), clock, 96, patience_us=0)
    found = [unit for part in datagrams(kind) for unit in receive(incoming, part)]
    _, sent = clip_units(kind)
    assert [(unit.key, unit.parts) for unit in found] == [(unit.key, unit.parts) for unit in sent]
    assert found[0].pts_us == NOW_US
    for field in ("dts_us", "pts_us"):
        shifts = [
            getattr(got, field) - getattr(was, field) for got, was in zip(found, sent, strict=True)
        ]
        assert max(shifts) - min(shifts) <= 24, field  # two ticks
    assert incoming.track is not None
    assert {id(unit.track) for unit in found} == {id(incoming.track)}
    assert (incoming.track.id, incoming.track.config) == (5, clip_config(kind))


def test_track_is_known_beforehand_if_the_session_describes_it() -> None:
    config = clip_config("h264")
    assert isinstance(config, H264Config)
    depacketizer = H264Depacketizer(config)
    clock = SessionClock().track(90_000)
    incoming = IncomingTrack(5, depacketizer, clock, 96, patience_us=0)
    announced = incoming.track
    assert announced is not None
    found = [unit for part in datagrams("h264") for unit in receive(incoming, part)]
    assert all(unit.track is announced for unit in found)


def test_finish_gives_what_waits_behind_a_gap_or_for_its_end() -> None:
    incoming = h264(patience_us=1_000_000)
    parts = [
        [packet[:1] + bytes((packet[1] & 0x7F,)) + packet[2:] for packet in part]  # no marker
        for part in datagrams("h264")
    ]
    found = [unit for part in parts[:29] for unit in receive(incoming, part)]
    assert len(found) == 28
    found += receive(incoming, parts[30])
    found += incoming.finish(NOW_US)
    assert [unit.key for unit in found] == [True] + [False] * 27 + [True]


def test_loss_drops_units_up_to_the_next_key() -> None:
    incoming, lossy = h264(), h264(keep_damaged=True)
    parts = list(datagrams("h264"))
    del parts[10][-1]
    found = [unit for part in parts for unit in receive(incoming, part)]
    kept = [unit for part in parts for unit in receive(lossy, part)]
    _, sent = clip_units("h264")
    assert [unit.parts for unit in found] == [unit.parts for unit in sent[:10] + sent[30:]]
    assert [unit.parts for unit in kept] == [unit.parts for unit in sent[:10] + sent[11:]]
    assert incoming.dropped_units == 19
    assert incoming.reception.lost_packets == 1


def test_loss_in_a_stream_without_further_keys_is_waited_out() -> None:
    incoming = h264()
    parts = list(datagrams("h264"))[:30]
    for part in parts[:4]:
        receive(incoming, part)
    early = [unit for part in parts[5:10] for unit in receive(incoming, part)]
    later_us = NOW_US + MAX_KEY_WAIT_US
    late = [unit for part in parts[10:] for unit in receive(incoming, part, later_us)]
    assert early == []
    assert [unit.parts for unit in late] == [u.parts for u in clip_units("h264")[1][10:30]]


def test_reordered_datagrams_wait_until_due() -> None:
    incoming = h264(patience_us=20_000)
    first, *rest = datagrams("h264")
    found = receive(incoming, first)
    found += [unit for part in rest for unit in receive(incoming, part[::-1])]
    assert [unit.parts for unit in found] == [unit.parts for unit in clip_units("h264")[1]]
    assert incoming.due_us is None
    sequence = 65_500 + 1 + sum(map(len, (first, *rest)))  # one is missing
    gap = RtpSender(96, SSRC, sequence, 0)
    receive(incoming, gap.datagrams([Payload(b"\x41", False)], 0))
    assert incoming.due_us == NOW_US + 20_000
    incoming.take(NOW_US + 20_000)
    assert incoming.due_us is None
    assert incoming.reorder.lost == 1


@pytest.mark.parametrize("seed", range(3))
def test_datagrams_shuffled_over_a_hundred_come_out_whole(seed: int) -> None:
    rng = random.Random(seed)
    incoming = h264(patience_us=1_000_000)
    first, *rest = datagrams("h264-b")
    found = receive(incoming, first)
    packets = [data for part in rest for data in part]
    order = sorted(range(len(packets)), key=lambda index: index + rng.randrange(100))
    for place, index in enumerate(order):
        found += receive(incoming, [packets[index]], NOW_US + place * 1000)
    assert [unit.parts for unit in found] == [unit.parts for unit in clip_units("h264-b")[1]]


@pytest.mark.parametrize("seed", range(3))
def test_loss_of_a_third_leaves_only_units_that_were_sent(seed: int) -> None:
    rng = random.Random(seed)
    incoming = h264(patience_us=5000, keep_damaged=True)
    found: list[AccessUnit] = []
    for number, part in enumerate(datagrams("h264-b")):
        kept = [data for data in part if number == 0 or rng.random() > 0.3]
        found += receive(incoming, kept, NOW_US + number * 33_333)
    sent = {unit.parts for unit in clip_units("h264-b")[1]}
    assert 5 < len(found) < len(sent)
    assert {unit.parts for unit in found} <= sent
    assert incoming.reorder.lost > 20


def test_units_before_the_parameter_sets_are_dropped_and_counted() -> None:
    incoming = h264()
    parts = list(datagrams("h264"))
    found = [unit for part in parts[20:] for unit in receive(incoming, part)]
    assert len(found) == len(parts) - 30
    assert found[0].key
    assert incoming.dropped_units == 10


def test_restart_of_the_sender_goes_on_by_arrival_marked() -> None:
    incoming = h264()
    before = [unit for part in datagrams("h264") for unit in receive(incoming, part)]
    again = RtpSender(96, 0x9999, 7, 0x12345678)
    later_us = NOW_US + 4_000_000
    after = [u for part in datagrams("h264", again) for u in receive(incoming, part, later_us)]
    assert [unit.parts for unit in after] == [unit.parts for unit in before]
    assert [unit.discontinuity for unit in after[:2]] == [True, False]
    assert after[0].pts_us == later_us
    assert after[0].key


def test_other_payload_type_than_announced_is_followed() -> None:
    incoming = h264()
    parts = list(datagrams("h264", RtpSender(97, SSRC, 0, 0)))
    found = [unit for part in parts for unit in receive(incoming, part)]
    assert incoming.payload_type == 97
    assert incoming.foreign_packets == ADOPT_PACKETS - 1
    assert found[-1].parts == clip_units("h264")[1][-1].parts


def test_other_payload_types_beside_the_announced_one_are_passed_over() -> None:
    incoming = h264()
    other = RtpSender(101, SSRC, 0, 0)
    found = []
    for part in datagrams("h264"):
        found += receive(
            incoming,
            part + other.datagrams(H264Packetizer().payloads(found[0]), 0) if found else part,
        )
    assert len(found) == len(clip_units("h264")[1])
    assert incoming.payload_type == 96


def test_packets_of_ever_new_sources_change_nothing() -> None:
    incoming = h264(patience_us=1000)
    found: list[AccessUnit] = []
    for number, part in enumerate(datagrams("h264")):
        found += receive(incoming, part)
        for stray in range(100):
            strange = RtpSender(96, 0x10000 + 100 * number + stray, stray, 0)
            found += receive(incoming, strange.datagrams([Payload(b"\x41stray", True)], 0))
    assert [unit.parts for unit in found] == [unit.parts for unit in clip_units("h264")[1]]
    assert (incoming.reception.ssrc, incoming.reception.lost_packets) == (SSRC, 0)


def test_damaged_packets_and_reports_are_counted() -> None:
    incoming = h264()
    incoming.receive(b"\x80", NOW_US)
    incoming.receive_control(b"\x80\xc8\xff\xff", NOW_US)
    assert incoming.faults == 2


def test_damaged_payload_of_a_format_that_tells_is_counted() -> None:
    class Telling:
        config: CodecConfig | None = None

        def push(self, packet: RtpPacket, stamp: int) -> list[Assembled]:
            raise PeerError("damaged")

        def lost(self) -> None: ...

        def flush(self) -> list[Assembled]:
            return []

    clock = SessionClock().track(90_000)
    incoming = IncomingTrack(1, Telling(), clock, 96, patience_us=0)
    assert receive(incoming, next(datagrams("h264"))) == []
    assert incoming.faults > 0


def test_reports_give_the_wall_clock_and_are_answered() -> None:
    incoming = h264()
    sender = RtpSender(96, SSRC, 0, 0)
    parts = datagrams("h264", sender)
    first = next(parts)
    receive(incoming, first)
    (unit,) = receive(incoming, next(parts))[:1]
    unix_us = 1_790_000_000_000_000
    stamp = us_to_ticks(clip_units("h264")[1][0].pts_us, 90_000)
    incoming.receive_control(sender.report(unix_us_to_ntp(unix_us), stamp).pack(), NOW_US)
    offset_us = incoming.clock.wall_offset_us
    assert offset_us is not None
    assert abs(unit.pts_us + offset_us - unix_us) <= 24
    report, description = rtcp.parse(incoming.report(7, "porthole", NOW_US + 1_000_000))
    assert isinstance(report, rtcp.ReceiverReport)
    assert (report.ssrc, report.blocks[0].ssrc, report.blocks[0].delay) == (7, SSRC, 65_536)
    assert description == rtcp.SourceDescription(7, "porthole")


def test_report_before_any_packet_has_no_block() -> None:
    assert rtcp.parse(h264().report(7, "x", 0))[0] == rtcp.ReceiverReport(7)


@pytest.mark.parametrize(("ssrc", "ended"), [(SSRC, True), (SSRC + 1, False)])
def test_goodbye_of_this_source_alone_ends_it(ssrc: int, ended: bool) -> None:
    incoming = h264()
    receive(incoming, next(datagrams("h264")))
    incoming.receive_control(rtcp.Goodbye((ssrc,)).pack(), NOW_US)
    assert incoming.ended is ended


def test_of_a_read_full_of_reports_a_few_are_looked_at() -> None:
    """A thousand compounds of dozens of reports took a quarter of a second, in one turn."""
    incoming = h264()
    receive(incoming, next(datagrams("h264")))
    for _ in range(1000):
        incoming.receive_control(rtcp.Goodbye((SSRC + 1,)).pack() * 64, NOW_US)
    assert incoming.faults > 900
    incoming.receive_control(rtcp.Goodbye((SSRC,)).pack(), NOW_US + 1)
    assert incoming.ended


def spoiled(packets: list[bytes], rng: random.Random) -> list[bytes]:
    """What a way, a camera or a stranger does to packets; most stay as they are."""
    result: list[bytes] = []
    for data in packets:
        match rng.randrange(60):
            case 0:  # lost
                continue
            case 1:
                result.append(data)  # twice
            case 2:
                data = bytes((data[0] | 0x20,)) + data[1:] + b"\0\0\0\4"  # padded
            case 3:
                data = bytes((data[0], data[1] ^ 0x80)) + data[2:]  # the marker where it is not
            case 4:
                data = data[:12]  # empty
            case 5:
                data = data[: rng.randrange(12, 16)]
            case 6:
                data = data[:12] + bytes((data[12] ^ 0x60,)) + data[13:]  # other importance
            case 7:
                data = data[:1] + bytes((data[1] & 0x80 | 101,)) + data[2:]
            case 8:
                data = data[:8] + b"\0\0\0\1" + data[12:]  # another source
            case 9:
                data = data[:13] + bytes((data[13] ^ rng.choice((0x80, 0x40, 1)),)) + data[14:]
            case 10 if result:
                data, result[-1] = result[-1], data
        result.append(data)
    return result


@pytest.mark.parametrize("kind", ["h264", "h265-b"])
@pytest.mark.parametrize("patience_us", [0, 50_000])
@pytest.mark.parametrize("seed", range(12))
def test_packets_of_a_read_give_what_they_give_one_by_one(
    kind: str, patience_us: int, seed: int
) -> None:
    def track() -> IncomingTrack:
        depacketizer = H264Depacketizer() if kind == "h264" else H265Depacketizer()
        clock = SessionClock().track(90_000)
        return IncomingTrack(5, depacketizer, clock, 96, patience_us=patience_us)

    rng = random.Random(seed)
    senders = [RtpSender(96, SSRC + n, 65_400, 0xFFFFFF00) for n in range(2)]
    parts = [*datagrams(kind, senders[0]), *datagrams(kind, senders[1], 500_000)]
    packets = [data for part in parts for data in part]
    packets = spoiled(packets, rng) if seed else packets
    single, batched = track(), track()
    now_us = NOW_US
    while packets:
        size = rng.choice((1, 3, 20, 100))
        read, packets = packets[:size], packets[size:]
        now_us += 5_000
        expected = receive(single, read, now_us)
        batched.receive_all(read, now_us)
        assert batched.take(now_us) == expected
    assert batched.finish(now_us) == single.finish(now_us)
    for found in (single, batched):
        assert (found.faults, found.foreign_packets) == (single.faults, single.foreign_packets)
        assert found.dropped_units == single.dropped_units
        reorder = found.reorder
        assert (reorder.lost, reorder.late, reorder.restarts) == (
            single.reorder.lost,
            single.reorder.late,
            single.reorder.restarts,
        )
        before, after = single.reception.block(now_us), found.reception.block(now_us)
        assert before is not None
        assert after is not None
        assert before.highest_sequence == after.highest_sequence
        assert found.reception.packets == single.reception.packets


def test_packets_of_a_read_in_order_are_taken_together() -> None:
    incoming = h264()
    first, second = list(datagrams("h264"))[:2]
    incoming.receive_all([*first, *second], NOW_US)
    ready = incoming.reorder.take(NOW_US)
    assert sum(isinstance(item, PacketRun) for item in ready) == 2  # whole but for the first packet
    assert len(ready) == 3


def test_run_of_packets_ends_where_the_sequence_wraps() -> None:
    incoming = h264()
    part = max(datagrams("h264", RtpSender(96, SSRC, 0, 0)), key=len)
    sender = RtpSender(96, SSRC, SEQUENCE_MASK - 2, 0)
    payloads = [Payload(data[12:], data[1] >= 0x80) for data in part]
    incoming.receive_all(sender.datagrams(payloads, 0), NOW_US)
    runs = [item for item in incoming.reorder.take(NOW_US) if isinstance(item, PacketRun)]
    assert [run.sequence for run in runs] == [SEQUENCE_MASK, len(part) - 4]
    assert [run.marker for run in runs] == [False, True]
    assert incoming.reception.lost_packets == 0


def test_fragments_without_end_in_reads_are_given_up() -> None:
    incoming = h264()
    sender = RtpSender(96, SSRC, 0, 0)
    body = bytes(1000)
    incoming.receive_all(sender.datagrams([Payload(b"\x7c\x85" + body, False)], 0), NOW_US)
    for _ in range(MAX_UNIT_BYTES // len(body) // 100 + 1):
        read = sender.datagrams([Payload(b"\x7c\x05" + body, False)] * 100, 0)
        incoming.receive_all(read, NOW_US)
    incoming.receive_all(sender.datagrams([Payload(b"\x7c\x45" + body, True)], 0), NOW_US)
    incoming.receive_all(sender.datagrams([Payload(b"\x41\x9a", True)], 3000), NOW_US)
    assert incoming.take(NOW_US) == []
    assert incoming.dropped_units == 0  # none was ever whole


@pytest.mark.parametrize("payload_bytes", [500, 60_000])
@pytest.mark.parametrize("at_once", [False, True])
def test_unit_before_other_parameter_sets_keeps_its_own(payload_bytes: int, at_once: bool) -> None:
    """Even if it lacks the marker that would have ended it, and what ends it is a whole picture."""
    incoming, sender = h264(), RtpSender(96, SSRC, 65_500, 0)
    packetizer = H264Packetizer(payload_bytes)
    before, after = clip_units("h264")[1][:5], clip_units("h264-small")[1][:3]
    found = []
    for number, unit in enumerate((*before, *after)):
        packets = sender.datagrams(packetizer.payloads(unit), 3000 * number)
        if unit is before[-1]:
            packets[-1] = packets[-1][:1] + bytes([packets[-1][1] & 0x7F]) + packets[-1][2:]
        if at_once:
            incoming.receive_all(packets, NOW_US)
            found += incoming.take(NOW_US)
        else:
            found += receive(incoming, packets)
    found += incoming.finish(NOW_US)
    small, large = clip_config("h264-small"), clip_config("h264")
    assert [unit.parts for unit in found] == [unit.parts for unit in (*before, *after)]
    assert [unit.track.config for unit in found] == [large] * 5 + [small] * 3
