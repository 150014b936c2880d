"""`transcode:aac` and `transcode:opus` — sound that comes through the pipe, encoded anew.

The stamps of what goes out are those of what came in: the sound is decoded onto an even grid
(capture/voice.py), holes of up to 5 s are silence in it, and what an encoder puts before its first
sample is counted. A unit that cannot be decoded is a hole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import av

from appliance.capture.commands import Commands
from appliance.capture.encoders.aac import AacEncoder
from appliance.capture.encoders.opus import OpusEncoder
from appliance.capture.encoders.sound import SoundEncoder
from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.voice import Voice
from appliance.errors import PeerError
from appliance.media.aac import AacConfig
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, CodecConfig, Kind
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import AAC_ID, OPUS_ID, Reason, Tracks

log = logging.getLogger(__name__)

MICROSECOND = Fraction(1, 1_000_000)
DECODERS: Mapping[Codec, str] = {
    Codec.AAC: "aac",
    Codec.OPUS: "opus",
    Codec.MP3: "mp3float",
    Codec.PCMA: "pcm_alaw",
    Codec.PCMU: "pcm_mulaw",
    Codec.L16: "pcm_s16be",
}
RAW = frozenset({Codec.PCMA, Codec.PCMU, Codec.L16})


def create(rest: str, options: Options) -> TranscodeSource:
    make = ENCODERS.get(rest)
    if make is None:
        known = " or ".join(f"transcode:{name}" for name in ENCODERS)
        raise SourceFault(Reason.SOURCE_INVALID, f"write {known}")
    return TranscodeSource(make, options)


class TranscodeSource:
    """Runs until the pipe ends."""

    def __init__(self, make: Callable[[Options], SoundEncoder], options: Options) -> None:
        self._make = make
        self._options = options

    def run(self, sink: Sink, commands: Commands) -> None:
        """Raises: SourceFault if this machine cannot encode it, or cannot decode what comes."""
        transcoder = Transcoder(self._encoder())
        sink.describe((transcoder.voice.track,))
        while True:
            event = commands.media.get()
            if isinstance(event, AccessUnit):
                for unit in transcoder.feed(event):
                    sink.write(unit)
            else:
                transcoder.describe(event)

    def _encoder(self) -> SoundEncoder:
        try:
            return self._make(self._options)
        except (ValueError, av.FFmpegError, PeerError) as error:
            raise SourceFault(Reason.ENCODER, f"libav cannot encode this sound: {error}") from None


class Transcoder:
    """`describe` the sound, then `feed` its units."""

    def __init__(self, encoder: SoundEncoder) -> None:
        self.voice = Voice(encoder)
        self._decoder: Any = None

    def describe(self, tracks: Tracks) -> None:
        """Raises: SourceFault if there is no sound among them that can be decoded."""
        sound = next((track for track in tracks if track.kind is Kind.AUDIO), None)
        if sound is None:
            raise SourceFault(Reason.SOURCE_INVALID, "there is no sound to encode anew")
        try:
            self._decoder = open_decoder(sound.config)
        except (ValueError, av.FFmpegError) as error:
            text = f"libav cannot decode {sound.codec}: {error}"
            raise SourceFault(Reason.UNSUPPORTED, text) from None
        self.voice.cut()

    def feed(self, unit: AccessUnit) -> list[AccessUnit]:
        """What is complete now. What libav cannot decode, or make this sound of, is left out."""
        if self._decoder is None:
            return []
        if unit.discontinuity:
            self.voice.cut()
        units: list[AccessUnit] = []
        try:
            for frame in self._decode(unit):
                units += self.voice.feed_frame(frame, _heard_us(frame, unit))
        except (av.FFmpegError, ValueError) as error:
            log.debug("a unit is left out: %s", error)
            self.voice.cut()
        return units

    def _decode(self, unit: AccessUnit) -> list[av.AudioFrame]:
        packet = av.Packet(bytes(unit.parts[0]))
        packet.pts = packet.dts = unit.dts_us
        packet.time_base = MICROSECOND
        frames: list[av.AudioFrame] = self._decoder.decode(packet)
        return frames


def _heard_us(frame: av.AudioFrame, unit: AccessUnit) -> int:
    """When this frame begins, of those that the unit completed."""
    if frame.pts is None or frame.time_base is None:
        return unit.dts_us
    return int(frame.pts * frame.time_base * 1_000_000)


def open_decoder(config: CodecConfig) -> Any:
    """Raises: ValueError if this libav has none, av.FFmpegError if it does not like it."""
    if config.codec not in DECODERS:
        raise ValueError("of no use here")
    decoder: Any = av.AudioCodecContext.create(DECODERS[config.codec], "r")
    known: Any = config
    if config.codec in RAW:
        decoder.sample_rate = known.sample_rate_hz
        decoder.layout = LAYOUTS[known.channels]
    elif isinstance(config, AacConfig):
        decoder.extradata = config.asc
    elif isinstance(config, OpusConfig):
        decoder.extradata = config.to_opus_head()
    decoder.open()
    return decoder


LAYOUTS = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}  # fmt: skip
ENCODERS: Mapping[str, Callable[[Options], SoundEncoder]] = {
    "aac": lambda options: AacEncoder(
        AAC_ID,
        options.audio_rate_hz,
        options.audio_channels,
        bitrate_bps=options.audio_bitrate_bps,
    ),
    "opus": lambda options: OpusEncoder(
        OPUS_ID, options.audio_channels, bitrate_bps=options.audio_bitrate_bps
    ),
}
