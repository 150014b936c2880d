"""Where cameras are: device nodes, the stable names udev gives them, and which one is meant.

/dev/video0 is another camera tomorrow. So a camera is remembered by the links in /dev/v4l/by-id
(its serial number) and /dev/v4l/by-path (its socket), however it was named first, and found again
by them after it was unplugged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.capture.fault import SourceFault
from appliance.capture.v4l2.device import Capability, Device, Offer, Wanted
from appliance.capture.v4l2.faults import describe_permission
from appliance.capture.v4l2.formats import BY_FOURCC
from appliance.wire.pipe.messages import Reason

DEV = Path("/dev")
AUTO = "auto"
MAX_NODES = 256  # the kernel's own bound (VIDEO_NUM_DEVICES)

Opener = Callable[[str], Device]


@dataclass(frozen=True, slots=True)
class Place:
    """name: how to call it in a configuration. links: where it will appear again; the node itself
    if udev gives it no names."""

    name: str
    node: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A camera that could be asked, or why not."""

    place: Place
    capability: Capability | None = None
    offers: tuple[Offer, ...] = ()
    error: OSError | None = None


def nodes(dev: Path = DEV) -> list[str]:
    """/dev/video0 and so on, by number."""
    found = [path for path in dev.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    found.sort(key=lambda path: int(path.name.removeprefix("video")))
    return [str(path) for path in found[:MAX_NODES]]


def place_of(node: str, dev: Path = DEV) -> Place:
    """By its serial number if it has one; by its socket if not: another camera in the same socket
    is another camera."""
    links = links_to(node, "by-id", dev) or links_to(node, "by-path", dev) or (node,)
    return Place(links[0], node, links)


def links_to(node: str, folder: str, dev: Path = DEV) -> tuple[str, ...]:
    """udev's names for this node, of a folder in /dev/v4l."""
    target = Path(node).resolve()
    links = sorted((dev / "v4l" / folder).glob("*"))
    return tuple(str(link) for link in links if link.resolve() == target)


def resolve(name: str, dev: Path = DEV) -> Place:
    """The camera a configuration names by its path. Raises: FileNotFoundError."""
    path = Path(name)
    node = str(path.resolve(strict=True))
    if path.is_symlink():
        return Place(name, node, (name,))
    return Place(name, node, place_of(node, dev).links)


def find_again(place: Place, dev: Path = DEV) -> Place | None:
    """The same camera, wherever it is now; None while it is away."""
    for link in place.links:
        try:
            node = str(Path(link).resolve(strict=True))
        except (OSError, RuntimeError):
            continue
        return Place(place.name, node, place.links)
    return None


def survey(open_device: Opener, wanted: Wanted, dev: Path = DEV) -> list[Found]:
    """Every node that captures pictures, or cannot be asked, the stable ones first in an order
    that stays the same: by socket, then by number."""
    found = [_ask(place_of(node, dev), open_device, wanted) for node in nodes(dev)]
    found = [each for each in found if each.capability is None or each.capability.can_capture]
    found.sort(key=lambda each: _order(each.place.node, dev))
    return found


def _order(node: str, dev: Path) -> tuple[bool, str, int]:
    sockets = links_to(node, "by-path", dev)
    number = int(re.sub(r"\D", "", Path(node).name) or 0)
    return (not sockets, sockets[0] if sockets else "", number)


def _ask(place: Place, open_device: Opener, wanted: Wanted) -> Found:
    try:
        device = open_device(place.node)
    except OSError as error:
        return Found(place, error=error)
    try:
        offers = tuple(device.offers(wanted)) if device.capability.can_capture else ()
        return Found(place, device.capability, offers)
    except OSError as error:
        return Found(place, device.capability, error=error)
    finally:
        device.close()


def is_usable(found: Found) -> bool:
    """Whether "auto" may take it: a camera with a format we read."""
    return (
        found.capability is not None
        and found.capability.is_camera
        and any(offer.fourcc in BY_FOURCC and offer.modes for offer in found.offers)
    )


def choose_auto(found: list[Found]) -> Place:
    """The first camera. Raises: SourceFault that says what to check."""
    for each in found:
        if is_usable(each):
            return each.place
    denied = [each for each in found if isinstance(each.error, PermissionError)]
    if denied:
        raise SourceFault(
            Reason.CANNOT_OPEN,
            f"{denied[0].place.node} may not be opened: {describe_permission()}",
        )
    raise SourceFault(
        Reason.SOURCE_MISSING,
        "no camera is found: plug one in, or name another source; for a Raspberry Pi camera "
        "module that is picamera2:0",
    )
