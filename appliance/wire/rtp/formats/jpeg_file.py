"""The headers that RTP leaves out of a JPEG picture, put back (RFC 2435 §4.1, appendix A and B)."""

from __future__ import annotations

from functools import lru_cache

_K1_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_K2_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99, *(99,) * 32,
)  # fmt: skip
# Rows and columns along the diagonals, turning at each edge (ITU-T T.81 figure 5)
_ZIGZAG = sorted(
    range(64),
    key=lambda at: (at // 8 + at % 8, at // 8 if (at // 8 + at % 8) % 2 else at % 8),
)
TABLE_BYTES = 64

# ITU-T T.81 tables K.3 to K.6: how many codes of each length, then the values
_DC_LUMA = "00010501010101010100000000000000" + "000102030405060708090a0b"
_DC_CHROMA = "00030101010101010101010000000000" + "000102030405060708090a0b"
_AC_LUMA = (
    "0002010303020403050504040000017d"
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282"
    "090a161718191a25262728292a3435363738393a434445464748494a535455565758595a"
    "636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4"
    "a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3"
    "e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
)
_AC_CHROMA = (
    "00020102040403040705040400010277"
    "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d1"
    "0a162434e125f11718191a262728292a35363738393a434445464748494a535455565758"
    "595a636465666768696a737475767778797a82838485868788898a92939495969798999a"
    "a2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
    "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)

SOI = b"\xff\xd8"
EOI = b"\xff\xd9"
_SUBSAMPLING = (0x21, 0x22)  # by type: 4:2:2, 4:2:0 (RFC 2435 §4.1)


def _segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body


_JFIF = _segment(0xE0, b"JFIF\0\x01\x01\x00\x00\x01\x00\x01\x00\x00")
_HUFFMAN = _segment(
    0xC4,
    b"".join(
        bytes((kind,)) + bytes.fromhex(table)
        for kind, table in ((0, _DC_LUMA), (1, _DC_CHROMA), (0x10, _AC_LUMA), (0x11, _AC_CHROMA))
    ),
)
_SCAN = _segment(0xDA, b"\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00")


@lru_cache(maxsize=99)
def scaled_tables(quality: int) -> tuple[bytes, bytes]:
    """Luma and chroma of Q 1 to 99, in zigzag order (appendix A)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (
        bytes(min(max((table[at] * percent + 50) // 100, 1), 255) for at in _ZIGZAG)
        for table in (_K1_LUMA, _K2_CHROMA)
    )
    return luma, chroma


def header(
    kind: int, size: tuple[int, int], tables: tuple[bytes, bytes], restart_interval: int
) -> bytes:
    """Everything before the scan's data. kind: 0 is 4:2:2, 1 is 4:2:0. size: width, height.

    tables: of 64 bytes, or 128 if of 16 bits each. restart_interval: in MCUs; 0: none.
    """
    quantization = b"".join(
        _segment(0xDB, bytes(((len(table) > TABLE_BYTES) << 4 | number,)) + table)
        for number, table in enumerate(tables)
    )
    frame = b"\x08" + size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    frame += bytes((3, 1, _SUBSAMPLING[kind], 0, 2, 0x11, 1, 3, 0x11, 1))
    # A table of 16 bits is not for baseline (T.81 B.2.4.1), hence extended sequential
    start = 0xC1 if max(map(len, tables)) > TABLE_BYTES else 0xC0
    restart = _segment(0xDD, restart_interval.to_bytes(2, "big")) if restart_interval else b""
    return b"".join((SOI, _JFIF, quantization, _segment(start, frame), _HUFFMAN, restart, _SCAN))
