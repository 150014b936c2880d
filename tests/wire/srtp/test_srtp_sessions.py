"""Both directions of SRTP: against libsrtp, over the wrap of sequence numbers, and under attack."""

from __future__ import annotations

import random

import pytest
from mutation import assert_only_peer_error
from pylibsrtp import Error as LibsrtpError
from srtp_pair import BOTH, SSRC, headers, libsrtp, master_key, slices

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtp.packet import header
from appliance.wire.srtp.inbound import MAX_SOURCES, InboundSession
from appliance.wire.srtp.outbound import OutboundSession
from appliance.wire.srtp.profile import (
    AEAD_AES_128_GCM,
    AES128_CM_SHA1_80,
    SrtpProfile,
    has_fast_gcm,
    preferred_profiles,
)
from appliance.wire.srtp.replay import WINDOW_PACKETS, ReplayWindow

PROFILES = pytest.mark.parametrize("profile", BOTH, ids=lambda profile: profile.name)
COMPOUND = bytes.fromhex("81c8000bcafebabe") + bytes(20)
WRAP = 65_530


def pair(profile: SrtpProfile) -> tuple[OutboundSession, InboundSession]:
    master = master_key(profile)
    return OutboundSession(master), InboundSession(master)


def protected(session: OutboundSession, first: int, count: int, ssrc: int = SSRC) -> list[bytes]:
    """Packets of equal size, with ten bytes that tell which it is."""
    payloads = [(b"%010d" % (first + step)) * 10 for step in range(count)]
    stream = session.stream(ssrc)
    data = stream.protect(first & 0xFFFF, headers(first, count, ssrc), payloads)
    return slices(data, 12 + 100 + session.tag_bytes)


@PROFILES
def test_frame_becomes_datagrams_of_equal_size_that_libsrtp_opens(profile: SrtpProfile) -> None:
    sender, receiver = OutboundSession(master_key(profile)), libsrtp(profile, sends=False)
    packets = protected(sender, 100, 8)
    assert {len(packet) for packet in packets} == {112 + profile.tag_bytes}
    opened = [receiver.unprotect(packet) for packet in packets]
    assert [packet[12:22] for packet in opened] == [b"%010d" % number for number in range(100, 108)]


@PROFILES
def test_sequence_that_wraps_twice_is_followed_by_libsrtp(profile: SrtpProfile) -> None:
    sender, receiver = OutboundSession(master_key(profile)), libsrtp(profile, sends=False)
    for first in range(WRAP, WRAP + 2 * 65_536, 1000):
        for packet in protected(sender, first, 20)[::7]:
            receiver.unprotect(packet)


