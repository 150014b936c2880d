"""A camera of this machine's kernel: `Device` by ioctl, mmap and poll.

Theory of operation: the descriptor never blocks; `wait` polls with a bound. Pictures lie in BUFFERS
buffers of the driver that are mapped here: a `Shot` is a view of one of them until it is given
back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import select
from collections.abc import Iterator
from fcntl import ioctl
from fractions import Fraction
from typing import TypeAlias

from appliance.capture.v4l2 import layouts
from appliance.capture.v4l2.control_calls import ControlCalls
from appliance.capture.v4l2.device import (
    CAP_DEVICE_CAPS,
    Capability,
    ControlInfo,
    Mode,
    Offer,
    Shape,
    Shot,
    Wanted,
)
from appliance.capture.v4l2.formats import BY_FOURCC
from appliance.capture.v4l2.layouts import PictureFormat, Words
from appliance.capture.v4l2.ranges import Steps, rates_in, sizes_in

BUFFERS = 4
MAX_FORMATS, MAX_SIZES, MAX_RATES, MAX_INPUTS = 256, 128, 64, 32  # against a driver without end
TYPE_CAPTURE, TYPE_CAPTURE_PLANES = 1, 9
MEMORY_MMAP = 1
FIELD_NONE = 1
DISCRETE = 1
FLAG_ERROR, STAMP_MASK, STAMP_MONOTONIC = 0x40, 0xE000, 0x2000
CAN_SET_RATE = 0x1000
NO_INPUT = 0x1 | 0x2 | 0x100  # no power, no signal, no horizontal lock

Maps: TypeAlias = list[mmap.mmap]


def call(descriptor: int, request: int, data: bytearray) -> None:
    """An ioctl that changes `data`. Raises: OSError."""
    while True:
        try:
            ioctl(descriptor, request, data, True)
        except InterruptedError:
            continue
        return


class KernelDevice:
    """Raises: OSError, also from every method: ENODEV means that it was unplugged."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._words: Words = layouts.NATIVE[0]
        self._maps: list[Maps] = []
        self._is_streaming = False
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._capability = self._query_capability()
        except OSError:
            self.close()
            raise
        self._controls = ControlCalls(self._descriptor, self._words)
        self._has_planes = self._capability.has_planes
        self._type = TYPE_CAPTURE_PLANES if self._has_planes else TYPE_CAPTURE

    @property
    def path(self) -> str:
        return self._path

    @property
    def capability(self) -> Capability:
        return self._capability

    def _query_capability(self) -> Capability:
        data = bytearray(layouts.CAPABILITY.size)
        call(self._descriptor, layouts.QUERYCAP, data)
        driver, card, bus, _, whole, own = layouts.CAPABILITY.unpack(data)
        flags = own if whole & CAP_DEVICE_CAPS else whole
        return Capability(layouts.text(driver), layouts.text(card), layouts.text(bus), flags)

    def close(self) -> None:
        """Nothing of it is used any more; the driver's memory is given back."""
        with contextlib.suppress(OSError):
            self._stop()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # -- what it offers ------------------------------------------------------------------------

    def offers(self, wanted: Wanted) -> list[Offer]:
        self._select_live_input()
        offers = []
        for index in range(MAX_FORMATS):
            data = bytearray(layouts.FORMAT_DESCRIPTION.pack(index, self._type, 0, b"", 0, 0))
            if not self._answers(layouts.ENUM_FMT, data):
                break
            _, _, _, name, code, _ = layouts.FORMAT_DESCRIPTION.unpack(data)
            fourcc = layouts.fourcc_to_text(code)
            modes = tuple(self._modes(code, wanted)) if fourcc in BY_FOURCC else ()
            offers.append(Offer(fourcc, layouts.text(name), modes))
        return offers

    def _answers(self, request: int, data: bytearray) -> bool:
        """False when an enumeration is at its end or the driver has none of this kind."""
        try:
            call(self._descriptor, request, data)
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOTTY, errno.ENODATA}:
                return False
            raise
        return True

    def _modes(self, code: int, wanted: Wanted) -> Iterator[Mode]:
        sizes = self._sizes(code, wanted) or [self._tried_size(code, wanted)]
        for width, height in sizes:
            yield Mode(width, height, tuple(self._rates(code, width, height, wanted)))

    def _sizes(self, code: int, wanted: Wanted) -> list[tuple[int, int]]:
        sizes = []
        for index in range(MAX_SIZES):
            data = bytearray(layouts.FRAME_SIZE.pack(index, code, *(0,) * 7))
            if not self._answers(layouts.ENUM_FRAMESIZES, data):
                break
            _, _, kind, a, b, c, d, e, f = layouts.FRAME_SIZE.unpack(data)
            if kind != DISCRETE:
                return sizes_in(Steps(a, b, c), Steps(d, e, f), wanted)
            sizes.append((a, b))
        return sizes

    def _tried_size(self, code: int, wanted: Wanted) -> tuple[int, int]:
        """What the driver would make of the wanted size, for one that lists none."""
        fourcc = layouts.fourcc_to_text(code)
        tried = self._exchange_format(
            layouts.try_fmt(self._words), PictureFormat(fourcc, wanted.width, wanted.height)
        )
        return tried.width, tried.height

    def _rates(self, code: int, width: int, height: int, wanted: Wanted) -> list[Fraction]:
        rates: list[Fraction] = []
        for index in range(MAX_RATES):
            data = bytearray(layouts.FRAME_INTERVAL.pack(index, code, width, height, 0, *(0,) * 6))
            if not self._answers(layouts.ENUM_FRAMEINTERVALS, data):
                break
            _, _, _, _, kind, *numbers = layouts.FRAME_INTERVAL.unpack(data)
            if 0 in numbers[: 2 if kind == DISCRETE else 4]:
                continue
            if kind != DISCRETE:
                shortest, longest = Fraction(*numbers[0:2]), Fraction(*numbers[2:4])
                return rates_in(shortest, longest, wanted)
            rates.append(Fraction(numbers[1], numbers[0]))
        return sorted(rates, reverse=True)

    def _select_live_input(self) -> None:
        """Of a grabber with several sockets the first that has a signal, unless the one in use
        has; cameras have one input or none."""
        current = bytearray(layouts.INTEGER.size)
        if not self._answers(layouts.G_INPUT, current) or self._has_signal(current):
            return
        for index in range(MAX_INPUTS):
            data = bytearray(layouts.INTEGER.pack(index))
            if not self._answers(layouts.ENUMINPUT, _input(index)):
                return
            if self._has_signal(data):
                call(self._descriptor, layouts.S_INPUT, data)
                return

    def _has_signal(self, number: bytearray) -> bool:
        data = _input(*layouts.INTEGER.unpack(number))
        if not self._answers(layouts.ENUMINPUT, data):
            return True
        status: int = layouts.INPUT.unpack(data)[6]
        return not status & NO_INPUT

    # -- streaming -----------------------------------------------------------------------------

    def start(self, fourcc: str, width: int, height: int, rate_hz: Fraction) -> Shape:
        self._stop()
        given = self._exchange_format(
            layouts.s_fmt(self._words), PictureFormat(fourcc, width, height, field=FIELD_NONE)
        )
        rate = self._set_rate(rate_hz)
        self._request_buffers()
        self._stream()
        return Shape(
            given.fourcc, given.width, given.height, rate, given.strides_bytes,
            given.sizes_bytes, given.colorspace, given.encoding, given.quantization,
        )  # fmt: skip

    def restart(self) -> None:
        call(self._descriptor, layouts.STREAMOFF, bytearray(layouts.INTEGER.pack(self._type)))
        self._stream()

    def _exchange_format(self, request: int, wanted: PictureFormat) -> PictureFormat:
        data = layouts.pack_format(self._words, self._type, wanted, planes=self._has_planes)
        call(self._descriptor, request, data)
        return layouts.unpack_format(self._words, data, planes=self._has_planes)

    def _set_rate(self, rate_hz: Fraction) -> Fraction | None:
        """What the driver will do, or None if it does not say."""
        interval = 1 / rate_hz
        fraction = (interval.numerator, interval.denominator)
        empty = layouts.STREAM_PARAMETERS.pack(self._type, 0, 0, *fraction, 0, 0)
        data = bytearray(empty)
        if not self._answers(layouts.G_PARM, data):
            return None
        if layouts.STREAM_PARAMETERS.unpack(data)[1] & CAN_SET_RATE:
            data = bytearray(empty)
            if not self._answers(layouts.S_PARM, data):
                return None
        _, _, _, numerator, denominator, _, _ = layouts.STREAM_PARAMETERS.unpack(data)
        return Fraction(denominator, numerator) if numerator and denominator else None

    def _request_buffers(self) -> None:
        data = bytearray(layouts.REQUEST_BUFFERS.pack(BUFFERS, self._type, MEMORY_MMAP, 0, 0))
        call(self._descriptor, layouts.REQBUFS, data)
        count = layouts.REQUEST_BUFFERS.unpack(data)[0]
        if not count:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self._find_words()
        self._maps = []
        for index in range(min(count, 32)):
            extents = self._buffer(layouts.querybuf(self._words), index).extents
            self._maps.append([
                mmap.mmap(self._descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)
                for length, offset in extents
            ])  # fmt: skip

    def _find_words(self) -> None:
        """Old 32-bit kernels know buffers only with short stamps."""
        for words in layouts.NATIVE:
            self._words = words
            try:
                self._buffer(layouts.querybuf(words), 0)
            except OSError as error:
                if error.errno != errno.ENOTTY or words is layouts.NATIVE[-1]:
                    raise
            else:
                return

    def _stream(self) -> None:
        for index in range(len(self._maps)):
            self._buffer(layouts.qbuf(self._words), index)
        call(self._descriptor, layouts.STREAMON, bytearray(layouts.INTEGER.pack(self._type)))
        self._is_streaming = True

    def _stop(self) -> None:
        maps, self._maps = self._maps, []
        try:
            if self._is_streaming:
                self._is_streaming = False
                kind = bytearray(layouts.INTEGER.pack(self._type))
                call(self._descriptor, layouts.STREAMOFF, kind)
        finally:
            for mapped in (each for buffer in maps for each in buffer):
                with contextlib.suppress(BufferError):  # a view of it still lives
                    mapped.close()
        if maps:
            data = bytearray(layouts.REQUEST_BUFFERS.pack(0, self._type, MEMORY_MMAP, 0, 0))
            call(self._descriptor, layouts.REQBUFS, data)

    def _buffer(self, request: int, index: int) -> BufferState:
        return exchange_buffer(
            self._descriptor, request, self._words, self._type, index, planes=self._has_planes
        )

    def wait(self, timeout_s: float, waker: int) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(waker, select.POLLIN)
        ready = poll.poll(max(0.0, timeout_s) * 1000)
        return any(descriptor == self._descriptor for descriptor, _ in ready)

    def take(self) -> Shot | None:
        try:
            state = self._buffer(layouts.dqbuf(self._words), 0)
        except BlockingIOError:
            return None
        maps = self._maps[state.index]
        planes = tuple(
            memoryview(mapped)[min(start, used) : min(used, len(mapped))]
            for mapped, (used, start) in zip(maps, state.used, strict=False)
        )
        return Shot(state.index, planes, state.time_us, state.sequence, state.is_damaged)

    def give_back(self, shot: Shot) -> None:
        for plane in shot.planes:
            plane.release()
        self._buffer(layouts.qbuf(self._words), shot.index)

    # -- controls ------------------------------------------------------------------------------

    def controls(self) -> list[ControlInfo]:
        return self._controls.query()

    def read_control(self, control: ControlInfo) -> int | str:
        return self._controls.read(control)

    def write_controls(self, values: list[tuple[ControlInfo, int | str]]) -> None:
        self._controls.write(values)


