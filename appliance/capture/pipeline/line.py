"""What every source with raw pictures feeds: shaped, drawn on, encoded, and all that goes with it.

Theory of operation, per picture: is it due at the rate there is now; shape it (shaping.py); scale
the smaller stream's from it, if that is wanted; write the words on it and encode it; encode the
smaller one; hand it to the makers of stills. The time all this takes is the governor's measure.
Commands are looked at between pictures, so nothing changes in the middle of one.
"""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import Any

import av

from appliance.capture.board import Board, read_board
from appliance.capture.clock import WallClock, monotonic_us
from appliance.capture.commands import Commands
from appliance.capture.encoders.choosing import reason_for
from appliance.capture.encoders.governor import Governor, Move
from appliance.capture.fault import ChangeRefused
from appliance.capture.options import Options
from appliance.capture.outlet import Sink
from appliance.capture.picture.frames import copy_of
from appliance.capture.pipeline.changes import Controls, Wishes
from appliance.capture.pipeline.console import Console
from appliance.capture.pipeline.encoding import Coding, Encoding, Words
from appliance.capture.pipeline.pace import Pace, RateMeter
from appliance.capture.pipeline.second import SecondStream
from appliance.capture.pipeline.shaping import Shaped, Shaper
from appliance.capture.pipeline.stills import StillDesk, View
from appliance.capture.pipeline.tracks import TrackTable
from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.pipe.messages import VIDEO_ID, Rung

log = logging.getLogger(__name__)

LATE_US = 400_000  # from here on pictures are left out, until a quarter of it
MAX_DROPS = 30  # in a row; then the stamps are wrong, or this is as fast as it gets


