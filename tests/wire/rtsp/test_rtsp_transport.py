"""Transport headers of clients and cameras."""

from __future__ import annotations

import pytest

from appliance.errors import PeerError
from appliance.wire.rtsp.transport import (
    MAX_SPECS,
    Delivery,
    Mode,
    Transport,
    free_channels,
    parse_answer,
    parse_transports,
)

TCP, UDP, MULTICAST = Delivery.TCP, Delivery.UDP, Delivery.MULTICAST
ASKED_TCP = Transport(TCP, channels=(0, 1))
ASKED_UDP = Transport(UDP, client_ports=(5000, 5001))


@pytest.mark.parametrize(
    ("value", "transport"),
    [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", ASKED_TCP),
        ("RTP/AVP;unicast;client_port=5000-5001", ASKED_UDP),
        ("RTP/AVP/UDP;unicast;client_port=5000", ASKED_UDP),
        ("rtp/avp/tcp; UNICAST ; Interleaved = 0-1 ", ASKED_TCP),
        ("RTP/AVP;unicast;interleaved=0-1", ASKED_TCP),
        ("RTP/AVP;multicast", Transport(MULTICAST)),
        ("RTP/AVP;client_port=5000-5001", ASKED_UDP),
        ("RTP/SAVP/TCP;interleaved=2-3", Transport(TCP, is_secure=True, channels=(2, 3))),
        (
            'RTP/AVP/TCP;interleaved=0-1;mode="PLAY,RECORD"',
            Transport(TCP, channels=(0, 1), mode=Mode.RECORD),
        ),
        (
            "RTP/AVP/TCP;interleaved=254-255;ssrc= 1a2b",
            Transport(TCP, channels=(254, 255), ssrc=0x1A2B),
        ),
        ("RTP/AVP/TCP;ssrc=zz;ttl=999;append", Transport(TCP)),
        ("RTP/AVP;unicast;client_port=5000-5001;server_port=0-0", ASKED_UDP),
    ],
)
def test_transport_is_read(value: str, transport: Transport) -> None:
    assert parse_transports(value) == [transport]


@pytest.mark.parametrize(
    "value",
    [
        "",
        ";",
        ",",
        "RAW/RAW/UDP;unicast;client_port=1-2",
        "RTP/AVP;unicast;client_port=0-0",
        "RTP/AVP;unicast;client_port=0-1",
        "RTP/AVP;unicast;client_port=65535-65536",
        "RTP/AVP;unicast;client_port=65535",
        "RTP/AVP;unicast;client_port=-1",
        "RTP/AVP;unicast;client_port=٣",
        "RTP/AVP/TCP;interleaved=0-0",
        "RTP/AVP/TCP;interleaved=300",
        "RTP/AVP/TCP;interleaved=255",
        "RTP/AVP/TCP;interleaved=a-b",
    ],
)
def test_transport_that_is_impossible_is_left_out(value: str) -> None:
    assert parse_transports(value) == []
    assert parse_transports(f"{value},RTP/AVP/TCP;interleaved=0-1") == [ASKED_TCP]


def test_transports_are_bounded() -> None:
    assert len(parse_transports(",".join(["RTP/AVP/TCP"] * MAX_SPECS))) == MAX_SPECS
    with pytest.raises(PeerError):
        parse_transports(",".join(["RTP/AVP/TCP"] * (MAX_SPECS + 1)))


@pytest.mark.parametrize(
    "transport",
    [
        ASKED_TCP,
        ASKED_UDP,
        Transport(
            MULTICAST, ports=(6000, 6001), destination="239.1.2.3", ttl=4, source="192.0.2.1"
        ),
        Transport(UDP, client_ports=(1, 2), server_ports=(3, 4), ssrc=0xFFFFFFFF, mode=Mode.RECORD),
    ],
)
def test_transport_is_printed_as_it_is_read(transport: Transport) -> None:
    assert parse_transports(str(transport)) == [transport]


@pytest.mark.parametrize(
    ("value", "transport"),
    [
        ("", ASKED_UDP),
        ("RTP/AVP;unicast", ASKED_UDP),
        ("RTP/AVP;unicast;client_port=5000-5001;ssrc=0000000A", ASKED_UDP),
        ("RTP/AVP/UDP;unicast;destination=192.0.2.9;client_port=9-10", ASKED_UDP),
    ],
)
def test_answer_that_leaves_out_is_as_asked(value: str, transport: Transport) -> None:
    answer = parse_answer(value, transport)
    assert answer.client_ports == (5000, 5001)
    assert answer.server_ports is None


def test_answer_with_other_channels_counts() -> None:
    assert parse_answer("RTP/AVP/TCP;interleaved=4-5", ASKED_TCP).channels == (4, 5)


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001", ASKED_TCP),
        ("RTP/AVP/TCP;interleaved=0-1", ASKED_UDP),
        ("nonsense", ASKED_UDP),
        ("RTP/AVP;multicast;destination=192.0.2.1;port=5-6", Transport(MULTICAST)),
        ("RTP/AVP;multicast;destination=evil.example;port=5-6", Transport(MULTICAST)),
        ("RTP/AVP;multicast;port=5-6", Transport(MULTICAST)),
    ],
)
def test_answer_of_another_way_is_refused(value: str, asked: Transport) -> None:
    with pytest.raises(PeerError):
        parse_answer(value, asked)


def test_answer_of_a_group_names_it() -> None:
    value = "RTP/AVP;multicast;destination=239.1.2.3;port=6000-6001;ttl=5"
    answer = parse_answer(value, Transport(MULTICAST))
    assert (answer.destination, answer.ports, answer.ttl) == ("239.1.2.3", (6000, 6001), 5)


@pytest.mark.parametrize("asked", [(255, 254), (254, 3), (5, 9)])
def test_channels_that_lie_apart_are_replaced(asked: tuple[int, int]) -> None:
    assert free_channels(asked, []) == (0, 1)
    assert free_channels((254, 255), []) == (254, 255)
