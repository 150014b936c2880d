"""Checked readers of bytes and bits: the only way network bytes are taken apart.

Every read that would pass the end raises `PeerError`, so a truncated input can never become an
`IndexError`, a `struct.error` or a short slice.
"""

from __future__ import annotations

from appliance.errors import PeerError

MAX_EXP_GOLOMB_BITS = 32  # ISO/IEC 14496-10 §9.1: ue(v) codes at most 32-bit values


class Reader:
    """A cursor over bytes; slices it hands out are views of the input, not copies."""

    __slots__ = ("_view", "position")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._view = memoryview(data).toreadonly()
        self.position = 0

    @property
    def remaining(self) -> int:
        return len(self._view) - self.position

    def take(self, count: int) -> memoryview:
        """The next `count` bytes as a view. Raises: PeerError if there are fewer."""
        end = self.position + count
        if count < 0 or end > len(self._view):
            raise PeerError(f"truncated: {count} bytes wanted, {self.remaining} left")
        view = self._view[self.position : end]
        self.position = end
        return view

    def rest(self) -> memoryview:
        return self.take(self.remaining)

    def skip(self, count: int) -> None:
        self.take(count)

    def uint(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def u8(self) -> int:
        return self.uint(1)

    def u16(self) -> int:
        return self.uint(2)

    def u24(self) -> int:
        return self.uint(3)

    def u32(self) -> int:
        return self.uint(4)

    def u64(self) -> int:
        return self.uint(8)


class BitReader:
    """Bits of an RBSP or another bit-packed header, most significant first.

    A read costs time in proportion to the whole: give it headers of a few KiB, never media.
    """

    __slots__ = ("_bits", "_length", "position")

    def __init__(self, data: bytes | memoryview) -> None:
        self._bits = int.from_bytes(data, "big")
        self._length = len(data) * 8
        self.position = 0

    @property
    def remaining(self) -> int:
        return self._length - self.position

    def u(self, count: int) -> int:
        """The next `count` bits as an unsigned integer."""
        end = self.position + count
        if end > self._length:
            raise PeerError(f"truncated: {count} bits wanted, {self.remaining} left")
        value = (self._bits >> (self._length - end)) & ((1 << count) - 1)
        self.position = end
        return value

    def flag(self) -> bool:
        return self.u(1) == 1

    def skip(self, count: int) -> None:
        self.u(count)

    def ue(self) -> int:
        """Unsigned Exp-Golomb (ISO/IEC 14496-10 §9.1)."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > MAX_EXP_GOLOMB_BITS:
                raise PeerError("Exp-Golomb code of more than 32 bits")
        return (1 << zeros) - 1 + (self.u(zeros) if zeros else 0)

    def ue_at_most(self, limit: int, name: str) -> int:
        """`ue()` of a field that the spec or our caps bound. Raises: PeerError beyond `limit`."""
        value = self.ue()
        if value > limit:
            raise PeerError(f"{name} is {value}, at most {limit} is possible")
        return value

    def se(self) -> int:
        """Signed Exp-Golomb (ISO/IEC 14496-10 §9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
