from __future__ import annotations

import pytest
from bit_writer import BitWriter
from h264_writer import SpsPlan, hrd, order_type_1, pps, scaling_lists, vui
from mutation import assert_only_peer_error, corpus, mutations

from appliance.errors import PeerError
from appliance.media.bits import BitReader
from appliance.media.h264 import (
    H264Config,
    ParameterSets,
    avcc_length_bytes,
    nal_type,
    split_parameter_sets,
)
from appliance.media.nal import join_annexb, split_annexb
from appliance.media.sps import MAX_PARAMETER_SET_BYTES, NalSplit
from appliance.media.track import Codec, Kind

SPS = SpsPlan(vui=vui(timing=(1, 50), reorder=(2, 4))).nal()
OTHER_SPS = SpsPlan(mbs=(40, 30)).nal()
PPS = pps()
IDR = b"\x65\x88\x84\x00\x33"
P_SLICE = b"\x41" + BitWriter().ue(0, 5).to_bytes() + b"\x12"
I_SLICE = b"\x41" + BitWriter().ue(0, 7).to_bytes() + b"\x12"
AUD, FILLER, END = b"\x09\xf0", b"\x0c\xff\x80", b"\x0a"


def sei(*messages: tuple[int, bytes]) -> bytes:
    body = bytearray()
    for kind, payload in messages:
        for number in (kind, len(payload)):
            body += b"\xff" * (number // 255) + bytes((number % 255,))
        body += payload
    return b"\x06" + bytes(body) + b"\x80"


RECOVERY_NOW = sei((6, b"\xc4"))  # recovery_frame_cnt 0
RECOVERY_LATER = sei((6, b"\x24\x40"))  # recovery_frame_cnt 8


def avcc(*sets: bytes, count: int | None = None, pps_count: int = 1, length: int = 3) -> bytes:
    """An avcC whose counts need not be true."""
    record = bytearray((1, 100, 0, 31, 0xFC | length))
    record.append(0xE0 | (1 if count is None else count))
    for number, nal in enumerate(sets):
        if number == len(sets) - 1:
            record.append(pps_count)
        record += len(nal).to_bytes(2, "big") + nal
    return bytes(record)


def test_config_tells_its_stream() -> None:
    config = H264Config((SPS,), (PPS,))
    assert (config.kind, config.codec) == (Kind.VIDEO, Codec.H264)
    assert (config.width_px, config.height_px, config.fps) == (320, 240, 25.0)
    assert (config.profile_idc, config.constraint_flags, config.level_idc) == (100, 0, 31)
    assert config.max_reorder_frames == 2
    assert config.rfc6381 == "avc1.64001F"


def test_config_is_compared_by_value() -> None:
    assert H264Config((SPS,), (PPS,)) == H264Config((bytes(SPS),), (bytes(PPS),))
    assert hash(H264Config((SPS,), (PPS,))) == hash(H264Config((SPS,), (PPS,)))
    assert H264Config((SPS,), (PPS,)) != H264Config((OTHER_SPS,), (PPS,))
    assert H264Config((SPS,), (PPS,)) != H264Config((SPS,), (PPS, pps(1)))


@pytest.mark.parametrize(
    ("sps", "pps_sets"),
    [
        ((), (PPS,)),
        ((SPS,), ()),
        ((b"",), (PPS,)),
        ((SPS,), (b"",)),
        ((PPS,), (SPS,)),
        ((SPS, b""), (PPS,)),
        ((SPS, IDR), (PPS,)),
        ((SPS,), (b"\x68",)),
        ((SPS,), (b"\x68\x00\x00",)),
        ((SPS,) * 32, (PPS,)),
        ((SPS,), (PPS,) * 256),
        ((SPS,), (PPS + bytes(MAX_PARAMETER_SET_BYTES),)),
        ((SPS,), (PPS + bytes(MAX_PARAMETER_SET_BYTES - 200),) * 17),
    ],
)
def test_config_of_bad_sets_raises(sps: tuple[bytes, ...], pps_sets: tuple[bytes, ...]) -> None:
    with pytest.raises(PeerError):
        H264Config(sps, pps_sets)


def test_config_at_the_limits_of_counts() -> None:
    config = H264Config((SPS,) * 31, tuple(map(pps, range(255))))
    assert H264Config.from_avcc(config.to_avcc()) == config


def test_avcc_of_high_profile_tells_chroma_and_depth() -> None:
    plan = SpsPlan(profile_idc=122, chroma_format_idc=2, luma_minus8=2, chroma_minus8=1)
    record = H264Config((plan.nal(),), (PPS,)).to_avcc()
    assert record[:6] == bytes((1, 122, 0, 31, 0xFF, 0xE1))
    assert record[-4:] == bytes((0xFC | 2, 0xF8 | 2, 0xF8 | 1, 0))


@pytest.mark.parametrize("profile_idc", [66, 77, 88])
def test_avcc_of_plain_profile_ends_after_the_pps(profile_idc: int) -> None:
    config = H264Config((SpsPlan(profile_idc=profile_idc).nal(),), (PPS,))
    assert config.to_avcc().endswith(PPS)
    assert H264Config.from_avcc(config.to_avcc()) == config


def test_avcc_with_several_sets_keeps_all() -> None:
    config = H264Config((SPS, OTHER_SPS), (PPS, pps(1), pps(2, 1)))
    assert H264Config.from_avcc(config.to_avcc()) == config
    assert H264Config.from_avcc(memoryview(config.to_avcc() + b"trailing")) == config


def test_avcc_cut_at_any_byte_raises() -> None:
    record = H264Config((SPS,), (PPS,)).to_avcc()
    needed = len(record) - 4  # of chroma and depth the SPS says the same
    for end in range(needed):
        with pytest.raises(PeerError):
            H264Config.from_avcc(record[:end])
    assert H264Config.from_avcc(record[:needed]).width_px == 320


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\x00" + avcc(SPS, PPS)[1:],
        b"\xff" + avcc(SPS, PPS)[1:],
        avcc(PPS, count=0),
        avcc(SPS, PPS, pps_count=0),
        avcc(SPS, PPS, pps_count=255),
        avcc(SPS, PPS, count=31),
        avcc(b"", PPS),
        avcc(SPS, b""),
        avcc(SPS, PPS)[:6] + b"\xff\xff" + SPS,
        bytes((1, 100, 0, 31, 0xFF, 0xFF)) + b"\xff\xff" * 31,
        SPS,
        join_annexb([SPS, PPS]),
    ],
)
def test_avcc_that_lies_raises(record: bytes) -> None:
    with pytest.raises(PeerError):
        H264Config.from_avcc(record)


