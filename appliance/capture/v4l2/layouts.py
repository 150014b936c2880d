"""The structures and request numbers of V4L2 as bytes (linux/videodev2.h); pure.

Most are the same on every machine. Four differ by the size of a pointer (`Words`), and a buffer
also by the size of its time stamp: 32-bit kernels before 5.6 know only 32-bit seconds.
Little-endian throughout, as all ARM and x86 Linux is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from struct import Struct

_WRITE, _READ = 1, 2

CAPABILITY = Struct("<16s32s32sIII12x")  # driver, card, bus, version, capabilities, device_caps
FORMAT_DESCRIPTION = Struct("<III32sII12x")  # index, type, flags, description, fourcc, mbus_code
FRAME_SIZE = Struct("<III6I8x")  # index, fourcc, type, width height | least most step of both
FRAME_INTERVAL = Struct("<5I6I8x")  # index, fourcc, width, height, type, fractions
STREAM_PARAMETERS = Struct("<I2I2I2I176x")  # type, capability, mode, interval, extended, buffers
REQUEST_BUFFERS = Struct("<5I")  # count, type, memory, capabilities, flags
QUERY_CONTROL = Struct("<II32sqqQqIIII16s128x")  # id, type, name, range, flags, element size, …
QUERY_MENU = Struct("<II32s4x")  # id, index, name or a 64-bit number
CONTROL = Struct("<III8s")  # id, size of a payload, reserved, value or pointer
INPUT = Struct("<I32sIIIQII12x4x")  # index, name, type, audioset, tuner, standards, status, caps
INTEGER = Struct("<i")

PICTURE = Struct("<12I")  # pix: width height fourcc field stride size colours … (single plane)
PICTURE_PLANES = Struct("<5I")  # pix_mp: width height fourcc field colourspace, then planes
PLANE_FORMAT = Struct("<II12x")  # size, stride
MAX_PLANES = 8
_PLANES_AT = PICTURE_PLANES.size
_TAIL_AT = _PLANES_AT + MAX_PLANES * PLANE_FORMAT.size  # num_planes, flags, enc, quantization


@dataclass(frozen=True, slots=True)
class Words:
    """What depends on the word: structures that hold pointers or `unsigned long`.

    buffer: index type bytes_used flags field · seconds µs · timecode · sequence memory ·
        offset or pointer · length reserved request_fd.
    """

    format: Struct
    plane: Struct  # bytes_used length offset data_offset
    buffer: Struct
    controls: Struct  # which count error_index request_fd reserved pointer


WORDS_64 = Words(Struct("<I4x200s"), Struct("<IIQI44x"), Struct("<5I4xqq16sIIQIIi4x"),
                 Struct("<IIIiI4xQ"))  # fmt: skip
WORDS_32 = Words(Struct("<I200s"), Struct("<IIII44x"), Struct("<5I4xqq16sIIIIIi"),
                 Struct("<IIIiII"))  # fmt: skip
WORDS_32_SHORT_TIME = Words(WORDS_32.format, WORDS_32.plane, Struct("<5Iii16sIIIIIi"),
                            WORDS_32.controls)  # fmt: skip
NATIVE = (WORDS_64,) if struct.calcsize("P") == 8 else (WORDS_32, WORDS_32_SHORT_TIME)


def request(direction: int, number: int, size_bytes: int, kind: str = "V") -> int:
    """An ioctl request number (asm-generic/ioctl.h)."""
    return direction << 30 | size_bytes << 16 | ord(kind) << 8 | number


QUERYCAP = request(_READ, 0, CAPABILITY.size)
ENUM_FMT = request(_READ | _WRITE, 2, FORMAT_DESCRIPTION.size)
REQBUFS = request(_READ | _WRITE, 8, REQUEST_BUFFERS.size)
STREAMON = request(_WRITE, 18, INTEGER.size)
STREAMOFF = request(_WRITE, 19, INTEGER.size)
G_PARM = request(_READ | _WRITE, 21, STREAM_PARAMETERS.size)
S_PARM = request(_READ | _WRITE, 22, STREAM_PARAMETERS.size)
ENUMINPUT = request(_READ | _WRITE, 26, INPUT.size)
QUERYMENU = request(_READ | _WRITE, 37, QUERY_MENU.size)
G_INPUT = request(_READ, 38, INTEGER.size)
S_INPUT = request(_READ | _WRITE, 39, INTEGER.size)
ENUM_FRAMESIZES = request(_READ | _WRITE, 74, FRAME_SIZE.size)
ENUM_FRAMEINTERVALS = request(_READ | _WRITE, 75, FRAME_INTERVAL.size)
QUERY_EXT_CTRL = request(_READ | _WRITE, 103, QUERY_CONTROL.size)


def g_fmt(words: Words) -> int:
    return request(_READ | _WRITE, 4, words.format.size)


def s_fmt(words: Words) -> int:
    return request(_READ | _WRITE, 5, words.format.size)


def try_fmt(words: Words) -> int:
    return request(_READ | _WRITE, 64, words.format.size)


def querybuf(words: Words) -> int:
    return request(_READ | _WRITE, 9, words.buffer.size)


def qbuf(words: Words) -> int:
    return request(_READ | _WRITE, 15, words.buffer.size)


def dqbuf(words: Words) -> int:
    return request(_READ | _WRITE, 17, words.buffer.size)


def g_ext_ctrls(words: Words) -> int:
    return request(_READ | _WRITE, 71, words.controls.size)


def s_ext_ctrls(words: Words) -> int:
    return request(_READ | _WRITE, 72, words.controls.size)


def try_ext_ctrls(words: Words) -> int:
    return request(_READ | _WRITE, 73, words.controls.size)


def fourcc_to_text(code: int) -> str:
    """Four characters without trailing spaces; bit 31 marks big-endian variants ("-BE")."""
    text = (code & 0x7FFFFFFF).to_bytes(4, "little").decode("latin-1").rstrip()
    return f"{text}-BE" if code >> 31 else text


def text_to_fourcc(text: str) -> int:
    code = int.from_bytes(text.removesuffix("-BE").ljust(4).encode("latin-1"), "little")
    return code | 1 << 31 if text.endswith("-BE") else code


def text(data: bytes) -> str:
    """A C string as a device gives it: of any bytes, bounded by its field."""
    return "".join(
        character if character.isprintable() and character.isascii() else "?"
        for character in data.split(b"\0", 1)[0].decode("utf-8", "replace")
    ).strip()


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """v4l2_pix_format, or v4l2_pix_format_mplane, as one.

    strides_bytes, sizes_bytes: one for each plane in memory. encoding, quantization, colorspace:
    the API's numbers, 0 for "as usual".
    """

    fourcc: str
    width: int
    height: int
    strides_bytes: tuple[int, ...] = (0,)
    sizes_bytes: tuple[int, ...] = (0,)
    field: int = 0
    colorspace: int = 0
    encoding: int = 0
    quantization: int = 0


def pack_format(words: Words, kind: int, wanted: PictureFormat, *, planes: bool) -> bytearray:
    """kind: of the buffer (V4L2_BUF_TYPE_…); planes: whether that is the multi-planar one."""
    code = text_to_fourcc(wanted.fourcc)
    head = (wanted.width, wanted.height, code, wanted.field)
    body = PICTURE_PLANES.pack(*head, 0) if planes else PICTURE.pack(*head, *(0,) * 8)
    return bytearray(words.format.pack(kind, body))


def unpack_format(words: Words, data: bytes | bytearray, *, planes: bool) -> PictureFormat:
    _, body = words.format.unpack(data)
    if not planes:
        width, height, code, field, stride, size, colorspace, _, _, encoding, quantization, _ = (
            PICTURE.unpack_from(body)
        )
        return PictureFormat(
            fourcc_to_text(code), width, height, (stride,), (size,),
            field, colorspace, encoding, quantization,
        )  # fmt: skip
    width, height, code, field, colorspace = PICTURE_PLANES.unpack_from(body)
    count, _, encoding, quantization = body[_TAIL_AT : _TAIL_AT + 4]
    layouts = [
        PLANE_FORMAT.unpack_from(body, _PLANES_AT + number * PLANE_FORMAT.size)
        for number in range(min(count, MAX_PLANES))
    ]
    return PictureFormat(
        fourcc_to_text(code), width, height,
        tuple(stride for _, stride in layouts), tuple(size for size, _ in layouts),
        field, colorspace, encoding, quantization,
    )  # fmt: skip
