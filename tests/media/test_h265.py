from __future__ import annotations

import re

import pytest
from h265_writer import GENERAL_PROFILE, SpsPlan, pps, scaling_lists, short_term_sets, vps, vui
from mutation import assert_only_peer_error, corpus, mutations

from appliance.errors import PeerError
from appliance.media.h265 import (
    H265Config,
    ParameterSets,
    hvcc_length_bytes,
    layer_id,
    nal_type,
    split_parameter_sets,
)
from appliance.media.nal import join_annexb, split_annexb
from appliance.media.sps import MAX_PARAMETER_SET_BYTES, NalSplit
from appliance.media.track import Codec, Kind

VPS = vps()
SPS = SpsPlan(vui=vui((1, 25))).nal()
OTHER_SPS = SpsPlan(size=(640, 480)).nal()
PPS = pps()


def nal(kind: int, *, layer: int = 0, size: int = 5) -> bytes:
    return bytes((kind << 1 | layer >> 5, (layer & 31) << 3 | 1)) + bytes([0x80] * (size - 2))


IDR, CRA, TRAIL, AUD = nal(19), nal(21), nal(1), nal(35, size=3)


def hvcc(*arrays: tuple[int, int, list[bytes]], count: int | None = None) -> bytes:
    """An hvcC of (type, announced count, sets) whose counts need not be true."""
    record = bytearray((1, *GENERAL_PROFILE, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0, 0x0F))
    record.append(len(arrays) if count is None else count)
    for kind, announced, sets in arrays:
        record.append(0x80 | kind)
        record += announced.to_bytes(2, "big")
        for data in sets:
            record += len(data).to_bytes(2, "big") + data
    return bytes(record)


COMPLETE = ((32, 1, [VPS]), (33, 1, [SPS]), (34, 1, [PPS]))


def test_config_tells_its_stream() -> None:
    config = H265Config((VPS,), (SPS,), (PPS,))
    assert (config.kind, config.codec) == (Kind.VIDEO, Codec.H265)
    assert (config.width_px, config.height_px, config.fps) == (320, 240, 25.0)
    assert (config.profile_idc, config.level_idc, config.max_reorder_frames) == (1, 93, 2)


def test_config_takes_the_frame_rate_of_the_vps_if_the_sps_has_none() -> None:
    assert H265Config((vps((1, 12)),), (OTHER_SPS,), (PPS,)).fps == 12.0
    assert H265Config((vps((1, 12)),), (SPS,), (PPS,)).fps == 25.0
    assert H265Config((VPS,), (OTHER_SPS,), (PPS,)).fps is None


def test_config_is_compared_by_value() -> None:
    config = H265Config((VPS,), (SPS,), (PPS,))
    assert config == H265Config((bytes(VPS),), (bytes(SPS),), (bytes(PPS),))
    assert hash(config) == hash(H265Config((VPS,), (SPS,), (PPS,)))
    assert config != H265Config((vps((1, 12)),), (SPS,), (PPS,))


@pytest.mark.parametrize(
    ("general", "text"),
    [
        ("01 60000000 b00000000000 5d", "hvc1.1.6.L93.B0"),
        ("21 60000000 b00000000000 5d", "hvc1.1.6.H93.B0"),
        ("02 20000000 b00000000000 78", "hvc1.2.4.L120.B0"),
        ("02 20000000 000000000000 78", "hvc1.2.4.L120"),
        ("04 08000000 90003fa00000 99", "hvc1.4.10.L153.90.0.3F.A0"),
        ("41 60000000 b00000000001 1e", "hvc1.A1.6.L30.B0.0.0.0.0.1"),
        ("c1 80000001 000000000000 ff", "hvc1.C1.80000001.L255"),
    ],
)
def test_rfc6381_string(general: str, text: str) -> None:
    sps = SpsPlan(general=bytes.fromhex(general.replace(" ", ""))).nal()
    assert H265Config((VPS,), (sps,), (PPS,)).rfc6381 == text