def test_avcc_length_sizes() -> None:
    assert [avcc_length_bytes(avcc(SPS, PPS, length=code)) for code in (0, 1, 3)] == [1, 2, 4]
    for record in (avcc(SPS, PPS, length=2), b"\0" + avcc(SPS, PPS)[1:], b"", b"\1\0\0\0"):
        with pytest.raises(PeerError):
            avcc_length_bytes(record)


def test_split_sorts_an_access_unit_and_drops_what_is_no_media() -> None:
    split = split_parameter_sets(
        [AUD, SPS, PPS, RECOVERY_LATER, FILLER, IDR, b"", b"\x6d\x01", b"\x7c\x85", b"\x78", END]
    )
    assert split == NalSplit([RECOVERY_LATER, IDR], [], [SPS], [PPS], True)


def test_split_of_delimiter_alone_is_empty() -> None:
    assert split_parameter_sets([AUD]) == NalSplit()
    assert split_parameter_sets([]) == NalSplit()


def test_split_keeps_views() -> None:
    data = join_annexb([AUD, IDR])
    (media,) = split_parameter_sets(split_annexb(data)).media
    assert isinstance(media, memoryview)
    assert media.obj is data


@pytest.mark.parametrize(
    ("nals", "key"),
    [
        ([IDR], True),
        ([P_SLICE], False),
        ([I_SLICE], False),
        ([RECOVERY_NOW, I_SLICE], True),
        ([RECOVERY_NOW, P_SLICE], False),
        ([RECOVERY_LATER, I_SLICE], False),
        ([sei((5, bytes(300)), (1, b"\x12"), (6, b"\xc4")), I_SLICE], True),
        ([sei((0, b"\x80")), RECOVERY_NOW, I_SLICE, P_SLICE], True),
        ([RECOVERY_NOW], False),
        ([RECOVERY_NOW, b"\x41"], False),
        ([b"\x06\x06", I_SLICE], False),
        ([b"\x06\x06\x05\xc4", I_SLICE], False),
        ([b"\x06" + b"\xff" * (1 << 20), I_SLICE], False),
        ([sei((5, bytes(1 << 20)), (6, b"\xc4")), I_SLICE], False),
        ([b"\x06\x06\x00\x80", I_SLICE], False),
    ],
)
def test_split_knows_where_decoding_can_start(nals: list[bytes], key: bool) -> None:
    assert split_parameter_sets(nals).key is key


def test_slice_type_is_read_whatever_byte_a_slice_header_begins_with() -> None:
    for first in range(256):
        nal = bytes((0x41, first, 0x55, 0x55))
        bits = BitReader(nal[1:])
        bits.ue()  # first_mb_in_slice
        assert split_parameter_sets([RECOVERY_NOW, nal]).key is (bits.ue() in {2, 7}), first


def test_nal_type_is_in_the_low_five_bits() -> None:
    assert [nal_type(nal) for nal in (SPS, PPS, IDR, P_SLICE)] == [7, 8, 5, 1]


def in_band(*nals: bytes) -> NalSplit:
    return split_parameter_sets(nals)


