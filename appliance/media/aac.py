"""AAC: AudioSpecificConfig and ADTS.

ISO/IEC 14496-3 §1.6.2 (AudioSpecificConfig), §1.A.3.2 (ADTS), §4.4.1 (GASpecificConfig, PCE).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

from appliance.errors import CodecUnsupported, PeerError
from appliance.media.bits import BitReader
from appliance.media.track import Codec, Kind
from appliance.media.unit import Buffer

SAMPLE_RATES_HZ = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8)  # by channelConfiguration
MAX_ASC_BYTES = 512  # room for a program config element with its comment
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 384_000

TYPE_LC = 2
TYPE_SBR = 5
TYPE_PS = 29
_TYPE_ESCAPE = 31
_SYNC_SBR = 0x2B7
_SYNC_PS = 0x548
_RATE_ESCAPE = 15
_TYPE_ER_BSAC = 22
_TYPE_ER_LD = 23
_TYPE_ELD = 39
_PLAIN_TYPES = frozenset({1, 2, 3, 4})  # whose configuration ends with three flags
_GENERAL_TYPES = frozenset({1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23})  # those of GASpecificConfig

ADTS_HEADER_BYTES = 7
_ADTS_MAX_BYTES = 0x1FFF  # frame_length has 13 bits
MAX_FRAMES = 4096  # at once; against a flood of tiny ones, each of which costs an object
MAX_SEARCH_BYTES = 65_536  # without a frame; against garbage, in which every byte is tried


@dataclass(slots=True)
class _Asc:
    object_type: int
    core_object_type: int
    rate_hz: int
    channel_config: int
    channels: int
    frame_samples: int


@dataclass(frozen=True, slots=True)
class AacConfig:
    """An AudioSpecificConfig.

    object_type: as signalled first (2 LC, 5 HE, 29 HE v2).
    core_object_type: of the coding underneath (2 for HE).
    sample_rate_hz: of the core, so that a frame lasts frame_samples / sample_rate_hz; HE output
        has twice as many.
    Raises: PeerError if it is damaged, reserved or beyond our caps.
    """

    kind: ClassVar[Kind] = Kind.AUDIO
    codec: ClassVar[Codec] = Codec.AAC
    asc: bytes
    object_type: int = field(init=False, repr=False, compare=False)
    core_object_type: int = field(init=False, repr=False, compare=False)
    sample_rate_hz: int = field(init=False, repr=False, compare=False)
    channel_config: int = field(init=False, repr=False, compare=False)
    channels: int = field(init=False, repr=False, compare=False)
    frame_samples: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parsed = _parse_asc(self.asc)
        for name, value in (
            ("object_type", parsed.object_type),
            ("core_object_type", parsed.core_object_type),
            ("sample_rate_hz", parsed.rate_hz),
            ("channel_config", parsed.channel_config),
            ("channels", parsed.channels),
            ("frame_samples", parsed.frame_samples),
        ):
            object.__setattr__(self, name, value)

    @property
    def rfc6381(self) -> str:
        return f"mp4a.40.{self.object_type}"

    @classmethod
    def lc(cls, sample_rate_hz: int, channels: int) -> AacConfig:
        """AAC-LC of 1024 samples per frame. Raises: PeerError if AAC has no such layout."""
        if not channels or channels not in CHANNELS or not 0 < sample_rate_hz <= MAX_RATE_HZ:
            raise PeerError(f"AAC at {sample_rate_hz} Hz with {channels} channels")
        return _plain_config(TYPE_LC, sample_rate_hz, CHANNELS.index(channels))


@lru_cache(maxsize=64)
def _plain_config(object_type: int, sample_rate_hz: int, channel_config: int) -> AacConfig:
    if sample_rate_hz in SAMPLE_RATES_HZ:
        rate, rate_bits = SAMPLE_RATES_HZ.index(sample_rate_hz), 4
    else:
        rate, rate_bits = _RATE_ESCAPE << 24 | sample_rate_hz, 28
    bits = (object_type << rate_bits | rate) << 4 | channel_config
    length = 5 + rate_bits + 4 + 3  # GASpecificConfig: three clear flags
    asc_bytes = (length + 7) // 8
    return AacConfig((bits << 3 << (asc_bytes * 8 - length)).to_bytes(asc_bytes, "big"))


def _parse_asc(asc: bytes) -> _Asc:
    if len(asc) > MAX_ASC_BYTES:
        raise PeerError(f"an AudioSpecificConfig of {len(asc)} bytes")
    return _read_asc(BitReader(asc))


def take_config(bits: BitReader) -> AacConfig:
    """The configuration that begins in the middle of other bits, as in LATM, and what follows it.

    Raises: PeerError if it is damaged, or of a kind whose end only a decoder finds.
    """
    start = bits.position
    parsed = _read_asc(bits)
    if parsed.core_object_type not in _PLAIN_TYPES or not parsed.channel_config:
        raise PeerError("an embedded AAC configuration with extensions")
    _skip_extension(bits)
    length = bits.position - start
    bits.position = start
    asc = bits.u(length) << -length % 8
    return AacConfig(asc.to_bytes((length + 7) // 8, "big"))


def _skip_extension(bits: BitReader) -> None:
    """What backward compatible signalling of HE-AAC appends (§1.6.2.1); encoders do so in LATM."""
    if not _take_sync(bits, _SYNC_SBR):
        return
    if _read_object_type(bits) != TYPE_SBR:
        raise PeerError("an embedded AAC configuration with an extension that is not SBR")
    if bits.flag():
        _read_rate_hz(bits)
        if _take_sync(bits, _SYNC_PS):
            bits.skip(1)  # psPresentFlag


def _take_sync(bits: BitReader, word: int) -> bool:
    """Whether the next 11 bits are `word`; if they are not, nothing is read."""
    start = bits.position
    if bits.remaining >= 11 and bits.u(11) == word:
        return True
    bits.position = start
    return False


def _read_asc(bits: BitReader) -> _Asc:
    object_type = core_type = _read_object_type(bits)
    rate_hz = _read_rate_hz(bits)
    channel_config = bits.u(4)
    if object_type in {TYPE_SBR, TYPE_PS}:
        _read_rate_hz(bits)  # of the output
        core_type = _read_object_type(bits)
        if core_type == _TYPE_ER_BSAC:
            bits.skip(4)  # extensionChannelConfiguration
    if channel_config >= len(CHANNELS):
        raise PeerError(f"AAC channel configuration {channel_config}")
    channels, frame_samples = CHANNELS[channel_config], 1024
    if core_type == _TYPE_ELD:
        frame_samples = 480 if bits.flag() else 512
    elif core_type in _GENERAL_TYPES:
        frame_samples = 960 if bits.flag() else 1024
        if core_type == _TYPE_ER_LD:
            frame_samples //= 2
        if bits.flag():
            bits.skip(14)  # coreCoderDelay
        bits.skip(1)  # extensionFlag
        if not channel_config:
            channels = _read_pce_channels(bits)
    else:
        raise PeerError(f"MPEG-4 audio object type {core_type} is not AAC")
    if not channels:
        raise PeerError(f"AAC channel configuration {channel_config} without channels")
    return _Asc(object_type, core_type, rate_hz, channel_config, channels, frame_samples)


def _read_object_type(bits: BitReader) -> int:
    kind = bits.u(5)
    return 32 + bits.u(6) if kind == _TYPE_ESCAPE else kind


def _read_rate_hz(bits: BitReader) -> int:
    index = bits.u(4)
    if index == _RATE_ESCAPE:
        rate_hz = bits.u(24)
    elif index < len(SAMPLE_RATES_HZ):
        rate_hz = SAMPLE_RATES_HZ[index]
    else:
        raise PeerError(f"reserved AAC sample rate index {index}")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise PeerError(f"an AAC sample rate of {rate_hz} Hz")
    return rate_hz


def _read_pce_channels(bits: BitReader) -> int:
    """How many channels a program_config_element lists (§4.4.1.1)."""
    bits.skip(10)  # element_instance_tag, object_type, sampling_frequency_index
    front, side, back, low = bits.u(4), bits.u(4), bits.u(4), bits.u(2)
    bits.skip(7)  # counts of associated data and coupling elements
    for mixdown_bits in (4, 4, 3):
        if bits.flag():
            bits.skip(mixdown_bits)
    channels = low
    for _ in range(front + side + back):
        channels += 2 if bits.flag() else 1
        bits.skip(4)  # element tag
    return channels


def adts_header(config: AacConfig, frame_bytes: int) -> bytes:
    """What goes before a raw frame of this many bytes (no CRC).

    Raises: CodecUnsupported if ADTS cannot say what the configuration says.
    """
    length = frame_bytes + ADTS_HEADER_BYTES
    if (
        not 1 <= config.core_object_type <= 4
        or config.sample_rate_hz not in SAMPLE_RATES_HZ
        or not 1 <= config.channel_config <= 7
        or length > _ADTS_MAX_BYTES
    ):
        raise CodecUnsupported(f"ADTS cannot carry {config.rfc6381} of {frame_bytes} bytes")
    profile = config.core_object_type - 1
    rate = SAMPLE_RATES_HZ.index(config.sample_rate_hz)
    fixed = 0xFFF1 << 12 | profile << 10 | rate << 6 | config.channel_config << 2
    return (fixed << 28 | length << 13 | 0x7FF << 2).to_bytes(ADTS_HEADER_BYTES, "big")


@dataclass(slots=True)
class AdtsFrame:
    """One raw AAC frame, a view of the bytes it came in."""

    config: AacConfig
    raw: memoryview


def split_adts(data: Buffer) -> tuple[AacConfig, list[memoryview]]:
    """Whole ADTS frames, all of one configuration; the raw frames are views of `data`.

    Raises: PeerError if anything is damaged, cut off or left over, or `data` is empty.
    """
    view, position = memoryview(data), 0
    frames: list[AdtsFrame] = []
    while not frames or position < len(view):
        frame, length = _parse_adts(view, position)
        if frame is None or (frames and frame.config != frames[0].config):
            raise PeerError("an ADTS frame is cut off or of another configuration")
        _append(frames, frame)
        position += length
    return frames[0].config, [frame.raw for frame in frames if len(frame.raw)]


class AdtsSplitter:
    """Splits a stream of ADTS frames that arrives cut anywhere; damage costs only what it hits.

    pending_bytes: of a frame whose rest has not come; such a frame began before the next receive.
    skipped_bytes: passed over in search of a frame, for statistics.
    """

    __slots__ = ("_is_lost", "_pending", "_searched_bytes", "skipped_bytes")

    def __init__(self) -> None:
        self._pending = b""  # less than one frame, so at most 8 KiB
        self._is_lost = False
        self._searched_bytes = 0
        self.skipped_bytes = 0

    @property
    def pending_bytes(self) -> int:
        return len(self._pending)

    def receive(self, data: Buffer) -> list[AdtsFrame]:
        """The frames that `data` completes.

        After damage a header counts only if another follows its frame, for what looks like a
        header occurs inside frames. Raises: PeerError if too many bytes hold no frame.
        """
        whole = self._pending + bytes(data)
        view, position = memoryview(whole), 0
        frames: list[AdtsFrame] = []
        while position < len(view):
            try:
                frame, length = _parse_adts(view, position)
                if frame is None or (self._is_lost and not _is_followed(view, position + length)):
                    break
            except PeerError:
                position = self._search(whole, position)
                continue
            self._is_lost, self._searched_bytes = False, 0
            if len(frame.raw):
                _append(frames, frame)
            position += length
        self._pending = whole[position:]
        return frames

    def _search(self, whole: bytes, position: int) -> int:
        """Where the next header may be, beyond `position`."""
        found = whole.find(b"\xff", position + 1)
        found = len(whole) if found < 0 else found
        self._is_lost = True
        self.skipped_bytes += found - position
        self._searched_bytes += found - position
        if self._searched_bytes > MAX_SEARCH_BYTES:
            raise PeerError(f"no ADTS frame in {self._searched_bytes} bytes")
        return found


def _append(frames: list[AdtsFrame], frame: AdtsFrame) -> None:
    if len(frames) >= MAX_FRAMES:
        raise PeerError(f"more than {MAX_FRAMES} ADTS frames at once")
    frames.append(frame)


def _is_followed(view: memoryview, position: int) -> bool:
    """Whether a header begins at `position`; False while it is not there yet.

    Raises: PeerError if something else is there.
    """
    if len(view) < position + 2:
        return False
    if view[position] != 0xFF or view[position + 1] & 0xF6 != 0xF0:
        raise PeerError("no ADTS sync word where one must be")
    return True


def _parse_adts(view: memoryview, position: int) -> tuple[AdtsFrame | None, int]:
    """The frame at `position` and its length with header; None if its end is not there.

    Raises: PeerError if no header is there, or one that we cannot use.
    """
    header = int.from_bytes(view[position : position + ADTS_HEADER_BYTES], "big")
    missing_bytes = max(0, position + ADTS_HEADER_BYTES - len(view))
    header <<= 8 * missing_bytes
    sync_mask = 0xFFF6 if missing_bytes < 6 else 0xFF00  # sync word and layer, as far as present
    if header >> 40 & sync_mask != 0xFFF0 & sync_mask:
        raise PeerError("no ADTS sync word where one must be")
    if missing_bytes:
        return None, 0
    rate, channel_config = header >> 34 & 0xF, header >> 30 & 7
    length = header >> 13 & 0x1FFF
    header_bytes = ADTS_HEADER_BYTES + (0 if header >> 40 & 1 else 2)
    if rate >= len(SAMPLE_RATES_HZ) or not channel_config or header & 3 or length < header_bytes:
        raise PeerError("an ADTS header that is reserved, of several blocks or too short")
    if position + length > len(view):
        return None, 0
    object_type = 1 + (header >> 38 & 3)
    config = _plain_config(object_type, SAMPLE_RATES_HZ[rate], channel_config)
    return AdtsFrame(config, view[position + header_bytes : position + length]), length