class BufferState:
    """A buffer as the driver describes it. extents: length and offset of each of its planes;
    used: how far each is filled, and where the picture begins in it."""

    __slots__ = ("extents", "index", "is_damaged", "sequence", "time_us", "used")

    def __init__(self, words: Words, data: bytearray, planes: bytearray | None) -> None:
        index, _, used, flags, _, seconds, micros, _, sequence, _, offset, length, *_ = (
            words.buffer.unpack(data)
        )
        self.index: int = index
        self.sequence: int = sequence
        self.is_damaged = bool(flags & FLAG_ERROR)
        is_monotonic = flags & STAMP_MASK == STAMP_MONOTONIC
        self.time_us: int | None = seconds * 1_000_000 + micros if is_monotonic else None
        if planes is None:
            self.extents = [(length, offset)]
            self.used = [(used, 0)]
            return
        filled = [words.plane.unpack_from(planes, n * words.plane.size) for n in range(length)]
        self.extents = [(plane_length, at) for _, plane_length, at, _ in filled]
        self.used = [(plane_used, start) for plane_used, _, _, start in filled]


def exchange_buffer(
    descriptor: int, request: int, words: Words, kind: int, index: int, *, planes: bool
) -> BufferState:
    """QUERYBUF, QBUF or DQBUF of one buffer."""
    array: bytearray | None = None
    address, count = 0, 0
    if planes:
        count = layouts.MAX_PLANES
        array = bytearray(count * words.plane.size)
        held = (ctypes.c_char * len(array)).from_buffer(array)
        address = ctypes.addressof(held)
    data = bytearray(
        words.buffer.pack(index, kind, 0, 0, 0, 0, 0, b"", 0, MEMORY_MMAP, address, count, 0, 0)
    )
    call(descriptor, request, data)
    return BufferState(words, data, array)


def _input(index: int) -> bytearray:
    return bytearray(layouts.INPUT.pack(index, b"", 0, 0, 0, 0, 0, 0))