@PROFILES
def test_sequence_that_wraps_in_the_midst_of_a_frame_keeps_its_order(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    opened = [receiver.open(packet) for packet in protected(sender, WRAP, 20)]
    assert [packet[12:22] for packet in opened] == [b"%010d" % (WRAP + step) for step in range(20)]


@PROFILES
def test_packets_of_libsrtp_are_opened_over_the_wrap_in_any_near_order(
    profile: SrtpProfile,
) -> None:
    sender, receiver = libsrtp(profile, sends=True), InboundSession(master_key(profile))
    plain = [head + b"%d" % number for number, head in enumerate(headers(WRAP, 200))]
    packets = [sender.protect(packet) for packet in plain]
    order = sorted(range(1, 200), key=lambda at: at + random.Random(at).randrange(8))
    opened = [receiver.open(packets[at]) for at in (0, *order)]
    assert opened == [plain[at] for at in (0, *order)]


@PROFILES
def test_header_with_sources_and_extension_stays_in_clear(profile: SrtpProfile) -> None:
    sender, receiver = libsrtp(profile, sends=True), InboundSession(master_key(profile))
    head = b"\x92" + header(96, 1, 2, SSRC, True)[1:] + bytes(8)
    head += bytes.fromhex("bede0001 10ff0000")
    packet = sender.protect(head + b"payload")
    assert packet[: len(head)] == head
    assert receiver.open(packet) == head + b"payload"


@PROFILES
def test_compounds_go_both_ways_with_libsrtp(profile: SrtpProfile) -> None:
    ours, theirs = OutboundSession(master_key(profile)), libsrtp(profile, sends=False)
    for _ in range(3):
        assert theirs.unprotect_rtcp(ours.protect_control(COMPOUND)) == COMPOUND
    theirs, receiver = libsrtp(profile, sends=True), InboundSession(master_key(profile))
    for _ in range(3):
        assert receiver.open_control(theirs.protect_rtcp(COMPOUND)) == COMPOUND


# -- numbers that are used once --------------------------------------------------------------------


@PROFILES
def test_numbers_used_before_are_a_fault_of_ours(profile: SrtpProfile) -> None:
    sender, _ = pair(profile)
    protected(sender, 100, 5)
    for first in (104, 100, 99, 40_000):
        with pytest.raises(MisuseError):
            protected(sender, first, 1)
    protected(sender, 105, 1)


@PROFILES
def test_numbers_of_two_streams_are_independent(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    for ssrc in (1, 2):
        for packet in protected(sender, WRAP, 10, ssrc):
            receiver.open(packet)


@PROFILES
def test_packet_sent_again_is_the_same_to_the_last_bit(profile: SrtpProfile) -> None:
    sender, _ = pair(profile)
    packets = protected(sender, WRAP, 20)
    stream = sender.stream(SSRC)
    for step in (0, 5, 6, 19):
        number = WRAP + step
        again = stream.protect_again(
            number & 0xFFFF, headers(number, 1)[0], (b"%010d" % number) * 10
        )
        assert again == packets[step]
    with pytest.raises(MisuseError):
        stream.protect_again(WRAP + 20 & 0xFFFF, headers(WRAP + 20, 1)[0], b"")


# -- what is not let in ----------------------------------------------------------------------------


@PROFILES
def test_replay_is_refused_and_the_session_goes_on(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    packets = protected(sender, WRAP, 20)
    for packet in packets:
        receiver.open(packet)
    for packet in packets:
        with pytest.raises(PeerError, match="came before"):
            receiver.open(packet)
    receiver.open(protected(sender, WRAP + 20, 1)[0])


@PROFILES
def test_replay_of_a_compound_is_refused(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    first, second = sender.protect_control(COMPOUND), sender.protect_control(COMPOUND)
    receiver.open_control(second)
    receiver.open_control(first)
    for packet in (first, second):
        with pytest.raises(PeerError, match="came before"):
            receiver.open_control(packet)


@PROFILES
def test_packet_behind_the_window_is_refused_unread(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    packets = protected(sender, 0, WINDOW_PACKETS + 10)
    receiver.open(packets[-1])
    with pytest.raises(PeerError, match="came before"):
        receiver.open(packets[9])
    receiver.open(packets[10])


@PROFILES
def test_sequence_far_behind_the_first_is_refused(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    receiver.open(protected(sender, 100, 1)[0])
    forged = header(96, 100 - 32_000 & 0xFFFF, 0, SSRC, False) + bytes(60)
    with pytest.raises(PeerError):
        receiver.open(forged)


@PROFILES
def test_any_bit_changed_is_noticed(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    packet = protected(sender, 7, 1)[0]
    for bit in range(0, 8 * len(packet), 5):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            receiver.open(damaged)
    assert receiver.open(packet)


@PROFILES
def test_any_bit_of_a_compound_changed_is_noticed(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    packet = sender.protect_control(COMPOUND)
    for bit in range(8 * len(packet)):
        damaged = bytearray(packet)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PeerError):
            receiver.open_control(damaged)
    assert receiver.open_control(packet) == COMPOUND


@PROFILES
def test_plain_rtp_is_refused(profile: SrtpProfile) -> None:
    _, receiver = pair(profile)
    with pytest.raises(PeerError, match="not authentic"):
        receiver.open(headers(1, 1)[0] + bytes(100))


@PROFILES
def test_compound_in_clear_is_refused_even_if_libsrtp_would_take_it(profile: SrtpProfile) -> None:
    _, receiver = pair(profile)
    with pytest.raises(PeerError, match="in clear"):
        receiver.open_control(COMPOUND + bytes(4 + profile.tag_bytes))


@PROFILES
def test_forged_packets_make_no_state(profile: SrtpProfile) -> None:
    """Neither of a hundred thousand sources, nor by moving the window of a true one."""
    sender, receiver = pair(profile)
    first, second = protected(sender, 100, 2)
    receiver.open(first)
    for ssrc in range(MAX_SOURCES + 10):
        with pytest.raises(PeerError):
            receiver.open(headers(5, 1, ssrc)[0] + bytes(60))
    with pytest.raises(PeerError):
        receiver.open(headers(30_000, 1)[0] + bytes(60))
    assert receiver.open(second)


@PROFILES
def test_sources_beyond_what_a_page_has_are_refused(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    for ssrc in range(MAX_SOURCES):
        receiver.open(protected(sender, 1, 1, ssrc)[0])
    with pytest.raises(PeerError, match="sources"):
        receiver.open(protected(sender, 1, 1, 99)[0])
    receiver.open(protected(sender, 2, 1, 0)[0])


@PROFILES
def test_keys_of_the_other_direction_open_nothing(profile: SrtpProfile) -> None:
    sender, _ = pair(profile)
    other = master_key(profile)
    receiver = InboundSession(type(other)(profile, bytes(16), other.salt))
    with pytest.raises(PeerError):
        receiver.open(protected(sender, 1, 1)[0])


@PROFILES
def test_damaged_packets_raise_nothing_but_peer_error(profile: SrtpProfile) -> None:
    sender, receiver = pair(profile)
    with_extension = b"\x9f" + bytes(40) + b"\xff\xff" + bytes(60)
    seeds = [*protected(sender, 1, 3), sender.protect_control(COMPOUND), with_extension]

    def receive(data: bytes) -> None:
        try:
            receiver.open(data)
        except PeerError:
            receiver.open_control(data)

    assert_only_peer_error(receive, seeds, 3000)


def test_libsrtp_refuses_what_we_send_with_another_key() -> None:
    """So that the tests above prove keys, and not only formats."""
    sender, receiver = pair(AEAD_AES_128_GCM)[0], libsrtp(AES128_CM_SHA1_80, sends=False)
    with pytest.raises(LibsrtpError):
        receiver.unprotect(protected(sender, 1, 1)[0])


# -- parts -----------------------------------------------------------------------------------------


def test_replay_window_agrees_with_a_set() -> None:
    rng, window, seen, highest = random.Random(1), ReplayWindow(), set[int](), -1
    for _ in range(5000):
        index = max(0, highest + rng.choice((1, 1, 1, 2, 5, -1, -3, -900, -1023, -1024, 1500)))
        expected = index > highest or (index not in seen and highest - index < WINDOW_PACKETS)
        assert window.is_new(index) == expected
        if expected:
            window.add(index)
            seen.add(index)
            highest = max(highest, index)


X86 = "processor\t: 0\nmodel name\t: aes pclmulqdq\nflags\t\t: fpu aes {} avx\n"
PI_5 = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32\n"
PI_4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nModel\t: aes pmull\n"


@pytest.mark.parametrize(
    ("cpuinfo", "is_fast"),
    [(X86.format("pclmulqdq"), True), (X86.format("sse"), False), (PI_5, True), (PI_4, False)],
    ids=["PC", "PC without multiplication", "Raspberry Pi 5", "Raspberry Pi 4"],
)
def test_profile_that_comes_first_depends_on_the_processor(cpuinfo: str, is_fast: bool) -> None:
    assert has_fast_gcm(cpuinfo) is is_fast
    first, second = preferred_profiles(cpuinfo)
    assert (first is AEAD_AES_128_GCM) is is_fast
    assert {first, second} == set(BOTH)


def test_processor_that_tells_nothing_is_taken_for_slow() -> None:
    assert preferred_profiles("")[0] is AES128_CM_SHA1_80
