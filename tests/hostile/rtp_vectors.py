"""What no RTP, no RTCP and no H.264 in RTP may look like, byte by byte."""

from __future__ import annotations

from appliance.wire.rtp.formats.contract import Payload

_HEAD = bytes.fromhex("0001 00000000 00000001")

# None of the source that is published, nor a sequence of their own.
RTP = [
    b"",
    b"\x80",
    b"\x80\x60" + _HEAD[:9],
    b"\xa0\x60" + _HEAD + b"\xff",  # more padding than payload
    b"\xa0\x60" + _HEAD + b"\0\0",  # padding of no bytes
    b"\xa0\x60" + _HEAD,
    b"\x90\x60" + _HEAD,
    b"\x90\x60" + _HEAD + bytes.fromhex("bede ffff"),  # an extension beyond the end
    b"\x8f\x60" + _HEAD,  # 15 sources, of which there is none
    b"\xbf\xff" + _HEAD + bytes(60),
    *(bytes((version << 6, 0x60)) + _HEAD + bytes(100) for version in (0, 1, 3)),
    b"\x80\x60" + _HEAD,  # nothing in it
    b"\x80\x60" + _HEAD + bytes(1501),
    b"\x80\x60" + _HEAD + bytes(65_507 - 12),
    b"\x80\x7f" + _HEAD + bytes(100),  # of a type that nobody announced
    b"\x80\x00" + _HEAD + bytes(100),
    b"\x80\xc8" + _HEAD + bytes(100),  # a report on the wrong channel
    bytes(65_535),
    b"\xff" * 65_535,
]
_REPORT = bytes.fromhex("80c8 0006 00c0ffee")
RTCP = [
    b"",
    b"\x80",
    bytes.fromhex("80c9 ffff 00000001"),  # longer than it is
    bytes.fromhex("80c8 0000"),
    bytes.fromhex("80c9 0000") * 1000,
    bytes.fromhex("9fc9 0001 00000001"),  # 31 blocks, of which there is none
    bytes.fromhex("81ca 0001 00c0ffee"),  # a description without an end
    bytes.fromhex("81ca 0002 00c0ffee 01ff6162"),
    bytes.fromhex("81cb 0001 deadbeef"),  # goodbye of somebody else
    bytes.fromhex("9fcb 0001 00c0ffee"),
    bytes.fromhex("81cb 0002 deadbeef ff616263"),
    bytes.fromhex("8fce 0005 00000001 00000000 52454d42 01ffffff 00c0ffee"),
    bytes.fromhex("8fcd 0005 00000001 00c0ffee 0001ffff 00000000 3fff3fff"),
    bytes.fromhex("81cd 0003 00000001 00c0ffee 0001ffff"),
    bytes.fromhex("80cf 0001 00000001"),
    bytes.fromhex("80cc 0002 00000001 41414141"),
    bytes.fromhex("a0c9 0001 000000ff"),  # padding beyond its begin
    bytes.fromhex("00c9 0001 00000001"),
    bytes.fromhex("80ff 0000"),
    _REPORT + bytes(20),
    _REPORT + b"\xff" * 20,
    bytes.fromhex("80c8 0006 deadbeef") + b"\x7f" * 20,
    b"\xff" * 65_535,
]


def _payloads(*datas: bytes, marked: bool = False) -> list[Payload]:
    """Of one unit. marked: each says that it is the last."""
    return [Payload(data, marked, 0) for data in datas]


_FU = {
    name: bytes((0x7C, flags | 5)) for name, flags in (("start", 0x80), ("on", 0), ("end", 0x40))
}
PICTURES = [
    _payloads(_FU["start"] + bytes(50), _FU["on"] + bytes(50)),
    _payloads(_FU["on"] + bytes(50), _FU["end"] + bytes(50), marked=True),
    _payloads(_FU["start"] + bytes(50), _FU["start"] + bytes(60)),
    _payloads(bytes((0x7C, 0xC6)) + bytes(20)),  # start and end at once
    _payloads(b"\x7c"),
    _payloads(b"\x7c\x9c" + bytes(9), b"\x7c\x5c" + bytes(9)),  # a fragment of fragments
    _payloads(b"\x78\0\0", b"\x78\0\0\0\0", marked=True),
    _payloads(b"\x78\xff\xff\x65"),
    _payloads(b"\x78"),
    _payloads(b"\x78\0\1" * 500),
    _payloads(b"\x00", b"\x1e\x00", b"\x1f\x00", marked=True),
    _payloads(b"\x79\0\0", b"\x7a\0\0", b"\x7b\0\0", b"\x7d\0\0"),
    _payloads(b"", b"", marked=True),
    _payloads(*([b"\x06\x05\x01\x00\x80"] * 300)),  # and never a marker
    _payloads(_FU["start"] + bytes(1300), *([_FU["on"] + bytes(1300)] * 3800)),  # beyond 4 MiB
    _payloads(*([b"\x78" + b"\0\2\x06\x05" * 300] * 300)),
]