class Pipeline:
    """options: `fps` is the rate at which the source really delivers, if that is known.

    turned_deg: how far the camera turned its pictures itself already.
    awaits_audio: the source will call `set_audio_track`, also to say that there is none.
    """

    def __init__(
        self,
        options: Options,
        sink: Sink,
        commands: Commands,
        *,
        turned_deg: int = 0,
        awaits_audio: bool = False,
        board: Board | None = None,
    ) -> None:
        board = board or read_board()
        self._options = options
        self._sink = sink
        self._commands = commands
        self._fps = min(options.pace, options.fps) or options.fps
        self._words = Words.of(options.overlay, options.device)
        self._shaper = Shaper(options, turned_deg=turned_deg)
        self._encoding = Encoding(_coding(options, board, self._shaper.rotation_deg), self._words)
        self._second: SecondStream | None = None
        if options.sub is not None:
            self._second = SecondStream(
                options.sub, options, self._words, self._shaper.rotation_deg
            )
        self._board = board
        self._governor = Governor(self._fps, enabled=options.adapt)
        self._encoder_name = ""
        self._pace = Pace(self._fps)
        self._meter = RateMeter()
        self._tracks = TrackTable(sink, awaits_audio=awaits_audio)
        self._desk = StillDesk(sink)
        self._clock = WallClock()
        self._console = Console(
            sink, commands, self._desk, max_fps=options.fps,
            check=self._check, apply=self._apply, figures=self._figures,
        )  # fmt: skip
        self._is_behind = False
        self._drops = 0
        self._key_wanted = False

    # -- pictures ------------------------------------------------------------------------------

    def is_due(self, time_us: int) -> bool:
        """Whether the picture of this time would be taken: asked first, a source can spare itself
        to decode the others. Every picture that comes must be asked about, or fed."""
        return self._pace.is_due(time_us)

    def feed(
        self, frame: av.VideoFrame, time_us: int, *, keep: bool = False, spent_us: int = 0
    ) -> None:
        """One picture, exposed at `time_us` of CLOCK_MONOTONIC.

        keep: the frame stays the caller's, who draws on it again; else it is given away.
        spent_us: how long it took to make it (decoding), for the governor.
        """
        began_us = monotonic_us()
        if not self._pace.is_due(time_us) or not self._tracks.is_ready(began_us):
            return
        if self._is_late(began_us - time_us):
            self._sink.drop(1)
            return
        self._clock.follow()
        key = self._commands.take_keyframe() or self._key_wanted
        self._key_wanted = False
        shaped = self._shaper.shape(frame, keep=keep)
        second = None if self._second is None else self._second.take(shaped.frame, time_us)
        self._encode(shaped, second, time_us, key=key)
        if self._desk.is_wanted:
            self._desk.offer(lambda: self._view(shaped, time_us))
        now_us = monotonic_us()
        self._meter.note(time_us)
        move = self._governor.note(now_us, now_us - began_us + spent_us)
        if move is not None:
            self._follow(move)

    def _encode(self, shaped: Shaped, second: Shaped | None, time_us: int, *, key: bool) -> None:
        unix_us = self._clock.unix_us(time_us)
        was_open = self._encoding.encoder is not None
        units = self._encoding.encode(shaped, time_us, unix_us, key=key)
        if was_open or not self._begin(shaped.frame):
            self._tracks.write(units)
        if second is not None and self._second is not None:
            self._tracks.write(self._second.encode(second, time_us, unix_us, key=key))

    def _is_late(self, late_us: int) -> bool:
        """Whether so much has piled up that pictures are left out until it is worked off."""
        self._is_behind = late_us > (LATE_US // 4 if self._is_behind else LATE_US)
        if self._is_behind and self._drops < MAX_DROPS and self._encoding.encoder is not None:
            self._drops += 1
            return True
        self._drops = 0
        return False

    def _view(self, shaped: Shaped, time_us: int) -> View:
        frame = shaped.frame if shaped.is_ours else copy_of(shaped.frame)
        sub_width = self._second.width if self._second is not None else 0
        return View(frame, time_us, self._shaper.rotation_deg, sub_width)

    # -- keeping up ----------------------------------------------------------------------------

    def _begin(self, frame: av.VideoFrame) -> bool:
        """An encoder was opened: on a board known to be too slow for it, begin lower.

        True if what it made is not for viewers, as it goes on in another size.
        """
        self._console.changed()
        encoder = self._encoding.encoder
        if encoder is None or encoder.name == self._encoder_name:
            return False
        self._encoder_name = encoder.name
        profile = self._board.profile
        if encoder.name != "libx264" or profile is None or not self._options.adapt:
            return False
        step = profile.step_for(frame.width, frame.height, self._fps)
        if step is None:
            return False
        reason = f"a {self._board.name} encodes {profile} in software"
        self._governor = Governor(self._fps, start=step)
        self._governor.reason = reason
        self._follow(Move(step, reason))
        return True

    def _follow(self, move: Move) -> None:
        step, governor = move.step, self._governor
        level, change = (logging.INFO, "more") if move.is_up else (logging.WARNING, "fewer")
        log.log(
            level, "encodes %s than before, %d pictures/s at %d %% of the size (step %d of %d): %s",
            change, step.fps, step.scale * 100, governor.position, governor.last_position,
            move.reason,
        )  # fmt: skip
        self._set_rate()
        self._shaper.scale = step.scale
        self._console.changed()

    def _set_rate(self) -> None:
        fps = min(self._fps, self._governor.step.fps)
        self._pace.set_fps(fps)
        self._encoding.set_pace(fps)

    # -- commands ------------------------------------------------------------------------------

    def obey(self) -> Rung | None:
        """Do what the appliance asks for. Once per picture, and twice a second without pictures.

        What it returns is for the source to do: Rung.CAMERA, close the device and open it again.
        """
        bitrate_bps = self._commands.take_bitrate_bps()
        if bitrate_bps is not None:
            self._encoding.set_bitrate(bitrate_bps)
            self._console.changed()
        rung = self._console.obey()
        if rung is None:
            return None
        log.warning("the appliance has the %s restarted", rung.name.lower())
        self._encoding.close()
        if self._second is not None:
            self._second.restart()
        self._governor.forget()
        return None if rung is Rung.ENCODER else rung

    def _check(self, wishes: Wishes) -> None:
        if wishes.sub and self._second is None:
            raise ChangeRefused("sub: this camera has no second stream in the configuration")

    def _apply(self, wishes: Wishes) -> None:
        if wishes.bitrate_bps is not None:
            self._encoding.set_bitrate(wishes.bitrate_bps)
        if wishes.keyframe_us is not None:
            self._encoding.set_keyframe_us(wishes.keyframe_us)
        if wishes.fps is not None and wishes.fps != self._fps:
            self._fps = wishes.fps
            self._governor.set_fps(wishes.fps)
            self._shaper.scale = self._governor.step.scale
            self._set_rate()
        if wishes.text is not None:
            self._words.text = wishes.text
        if wishes.shown is not None:
            self._words.shown = wishes.shown
        if wishes.sub is not None and self._second is not None:
            self._second.set_wanted(wishes.sub)

    # -- the rest of the source ----------------------------------------------------------------

    def set_device(self, document: dict[str, Any], controls: Controls | None = None) -> None:
        """What State shall say of the device; again when that changes."""
        self._console.set_device(document, controls)

    def set_audio_track(self, track: Track | None) -> None:
        """From any thread. None: there is no sound, for the time being."""
        self._tracks.set_audio(track)

    def write_audio(self, units: list[AccessUnit]) -> None:
        """From any thread; what comes before the first picture is left out."""
        self._tracks.write(units)

    @property
    def has_begun(self) -> bool:
        """Whether the first picture was encoded."""
        return self._tracks.has_video

    def _figures(self, now_us: int) -> dict[str, Any]:
        governor, encoder, coding = self._governor, self._encoding.encoder, self._encoding.coding
        width, height = self._encoding.size
        figures: dict[str, Any] = {
            "fps": min(self._fps, governor.step.fps),
            "measured_fps": self._meter.fps(now_us),
            "bitrate_bps": coding.bitrate_bps,
            "keyframe_us": coding.keyframe_us,
            "rotation": self._options.rotation,
            "encode_ms_p95": round(governor.p95_us() / 1000, 1),
            "ladder": {
                "step": governor.position, "of": governor.last_position, "reason": governor.reason,
            },
            "overlay": {"shown": self._words.shown, "text": self._words.text},
            "masks": self._shaper.masks,
        }  # fmt: skip
        if encoder is not None:
            figures |= {
                "encoder": encoder.name, "threads": encoder.threads,
                "width": width, "height": height,
                "why": reason_for(self._options.encoder, encoder.name),
            }  # fmt: skip
        if self._second is not None:
            figures["sub"] = self._second.figures()
        return figures


def _coding(options: Options, board: Board, rotation_deg: int) -> Coding:
    pace = min(options.pace, options.fps) or options.fps
    return Coding(
        VIDEO_ID, options.encoder, Fraction(options.fps), pace, options.bitrate_bps,
        options.keyframe_us, options.threads or board.max_threads, board.preset, rotation_deg,
    )  # fmt: skip
