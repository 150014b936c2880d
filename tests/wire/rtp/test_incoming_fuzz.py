"""A description and the packets of its tracks, damaged together: nothing escapes on the way in."""

from __future__ import annotations

import random

import pytest
from camera_film import film
from mutation import CORPUS, assert_only_peer_error, mutations

from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES
from appliance.wire.rtp.incoming import IncomingTrack
from appliance.wire.rtp.packet import header
from appliance.wire.rtp.rtcp import Goodbye, SenderReport
from appliance.wire.rtp.sender import RtpSender
from appliance.wire.rtp.session_clock import SessionClock
from appliance.wire.sdp.offers import offers
from appliance.wire.sdp.parse import parse

TAKES = 12
DESCRIPTIONS = [path.read_bytes() for path in sorted((CORPUS / "sdp").glob("*.sdp"))]


def tracks_of(description: bytes, patience_us: int) -> list[IncomingTrack]:
    """Raises: PeerError."""
    clock = SessionClock()
    return [
        IncomingTrack(
            number,
            form.depacketizer(),
            clock.track(form.clock_rate_hz),
            form.payload_type,
            patience_us=patience_us,
        )
        for number, offer in enumerate(offers(parse(description)), 1)
        for form in [offer.format]
        if form is not None
    ]


def take_all(tracks: list[IncomingTrack], now_us: int) -> None:
    for track in tracks:
        for unit in track.take(now_us):
            assert sum(map(len, unit.parts)) <= MAX_UNIT_BYTES
            assert unit.dts_us <= unit.pts_us
        track.report(1, "fuzz", now_us)


def recording(kind: str) -> bytes:
    """A description, then packets, each behind its length; the odd ones are reports."""
    made = film(kind, 300)
    session = made.describe()
    senders = [
        RtpSender(media.payload_types[0], number + 1, 65_530, 0xFFFF_F000)
        for number, media in enumerate(session.media)
    ]
    pieces = [session.pack()]
    for take in made.takes[:TAKES]:
        sender = senders[take.track]
        report = SenderReport(sender.ssrc, 1 << 40, 5, 1, 1).pack() + Goodbye((7,)).pack()
        for data in sender.datagrams(take.payloads, made.stamp(take)):
            pieces += [data, report]
    return b"".join(len(piece).to_bytes(2, "big") + piece for piece in pieces)


def play(data: bytes) -> None:
    """Raises: PeerError for the description alone."""
    pieces, at = [], 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        pieces.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    if not pieces:
        return
    tracks = tracks_of(pieces[0], patience_us=5000)
    for number, piece in enumerate(pieces[1:]):
        for track in tracks:
            if number % 2:
                track.receive_control(piece, number * 1000)
            else:
                track.receive(piece, number * 1000)
        take_all(tracks, number * 1000)
    take_all(tracks, 1 << 40)
    for track in tracks:
        track.finish(1 << 41)


@pytest.mark.parametrize("kind", ["h264-small+aac", "h265-b+opus"])
def test_recording_damaged_raises_nothing_but_peer_error(kind: str) -> None:
    assert_only_peer_error(play, [recording(kind)], 500)


def test_packets_of_nonsense_in_every_format_raise_nothing() -> None:
    """In order and of the announced type, so that they reach the depacketizer."""
    assert len(DESCRIPTIONS) > 5
    seeds = [bytes(payload.data) for take in film("h264-small+aac", 300).takes[:9]
             for payload in take.payloads]  # fmt: skip
    dice = random.Random(5)
    for description in DESCRIPTIONS:
        for track in tracks_of(description, patience_us=0):
            stamp = 0
            for number, data in enumerate(mutations([*seeds, b"\0", b"\xff" * 40], 300, seed=3)):
                stamp += dice.choice((0, 0, 1, 3000, -3000, 1 << 31))
                head = header(track.payload_type, number, stamp, 9, dice.random() < 0.5)
                track.receive(head + data, number * 1000)
                take_all([track], number * 1000)
            track.finish(1 << 40)
