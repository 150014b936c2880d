"""FLV tag bodies taken apart: legacy and Enhanced RTMP v1 and v2 forms, audio and video.

Says what a body holds; what the codec bytes mean is for `flv_tag_reader`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from appliance.containers.flv import (
    AAC_FORMAT,
    AUDIO_MULTITRACK,
    AVC_ID,
    EX_AUDIO_FORMAT,
    EX_VIDEO,
    HEVC_ID,
    LEGACY_AUDIO,
    LEGACY_VIDEO,
    AvcPacket,
    ExPacket,
    FourCc,
    FrameType,
    Multitrack,
)
from appliance.errors import PeerError
from appliance.media.bits import Reader

MAX_MOD_EX = 16  # against chains of modifiers that modify nothing
MAX_NANO_OFFSET = 999_999  # Enhanced RTMP v2: less than a millisecond
_HAS_COMPOSITION = {FourCc.AVC.value, FourCc.HEVC.value, b"vvc1"}
_UNKNOWN = b"????"


class Content(Enum):
    CONFIG = "config"
    FRAME = "frame"
    OTHER = "other"  # end of sequence, metadata, commands: nothing for a track


@dataclass(slots=True)
class TagPart:
    """What a tag holds of one track; nearly always there is just one.

    composition_ms: presentation minus decoding time, may be negative.
    offset_ns: to be added to the tag's time.
    data: the codec's own bytes, a view of the body.
    """

    fourcc: bytes
    content: Content
    data: memoryview
    is_key: bool = True
    composition_ms: int = 0
    offset_ns: int = 0
    wire_track: int = 0
    channels: int = 1  # as a legacy audio tag has it


_AVC_CONTENT: dict[int, Content] = {
    AvcPacket.SEQUENCE_HEADER: Content.CONFIG,
    AvcPacket.NALU: Content.FRAME,
}
_EX_CONTENT: dict[int, Content] = {
    ExPacket.SEQUENCE_START: Content.CONFIG,
    ExPacket.CODED_FRAMES: Content.FRAME,
    ExPacket.CODED_FRAMES_X: Content.FRAME,
}


def parse_video_tag(body: bytes | memoryview) -> list[TagPart]:
    """The parts of a video tag, none if it is empty or a command. Raises: PeerError."""
    if not body:
        return []
    first = body[0]
    frame_type = first >> 4 & 7
    is_key = frame_type in {FrameType.KEY, FrameType.GENERATED_KEY}
    if first & EX_VIDEO:
        parts = _parse_enhanced(Reader(body[1:]), first & 0x0F, frame_type)
    elif frame_type == FrameType.COMMAND:
        parts = []
    else:
        parts = [_parse_legacy_video(body, first & 0x0F)]
    for part in parts:
        part.is_key = is_key
    return parts


def _parse_legacy_video(body: bytes | memoryview, codec_id: int) -> TagPart:
    """Without a Reader, as sound below: nearly every message of RTMP is one of these two."""
    fourcc = LEGACY_VIDEO.get(codec_id, _UNKNOWN)
    view = memoryview(body)
    if codec_id not in {AVC_ID, HEVC_ID}:
        return TagPart(fourcc, Content.OTHER, view[1:])
    if len(body) < 5:
        raise PeerError(f"a video tag of {len(body)} bytes")
    return TagPart(
        fourcc,
        _AVC_CONTENT.get(body[1], Content.OTHER),
        view[5:],
        composition_ms=int.from_bytes(body[2:5], "big", signed=True),
    )


def parse_audio_tag(body: bytes | memoryview) -> list[TagPart]:
    """The parts of an audio tag, none if it is empty. Raises: PeerError."""
    if not body:
        return []
    first = body[0]
    sound_format = first >> 4
    if sound_format == EX_AUDIO_FORMAT:
        return _parse_enhanced(Reader(body[1:]), first & 0x0F, None)
    content, head_bytes = Content.FRAME, 1
    if sound_format == AAC_FORMAT:
        if len(body) < 2:
            raise PeerError("an AAC tag of one byte")
        content, head_bytes = Content.FRAME if body[1] else Content.CONFIG, 2
    fourcc = LEGACY_AUDIO.get(sound_format, _UNKNOWN)
    return [TagPart(fourcc, content, memoryview(body)[head_bytes:], channels=1 + (first & 1))]


def _parse_enhanced(reader: Reader, packet: int, frame_type: int | None) -> list[TagPart]:
    """ExVideoTagHeader and ExVideoTagBody, or the same of audio if there is no frame type."""
    packet, offset_ns = _parse_mod_ex(reader, packet)
    if frame_type == FrameType.COMMAND and packet != ExPacket.METADATA:
        return []
    is_video = frame_type is not None
    if packet == (ExPacket.MULTITRACK if is_video else AUDIO_MULTITRACK):
        parts = _parse_multitrack(reader, is_video)
    else:
        fourcc = bytes(reader.take(4))
        parts = [_parse_track(reader, packet, fourcc, is_video)]
    for part in parts:
        part.offset_ns = offset_ns
    return parts


def _parse_mod_ex(reader: Reader, packet: int) -> tuple[int, int]:
    """The packet type behind all modifiers, and their offset in nanoseconds."""
    offset_ns = 0
    for _ in range(MAX_MOD_EX):
        if packet != ExPacket.MOD_EX:
            return packet, offset_ns
        size = reader.u8() + 1
        if size == 256:
            size = reader.u16() + 1
        data = reader.take(size)
        kinds = reader.u8()
        packet = kinds & 0x0F
        if kinds >> 4 == 0 and size >= 3:  # TimestampOffsetNano
            offset_ns = min(int.from_bytes(data[:3], "big"), MAX_NANO_OFFSET)
    raise PeerError(f"more than {MAX_MOD_EX} modifiers before one packet")


def _parse_multitrack(reader: Reader, is_video: bool) -> list[TagPart]:
    kinds = reader.u8()
    multitrack, packet = kinds >> 4, kinds & 0x0F
    if multitrack > Multitrack.MANY_TRACKS_MANY_CODECS:
        raise PeerError(f"multitrack type {multitrack}")
    fourcc = b""
    if multitrack != Multitrack.MANY_TRACKS_MANY_CODECS:
        fourcc = bytes(reader.take(4))
    parts: list[TagPart] = []
    while reader.remaining:
        if multitrack == Multitrack.MANY_TRACKS_MANY_CODECS:
            fourcc = bytes(reader.take(4))
        wire_track = reader.u8()
        size = reader.remaining if multitrack == Multitrack.ONE_TRACK else reader.u24()
        part = _parse_track(Reader(reader.take(size)), packet, fourcc, is_video)
        part.wire_track = wire_track
        parts.append(part)
        if len(parts) > 256:  # track ids have eight bits
            raise PeerError("more tracks in one tag than there are track ids")
    return parts


def _parse_track(reader: Reader, packet: int, fourcc: bytes, is_video: bool) -> TagPart:
    content = _EX_CONTENT.get(packet, Content.OTHER)
    composition_ms = 0
    if is_video and packet == ExPacket.CODED_FRAMES and fourcc in _HAS_COMPOSITION:
        composition_ms = _signed24(reader)
    return TagPart(fourcc, content, reader.rest(), composition_ms=composition_ms)


def _signed24(reader: Reader) -> int:
    return int.from_bytes(reader.take(3), "big", signed=True)
