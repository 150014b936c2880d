"""The device's addresses by netlink, beside what ip(8) says."""

from __future__ import annotations

import json
import subprocess

from appliance.net.interfaces import interface_addresses


def test_interface_addresses_are_those_that_ip_shows_as_reachable_by_others() -> None:
    told = subprocess.run(
        ["ip", "-json", "address"], check=True, capture_output=True, timeout=20
    ).stdout
    shown = [
        address["local"]
        for interface in json.loads(told)
        for address in interface["addr_info"]
        if address.get("scope") == "global"
        and not {"deprecated", "tentative", "dadfailed"} & address.keys()
    ]
    assert sorted(interface_addresses()) == sorted(set(shown))
