"""Small tracks, units and packets for the tests of containers, made by hand or from the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from mutation import CORPUS

from appliance.containers.flv import TagType, file_header, tag
from appliance.containers.mpegts import PACKET_BYTES, Pmt, make_pat, make_pmt
from appliance.containers.mpegts_packets import PacketWriter
from appliance.containers.mpegts_pes import STREAM_VIDEO, make_pes_header
from appliance.hub.rendition import Muxer
from appliance.media.aac import AacConfig
from appliance.media.h264 import H264Config
from appliance.media.h265 import H265Config
from appliance.media.nal import join_annexb
from appliance.media.opus import OpusConfig
from appliance.media.track import Track
from appliance.media.unit import AccessUnit, Chunk

FRAME_US = 40_000
AAC_US = 1024 * 1_000_000 / 48_000
PMT_PID, VIDEO_PID, AUDIO_PID = 0x1000, 0x100, 0x101
IDR = bytes((0x65, 0x88)) + b"idr" * 20
SLICE = bytes((0x41, 0x9A)) + b"p" * 30
HEVC_IDR = bytes((0x26, 0x01)) + b"idr" * 20
HEVC_SLICE = bytes((0x02, 0x01)) + b"p" * 30


Event = tuple[Track, ...] | AccessUnit


class Demuxer(Protocol):
    def receive(self, data: bytes) -> list[Event]: ...
    def receive_eof(self) -> list[Event]: ...


def avc_config(name: str = "baseline") -> H264Config:
    return H264Config.from_avcc((CORPUS / "avcc" / f"{name}.bin").read_bytes())


def hevc_config(name: str = "main") -> H265Config:
    return H265Config.from_hvcc((CORPUS / "hvcc" / f"{name}.bin").read_bytes())


def avc_track(name: str = "baseline") -> Track:
    return Track(1, avc_config(name))


def hevc_track() -> Track:
    return Track(1, hevc_config())


def aac_track() -> Track:
    return Track(2, AacConfig.lc(48_000, 2))


def opus_track() -> Track:
    return Track(2, OpusConfig())


def picture(
    track: Track, dts_us: int, *, key: bool = False, reorder_us: int = 0, size_bytes: int = 0
) -> AccessUnit:
    """A unit of one slice, which decoders would not like."""
    is_avc = isinstance(track.config, H264Config)
    nal = (IDR if is_avc else HEVC_IDR) if key else (SLICE if is_avc else HEVC_SLICE)
    nal += b"." * max(0, size_bytes - len(nal))
    return AccessUnit(track, dts_us, dts_us + reorder_us, key, (nal,))


def sound(track: Track, dts_us: int, data: bytes = b"") -> AccessUnit:
    """An audio unit; Opus gets packets of 20 ms."""
    if not data:
        data = b"\xf8" + b"o" * 40 if isinstance(track.config, OpusConfig) else b"\x21" + b"a" * 90
    return AccessUnit(track, dts_us, dts_us, True, (data,))


def pictures(track: Track, count: int, *, gop: int = 25, start_us: int = 0) -> Iterator[AccessUnit]:
    for number in range(count):
        yield picture(track, start_us + number * FRAME_US, key=number % gop == 0)


def sounds(track: Track, count: int, start_us: int = 0) -> Iterator[AccessUnit]:
    step_us = 20_000 if isinstance(track.config, OpusConfig) else AAC_US
    for number in range(count):
        yield sound(track, start_us + round(number * step_us))


def interleaved(*streams: Iterable[AccessUnit]) -> list[AccessUnit]:
    return sorted((unit for stream in streams for unit in stream), key=lambda unit: unit.dts_us)


def mux(muxer: Muxer, tracks: Iterable[Track], units: Iterable[AccessUnit]) -> list[Chunk]:
    """All chunks, the first one with the header in front."""
    muxer.header(tuple(tracks))
    chunks = [chunk for unit in units for chunk in muxer.feed(unit)]
    return chunks + muxer.flush()


def joined(chunks: list[Chunk]) -> bytes:
    """What a viewer gets who joins at the first of these."""
    return chunks[0].header + b"".join(chunk.data for chunk in chunks)


def demux(demuxer: Demuxer, data: bytes, step: int | None = None) -> list[Event]:
    """All events, of data that comes whole or in pieces of `step` bytes."""
    pieces = [data] if step is None else [data[i : i + step] for i in range(0, len(data), step)]
    events = [event for piece in pieces for event in demuxer.receive(piece)]
    return events + demuxer.receive_eof()


def units_of(events: list[Event]) -> list[AccessUnit]:
    return [event for event in events if isinstance(event, AccessUnit)]


def tracks_of(events: list[Event]) -> list[tuple[Track, ...]]:
    return [event for event in events if not isinstance(event, AccessUnit)]


# -- FLV by hand -------------------------------------------------------------------------------


def avc_header_body(record: bytes | None = None) -> bytes:
    return b"\x17\0\0\0\0" + (avc_config().to_avcc() if record is None else record)


def avc_frame_body(*nals: bytes, key: bool = True, composition_ms: int = 0) -> bytes:
    head = (b"\x17\x01" if key else b"\x27\x01") + composition_ms.to_bytes(3, "big", signed=True)
    return head + b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


def flv(*tags: tuple[TagType, int, bytes]) -> bytes:
    body = b"".join(tag(kind, timestamp_ms, body) for kind, timestamp_ms, body in tags)
    return file_header(has_audio=True, has_video=True) + body


# -- MPEG-TS by hand ---------------------------------------------------------------------------


@dataclass(slots=True)
class Packet:
    """A transport packet, taken apart without our demuxer."""

    pid: int
    starts: bool
    counter: int
    adaptation: bytes | None
    payload: bytes

    @property
    def flags(self) -> int:
        return self.adaptation[0] if self.adaptation else 0

    @property
    def pcr(self) -> int | None:
        """In ticks of 27 MHz."""
        if not self.adaptation or not self.flags & 0x10:
            return None
        bits = int.from_bytes(self.adaptation[1:7], "big")
        return (bits >> 15) * 300 + (bits & 0x1FF)


def packets(data: bytes) -> list[Packet]:
    assert len(data) % PACKET_BYTES == 0
    found = []
    for at in range(0, len(data), PACKET_BYTES):
        packet = data[at : at + PACKET_BYTES]
        assert packet[0] == 0x47 and not packet[1] & 0x80 and not packet[3] & 0xC0
        pid, start, adaptation = (packet[1] & 0x1F) << 8 | packet[2], 4, None
        if packet[3] & 0x20:
            adaptation = packet[5 : 5 + packet[4]]
            start = 5 + packet[4]
            assert start <= PACKET_BYTES
        payload = packet[start:] if packet[3] & 0x10 else b""
        found.append(Packet(pid, bool(packet[1] & 0x40), packet[3] & 15, adaptation, payload))
    return found


def tables(pmt: Pmt, *, version: int = 0) -> bytes:
    out: list[bytes] = []
    PacketWriter(0).write_section(out, make_pat(0, 1, PMT_PID))
    PacketWriter(PMT_PID).write_section(out, make_pmt(version, 1, pmt))
    return b"".join(out)


def avc_pes(pts: int, *, key: bool = True, sets: bool = True, dts: int | None = None) -> bytes:
    config = avc_config()
    nals = [b"\x09\xf0", *(config.sps + config.pps if sets else ()), IDR if key else SLICE]
    payload = join_annexb(nals)
    return make_pes_header(STREAM_VIDEO, len(payload), pts, pts if dts is None else dts) + payload


def ts(writer: PacketWriter, *payloads: bytes, adaptation: bytes = b"") -> bytes:
    """PES packets as transport packets."""
    out: list[bytes] = []
    for payload in payloads:
        writer.write(out, payload, adaptation)
    return b"".join(out)