@pytest.mark.parametrize(
    ("vps_sets", "sps_sets", "pps_sets"),
    [
        ((), (SPS,), (PPS,)),
        ((VPS,), (), (PPS,)),
        ((VPS,), (SPS,), ()),
        ((b"",), (SPS,), (PPS,)),
        ((VPS,), (b"\x42",), (PPS,)),
        ((VPS,), (SPS,), (b"\x44\x01",)),
        ((VPS,), (SPS,), (b"\x44\x01\0\0\0\0",)),
        ((SPS,), (SPS,), (PPS,)),
        ((VPS,), (VPS,), (PPS,)),
        ((VPS,), (SPS,), (SPS,)),
        ((VPS,), (SPS,), (PPS,) * 95),
        ((VPS,), (SPS,), (PPS + bytes(MAX_PARAMETER_SET_BYTES),)),
    ],
)
def test_config_of_bad_sets_raises(
    vps_sets: tuple[bytes, ...], sps_sets: tuple[bytes, ...], pps_sets: tuple[bytes, ...]
) -> None:
    with pytest.raises(PeerError):
        H265Config(vps_sets, sps_sets, pps_sets)


def test_hvcc_written_parses_to_the_same() -> None:
    sps = SpsPlan(chroma_format_idc=2, luma_minus8=2, chroma_minus8=2, sub_layers=[(0, 0)]).nal()
    config = H265Config((VPS,), (sps, OTHER_SPS), (PPS, pps(1)))
    record = config.to_hvcc()
    assert H265Config.from_hvcc(memoryview(record)) == config
    assert record[0] == 1
    assert record[1:13] == GENERAL_PROFILE
    assert record[13:22] == bytes((0xF0, 0, 0xFC, 0xFE, 0xFA, 0xFA, 0, 0, 2 << 3 | 1 << 2 | 3))
    assert hvcc_length_bytes(record) == 4


def test_hvcc_ignores_sei_arrays_and_upper_layers() -> None:
    above = bytes((SPS[0], 0x09)) + SPS[2:]
    record = hvcc((39, 1, [nal(39)]), COMPLETE[0], (33, 2, [above, SPS]), COMPLETE[2])
    assert H265Config.from_hvcc(record) == H265Config((VPS,), (SPS,), (PPS,))


def test_hvcc_cut_at_any_byte_raises() -> None:
    record = H265Config((VPS,), (SPS,), (PPS,)).to_hvcc()
    for end in range(len(record)):
        with pytest.raises(PeerError):
            H265Config.from_hvcc(record[:end])


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\0" + hvcc(*COMPLETE)[1:],
        hvcc(*COMPLETE, count=0),
        hvcc(*COMPLETE, count=255),
        hvcc(*COMPLETE[:2]),
        hvcc((32, 1, [VPS]), (33, 65_535, [SPS]), (34, 1, [PPS])),
        hvcc(*[(33, 65_535, [])] * 255),
        hvcc(*[(33, 65_535, [b""] * 65_535)] * 3),
        hvcc(*[(39, 65_535, [b""] * 65_535)] * 3),
        hvcc((32, 0, []), (33, 1, [SPS]), (34, 1, [PPS])),
        hvcc((32, 1, [b""]), (33, 1, [SPS]), (34, 1, [PPS])),
        hvcc(*COMPLETE)[:23] + b"\xff" * 40,
    ],
)
def test_hvcc_that_lies_raises(record: bytes) -> None:
    with pytest.raises(PeerError):
        H265Config.from_hvcc(record)


def test_hvcc_length_sizes() -> None:
    record = bytearray(hvcc(*COMPLETE))
    for code, length_bytes in ((0, 1), (1, 2), (3, 4)):
        record[21] = 0x0C | code
        assert hvcc_length_bytes(bytes(record)) == length_bytes
    record[21] = 0x0C | 2
    for bad in (bytes(record), bytes(record[:21]), b""):
        with pytest.raises(PeerError):
            hvcc_length_bytes(bad)


