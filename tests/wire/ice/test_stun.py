"""STUN messages against RFC 5769's vectors, and what is not one."""

from __future__ import annotations

import hashlib

import pytest
from ice_peer import OURS, request
from mutation import assert_only_peer_error

from appliance.errors import PeerError
from appliance.wire.ice.stun import (
    MAX_ATTRIBUTES,
    AttributeType,
    MessageClass,
    StunMessage,
    error_code,
    mapped_address,
    parse,
    peek_username,
    unknown_attributes,
)

# RFC 5769 §2.1 to §2.4: a check, its answers by IPv4 and IPv6, a request of a long-term user
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
ANSWER_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
ANSWER_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c"
)
LONG_TERM = bytes.fromhex(
    "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666"
)
KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
BAD_HEADERS = {
    "nothing": b"",
    "nineteen octets": REQUEST[:19],
    "high bits": b"\x40" + REQUEST[1:],
    "another cookie": REQUEST[:4] + bytes(4) + REQUEST[8:],
    "a shorter length": REQUEST[:2] + b"\x00\x54" + REQUEST[4:],
    "a length not of words": b"\x00\x01\x00\x02" + REQUEST[4:20] + b"\0\0",
    "a longer packet than any": bytes.fromhex("000105dc2112a442") + bytes(12 + 1500),
}


def with_attributes(data: str) -> bytes:
    """A binding request of these attributes, in hexadecimal."""
    body = bytes.fromhex(data)
    return b"\0\1" + len(body).to_bytes(2, "big") + bytes.fromhex("2112a442") + bytes(12) + body


def test_request_of_rfc5769_is_read_and_signed() -> None:
    message = parse(REQUEST)
    assert message.message_class is MessageClass.REQUEST
    assert message.method == 1
    assert message.username == peek_username(REQUEST) == b"evtj:h6vY"
    assert message.priority == 0x6E0001FF
    assert message.controlled == 0x932FF9B151263B36
    assert message.controlling is None
    assert message.is_signed_by(KEY)
    assert not message.is_signed_by(KEY + b"x")
    assert message.unknown_required() == []


@pytest.mark.parametrize(
    ("packet", "address"),
    [(ANSWER_IPV4, "192.0.2.1"), (ANSWER_IPV6, "2001:db8:1234:5678:11:2233:4455:6677")],
)
def test_answer_of_rfc5769_tells_the_mapped_address(packet: bytes, address: str) -> None:
    message = parse(packet)
    assert message.message_class is MessageClass.SUCCESS
    assert message.mapped_address == (address, 32853)
    assert message.value(AttributeType.XOR_MAPPED_ADDRESS) == mapped_address(
        address, 32853, message.transaction_id
    )
    assert message.is_signed_by(KEY)
    assert peek_username(packet) is None


def test_request_of_rfc5769_with_a_long_term_key_is_signed() -> None:
    text = "\u30de\u30c8\u30ea\u30c3\u30af\u30b9:example.org:TheMatrIX"
    assert parse(LONG_TERM).is_signed_by(hashlib.md5(text.encode()).digest())


@pytest.mark.parametrize("packet", [REQUEST, ANSWER_IPV4, ANSWER_IPV6])
def test_message_packed_again_says_the_same(packet: bytes) -> None:
    """Padding may be anything (the vectors have blanks), so bytes need not be the same."""
    message = parse(packet)
    again = parse(message.pack(KEY))
    assert again.attributes == message.attributes
    assert again.is_signed_by(KEY)
    assert (again.message_class, again.transaction_id) == (
        message.message_class,
        message.transaction_id,
    )


@pytest.mark.parametrize("position", range(20, len(REQUEST) - 8))
def test_message_changed_anywhere_is_found_out(position: int) -> None:
    changed = REQUEST[:position] + bytes((REQUEST[position] ^ 1,)) + REQUEST[position + 1 :]
    with pytest.raises(PeerError):
        parse(changed)
    unmarked = changed[:2] + b"\x00\x50" + changed[4:-8]
    try:
        message = parse(unmarked)
    except PeerError:
        return
    assert position >= len(unmarked) or not message.is_signed_by(KEY)


