"""AC-3 and E-AC-3: what a sync frame says of its stream (ETSI TS 102 366 §4.4, §E.1.3, Annex F).

Of E-AC-3 a single independent substream is carried; further ones are refused, for their boxes
would have to describe them too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from appliance.errors import PeerError
from appliance.media.bits import BitReader
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

_SYNC_WORD = 0x0B77
_HEADER_BYTES = 16
_BLOCK_SAMPLES = 256
_RATES_HZ = (48_000, 44_100, 32_000)
_CHANNELS = (2, 1, 2, 3, 3, 4, 4, 5)  # by acmod; 0 is two programs of one channel
_BLOCKS = (1, 2, 3, 6)  # by numblkscod
_MAX_AC3_BSID = 10  # from 11 on it is E-AC-3
_FIRST_KBPS = (  # by frmsizecod // 2
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ac3Config:
    """The fields as sync frames and boxes have them; rate_kbps: of the first frame seen."""

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: Codec
    fscod: int
    bsid: int
    bsmod: int
    acmod: int
    lfe: int
    frame_samples: int
    sample_rate_hz: int
    rate_kbps: int = field(compare=False)  # which may vary, and describes nothing anew

    @property
    def channels(self) -> int:
        return _CHANNELS[self.acmod] + self.lfe

    @property
    def rfc6381(self) -> str:
        return "ac-3" if self.codec is Codec.AC3 else "ec-3"

    def to_box_body(self) -> bytes:
        """Of dac3 (Annex F.4), or of dec3 with one independent substream (F.6)."""
        modes = self.bsmod << 4 | self.acmod << 1 | self.lfe
        if self.codec is Codec.AC3:
            code = _FIRST_KBPS.index(self.rate_kbps)
            return (self.fscod << 22 | self.bsid << 17 | modes << 10 | code << 5).to_bytes(3, "big")
        substream = self.fscod << 22 | self.bsid << 17 | modes << 8
        return (self.rate_kbps << 3).to_bytes(2, "big") + substream.to_bytes(3, "big")

    @classmethod
    def from_frame(cls, frame: Buffer) -> Ac3Config:
        """Raises: PeerError if it does not begin with a sync frame that can be carried."""
        bits = BitReader(memoryview(frame)[:_HEADER_BYTES])
        if bits.u(16) != _SYNC_WORD:
            raise PeerError("no AC-3 sync word where one must be")
        bits.skip(24)
        bsid = bits.u(5)  # at the same place in both
        bits.position = 16
        if bsid <= _MAX_AC3_BSID:
            return _read_ac3(bits)
        if bsid <= 16:
            return _read_eac3(bits, len(frame))
        raise PeerError(f"AC-3 of version {bsid}")


def _read_ac3(bits: BitReader) -> Ac3Config:
    bits.skip(16)  # crc1
    fscod, size_code = bits.u(2), bits.u(6)
    bsid, bsmod, acmod = bits.u(5), bits.u(3), bits.u(3)
    if fscod == 3 or size_code // 2 >= len(_FIRST_KBPS):
        raise PeerError(f"AC-3 with rate code {fscod} and size code {size_code}")
    if acmod & 1 and acmod != 1:
        bits.skip(2)  # cmixlev
    if acmod & 4:
        bits.skip(2)  # surmixlev
    if acmod == 2:
        bits.skip(2)  # dsurmod
    rate_hz = _RATES_HZ[fscod] >> max(0, bsid - 8)
    kbps = _FIRST_KBPS[size_code // 2]
    samples = 6 * _BLOCK_SAMPLES
    return Ac3Config(Codec.AC3, fscod, bsid, bsmod, acmod, bits.u(1), samples, rate_hz, kbps)


def _read_eac3(bits: BitReader, unit_bytes: int) -> Ac3Config:
    kind, substream = bits.u(2), bits.u(3)
    frame_bytes = 2 * (bits.u(11) + 1)
    fscod = bits.u(2)
    second = bits.u(2)  # fscod2, or numblkscod
    if kind == 1 or substream or frame_bytes != unit_bytes or (fscod == 3 and second == 3):
        raise PeerError("E-AC-3 of several substreams or frames in one unit")
    blocks = 6 if fscod == 3 else _BLOCKS[second]
    rate_hz = _RATES_HZ[second] // 2 if fscod == 3 else _RATES_HZ[fscod]
    acmod, lfe, bsid = bits.u(3), bits.u(1), bits.u(5)
    samples = blocks * _BLOCK_SAMPLES
    kbps = min(frame_bytes * 8 * rate_hz // samples // 1000, 0x1FFF)
    return Ac3Config(Codec.EAC3, fscod, bsid, 0, acmod, lfe, samples, rate_hz, kbps)
