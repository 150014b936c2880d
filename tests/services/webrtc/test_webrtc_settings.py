"""What can be configured, and what a reload may change."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from webrtc_site import LISTEN, webrtc_site

from appliance.errors import ConfigError
from appliance.services.webrtc import Settings
from appliance.services.webrtc.settings import check_candidates


def test_candidates_are_addresses_and_no_names() -> None:
    check_candidates(("192.0.2.1", "2001:db8::1", "[2001:db8::1]"))
    with pytest.raises(ConfigError, match="no IP address"):
        check_candidates(("192.0.2.1", "camera.example"))


async def test_configured_candidates_are_told_to_everybody() -> None:
    settings = Settings(listen=LISTEN, candidates=("192.0.2.1", "[2001:db8::1]"))
    async with webrtc_site(settings) as site:
        site.publish().write(3)
        _, text, _ = await site.offer()
        for address in ("192.0.2.1", "2001:db8::1", "127.0.0.1"):
            assert f" {address} " in text


async def test_port_that_is_taken_is_told_by_its_key() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=r"webrtc\.listen = .* is taken by"):
            async with webrtc_site(Settings(listen=(address,))):
                pass


async def test_without_tcp_nobody_is_told_of_it() -> None:
    async with webrtc_site(Settings(listen=LISTEN, tcp=False)) as site:
        site.publish().write(3)
        _, text, _ = await site.offer()
        assert " udp " in text
        assert " tcp " not in text


async def test_without_a_port_there_is_nothing() -> None:
    async with webrtc_site(Settings()) as site:
        assert (await site.offer())[0] in {404, 405}


async def test_reload_tells_what_needs_a_restart() -> None:
    async with webrtc_site() as site:
        before = site.service.settings
        assert site.service.reload(replace(before, public=True), ()) == []
        assert site.service.settings.public
        changed = replace(before, listen=(":1",), sessions=3)
        assert site.service.reload(changed, ()) == ["webrtc.listen", "webrtc.sessions"]
        assert site.service.settings.listen == LISTEN