@pytest.mark.parametrize("packet", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_packet_that_is_no_message_is_refused(packet: bytes) -> None:
    for read in (parse, peek_username):
        with pytest.raises(PeerError):
            read(packet)


@pytest.mark.parametrize(
    "attributes",
    [
        "0006ffff",  # longer than what is there
        "00060005 61626364",
        "00080010" + "00" * 16,  # half an integrity
        "80280004 00000000",  # a wrong fingerprint
        "00250000" * (MAX_ATTRIBUTES + 1),
    ],
)
def test_damaged_attributes_are_refused(attributes: str) -> None:
    with pytest.raises(PeerError):
        parse(with_attributes(attributes))


def test_attributes_of_a_wrong_size_are_refused_when_asked_for() -> None:
    short = parse(with_attributes("00240000 802a0004 00000000 00200004 00010000 00090000"))
    for name in ("priority", "controlling", "mapped_address", "error_code"):
        with pytest.raises(PeerError):
            getattr(short, name)


def test_fingerprint_in_the_middle_is_refused() -> None:
    whole = parse(REQUEST).pack()
    longer = len(whole) - 20 + 4
    with pytest.raises(PeerError):
        parse(whole[:2] + longer.to_bytes(2, "big") + whole[4:] + bytes.fromhex("00250000"))


def test_attributes_behind_the_integrity_are_left_out() -> None:
    """Else somebody on the way could name a path (RFC 8489 §14.5)."""
    signed = request().pack(OURS.key)[:-8]  # without the fingerprint
    tail = bytes.fromhex("00250000 00080014") + bytes(20)
    length = len(signed) - 20 + len(tail)
    message = parse(signed[:2] + length.to_bytes(2, "big") + signed[4:] + tail)
    assert message.is_signed_by(OURS.key)
    assert not message.is_nominating


def test_unknown_attributes_are_told_if_they_must_be_understood() -> None:
    message = parse(with_attributes("7fff0000 ffff0000 7ffe0004 00000000 7fff0000"))
    assert message.unknown_required() == [0x7FFF, 0x7FFE]
    assert unknown_attributes([0x7FFF, 0x7FFE]) == bytes.fromhex("7fff7ffe")


def test_error_code_comes_back() -> None:
    message = StunMessage(MessageClass.ERROR, bytes(12))
    message.add(AttributeType.ERROR_CODE, error_code(487))
    assert parse(message.pack()).error_code == 487


def test_every_method_and_class_comes_back() -> None:
    for kind in MessageClass:
        for method in (1, 3, 0x0F, 0x10, 0x7F, 0x80, 0xFFF):
            again = parse(StunMessage(kind, bytes(12), method=method).pack())
            assert (again.message_class, again.method) == (kind, method)


def test_username_is_found_without_the_rest_or_not_at_all() -> None:
    assert peek_username(with_attributes("00240004 00000000 00060003 61626300")) == b"abc"
    assert peek_username(with_attributes("00240004 00000000")) is None
    assert peek_username(with_attributes("")) is None
    with pytest.raises(PeerError):
        peek_username(with_attributes("0024ffff"))


@pytest.mark.parametrize(
    ("host", "family"), [("::ffff:192.0.2.1", 1), ("fe80::1%eth0", 2), ("10.0.0.1", 1)]
)
def test_mapped_address_is_of_the_family_that_it_is(host: str, family: int) -> None:
    assert mapped_address(host, 1, bytes(12))[1] == family


def test_parser_survives_mutants() -> None:
    def read(data: bytes) -> None:
        peek_username(data)
        message = parse(data)
        message.is_signed_by(KEY)
        for name in ("priority", "controlling", "controlled", "mapped_address", "error_code"):
            getattr(message, name)
        parse(message.pack(KEY))

    assert_only_peer_error(read, [REQUEST, ANSWER_IPV4, ANSWER_IPV6, LONG_TERM], 6000)
