"""RTCP both ways, and what damaged, odd and hostile compounds do."""

from __future__ import annotations

import pytest
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.rtp import rtcp
from appliance.wire.rtp.rtcp import (
    FullIntra,
    Goodbye,
    Nack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    Unknown,
)

BLOCK = ReportBlock(7, 128, -5, 0x1_0002, 33, 0xAABBCCDD, 65_536)
EACH: list[RtcpPacket] = [
    SenderReport(1, (1 << 63) + 5, 2, 3, 4, (BLOCK, ReportBlock(8))),
    SenderReport(1, 0, 0, 0, 0),
    ReceiverReport(1, (BLOCK,)),
    ReceiverReport(1),
    *[SourceDescription(1, "camera@door"[:size]) for size in range(8)],
    Goodbye((1, 2)),
    Nack(1, 2, (5, 6, 21, 22, 0xFFFF, 3)),
    PictureLoss(1, 2),
    FullIntra(1, 2, 9),
    Unknown(204, 3, b"appdata."),
]
SAMPLES = [packet.pack() for packet in EACH]


@pytest.mark.parametrize("packet", EACH, ids=lambda packet: type(packet).__name__)
def test_each_kind_survives_the_wire(packet: RtcpPacket) -> None:
    data = packet.pack()
    assert len(data) % 4 == 0
    assert rtcp.parse(data) == [packet]
    assert rtcp.parse(memoryview(data)) == [packet]


def test_compound_gives_all_in_order() -> None:
    assert rtcp.parse(b"".join(SAMPLES)) == EACH


def test_sender_report_is_laid_out_as_the_rfc_draws_it() -> None:
    data = SenderReport(0x11111111, 0x2222222233333333, 0x44444444, 5, 6).pack()
    assert data.hex() == "80c8000611111111222222223333333344444444" + "00000005" + "00000006"


def test_nack_gathers_neighbours_into_one_mask_across_the_wrap() -> None:
    data = Nack(1, 2, (0xFFFF, 0, 1)).pack()
    assert data[12:].hex() == "ffff0003"


def test_padding_of_the_last_packet_is_cut() -> None:
    data = bytearray(ReceiverReport(1).pack() + b"\0\0\0\4")
    data[0] |= 0x20
    data[3] += 1
    assert rtcp.parse(bytes(data)) == [ReceiverReport(1)]


def test_description_without_end_is_read() -> None:
    assert rtcp.parse(bytes.fromhex("81ca0002 00000001 01026162")) == [SourceDescription(1, "ab")]


@pytest.mark.parametrize("ssrc", [1, 2])
def test_key_request_is_known_in_both_forms(ssrc: int) -> None:
    assert rtcp.is_key_request(PictureLoss(0, ssrc))
    assert rtcp.is_key_request(FullIntra(0, ssrc, 1))
    assert not rtcp.is_key_request(Goodbye((ssrc,)))


@pytest.mark.parametrize(
    "data",
    [
        "80c9ffff00000001",  # length beyond the packet
        "80c90000",  # no room for the SSRC
        "9fc9000100000001",  # 31 blocks announced
        "80c8000100000001",
        "81ca000200000001010a6162",  # an item that passes the end
        "82cb000100000001",
        "40c9000100000001",
        "a0c9000100000000",  # padding of 0
        "a0c90001000000ff",
        "80c9",
        "81cd000100000001",
        "81cd00030000000100000002ffff",
        "84ce000100000001",
    ],
)
def test_damaged_packet_drops_the_compound(data: str) -> None:
    with pytest.raises(PeerError):
        rtcp.parse(SAMPLES[2] + bytes.fromhex(data))


def test_flood_of_empty_packets_is_refused() -> None:
    empty = bytes.fromhex("80cc0000")
    assert len(rtcp.parse(empty * 64)) == 64
    with pytest.raises(PeerError):
        rtcp.parse(empty * 65)
    with pytest.raises(PeerError):
        rtcp.parse(empty * 1000)


def test_nack_storm_is_capped() -> None:
    body = bytes.fromhex("0000000100000002") + b"\0\0\xff\xff" * 347
    data = b"\x81\xcd" + (len(body) // 4).to_bytes(2, "big") + body
    (nack,) = rtcp.parse(data)
    assert isinstance(nack, Nack)
    assert len(nack.sequences) == 512


def test_crowd_of_names_is_refused_before_it_is_read() -> None:
    crowd = (
        bytes((0x81, 202)) + (16_000).to_bytes(2, "big") + bytes(4) + b"\1\0" * 31_997 + b"\1\xff"
    )
    with pytest.raises(PeerError, match="CNAMEs"):
        rtcp.parse(crowd)


def test_feedback_of_other_kinds_passes_unread() -> None:
    remb = bytes.fromhex("8fce0005 00000001 00000000 52454d42 01ffffff 00000002")
    assert rtcp.parse(remb) == [Unknown(206, 15, remb[4:])]


def test_mutants_raise_nothing_but_peer_errors() -> None:
    assert_only_peer_error(rtcp.parse, [*SAMPLES, b"".join(SAMPLES)], 4000)


def test_mutants_that_parse_can_be_packed_again() -> None:
    def parse_and_pack(data: bytes) -> None:
        for packet in rtcp.parse(data):
            packet.pack()

    assert_only_peer_error(parse_and_pack, SAMPLES, 3000, seed=2)