def test_parameter_sets_give_a_configuration_once_complete() -> None:
    sets = ParameterSets()
    assert sets.update(in_band(P_SLICE)) is None
    assert sets.update(in_band(PPS)) is None
    assert sets.config is None
    config = sets.update(in_band(SPS, IDR))
    assert config == H264Config((SPS,), (PPS,))
    assert sets.config is config


def test_parameter_sets_repeated_change_nothing() -> None:
    sets = ParameterSets()
    config = sets.update(in_band(SPS, PPS, IDR))
    for _ in range(3):
        assert sets.update(in_band(SPS, PPS, IDR)) is None
        assert sets.update(in_band(PPS)) is None
    assert sets.config is config


def test_parameter_sets_known_before_are_no_news() -> None:
    config = H264Config((SPS,), (PPS,))
    sets = ParameterSets(config)
    assert sets.config is config
    assert sets.update(in_band(SPS, PPS, IDR)) is None
    assert sets.update(in_band(OTHER_SPS, PPS)) == H264Config((OTHER_SPS,), (PPS,))


def test_parameter_sets_take_views() -> None:
    data = join_annexb([SPS, PPS, IDR])
    config = ParameterSets().update(split_parameter_sets(split_annexb(data)))
    assert config is not None
    assert type(config.sps[0]) is bytes


def test_parameter_sets_of_a_changed_sps_wait_for_its_pps() -> None:
    sets = ParameterSets()
    sets.update(in_band(SPS, PPS, pps(1)))
    assert sets.update(in_band(OTHER_SPS)) is None
    assert sets.update(in_band(PPS)) == H264Config((OTHER_SPS,), (PPS,))


def test_parameter_sets_with_another_sps_id_replace_the_old_ones() -> None:
    sets = ParameterSets()
    sets.update(in_band(SPS, PPS))
    second = SpsPlan(sps_id=1, mbs=(40, 30)).nal()
    config = sets.update(in_band(second, pps(0, 1)))
    assert config == H264Config((second,), (pps(0, 1),))
    assert config.width_px == 640


def test_parameter_sets_collect_pps_by_id() -> None:
    sets = ParameterSets()
    sets.update(in_band(SPS, PPS))
    assert sets.update(in_band(pps(3))) == H264Config((SPS,), (PPS, pps(3)))
    assert sets.update(in_band(pps(2))) == H264Config((SPS,), (PPS, pps(2), pps(3)))
    assert sets.update(in_band(pps(3, 1))) == H264Config((SPS,), (PPS, pps(2), pps(3, 1)))


@pytest.mark.parametrize(
    "damaged", [b"\x67", b"\x67" + bytes(20), b"\x68", b"\x68\0\0", PPS + bytes(5000)]
)
def test_parameter_sets_damaged_raise_and_leave_what_was_known(damaged: bytes) -> None:
    sets = ParameterSets()
    config = sets.update(in_band(SPS, PPS))
    with pytest.raises(PeerError):
        sets.update(in_band(damaged))
    assert sets.config is config
    assert sets.update(in_band(SPS, PPS, IDR)) is None


def test_parameter_sets_that_change_every_frame_stay_bounded() -> None:
    sets = ParameterSets()
    for number in range(600):
        nal = SpsPlan(mbs=(10 + number, 10)).nal()
        config = sets.update(in_band(nal, pps(number % 256), IDR))
        assert config == H264Config((nal,), (pps(number % 256),))


def test_sei_of_the_greatest_size_stays_media() -> None:
    big = sei((5, bytes(1 << 20)))
    assert split_parameter_sets([big, IDR]).media == [big, IDR]


def test_config_mutated_raises_only_peer_error() -> None:
    def parse(data: bytes) -> None:
        split = split_parameter_sets(split_annexb(data))
        ParameterSets().update(split)

    extra = SpsPlan(scaling=scaling_lists, order=order_type_1(20), vui=vui(hrd=hrd(4))).nal()
    assert_only_peer_error(parse, [*corpus("h264"), join_annexb([extra, PPS, IDR])], 3000)


def test_access_unit_mutated_raises_only_peer_error() -> None:
    def parse(data: bytes) -> None:
        split_parameter_sets(split_annexb(data))

    units = [
        join_annexb(nals)
        for nals in ([AUD, RECOVERY_NOW, I_SLICE], [RECOVERY_LATER, sei((5, b"abc")), I_SLICE])
    ]
    assert_only_peer_error(parse, units, 2000)


def test_avcc_mutated_raises_only_peer_error() -> None:
    assert_only_peer_error(H264Config.from_avcc, corpus("avcc"), 3000)
    assert_only_peer_error(avcc_length_bytes, corpus("avcc"), 500)


def test_avcc_that_parses_is_written_so_that_it_parses_the_same() -> None:
    parsed = 0
    for record in mutations(corpus("avcc"), 2000, seed=5):
        try:
            config = H264Config.from_avcc(record)
        except PeerError:
            continue
        parsed += 1
        assert H264Config.from_avcc(config.to_avcc()) == config
    assert parsed > 100