def test_split_sorts_an_access_unit_and_drops_what_is_no_media() -> None:
    prefix, suffix = nal(39), nal(40)
    split = split_parameter_sets(
        [AUD, VPS, SPS, PPS, prefix, IDR, suffix, nal(36), nal(38), nal(48), nal(49), b"", b"\x26"]
    )
    assert split == NalSplit([prefix, IDR, suffix], [VPS], [SPS], [PPS], True)


def test_split_drops_upper_layers() -> None:
    above = [nal(kind, layer=1) for kind in (1, 19, 32, 33, 34, 39)] + [nal(1, layer=63)]
    assert split_parameter_sets([*above, TRAIL]) == NalSplit([TRAIL])
    assert [layer_id(above[0]), layer_id(above[-1]), layer_id(TRAIL)] == [1, 63, 0]


@pytest.mark.parametrize("kind", range(64))
def test_split_takes_irap_pictures_as_keys(kind: int) -> None:
    split = split_parameter_sets([nal(kind)])
    assert split.key == (16 <= kind <= 21)
    assert bool(split.media) == (kind <= 9 or 16 <= kind <= 21 or kind in {39, 40})
    assert nal_type(nal(kind)) == kind


def test_parameter_sets_give_a_configuration_once_complete_and_when_changed() -> None:
    sets = ParameterSets()
    assert sets.update(split_parameter_sets([PPS])) is None
    assert sets.update(split_parameter_sets([VPS, IDR])) is None
    config = sets.update(split_parameter_sets([SPS]))
    assert config == H265Config((VPS,), (SPS,), (PPS,))
    assert sets.update(split_parameter_sets([VPS, SPS, PPS, CRA])) is None
    assert sets.update(split_parameter_sets([OTHER_SPS])) is None
    assert sets.update(split_parameter_sets([PPS])) == H265Config((VPS,), (OTHER_SPS,), (PPS,))
    newer = vps((1, 12))
    assert sets.update(split_parameter_sets([newer])) == H265Config((newer,), (OTHER_SPS,), (PPS,))


def test_parameter_sets_known_before_are_no_news() -> None:
    config = H265Config((VPS,), (SPS,), (PPS,))
    sets = ParameterSets(config)
    assert sets.update(split_parameter_sets([VPS, SPS, PPS, IDR])) is None
    assert sets.config is config


@pytest.mark.parametrize(
    "damaged", [b"\x42\x01", b"\x42\x01" + bytes(40), b"\x44\x01", b"\x40\x01"]
)
def test_parameter_sets_damaged_raise_and_leave_what_was_known(damaged: bytes) -> None:
    sets = ParameterSets()
    config = sets.update(split_parameter_sets([VPS, SPS, PPS]))
    with pytest.raises(PeerError):
        sets.update(split_parameter_sets([damaged]))
    assert sets.config is config
    assert sets.update(split_parameter_sets([VPS, SPS, PPS])) is None


def test_rfc6381_of_real_streams_has_the_registered_form() -> None:
    for record in corpus("hvcc"):
        text = H265Config.from_hvcc(record).rfc6381
        assert re.fullmatch(r"hvc1\.[ABC]?\d+\.[0-9A-F]{1,8}\.[LH]\d+(\.[0-9A-F]{1,2}){0,6}", text)


def test_config_and_hvcc_mutated_raise_only_peer_error() -> None:
    def parse(data: bytes) -> None:
        ParameterSets().update(split_parameter_sets(split_annexb(data)))

    extra = SpsPlan(scaling=scaling_lists, short_term=short_term_sets, vui=vui((1, 25))).nal()
    assert_only_peer_error(parse, [*corpus("h265"), join_annexb([VPS, extra, PPS, IDR])], 3000)
    assert_only_peer_error(H265Config.from_hvcc, corpus("hvcc"), 3000)


def test_hvcc_that_parses_is_written_so_that_it_parses_the_same() -> None:
    parsed = 0
    for record in mutations(corpus("hvcc"), 2000, seed=5):
        try:
            config = H265Config.from_hvcc(record)
        except PeerError:
            continue
        parsed += 1
        assert H265Config.from_hvcc(config.to_hvcc()) == config
    assert parsed > 100
