"""What a camera films: a clip again and again as RTP; and the weather between it and viewers."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framehash import clip_units

from appliance.media.clock import us_to_ticks
from appliance.media.track import Track
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.sdp.session import Session
from appliance.wire.sdp.tracks import packetizer, rtp_clock_rate_hz, session_of

MAX_PAYLOAD_BYTES = 1200
FRAME_US = 33_333


@dataclass(slots=True)
class Take:
    """One unit on its way. at_us: when it is sent, from the film's begin; track: its index."""

    at_us: int
    pts_us: int
    track: int
    key: bool
    payloads: list[Payload]


@dataclass(frozen=True, slots=True)
class Film:
    """One round of a clip of `framehash`; times are from its first unit."""

    tracks: tuple[Track, ...]
    takes: tuple[Take, ...]
    length_us: int

    def run(self, rounds: int) -> Iterator[Take]:
        """In the order of sending, on one timeline."""
        for number in range(rounds):
            shift_us = number * self.length_us
            for take in self.takes:
                times = take.at_us + shift_us, take.pts_us + shift_us
                yield Take(*times, take.track, take.key, take.payloads)

    def stamp(self, take: Take, shift_us: int = 0) -> int:
        """In ticks of its track's clock."""
        return us_to_ticks(take.pts_us + shift_us, self.rates_hz[take.track])

    @property
    def rates_hz(self) -> list[int]:
        return [rtp_clock_rate_hz(track.config) for track in self.tracks]

    def describe(self) -> Session:
        """Controls are ``trackID=`` and the number of the track, from 1."""
        return session_of(self.tracks, "film")


@functools.cache
def film(kind: str, max_bytes: int = MAX_PAYLOAD_BYTES) -> Film:
    """Of a clip of `framehash`, such as "h264-small+aac". max_bytes: of a payload."""
    tracks, units = clip_units(kind)
    order = {track.id: index for index, track in enumerate(tracks)}
    makers = [packetizer(track.config, max_bytes) for track in tracks]
    first_us = units[0].dts_us
    takes = []
    for unit in units:
        index = order[unit.track.id]
        payloads = [
            Payload(bytes(payload.data), payload.marker, payload.stamp_offset)
            for payload in makers[index].payloads(unit)
        ]
        times = unit.dts_us - first_us, unit.pts_us - first_us
        takes.append(Take(*times, index, unit.key, payloads))
    return Film(tracks, tuple(takes), units[-1].dts_us - first_us + FRAME_US)


Wind = Callable[[list[bytes]], list[bytes]]
Weather = Callable[[int], Wind]  # for each track, by its index


def weather(
    seed: int, *, loss: float = 0, duplicate: float = 0, late: float = 0, late_packets: int = 3
) -> Weather:
    """What becomes of packets: each of them is lost, doubled or late with its own probability.

    late_packets: behind how many others of its track one arrives that is late.
    """
    return lambda track: _gust(
        random.Random(seed * 10 + track), loss, duplicate, late, late_packets
    )


def _gust(
    dice: random.Random, loss: float, duplicate: float, late: float, late_packets: int
) -> Wind:
    held: list[tuple[int, bytes]] = []

    def blow(packets: list[bytes]) -> list[bytes]:
        arrived: list[bytes] = []
        for packet in packets:
            held[:] = [(left - 1, one) for left, one in held]
            if dice.random() < loss:
                continue
            if dice.random() < late:
                held.append((late_packets, packet))
                continue
            arrived.append(packet)
            if dice.random() < duplicate:
                arrived.append(packet)
            arrived += [one for left, one in held if left <= 0]
            held[:] = [entry for entry in held if entry[0] > 0]
        return arrived

    return blow


def burst(first: int, packets: int) -> Weather:
    """As many packets in a row are lost of each track, after the first so many."""
    return lambda track: _gap(first, packets)


def _gap(first: int, packets: int) -> Wind:
    seen = 0

    def blow(arriving: list[bytes]) -> list[bytes]:
        nonlocal seen
        kept = []
        for packet in arriving:
            if not first <= seen < first + packets:
                kept.append(packet)
            seen += 1
        return kept

    return blow
