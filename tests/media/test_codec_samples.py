"""The codec parsers against what ffprobe says of real encoders' output."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from typing import Any

import pytest
from codec_samples import (
    AAC,
    CORPUS,
    EXPECTATIONS,
    H264,
    H265,
    OPUS,
    Sample,
    encode,
    expectation,
    parameter_sets,
    probe,
    remux,
    traced_fields,
)
from h264_writer import SpsPlan as H264Plan
from h264_writer import full_head, hrd, order_type_1
from h264_writer import pps as h264_pps
from h264_writer import scaling_lists as h264_scaling_lists
from h264_writer import vui as h264_vui
from h265_writer import SpsPlan as H265Plan
from h265_writer import pps as h265_pps
from h265_writer import scaling_lists as h265_scaling_lists
from h265_writer import short_term_sets, vps
from h265_writer import vui as h265_vui

from appliance.media import h264, h265
from appliance.media.aac import AacConfig, AdtsSplitter, adts_header, split_adts
from appliance.media.h264 import H264Config, avcc_length_bytes
from appliance.media.h265 import H265Config, hvcc_length_bytes
from appliance.media.h265_sps import parse_vps_fps
from appliance.media.nal import join_annexb, split_annexb
from appliance.media.opus import OpusConfig

TOLD: dict[str, dict[str, Any]] = json.loads(EXPECTATIONS.read_text())
H264_PROFILES = {
    "Constrained Baseline": 66, "Main": 77, "High": 100, "High 10": 110, "High 10 Intra": 110,
    "High 4:2:2": 122, "High 4:4:4 Predictive": 244,
}  # fmt: skip
H265_PROFILES = {"Main": 1, "Main 10": 2, "Rext": 4}
CHROMA = {"420": 1, "422": 2, "444": 3}


def corpus(folder: str, sample: Sample) -> bytes:
    return (CORPUS / folder / f"{sample.name}.bin").read_bytes()


def h264_config(data: bytes) -> H264Config:
    config = h264.ParameterSets().update(h264.split_parameter_sets(split_annexb(data)))
    assert config is not None
    return config


def h265_config(data: bytes) -> H265Config:
    config = h265.ParameterSets().update(h265.split_parameter_sets(split_annexb(data)))
    assert config is not None
    return config


def assert_video(config: H264Config | H265Config, told: dict[str, Any]) -> None:
    assert (config.width_px, config.height_px) == (told["width"], told["height"])
    assert config.level_idc == told["level"]
    assert config.fps == pytest.approx(float(Fraction(told["r_frame_rate"])))
    assert config.max_reorder_frames == told["has_b_frames"]
    pixels = told["pix_fmt"]
    assert config.active.luma_bits == {"10le": 10, "12le": 12}.get(pixels[-4:], 8)
    if config.active.chroma_format_idc:  # grey counts as 4:2:0 for H.264 decoders
        assert CHROMA[pixels.replace("j", "")[3:6]] == config.active.chroma_format_idc


def assert_h264(config: H264Config, told: dict[str, Any]) -> None:
    assert_video(config, told)
    assert config.profile_idc == H264_PROFILES[told["profile"]]
    if config.profile_idc == 66:
        assert config.constraint_flags & 0x40  # or else it were not the constrained one
    assert config.rfc6381 == (
        f"avc1.{config.profile_idc:02X}{config.constraint_flags:02X}{config.level_idc:02X}"
    )


def assert_h265(config: H265Config, told: dict[str, Any]) -> None:
    assert_video(config, told)
    assert config.profile_idc == H265_PROFILES[told["profile"]]


@pytest.mark.parametrize("sample", H264, ids=lambda sample: sample.name)
def test_h264_of_real_encoder_parses_as_ffprobe_says(sample: Sample) -> None:
    told = TOLD[f"h264/{sample.name}"]
    config = h264_config(corpus("h264", sample))
    assert_h264(config, told)
    record = corpus("avcc", sample)
    from_record = H264Config.from_avcc(record)
    assert_h264(from_record, told)
    assert avcc_length_bytes(record) == 4
    assert from_record.to_avcc() == record


@pytest.mark.parametrize("sample", H265, ids=lambda sample: sample.name)
def test_h265_of_real_encoder_parses_as_ffprobe_says(sample: Sample) -> None:
    told = TOLD[f"h265/{sample.name}"]
    assert_h265(h265_config(corpus("h265", sample)), told)
    record = corpus("hvcc", sample)
    config = H265Config.from_hvcc(record)
    assert_h265(config, told)
    assert hvcc_length_bytes(record) == 4
    ours = config.to_hvcc()
    assert H265Config.from_hvcc(ours) == config
    assert ours[:13] == record[:13]  # profile, tier, level
    assert ours[16:19] == record[16:19]  # chroma format and bit depths
    assert ours[21] == record[21]  # sub-layers, nesting, length size


@pytest.mark.parametrize("sample", AAC, ids=lambda sample: sample.name)
def test_aac_of_real_encoder_parses_as_ffprobe_says(sample: Sample) -> None:
    told = TOLD[f"adts/{sample.name}"]
    config = AacConfig(corpus("asc", sample))
    assert config.sample_rate_hz == int(told["sample_rate"])
    assert config.channels == told["channels"]
    assert config.object_type == {"LC": 2, "Main": 1}[told["profile"]]
    assert config.frame_samples == 1024
    (first, *_) = AdtsSplitter().receive(corpus("adts", sample))
    assert first.config == config  # so our AudioSpecificConfig equals ffmpeg's


@pytest.mark.parametrize("sample", OPUS, ids=lambda sample: sample.name)
def test_opus_head_of_real_encoder_parses_as_ffprobe_says(sample: Sample) -> None:
    record = corpus("opus_head", sample)
    config = OpusConfig.from_opus_head(record)
    assert config.channels == TOLD[f"opus_head/{sample.name}"]["channels"]
    assert config.to_opus_head() == record


@pytest.mark.parametrize(
    "sample",
    [
        Sample("fresh", "h264", "354x290", "24000/1001", "-profile:v high -bf 2"),
        Sample("fresh", "h264", "1282x722", "50", "-preset ultrafast -tune zerolatency"),
        Sample("fresh", "hevc", "354x290", "24000/1001", "-bf 2"),
        Sample("fresh", "hevc", "642x482", "60", "-pix_fmt yuv420p10le"),
    ],
    ids=lambda sample: f"{sample.codec}-{sample.size}",
)
def test_video_encoded_just_now_parses_as_ffprobe_says(sample: Sample) -> None:
    # ffprobe 7.1 tells the field rate of bare H.264, older ones the frame rate.
    told = expectation(sample) | {"r_frame_rate": sample.rate}
    data = parameter_sets(sample)
    record = probe(remux(encode(sample), "mp4"))["extradata"]
    if sample.codec == "h264":
        assert_h264(h264_config(data), told)
        assert H264Config.from_avcc(record).to_avcc() == record
    else:
        assert_h265(h265_config(data), told)
        assert_h265(H265Config.from_hvcc(record), told)


def test_adts_encoded_just_now_splits_and_joins_to_the_same_bytes() -> None:
    data = encode(Sample("fresh", "aac", "2", "32000"))
    config, frames = split_adts(data)
    assert (config.sample_rate_hz, config.channels) == (32_000, 2)
    assert b"".join(adts_header(config, len(raw)) + bytes(raw) for raw in frames) == data


def test_h264_set_with_every_branch_is_read_as_libavcodec_reads_it() -> None:
    plan = H264Plan(
        profile_idc=110,
        scaling=h264_scaling_lists,
        order=order_type_1(9),
        crop=(1, 2, 3, 0),
        vui=h264_vui(head=full_head, timing=(1001, 60_000), hrd=hrd(3), reorder=(3, 4)),
    )
    media = h264.split_parameter_sets(split_annexb(encode(H264[0]))).media
    fields = traced_fields(join_annexb([plan.nal(), h264_pps(), *media]), "h264")
    active = H264Config((plan.nal(),), (h264_pps(),)).active
    assert fields["num_ref_frames_in_pic_order_cnt_cycle"] == 9
    assert active.width_px == 16 * (fields["pic_width_in_mbs_minus1"] + 1) - 2 * 3
    assert active.fps == fields["time_scale"] / (2 * fields["num_units_in_tick"])
    assert active.max_reorder_frames == fields["max_num_reorder_frames"]


def test_h265_set_with_every_branch_is_read_as_libavcodec_reads_it() -> None:
    plan = H265Plan(
        sub_layers=[(1, 1), (0, 1)],
        ordering=[(4, 0, 0), (4, 1, 0), (4, 2, 0)],
        window=(1, 2, 3, 4),
        scaling=h265_scaling_lists,
        pcm=True,
        short_term=short_term_sets,
        long_term=3,
        vui=h265_vui((1001, 30_000), full=True),
    )
    first = vps((1, 12), sub_layers=[(1, 0), (0, 1)], layer_sets=5, max_layer_id=3)
    media = h265.split_parameter_sets(split_annexb(encode(H265[0]))).media
    fields = traced_fields(join_annexb([first, plan.nal(), h265_pps(), *media]), "hevc")
    active = H265Config((first,), (plan.nal(),), (h265_pps(),)).active
    assert active.width_px == fields["pic_width_in_luma_samples"] - 2 * 3
    assert active.fps == fields["vui_time_scale"] / fields["vui_num_units_in_tick"]
    assert active.max_reorder_frames == fields["sps_max_num_reorder_pics"]
    assert parse_vps_fps(first) == fields["vps_time_scale"] / fields["vps_num_units_in_tick"]


def keys_by_ffprobe(data: bytes, form: str) -> list[bool]:
    command = ("ffprobe", "-v", "error", "-f", form, "-show_entries", "packet=flags", "-of", "csv")
    answer = subprocess.run(
        (*command, "pipe:0"), input=data, check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    return [line.startswith("packet,K") for line in answer.split()]


def access_units(data: bytes, delimiter: int) -> list[list[memoryview]]:
    units: list[list[memoryview]] = []
    for nal in split_annexb(data):
        if nal[0] == delimiter:
            units.append([])
        units[-1].append(nal)
    return units


@pytest.mark.parametrize(
    "options",
    [
        "-x264-params aud=1:keyint=4:min-keyint=1:scenecut=0:open-gop=1:bframes=2",
        "-x264-params aud=1:keyint=4:min-keyint=1:scenecut=0:bframes=2:slices=3",
        "-tune zerolatency -x264-params aud=1:keyint=3:nal-hrd=vbr:bufsize=500:vbv-maxrate=500",
    ],
)
def test_h264_keys_are_where_ffprobe_sees_them(options: str) -> None:
    data = encode(Sample("keys", "h264", "320x240", "25", options))
    units = access_units(data, 0x09)
    keys = [h264.split_parameter_sets(unit).key for unit in units]
    assert keys == keys_by_ffprobe(data, "h264")
    assert sum(keys) >= 2


@pytest.mark.parametrize("gop", ["open-gop=1", "open-gop=0"])
def test_h265_keys_are_where_ffprobe_sees_them(gop: str) -> None:
    options = f"-x265-params aud=1:keyint=4:min-keyint=1:scenecut=0:bframes=2:{gop}"
    data = encode(Sample("keys", "hevc", "320x240", "25", options))
    units = access_units(data, 0x46)
    keys = [h265.split_parameter_sets(unit).key for unit in units]
    assert keys == keys_by_ffprobe(data, "hevc")
    assert sum(keys) >= 2
