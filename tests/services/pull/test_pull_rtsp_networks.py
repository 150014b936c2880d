"""A camera on the other side of a cable that is pulled, with viewers who do not go away."""

from __future__ import annotations

from pathlib import Path

import pytest
from two_networks import in_two_networks

PROGRAM = Path(__file__).with_name("rtsp_networks.py")
PROGRAM_OF_PRODUCT = Path(__file__).with_name("camera_networks.py")


@pytest.mark.parametrize(
    ("what", "transport"),
    [("unplugged", "tcp"), ("unplugged", "udp"), ("moved", "tcp"), ("rebooted", "udp")],
)
def test_viewers_stay_whatever_happens_to_the_network(what: str, transport: str) -> None:
    in_two_networks(PROGRAM, what, transport)


def test_cable_that_is_back_soon_costs_nothing_by_tcp() -> None:
    in_two_networks(PROGRAM, "blinked", "tcp")


def test_group_is_joined_on_the_camera_s_side() -> None:
    in_two_networks(PROGRAM, "multicast", "")


def test_media_by_udp_come_through_a_firewall() -> None:
    in_two_networks(PROGRAM, "punched", "")


@pytest.mark.parametrize(
    ("what", "transport"),
    [
        ("moved", "tcp"),
        ("rebooted", "udp"),
        ("grouped", "multicast"),
        ("by_six", "tcp"),
        ("by_six", "udp"),
    ],
)
def test_player_of_a_camera_elsewhere_goes_on(what: str, transport: str) -> None:
    """The camera is GStreamer's, the player ffmpeg, and names are looked up by the system."""
    in_two_networks(PROGRAM_OF_PRODUCT, what, transport)
