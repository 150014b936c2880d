"""From FLV tags to tracks and access units; RTMP's media messages are read by it too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from appliance.containers.flv import FourCc, TagType
from appliance.containers.flv_tag_parser import Content, TagPart, parse_audio_tag, parse_video_tag
from appliance.errors import PeerError
from appliance.media import av1, h264, h265, vp9
from appliance.media.aac import AacConfig
from appliance.media.ac3 import Ac3Config
from appliance.media.amf0 import Value, decode
from appliance.media.clock import Unroller
from appliance.media.flac import FlacConfig
from appliance.media.g711 import G711Config
from appliance.media.mp3 import Mp3Config
from appliance.media.nal import split_length_prefixed
from appliance.media.opus import OpusConfig
from appliance.media.sps import MAX_SIDE_PX
from appliance.media.track import Codec, CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Buffer

VIDEO_TRACK_ID = 1
AUDIO_TRACK_ID = 2
MAX_DAMAGED_IN_ROW = 100  # a peer that sends nothing usable although its tags are well-formed
MAX_UNSUPPORTED_TAGS = 250  # a peer none of whose codecs we carry is told so after about 5 s

_ORDINARY = ("no media", "empty", "empty sequence header", "before its first key")

Event = tuple[Track, ...] | AccessUnit


@dataclass(slots=True)
class _Lane:
    """One kind of media: the track in use and what reading its units takes."""

    kind: Kind
    track: Track | None = None
    wire_track: int | None = None
    header: bytes = b""  # the newest sequence header; encoders repeat it
    fourcc: bytes = b""
    length_bytes: int = 4
    sets: h264.ParameterSets | h265.ParameterSets | None = None
    record: vp9.Vp9Config | None = None

    def set_config(self, config: CodecConfig) -> None:
        """A new Track only if the configuration differs in value."""
        if self.track is None or self.track.config != config:
            track_id = VIDEO_TRACK_ID if self.kind is Kind.VIDEO else AUDIO_TRACK_ID
            self.track = Track(track_id, config, 1000)


class FlvTagReader:
    """Tags in, events out: a tuple of Tracks says what all units after it belong to.

    Tracks are announced just before the first unit that needs them, so those that are described
    together are announced together. Of several tracks of a kind the first one is used.

    ignored: tags without use, by reason or codec. damaged: units that were dropped.
    metadata: the newest onMetaData.
    """

    def __init__(self) -> None:
        self.ignored: Counter[str] = Counter()
        self.damaged = 0
        self.metadata: Mapping[str, Value] = {}
        self._video = _Lane(Kind.VIDEO)
        self._audio = _Lane(Kind.AUDIO)
        self._clock = Unroller(32)
        self._announced: tuple[Track | None, Track | None] = (None, None)
        self._damaged_in_row = 0
        self._taken: Counter[str] = Counter()

    def receive(self, kind: int, timestamp_ms: int, body: bytes) -> list[Event]:
        """The events of one tag; `body` now belongs to the units made of it.

        timestamp_ms: 32 bits that may wrap.
        Raises: PeerError for a codec configuration or tag that cannot be, or if nothing is usable.
        """
        if kind == TagType.SCRIPT:
            self._read_script(body)
            return []
        if kind == TagType.VIDEO:
            lane, parts = self._video, parse_video_tag(body)
        elif kind == TagType.AUDIO:
            lane, parts = self._audio, parse_audio_tag(body)
        else:
            self.ignored["tag type"] += 1
            return []
        timestamp_us = self._clock.unroll(timestamp_ms) * 1000
        events: list[Event] = []
        for part in parts:
            unit = self._read_part(lane, part, timestamp_us)
            if unit is not None:
                announced = self._announced
                if self._video.track is not announced[0] or self._audio.track is not announced[1]:
                    events.append(self._announce())
                events.append(unit)
        return events

    def take_rejects(self) -> Counter[str]:
        """What was sent and is not carried, by reason, since it was asked last."""
        rejects = self.ignored + Counter({"damaged frame": self.damaged})
        fresh = rejects - self._taken
        self._taken = rejects
        for reason in _ORDINARY:
            del fresh[reason]
        return fresh

    def _read_script(self, body: bytes) -> None:
        """Metadata decides nothing here, so damage in it does not matter."""
        try:
            values = decode(body)
        except PeerError:
            self.ignored["damaged script"] += 1
            return
        for name, value in zip(values, values[1:], strict=False):  # after @setDataFrame, or first
            if name == "onMetaData" and isinstance(value, Mapping):
                self.metadata = value

    def _announce(self) -> tuple[Track, ...]:
        self._announced = self._video.track, self._audio.track
        return tuple(track for track in self._announced if track is not None)

    def _read_part(self, lane: _Lane, part: TagPart, timestamp_us: int) -> AccessUnit | None:
        if part.content is Content.OTHER or part.fourcc not in _CONFIG_READERS:
            self._ignore(part)
        elif lane.wire_track not in (None, part.wire_track):
            self.ignored["further track"] += 1
        elif part.content is Content.CONFIG:
            self._read_config(lane, part)
        else:
            return self._read_frame(lane, part, timestamp_us)
        return None

    def _ignore(self, part: TagPart) -> None:
        if part.fourcc in _CONFIG_READERS:
            self.ignored["no media"] += 1
            return
        name = part.fourcc.decode() if part.fourcc in _UNSUPPORTED else "unknown codec"
        self.ignored[name] += 1
        if not any(self._announced) and self.ignored.total() > MAX_UNSUPPORTED_TAGS:
            names = ", ".join(sorted(self.ignored))
            raise PeerError(f"no codec that can be carried: {names}")

    def _read_config(self, lane: _Lane, part: TagPart) -> None:
        if not part.data:
            # Before the encoder knows its own, or of a codec whose frames describe themselves
            self.ignored["empty sequence header"] += 1
            return
        header = bytes(part.data)
        if header == lane.header and part.fourcc == lane.fourcc:
            return
        config = _CONFIG_READERS[part.fourcc](header)
        if part.fourcc != lane.fourcc:
            lane.track = None
        lane.header, lane.fourcc, lane.wire_track = header, part.fourcc, part.wire_track
        lane.sets = None
        if isinstance(config, vp9.Vp9Config):
            lane.record, config = config, self._with_announced_size(config)
        elif isinstance(config, h264.H264Config):
            lane.sets = h264.ParameterSets(config)
            lane.length_bytes = h264.avcc_length_bytes(header)
        elif isinstance(config, h265.H265Config):
            lane.sets = h265.ParameterSets(config)
            lane.length_bytes = h265.hvcc_length_bytes(header)
        if config is not None:  # or else the first key brings it
            lane.set_config(config)

    def _with_announced_size(self, record: vp9.Vp9Config) -> CodecConfig | None:
        """By the metadata, so that sound before the first key need not begin the stream alone."""
        sizes_px = [
            int(size)
            for size in (self.metadata.get("width"), self.metadata.get("height"))
            if isinstance(size, int | float) and 1 <= size <= MAX_SIDE_PX
        ]
        if len(sizes_px) < 2:
            return None
        return replace(record, width_px=sizes_px[0], height_px=sizes_px[1])

    def _read_frame(self, lane: _Lane, part: TagPart, timestamp_us: int) -> AccessUnit | None:
        describe = _SELF_DESCRIBING.get(part.fourcc)
        if describe is None and part.fourcc != lane.fourcc:
            self.ignored["before its sequence header"] += 1
            return None
        dts_us = timestamp_us + part.offset_ns // 1000
        try:
            if describe is not None and part.data:
                lane.set_config(describe(part))
                lane.header, lane.fourcc, lane.wire_track = b"", part.fourcc, part.wire_track
            parts, key = _parts(lane, part.data)
        except PeerError as error:
            self._count_damage(error)
            return None
        if not parts:
            self.ignored["empty"] += 1
            return None
        if lane.track is None:
            self.ignored["before its first key"] += 1
            return None
        self._damaged_in_row = 0
        return AccessUnit(lane.track, dts_us, dts_us + part.composition_ms * 1000, key, parts)

    def _count_damage(self, error: PeerError) -> None:
        self.damaged += 1
        self._damaged_in_row += 1
        if self._damaged_in_row > MAX_DAMAGED_IN_ROW:
            raise PeerError(f"{self._damaged_in_row} damaged frames in a row, as: {error}")


def _parts(lane: _Lane, data: memoryview) -> tuple[tuple[Buffer, ...], bool]:
    """What a unit is made of, and whether it is key. Raises: PeerError."""
    if lane.kind is Kind.AUDIO or not data:
        return ((data,) if data else ()), True
    if lane.fourcc == FourCc.AV1:
        return _av1_parts(lane, data)
    if lane.fourcc == FourCc.VP9:
        config = vp9.parse_key_frame(data, lane.record or vp9.Vp9Config())
        if config is not None:
            lane.set_config(config)
        return (data,), config is not None
    return _nal_parts(lane, data)


def _av1_parts(lane: _Lane, data: memoryview) -> tuple[tuple[Buffer, ...], bool]:
    """OBUs; a sequence header before a key that differs makes a new Track."""
    unit = av1.split_temporal_unit(data)
    if unit.key and unit.sequence_header is not None:
        lane.set_config(av1.Av1Config(unit.sequence_header))
    return tuple(unit.obus), unit.key


def _nal_parts(lane: _Lane, data: memoryview) -> tuple[tuple[Buffer, ...], bool]:
    """Sorted NAL units; parameter sets among them that differ make a new Track."""
    nals = split_length_prefixed(data, lane.length_bytes)
    if isinstance(lane.sets, h265.ParameterSets):
        split = h265.split_parameter_sets(nals)
        config: CodecConfig | None = lane.sets.update(split)
    else:
        split = h264.split_parameter_sets(nals)
        config = lane.sets.update(split) if lane.sets else None
    if config is not None:
        lane.set_config(config)
    return tuple(split.media), split.key


def _refuse_header(_: bytes) -> CodecConfig:
    raise PeerError("a sequence header for a codec that has none")


_SELF_DESCRIBING: dict[bytes, Callable[[TagPart], CodecConfig]] = {
    FourCc.PCMA.value: lambda part: G711Config(Codec.PCMA, 8000, part.channels),
    FourCc.PCMU.value: lambda part: G711Config(Codec.PCMU, 8000, part.channels),
    FourCc.MP3.value: lambda part: Mp3Config.from_frame(part.data),
    FourCc.AC3.value: lambda part: Ac3Config.from_frame(part.data),
    FourCc.EAC3.value: lambda part: Ac3Config.from_frame(part.data),
}
_CONFIG_READERS: dict[bytes, Callable[[bytes], CodecConfig | None]] = {
    FourCc.AVC.value: h264.H264Config.from_avcc,
    FourCc.HEVC.value: h265.H265Config.from_hvcc,
    FourCc.AV1.value: av1.Av1Config.from_av1c,
    FourCc.VP9.value: vp9.Vp9Config.from_vpcc,
    FourCc.AAC.value: AacConfig,
    FourCc.OPUS.value: OpusConfig.from_opus_head,
    FourCc.FLAC.value: FlacConfig.from_header,
    **dict.fromkeys(_SELF_DESCRIBING, _refuse_header),
}
# fmt: off
_UNSUPPORTED = frozenset({  # what may be named in a message; anything else is "unknown codec"
    b"vp08", b"vvc1", b"h263", b"scr1", b"scr2", b"vp6f", b"vp6a",
    b"adpc", b"nell", b"pcm ", b"pcml", b"spex",
})
# fmt: on
