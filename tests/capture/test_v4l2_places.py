"""How cameras are named, found again, and told from what is none."""

from __future__ import annotations

import errno
import os
from collections import deque
from pathlib import Path

import pytest
from scripted_camera import ScriptedDevice, Stage

from appliance.capture.v4l2.device import Capability
from appliance.capture.v4l2.faults import describe_holders, explain
from appliance.capture.v4l2.formats import is_bayer
from appliance.capture.v4l2.places import find_again, nodes, place_of, resolve
from appliance.wire.pipe.messages import Reason


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def make(path: str) -> ScriptedDevice:
    return ScriptedDevice(path, deque())


def test_nodes_are_by_number_and_nothing_else(stage: Stage) -> None:
    for name in ("video10", "video2", "video-cam", "videoX", "vbi0", "video1"):
        (stage.dev / name).touch()
    assert [Path(node).name for node in nodes(stage.dev)] == ["video1", "video2", "video10"]


def test_node_is_known_by_its_serial_number_rather_than_its_socket(stage: Stage) -> None:
    node = stage.plug("video0", make, by_id="usb-Cam_42-video-index0", by_path="pci-0-usb-0:1")
    place = place_of(node, stage.dev)
    assert place.links == (str(stage.dev / "v4l/by-id/usb-Cam_42-video-index0"),)
    assert place.name == place.links[0]


def test_node_without_serial_number_is_known_by_its_socket(stage: Stage) -> None:
    """Of two alike udev can give the by-id name to one only."""
    first = stage.plug("video0", make, by_id="usb-Cam-video-index0", by_path="pci-0-usb-0:1")
    second = stage.plug("video2", make, by_id="usb-Cam-video-index0", by_path="pci-0-usb-0:2")
    assert place_of(first, stage.dev).links == (str(stage.dev / "v4l/by-path/pci-0-usb-0:1"),)
    assert place_of(second, stage.dev).links[0].endswith("by-id/usb-Cam-video-index0")


def test_node_that_udev_does_not_know_is_known_by_itself(stage: Stage) -> None:
    node = stage.plug("video0", make)
    assert place_of(node, stage.dev).links == (node,)
    assert resolve(node, stage.dev).name == node


def test_camera_is_found_again_under_another_number(stage: Stage) -> None:
    node = stage.plug("video0", make, by_id="usb-Cam_42-video-index0")
    place = resolve(node, stage.dev)
    assert place.name == node  # as the configuration has it
    stage.unplug("video0")
    assert find_again(place) is None
    stage.plug("video0", make)  # somebody else
    assert find_again(place) is None
    moved = stage.plug("video4", make, by_id="usb-Cam_42-video-index0")
    found = find_again(place)
    assert found is not None
    assert (found.node, found.name) == (moved, node)


def test_camera_named_by_its_socket_is_whatever_is_in_there(stage: Stage) -> None:
    stage.plug("video0", make, by_id="usb-A", by_path="pci-0-usb-0:1")
    place = resolve(str(stage.dev / "v4l/by-path/pci-0-usb-0:1"), stage.dev)
    stage.unplug("video0")
    other = stage.plug("video1", make, by_id="usb-B", by_path="pci-0-usb-0:1")
    found = find_again(place)
    assert found is not None
    assert found.node == other


def test_links_in_a_circle_are_nobody(stage: Stage) -> None:
    stage.plug("video0", make, by_id="usb-A")
    place = place_of(str(stage.dev / "video0"), stage.dev)
    stage.unplug("video0")
    link = Path(place.links[0])
    link.symlink_to(link)
    assert find_again(place) is None


@pytest.mark.parametrize(
    ("driver", "flags", "captures", "camera"),
    [
        ("uvcvideo", 0x04200001, True, True),
        ("uvcvideo", 0x04A00000, False, False),  # metadata of the same camera
        ("bm2835 mmal", 0x05200005, True, True),  # with overlay
        ("bcm2835-codec", 0x04208000, False, False),
        ("hantro-vpu", 0x04204000, False, False),
        ("bcm2835-isp", 0x05200001, True, False),
        ("pispbe", 0x05201000, True, False),
        ("rp1-cfe", 0x25200001, True, False),
        ("imx-media-capture", 0x25200001, True, False),  # any that a media graph feeds
        ("vivid", 0x05231000, True, True),
        ("vivid", 0x05020002, False, False),  # output
        ("old", 0x01000001, False, False),  # read() only
    ],
)
def test_capability_tells_cameras_from_processors(
    driver: str, flags: int, captures: bool, camera: bool
) -> None:
    capability = Capability(driver, "card", "bus", flags)
    assert (capability.can_capture, capability.is_camera) == (captures, camera)


@pytest.mark.parametrize(
    ("fourcc", "expected"),
    [("RG10", True), ("pRAA", True), ("BA81", True), ("GRBG", True), ("BYR2", True),
     ("YUYV", False), ("BGR3", False), ("RGB3", False), ("RGBP", False), ("H264", False),
     ("HEVC", False)],
)  # fmt: skip
def test_bayer_is_known_by_its_fourcc(fourcc: str, expected: bool) -> None:
    assert is_bayer(fourcc) is expected


def test_holders_of_a_device_are_named(tmp_path: Path) -> None:
    device, proc = tmp_path / "video0", tmp_path / "proc"
    device.touch()
    for number, name, target in ((11, "motion", device), (12, "bash", tmp_path / "other")):
        (proc / str(number) / "fd").mkdir(parents=True)
        (proc / str(number) / "comm").write_text(f"{name}\n")
        (proc / str(number) / "fd" / "3").symlink_to(target)
    (proc / "13").mkdir()  # another user's
    assert describe_holders(str(device), proc) == "motion (process 11)"
    assert describe_holders(str(tmp_path / "video9"), proc) == "another program"


def test_holder_is_found_among_the_real_processes(tmp_path: Path) -> None:
    device = tmp_path / "video0"
    device.touch()
    with device.open():
        assert describe_holders(str(device)) == "another program"  # we ourselves hold it


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOENT, Reason.SOURCE_MISSING),
        (errno.ENODEV, Reason.SOURCE_LOST),
        (errno.EPROTO, Reason.SOURCE_LOST),
        (errno.EACCES, Reason.CANNOT_OPEN),
        (errno.EBUSY, Reason.CANNOT_OPEN),
        (errno.ENOTTY, Reason.UNSUPPORTED),
        (errno.EPIPE, Reason.UNSUPPORTED),
        (errno.EFAULT, Reason.CANNOT_OPEN),
    ],
)
def test_every_refusal_is_one_sentence_about_the_device(number: int, reason: Reason) -> None:
    fault = explain("/dev/video0", OSError(number, os.strerror(number)))
    assert fault.reason is reason
    assert str(fault).startswith("/dev/video0")
    assert "\n" not in str(fault)
    assert len(str(fault)) < 200
