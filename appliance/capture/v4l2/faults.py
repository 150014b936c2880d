"""The kernel's refusals as sentences that say what to do."""

from __future__ import annotations

import errno
import os
import pwd
from pathlib import Path

from appliance.capture.fault import SourceFault
from appliance.wire.pipe.messages import Reason

# What the calls answer once the camera was unplugged or its driver unbound.
LOST = frozenset({errno.ENODEV, errno.ENXIO, errno.ESHUTDOWN, errno.EPROTO})
MAX_HOLDERS = 3


def explain(path: str, error: OSError) -> SourceFault:
    """What opening or starting the camera at `path` failed by."""
    match error.errno:
        case errno.ENOENT:
            return _missing(path)
        case number if number in LOST:
            return SourceFault(Reason.SOURCE_LOST, f"{path} was unplugged: plug it in again")
        case errno.EACCES | errno.EPERM:
            return SourceFault(
                Reason.CANNOT_OPEN,
                f"{path} may not be opened: {describe_permission()}",
            )
        case errno.EBUSY:
            return SourceFault(
                Reason.CANNOT_OPEN,
                f"{path} is used by {describe_holders(path)}: end that, or give this stream "
                "another camera",
            )
        case errno.ENOSPC:
            return SourceFault(
                Reason.CANNOT_OPEN,
                f"{path}: the USB bus has no bandwidth left for it: use a smaller size or rate, "
                "or plug it into another port than the other cameras",
            )
        case errno.ENOTTY | errno.EINVAL | errno.ENODATA:
            return SourceFault(
                Reason.UNSUPPORTED,
                f"{path} does not stream as a camera does: `porthole cameras` lists those that do",
            )
        case errno.EPIPE | errno.ENOLINK:
            return SourceFault(
                Reason.UNSUPPORTED,
                f"{path} is a part of a camera whose other parts are not set up: a camera module "
                "is used through picamera2:0",
            )
        case errno.EIO:
            return SourceFault(
                Reason.CANNOT_OPEN,
                f"{path} does not answer: unplug it and plug it in again, and check its cable "
                "and power supply",
            )
    words = error.strerror or type(error).__name__
    return SourceFault(Reason.CANNOT_OPEN, f"{path} cannot be used: {words}")


def describe_permission() -> str:
    """What lets this process open cameras."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user without a name
        user = str(os.geteuid())
    return f"let the user {user} into the group video (usermod -aG video {user}), then start again"


def _missing(path: str) -> SourceFault:
    return SourceFault(
        Reason.SOURCE_MISSING,
        f"{path} does not exist: plug the camera in; `porthole cameras` lists what is there",
    )


def describe_holders(path: str, proc: Path = Path("/proc")) -> str:
    """The programs that have the device open, as far as this user may see them."""
    wanted = os.path.realpath(path)
    found = []
    for process in sorted(proc.glob("[0-9]*")):
        if process.name != str(os.getpid()) and _holds(process, wanted):
            try:
                name = (process / "comm").read_text().strip()
            except OSError:
                name = "a program"
            found.append(f"{name} (process {process.name})")
            if len(found) == MAX_HOLDERS:
                break
    return ", ".join(found) or "another program"


def _holds(process: Path, wanted: str) -> bool:
    try:
        return any(str(link.readlink()) == wanted for link in (process / "fd").iterdir())
    except OSError:  # it ended, or is another user's
        return False
