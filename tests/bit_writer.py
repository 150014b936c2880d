"""Bits into bytes: the mirror of BitReader, to make headers that no encoder at hand makes."""

from __future__ import annotations


class BitWriter:
    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> BitWriter:
        assert 0 <= value < 1 << count
        self.bits += f"{value:0{count}b}" if count else ""
        return self

    def flag(self, value: object) -> BitWriter:
        return self.u(1, bool(value))

    def ue(self, *values: int) -> BitWriter:
        for value in values:
            code = f"{value + 1:b}"
            self.bits += "0" * (len(code) - 1) + code
        return self

    def se(self, *values: int) -> BitWriter:
        for value in values:
            self.ue(2 * value - 1 if value > 0 else -2 * value)
        return self

    def to_bytes(self) -> bytes:
        """The bits, filled up with zeros."""
        padded = self.bits + "0" * (-len(self.bits) % 8)
        return int(padded or "0", 2).to_bytes(len(padded) // 8, "big")

    def to_rbsp(self) -> bytes:
        """The bits with a stop bit, and escaped as a NAL unit's payload is."""
        ended = BitWriter()
        ended.bits = self.bits + "1"
        return escape(ended.to_bytes())


def escape(rbsp: bytes) -> bytes:
    """Emulation prevention, ISO/IEC 14496-10 §7.4.1."""
    escaped = bytearray()
    zeros = 0
    for byte in rbsp:
        if zeros >= 2 and byte <= 3:
            escaped.append(3)
            zeros = 0
        escaped.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(escaped)
