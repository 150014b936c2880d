"""Structures and request numbers, against what a C compiler makes of linux/videodev2.h."""

from __future__ import annotations

import struct

import pytest

from appliance.capture.v4l2 import layouts
from appliance.capture.v4l2.layouts import (
    WORDS_32,
    WORDS_32_SHORT_TIME,
    WORDS_64,
    PictureFormat,
    Words,
)

# printf("%zu 0x%lx", sizeof(struct v4l2_…), VIDIOC_…) by gcc 12: the same on x86-64 and ARM.
EVERYWHERE = {
    "QUERYCAP": 0x80685600, "ENUM_FMT": 0xC0405602, "ENUM_FRAMESIZES": 0xC02C564A,
    "ENUM_FRAMEINTERVALS": 0xC034564B, "G_PARM": 0xC0CC5615, "S_PARM": 0xC0CC5616,
    "REQBUFS": 0xC0145608, "STREAMON": 0x40045612, "STREAMOFF": 0x40045613,
    "QUERY_EXT_CTRL": 0xC0E85667, "QUERYMENU": 0xC02C5625, "ENUMINPUT": 0xC050561A,
    "G_INPUT": 0x80045626, "S_INPUT": 0xC0045627,
}  # fmt: skip
# x86-64 and arm64; arm-linux-gnueabihf with _TIME_BITS=64; the same without it.
BY_WORDS = [
    (WORDS_64, 208, 64, 88, 32, {
        "g_fmt": 0xC0D05604, "s_fmt": 0xC0D05605, "querybuf": 0xC0585609, "qbuf": 0xC058560F,
        "dqbuf": 0xC0585611, "g_ext_ctrls": 0xC0205647, "s_ext_ctrls": 0xC0205648,
        "try_ext_ctrls": 0xC0205649,
    }),
    (WORDS_32, 204, 60, 80, 24, {
        "g_fmt": 0xC0CC5604, "s_fmt": 0xC0CC5605, "querybuf": 0xC0505609, "qbuf": 0xC050560F,
        "dqbuf": 0xC0505611, "g_ext_ctrls": 0xC0185647, "s_ext_ctrls": 0xC0185648,
        "try_ext_ctrls": 0xC0185649,
    }),
    (WORDS_32_SHORT_TIME, 204, 60, 68, 24, {
        "s_fmt": 0xC0CC5605, "querybuf": 0xC0445609, "qbuf": 0xC044560F, "dqbuf": 0xC0445611,
    }),
]  # fmt: skip


@pytest.mark.parametrize("name", EVERYWHERE)
def test_request_is_the_number_of_the_kernel(name: str) -> None:
    assert getattr(layouts, name) == EVERYWHERE[name]


@pytest.mark.parametrize(("words", "form", "plane", "buffer", "controls", "requests"), BY_WORDS)
def test_words_have_the_sizes_of_their_machine(
    words: Words, form: int, plane: int, buffer: int, controls: int, requests: dict[str, int]
) -> None:
    assert words.format.size == form
    assert words.plane.size == plane
    assert words.buffer.size == buffer
    assert words.controls.size == controls
    assert {name: getattr(layouts, name)(words) for name in requests} == requests


def test_native_words_are_those_of_this_process() -> None:
    pointer_bytes = struct.calcsize("P")
    assert layouts.NATIVE[0] is (WORDS_64 if pointer_bytes == 8 else WORDS_32)
    assert (WORDS_32_SHORT_TIME in layouts.NATIVE) == (pointer_bytes == 4)


@pytest.mark.parametrize("words", [WORDS_64, WORDS_32])
@pytest.mark.parametrize("planes", [False, True])
def test_format_comes_back_as_it_was_packed(words: Words, planes: bool) -> None:
    wanted = PictureFormat("NV12", 1280, 720, field=1)
    packed = layouts.pack_format(words, 9 if planes else 1, wanted, planes=planes)
    given = layouts.unpack_format(words, packed, planes=planes)
    assert (given.fourcc, given.width, given.height, given.field) == ("NV12", 1280, 720, 1)


@pytest.mark.parametrize("words", [WORDS_64, WORDS_32])
def test_format_with_planes_is_read_as_the_kernel_lays_it_out(words: Words) -> None:
    # width height fourcc field colourspace | 8 × (size, stride, reserved) | count flags enc quant
    body = struct.pack("<II4sII", 640, 360, b"NM12", 1, 8)
    body += struct.pack("<II12x", 230_400, 640) + struct.pack("<II12x", 115_200, 640)
    body += bytes(20 * 6) + bytes((2, 0, 1, 2, 0)) + bytes(7)
    given = layouts.unpack_format(words, words.format.pack(9, body), planes=True)
    assert given.strides_bytes == (640, 640)
    assert given.sizes_bytes == (230_400, 115_200)
    assert (given.colorspace, given.encoding, given.quantization) == (8, 1, 2)


def test_format_that_claims_too_many_planes_has_no_more_than_there_are() -> None:
    body = bytes(180) + b"\xff" + bytes(11)
    given = layouts.unpack_format(WORDS_64, WORDS_64.format.pack(9, body), planes=True)
    assert len(given.strides_bytes) == layouts.MAX_PLANES


@pytest.mark.parametrize(
    ("text", "code"),
    [("YUYV", 0x56595559), ("Y10", 0x20303159), ("Y16-BE", 0xA0363159), ("H264", 0x34363248)],
)
def test_fourcc_is_text_and_back(text: str, code: int) -> None:
    assert layouts.text_to_fourcc(text) == code
    assert layouts.fourcc_to_text(code) == text


def test_text_of_a_device_is_made_harmless() -> None:
    assert layouts.text(b"HD\x1b[2J Cam\xff\n\0trailing") == "HD?[2J Cam??"
