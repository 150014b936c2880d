"""How far away addresses are, and where redirects may lead."""

from __future__ import annotations

import socket

import pytest

from appliance.errors import PeerError
from appliance.net.horizon import Distance, Horizon, distance

NEAR_TO_FAR = ("127.0.0.1", "169.254.169.254", "192.168.1.1", "93.184.216.34")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", Distance.DEVICE),
        ("127.9.9.9", Distance.DEVICE),
        ("::1", Distance.DEVICE),
        ("::ffff:127.0.0.1", Distance.DEVICE),
        ("0.0.0.0", Distance.DEVICE),  # noqa: S104 - connects to this device
        ("::", Distance.DEVICE),
        ("169.254.169.254", Distance.LINK),
        ("::ffff:169.254.169.254", Distance.LINK),
        ("fe80::1", Distance.LINK),
        ("fe80::1%eth0", Distance.LINK),
        ("10.0.0.1", Distance.NETWORK),
        ("172.31.255.255", Distance.NETWORK),
        ("192.168.1.1", Distance.NETWORK),
        ("100.64.0.1", Distance.NETWORK),
        ("fd00::1", Distance.NETWORK),
        ("93.184.216.34", Distance.WORLD),
        ("2606:2800:220:1::1", Distance.WORLD),
    ],
)
def test_distance_of_an_address(host: str, expected: Distance) -> None:
    assert distance(host) is expected


@pytest.mark.parametrize("first", NEAR_TO_FAR)
@pytest.mark.parametrize("second", NEAR_TO_FAR)
def test_redirect_leads_outwards_or_nowhere(first: str, second: str) -> None:
    horizon = Horizon()
    horizon.admit(first)
    horizon.admit(first)  # a name has several addresses
    horizon.move_on()
    if NEAR_TO_FAR.index(second) < NEAR_TO_FAR.index(first):
        with pytest.raises(PeerError, match="nearer"):
            horizon.admit(second)
        with pytest.raises(PermissionError, match="nearer"):
            horizon.make_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", (second, 80)))
    else:
        horizon.admit(second)
        horizon.make_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", (second, 80))).close()


def test_addresses_of_one_name_may_be_near_and_far() -> None:
    horizon = Horizon()
    for host in (NEAR_TO_FAR[3], NEAR_TO_FAR[0], NEAR_TO_FAR[3]):
        horizon.admit(host)
