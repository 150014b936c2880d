"""RTP, µs of CPU per packet: order, parsing, statistics, depacketising, packetising, framing.

One H.264 stream of 1080p30 at about 4 Mbps as a camera cuts it (packets of 1400 bytes), from
memory to memory; one pinned core, rounds of all alternate, medians are printed with their range.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable

from measure import SERVER_CORE

from appliance.media.clock import Unroller
from appliance.media.h264 import H264Config
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.formats.h264 import H264Depacketizer, H264Packetizer
from appliance.wire.rtp.incoming import IncomingTrack
from appliance.wire.rtp.packet import RtpPacket, parse
from appliance.wire.rtp.reception import Reception
from appliance.wire.rtp.reorder import Reorder
from appliance.wire.rtp.sender import RtpSender
from appliance.wire.rtp.session_clock import SessionClock

FRAME_BYTES = 4_000_000 // 8 // 30
KEY_BYTES = 6 * FRAME_BYTES
KEY_UNITS = 60
PAYLOAD_BYTES = 1400
BATCH_PACKETS = 16  # as a socket gives them
SPS = bytes.fromhex("6764001facd9405005bb011000000300100000030320f1831960")
PPS = bytes.fromhex("68ebe3cb22c0")


def make_units(seconds: int) -> list[AccessUnit]:
    rng = random.Random(1)
    track = Track(1, H264Config((SPS,), (PPS,)))
    units = []
    for number in range(30 * seconds):
        is_key = number % KEY_UNITS == 0
        size = KEY_BYTES if is_key else rng.randrange(FRAME_BYTES // 2, FRAME_BYTES * 3 // 2)
        nal = (b"\x65\x88" if is_key else b"\x41\x9a") + rng.randbytes(size)
        units.append(AccessUnit(track, number * 33_333, number * 33_333, is_key, (nal,)))
    return units


def packetise(units: list[AccessUnit]) -> list[list[Payload]]:
    packetizer = H264Packetizer(PAYLOAD_BYTES)
    return [packetizer.payloads(unit) for unit in units]


def order(packets: list[RtpPacket]) -> None:
    reorder = Reorder()
    for packet in packets:
        reorder.push(packet, 0)
    reorder.take(0)


def count(packets: list[RtpPacket]) -> None:
    reception = Reception(90_000)
    for packet in packets:
        reception.note(packet, 0)


def depacketise(packets: list[RtpPacket]) -> int:
    depacketizer, unroll = H264Depacketizer(), Unroller(32).unroll
    return sum(len(depacketizer.push(packet, unroll(packet.timestamp))) for packet in packets)


def receive(datagrams: list[bytes]) -> int:
    """All that a camera's packet goes through, up to its access unit."""
    clock = SessionClock().track(90_000)
    incoming = IncomingTrack(1, H264Depacketizer(), clock, 96, patience_us=0)
    units = 0
    for start in range(0, len(datagrams), BATCH_PACKETS):
        for datagram in datagrams[start : start + BATCH_PACKETS]:
            incoming.receive(datagram, 0)
        units += len(incoming.take(0))
    return units


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    units = make_units(options.seconds)
    payloads = packetise(units)
    sender = RtpSender(96, 1, 0, 0)
    stamped = list(zip(payloads, range(0, 3000 * len(units), 3000), strict=True))
    datagrams = [data for part, stamp in stamped for data in sender.datagrams(part, stamp)]
    views = [memoryview(datagram) for datagram in datagrams]
    packets = [parse(datagram) for datagram in datagrams]
    contenders: dict[str, Callable[[], object]] = {
        "parse": lambda: [parse(datagram) for datagram in datagrams],
        "parse views": lambda: [parse(view) for view in views],
        "order": lambda: order(packets),
        "count": lambda: count(packets),
        "depacketise": lambda: depacketise(packets),
        "all on the way in": lambda: receive(datagrams),
        "packetise": lambda: packetise(units),
        "interleave": lambda: [sender.interleaved(part, stamp, 0) for part, stamp in stamped],
        "datagrams": lambda: [sender.datagrams(part, stamp) for part, stamp in stamped],
    }
    os.sched_setaffinity(0, {SERVER_CORE})
    spent_us: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            start_ns = time.process_time_ns()
            run()
            spent_us[name].append((time.process_time_ns() - start_ns) / 1000 / len(packets))
    print(f"{len(packets)} packets, {len(units)} units")
    for name, values in spent_us.items():
        median, low, high = statistics.median(values), min(values), max(values)
        print(f"{name:<26}{median:6.2f} µs per packet ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
