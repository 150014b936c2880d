"""Lanes that take units as they are: H.264, HEVC, AAC and Opus need no encoder of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from appliance.capture.commands import Commands
from appliance.capture.lanes.lane import Packet, Stamps
from appliance.media import h264, h265
from appliance.media.aac import AacConfig, split_adts
from appliance.media.clock import ticks_to_us
from appliance.media.nal import split_annexb, split_length_prefixed
from appliance.media.opus import OpusConfig, packet_duration_us
from appliance.media.sps import NalSplit
from appliance.media.track import CodecConfig, Kind, Track
from appliance.media.unit import AccessUnit, Buffer

MAX_UNDATED = 32  # twice what reordering allows (ISO/IEC 14496-10 §A.3.1)
MAX_OVERLAP_US = 10_000  # rounding in containers' stamps; half a frame
H264_IDR = frozenset({h264.NAL_IDR})
H265_IDR = frozenset({19, 20})  # IDR_W_RADL, IDR_N_LP (ISO/IEC 23008-2 table 7-1)


class VideoPass:
    """NAL units of H.264 or HEVC, whichever way they are packed.

    Begins at a keyframe. Pictures shown before that keyframe but coded after it refer to what
    nobody has, so they are left out, here and at every joint of a loop.
    rotation_deg: what viewers are told.
    """

    def __init__(self, track_id: int, stream: Any, *, rotation_deg: int = 0) -> None:
        self.track: Track | None = None
        self._rotation_deg = rotation_deg
        self._id = track_id
        hevc = stream.codec_context.name == "hevc"
        self._split: Callable[[Any], NalSplit] = (
            h265.split_parameter_sets if hevc else h264.split_parameter_sets
        )
        self._nal_type = h265.nal_type if hevc else h264.nal_type
        self._idr = H265_IDR if hevc else H264_IDR
        self._sets: h264.ParameterSets | h265.ParameterSets = (
            h265.ParameterSets() if hevc else h264.ParameterSets()
        )
        self._hevc = hevc
        rate = stream.average_rate
        step_us = int(1_000_000 / rate) if rate else 33_333
        self.stamps = Stamps(Kind.VIDEO, stream.time_base, step_us)
        self._length_bytes = 0
        self._waits_for_key = True
        self._leading_before_us: int | None = None
        self._undated: list[Packet] = []
        self._read_extradata(bytes(stream.codec_context.extradata or b""))

    def reopen(self, stream: Any) -> None:
        self.stamps.restart(stream.time_base)
        self._read_extradata(bytes(stream.codec_context.extradata or b""))
        self._waits_for_key = True

    def _read_extradata(self, data: bytes) -> None:
        """avcC or hvcC (first byte 1) tell how units are packed; else it is Annex B."""
        if data[:1] != b"\1":
            self._length_bytes = 0
            if data:
                self._describe(self._sets.update(self._split(split_annexb(data))))
            return
        config: h264.H264Config | h265.H265Config
        if self._hevc:
            self._length_bytes = h265.hvcc_length_bytes(data)
            config = h265.H265Config.from_hvcc(data)
            self._sets = h265.ParameterSets(config)
        else:
            self._length_bytes = h264.avcc_length_bytes(data)
            config = h264.H264Config.from_avcc(data)
            self._sets = h264.ParameterSets(config)
        self._describe(config)

    def _describe(self, config: CodecConfig | None) -> None:
        if config is not None and (self.track is None or self.track.config != config):
            self.track = Track(self._id, config, rotation_deg=self._rotation_deg)

    def feed(self, packet: Packet) -> list[AccessUnit]:
        if packet.dts is None and packet.pts is not None and len(self._undated) < MAX_UNDATED:
            self._undated.append(packet)
            return []
        packets = [*self._take_undated(packet.dts), packet]
        return [unit for packet in packets for unit in self._units(packet)]

    def _take_undated(self, next_dts: int | None) -> list[Packet]:
        """Packets without dts, which Matroska has before its first B-frame: counted back from the
        first that has one."""
        packets, self._undated = self._undated, []
        if next_dts is not None:
            for distance, packet in enumerate(reversed(packets), start=1):
                packet.dts = next_dts - distance * self.stamps.step_ticks(packet)
        return packets

    def _units(self, packet: Packet) -> list[AccessUnit]:
        dts_us, pts_us = self.stamps.take(packet)
        data = bytes(packet)
        nals = (
            split_length_prefixed(data, self._length_bytes)
            if self._length_bytes
            else split_annexb(data)
        )
        split = self._split(nals)
        self._describe(self._sets.update(split))
        if self.track is None or not split.media or not self._may_show(split, pts_us):
            return []
        return [AccessUnit(self.track, dts_us, pts_us, split.key, tuple(split.media))]

    def _may_show(self, split: NalSplit, pts_us: int) -> bool:
        if self._waits_for_key:
            if not split.key:
                return False
            self._waits_for_key = False
            kinds = {self._nal_type(nal) for nal in split.media}
            self._leading_before_us = None if kinds & self._idr else pts_us
            return True
        if self._leading_before_us is None:
            return True
        if pts_us < self._leading_before_us:
            return False
        self._leading_before_us = None
        return True

    def flush(self) -> list[AccessUnit]:
        return [unit for packet in self._take_undated(None) for unit in self._units(packet)]

    def obey(self, commands: Commands, late_us: int) -> None:
        pass

    def take_dropped(self) -> int:
        return 0


class AudioPass:
    """Raw frames of AAC (with or without ADTS) or Opus.

    Where a loop begins anew before the last sound has ended, the frames that overlap are left out.
    """

    def __init__(self, track_id: int, stream: Any) -> None:
        self.track: Track | None = None
        self._id = track_id
        self._opus = stream.codec_context.name in {"opus", "libopus"}
        self._heard_us = -(1 << 62)  # where the newest frame ends
        self.stamps = Stamps(Kind.AUDIO, stream.time_base, 20_000)
        self.reopen(stream)

    def reopen(self, stream: Any) -> None:
        self.stamps.restart(stream.time_base)
        data = bytes(stream.codec_context.extradata or b"")
        self._adts = not data and not self._opus
        if data:
            self._describe(OpusConfig.from_opus_head(data) if self._opus else AacConfig(data))
        elif self._opus:
            self._describe(OpusConfig(channels=stream.codec_context.channels))

    def _describe(self, config: AacConfig | OpusConfig) -> None:
        if self.track is None or self.track.config != config:
            self.track = Track(self._id, config, config.sample_rate_hz)

    def feed(self, packet: Packet) -> list[AccessUnit]:
        stamp_us, _ = self.stamps.take(packet)
        data = bytes(packet)
        frames: Sequence[Buffer] = (data,)
        if self._adts:
            config, frames = split_adts(data)
            self._describe(config)
        units = []
        for raw in frames:
            if self.track is not None and stamp_us >= self._heard_us - MAX_OVERLAP_US:
                units.append(AccessUnit(self.track, stamp_us, stamp_us, True, (raw,)))
                self._heard_us = stamp_us + self._duration_us(raw)
            stamp_us += self._duration_us(raw)
        return units

    def _duration_us(self, raw: Buffer) -> int:
        if self._opus:
            return packet_duration_us(raw)
        config = self.track.config if self.track is not None else None
        if not isinstance(config, AacConfig):
            return 0
        return ticks_to_us(config.frame_samples, config.sample_rate_hz)

    def flush(self) -> list[AccessUnit]:
        return []

    def obey(self, commands: Commands, late_us: int) -> None:
        pass

    def take_dropped(self) -> int:
        return 0
