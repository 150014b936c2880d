"""A camera opened as the stream's settings want it: format chosen, controls set, then streaming."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from appliance.capture.fault import SourceFault
from appliance.capture.options import Options
from appliance.capture.v4l2.codec_controls import CodecControls
from appliance.capture.v4l2.controls import DeviceControls
from appliance.capture.v4l2.device import Device, Shape, Wanted
from appliance.capture.v4l2.formats import BY_FOURCC, Kind, name_of
from appliance.capture.v4l2.negotiation import (
    Choice,
    Encoding,
    NothingUsable,
    choose,
    show_rate,
)
from appliance.capture.v4l2.places import Opener, Place
from appliance.wire.pipe.messages import Reason


@dataclass(slots=True)
class OpenedCamera:
    """shape: what is expected until `start`, what the camera really gives from then on.

    turned_deg: how far the camera turns its pictures itself. refusals: settings that it did not
    take, as sentences.
    """

    place: Place
    device: Device
    choice: Choice
    shape: Shape
    controls: DeviceControls
    codec: CodecControls
    turned_deg: int = 0
    refusals: list[str] = field(default_factory=list)

    @property
    def rate_hz(self) -> Fraction:
        return self.shape.rate_hz or self.choice.rate_hz

    def start(self) -> None:
        """Raises: OSError; SourceFault if it gives another format than it offered."""
        choice = self.choice
        self.shape = self.device.start(choice.fourcc, choice.width, choice.height, choice.rate_hz)
        given = BY_FOURCC.get(self.shape.fourcc)
        if given is None or given.kind is not choice.kind:
            raise SourceFault(
                Reason.UNSUPPORTED,
                f"{self.place.name} gives {name_of(self.shape.fourcc)} although it offered "
                f"{name_of(choice.fourcc)}",
            )

    def describe(self) -> dict[str, Any]:
        """Its part of the worker's state."""
        shape = self.shape
        return {
            "device": self.place.name,
            "name": self.device.capability.card,
            "driver": self.device.capability.driver,
            "format": f"{name_of(shape.fourcc)} {shape.width}x{shape.height} "
            f"at {show_rate(self.rate_hz)}",
            "why": "; ".join([self.choice.why, *self.refusals]),
        }


def wanted_of(options: Options) -> Wanted:
    return Wanted(options.width, options.height, options.fps)


def encoding_of(options: Options, *, turned_deg: int = 0) -> Encoding:
    """Whether the camera's own H.264 may be used with these settings.

    Raises: SourceFault if it must be, although there is something to hide.
    """
    if options.encoder == "camera":
        if options.masks:
            raise SourceFault(
                Reason.SOURCE_INVALID,
                'encoder = "camera" cannot hide what is masked; set encoder = "auto"',
            )
        return Encoding(is_forced=True)
    reasons = []
    if options.masks:
        reasons.append("masks")
    if options.overlay.shown:
        reasons.append("the overlay")
    if options.rotate == "picture" and (options.rotation - turned_deg) % 360:
        reasons.append("turning the picture")
    if options.encoder != "auto":
        reasons.append(f'encoder = "{options.encoder}"')
    return Encoding(" and ".join(reasons))


def open_camera(
    open_device: Opener, place: Place, options: Options, controls: dict[str, Any]
) -> OpenedCamera:
    """Ready to be started. controls: by name, what is wanted of them; kept by the caller.

    Raises: OSError as the kernel says it; SourceFault if the camera gives nothing we can use.
    """
    device = open_device(place.node)
    try:
        return _prepare(device, place, options, controls)
    except BaseException:
        device.close()
        raise


def _prepare(
    device: Device, place: Place, options: Options, controls: dict[str, Any]
) -> OpenedCamera:
    if not device.capability.can_capture:
        raise SourceFault(
            Reason.UNSUPPORTED,
            f"{place.name} ({device.capability.card}) is no camera: `porthole cameras` lists those "
            "there are",
        )
    codec = CodecControls(device)
    turns = codec.turn(options.rotation == 180)
    turned_deg = 180 if turns and options.rotation == 180 else 0
    wanted = wanted_of(options)
    try:
        choice = choose(device.offers(wanted), wanted, encoding_of(options, turned_deg=turned_deg))
    except NothingUsable as error:
        raise SourceFault(Reason.UNSUPPORTED, f"{place.name}: {error}") from None
    named = DeviceControls(device, controls)
    refusals = named.restore()
    if choice.kind is Kind.H264:
        codec.repeat_headers()
        codec.set_bitrate(options.bitrate_bps)
        codec.set_keyframe_us(options.keyframe_us, float(choice.rate_hz))
    shape = Shape(choice.fourcc, choice.width, choice.height, choice.rate_hz)
    return OpenedCamera(place, device, choice, shape, named, codec, turned_deg, refusals)
