"""Headers and framing put before shared payloads."""

from __future__ import annotations

from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.packet import parse
from appliance.wire.rtp.sender import RtpSender

PAYLOADS = [Payload(b"one", False), Payload(b"two!", False, 160), Payload(b"three", True, 320)]


def sender() -> RtpSender:
    return RtpSender(97, 0xABCD, 65_534, 0xFFFFFF00)


def test_datagrams_carry_growing_sequence_and_stamps_across_wraps() -> None:
    packets = [parse(data) for data in sender().datagrams(PAYLOADS, 0x80)]
    assert [packet.payload for packet in packets] == [b"one", b"two!", b"three"]
    assert [packet.sequence for packet in packets] == [65_534, 65_535, 0]
    assert [packet.timestamp for packet in packets] == [0xFFFFFF80, 0x20, 0xC0]
    assert [packet.marker for packet in packets] == [False, False, True]
    assert {(packet.ssrc, packet.payload_type) for packet in packets} == {(0xABCD, 97)}


def test_headers_and_interleaved_say_the_same_as_datagrams() -> None:
    datagrams = sender().datagrams(PAYLOADS, 7)
    heads = sender().headers(PAYLOADS, 7)
    assert [head + p.data for head, p in zip(heads, PAYLOADS, strict=True)] == datagrams
    framed = b"".join(b"$\4" + len(data).to_bytes(2, "big") + data for data in datagrams)
    assert sender().interleaved(PAYLOADS, 7, 4) == framed


def test_calls_continue_the_sequence_whatever_their_form() -> None:
    one = sender()
    one.interleaved(PAYLOADS, 0, 0)
    one.headers(PAYLOADS, 0)
    assert one.sequence == 4
    assert parse(one.datagrams(PAYLOADS[:1], 0)[0]).sequence == 4


def test_report_counts_what_was_sent_and_has_the_headers_clock() -> None:
    one = sender()
    one.datagrams(PAYLOADS, 0)
    found = one.report(99, 0x200)
    assert (found.ssrc, found.ntp, found.timestamp) == (0xABCD, 99, 0x100)
    assert (found.packets, found.payload_bytes) == (3, 12)
    assert one.timestamp(0x200) == 0x100
