"""Which sound devices of this machine record, and which of them "auto" takes."""

from __future__ import annotations

from ctypes import byref, c_int, c_void_p
from dataclasses import dataclass
from pathlib import Path

from appliance.capture.microphone.libasound import Record, libasound

STREAM_CAPTURE = 1
MAX_CARDS, MAX_DEVICES = 32, 32  # ALSA's own number of cards; against a driver that never ends
SYSFS = Path("/sys")


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """name: what to write as audio.device; it stays when cards are numbered anew.

    label: what a person calls it. of_camera: the card belongs to a USB device that is a camera.
    """

    name: str
    label: str
    card: int
    device: int
    of_camera: bool


def list_devices(sysfs: Path = SYSFS) -> list[SoundDevice]:
    """All that record, by number of card and device.

    Raises: AlsaFault if this machine has no libasound.
    """
    library, card, found = libasound(), c_int(-1), []
    for _ in range(MAX_CARDS):
        if library.snd_card_next(byref(card)) < 0 or card.value < 0:
            break
        found += _devices_of(card.value, sysfs)
    return found


def choose_device(found: list[SoundDevice], beside: str = "", sysfs: Path = SYSFS) -> str:
    """The name of the one "auto" means; "" if there is none.

    That of the camera itself, then of any camera, then the first. beside: the camera's video node
    (/dev/video0).
    """
    own = usb_device(sysfs / "class/video4linux" / Path(beside).resolve().name) if beside else None
    ranked = sorted(
        found,
        key=lambda device: (
            own is None or usb_device(sysfs / f"class/sound/card{device.card}") != own,
            not device.of_camera,
        ),
    )
    return ranked[0].name if ranked else ""


def usb_device(entry: Path) -> Path | None:
    """The USB device (not its interface) an entry of /sys/class belongs to."""
    interface = (entry / "device").resolve()
    is_interface = (interface / "bInterfaceNumber").exists()
    return interface.parent if is_interface else None


def is_of_camera(card: int, sysfs: Path = SYSFS) -> bool:
    """Whether the card is part of a USB device that has a video interface, too."""
    usb = usb_device(sysfs / f"class/sound/card{card}")
    return usb is not None and any(usb.glob("*/video4linux"))


def _devices_of(card: int, sysfs: Path) -> list[SoundDevice]:
    library, control = libasound(), c_void_p()
    if library.snd_ctl_open(byref(control), f"hw:{card}".encode(), 0) < 0:
        return []  # just unplugged
    try:
        card_info = Record("snd_ctl_card_info")
        if library.snd_ctl_card_info(control, card_info.pointer) < 0:
            return []
        card_id = _text(library.snd_ctl_card_info_get_id(card_info.pointer))
        card_name = _text(library.snd_ctl_card_info_get_name(card_info.pointer))
        of_camera = is_of_camera(card, sysfs)
        return [
            SoundDevice(
                f"hw:CARD={card_id},DEV={number}", f"{card_name}: {label}", card, number, of_camera
            )
            for number, label in _capturing(control)
        ]
    finally:
        library.snd_ctl_close(control)


def _capturing(control: c_void_p) -> list[tuple[int, str]]:
    """Number and label of each device of a card that records."""
    library, info, number, found = libasound(), Record("snd_pcm_info"), c_int(-1), []
    for _ in range(MAX_DEVICES):
        if library.snd_ctl_pcm_next_device(control, byref(number)) < 0 or number.value < 0:
            break
        library.snd_pcm_info_set_device(info.pointer, number.value)
        library.snd_pcm_info_set_subdevice(info.pointer, 0)
        library.snd_pcm_info_set_stream(info.pointer, STREAM_CAPTURE)
        if library.snd_ctl_pcm_info(control, info.pointer) >= 0:
            found.append((number.value, _text(library.snd_pcm_info_get_name(info.pointer))))
    return found


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")
