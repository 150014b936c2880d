"""``python -m appliance.capture.cameras``: one JSON document of the cameras and microphones here.

The child of `porthole cameras`: asking drivers may hang, and picamera2 is not for a server to
load. What cannot be asked is told in `notes`, with what to do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.capture.fault import SourceFault
from appliance.capture.program import die_with_parent, take_output
from appliance.capture.v4l2.device import Wanted
from appliance.capture.v4l2.faults import explain
from appliance.capture.v4l2.formats import BY_FOURCC, PREFERENCE, name_of
from appliance.capture.v4l2.kernel import KernelDevice
from appliance.capture.v4l2.negotiation import NothingUsable, choose
from appliance.capture.v4l2.places import Found, is_usable, survey
from appliance.errors import ApplianceError

MAX_SHOWN = 64  # cameras or microphones; against a document that grows with what is plugged in


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m appliance.capture.cameras")
    parser.add_argument("--width", type=int, default=Wanted().width)
    parser.add_argument("--height", type=int, default=Wanted().height)
    parser.add_argument("--fps", type=int, default=Wanted().fps)
    parser.add_argument("--parent", type=int, default=0)
    asked = parser.parse_args(arguments)
    output = os.fdopen(take_output(), "w", encoding="utf-8")
    die_with_parent(asked.parent)
    document = list_all(Wanted(asked.width, asked.height, asked.fps))
    output.write(json.dumps(document) + "\n")
    output.flush()
    return 0


def list_all(wanted: Wanted) -> dict[str, Any]:
    """wanted: for what "would be used" is worked out."""
    notes: list[str] = []
    found = survey(KernelDevice, wanted)
    modules = list_modules(notes)
    return {
        "wanted": {"width": wanted.width, "height": wanted.height, "fps": wanted.fps},
        "cameras": [describe_found(each, wanted) for each in found[:MAX_SHOWN]],
        "auto": next((each.place.name for each in found if is_usable(each)), None),
        "modules": modules[:MAX_SHOWN],
        "microphones": list_microphones(notes)[:MAX_SHOWN],
        "notes": notes,
    }


def describe_found(found: Found, wanted: Wanted) -> dict[str, Any]:
    """A V4L2 device. source: what to write in the configuration, if it can be used."""
    place, capability = found.place, found.capability
    document: dict[str, Any] = {
        "device": place.name,
        "node": place.node,
        "name": capability.card if capability else "",
        "driver": capability.driver if capability else "",
        "bus": capability.bus if capability else "",
        "is_camera": capability is None or capability.is_camera,
        "formats": [
            {
                "fourcc": offer.fourcc,
                "name": name_of(offer.fourcc),
                "sizes": [
                    {
                        "width": mode.width,
                        "height": mode.height,
                        "rates": [round(float(rate), 3) for rate in mode.rates_hz],
                    }
                    for mode in offer.modes
                ],
            }
            for offer in sorted(
                (offer for offer in found.offers if offer.fourcc in BY_FOURCC),
                key=lambda offer: PREFERENCE[offer.fourcc],
            )
        ],
        "others": [offer.fourcc for offer in found.offers if offer.fourcc not in BY_FOURCC],
    }
    return document | _use(found, wanted)


def _use(found: Found, wanted: Wanted) -> dict[str, str | None]:
    if found.error is not None:
        return {"source": None, "why": str(explain(found.place.node, found.error))}
    try:
        choice = choose(found.offers, wanted)
    except NothingUsable as error:
        return {"source": None, "why": str(error)}
    if found.capability is not None and not found.capability.is_camera:
        why = "it works on other devices' pictures; a camera module is used through picamera2:0"
        return {"source": None, "why": why}
    return {"source": f"v4l2:{found.place.name}", "why": choice.why}


def list_modules(notes: list[str]) -> list[dict[str, Any]]:
    """Cameras of the system's picamera2, if it is installed."""
    from appliance.capture.picamera import system

    try:
        picamera2 = system.load().picamera2
    except SourceFault as fault:
        notes.append(f"camera modules: {fault}")
        return []
    try:
        found = picamera2.global_camera_info()
    except Exception as error:  # of libcamera's and its bindings' own kinds
        notes.append(f"camera modules: libcamera cannot list them: {error}")
        return []
    return [describe_module(number, camera) for number, camera in enumerate(found)]


def describe_module(number: int, camera: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `Picamera2.global_camera_info()`; USB cameras are in it, too."""
    identity = str(camera.get("Id", ""))
    return {
        "source": f"picamera2:{number}",
        "name": str(camera.get("Model", "")),
        "id": identity,
        "is_usb": "usb" in identity.lower(),
    }


def list_microphones(notes: list[str]) -> list[dict[str, Any]]:
    from appliance.capture.microphone.devices import list_devices

    try:
        found = list_devices()
    except ApplianceError as error:
        notes.append(f"microphones: {error}")
        return []
    return [
        {"device": device.name, "name": device.label, "of_camera": device.of_camera}
        for device in found
    ]


if __name__ == "__main__":
    sys.exit(main())
