"""Settings: what is refused, what changes while people play, and the ports that they mean."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from appliance.errors import ConfigError, LimitExceeded
from appliance.hub.access import Access
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.media.track import Kind
from appliance.net.http import Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context
from appliance.services.rtsp import Settings, create
from appliance.services.rtsp.ports import MediaPorts
from appliance.services.rtsp.settings import check_groups
from appliance.services.rtsp.viewing import wanted_kinds

SETTINGS = Settings(listen=("127.0.0.1:0",))


def make_context() -> Context:
    return Context(
        hub=Hub(),
        router=Router(),
        access=Access(),
        sessions=Sessions(),
        faults=Faults(),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name="porthole",
        streams=(),
    )


def ignore(proto: str, what: str, detail: str) -> None:
    """Nobody counts faults here."""


@pytest.mark.parametrize("text", ["192.168.1.0/24", "239.1.2.3/8", "groups", "ff02::/16"])
def test_network_that_has_no_groups_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="239"):
        check_groups(text)


def test_networks_of_groups_are_taken() -> None:
    for text in ("", "239.255.42.0/24", "239.1.2.3"):
        check_groups(text)


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({}, {Kind.VIDEO, Kind.AUDIO}),
        ({"key": "k"}, {Kind.VIDEO, Kind.AUDIO}),
        ({"video": ""}, {Kind.VIDEO}),
        ({"audio": "1"}, {Kind.AUDIO}),
        ({"audio": "0"}, {Kind.VIDEO}),
        ({"video": "off"}, {Kind.AUDIO}),
        ({"video": "", "audio": ""}, {Kind.VIDEO, Kind.AUDIO}),
        ({"video": "no", "audio": "0"}, set()),
    ],
)
def test_selection_reads_what_players_write(query: dict[str, str], kinds: set[Kind]) -> None:
    assert wanted_kinds(query) == kinds


async def test_reload_tells_what_waits_for_a_restart() -> None:
    service = create(SETTINGS, make_context())
    await service.start()
    try:
        assert service.reload(replace(SETTINGS, stall_us=2_000_000), ()) == []
        moved = replace(SETTINGS, listen=("127.0.0.1:1",), udp=False)
        for _ in range(2):
            assert service.reload(moved, ()) == ["rtsp.listen", "rtsp.udp"]
    finally:
        await service.stop()


async def test_ports_are_a_pair_of_which_the_first_is_even() -> None:
    ports = MediaPorts("127.0.0.1", 0, ignore)
    try:
        first, second = ports.pair
        assert (first % 2, second) == (0, first + 1)
        with pytest.raises(ConfigError, match=f"port {first} is taken"):
            MediaPorts("127.0.0.1", first, ignore)
    finally:
        ports.close()


async def test_ports_hear_only_those_who_were_told_of() -> None:
    heard: list[bytes] = []
    ports = MediaPorts("127.0.0.1", 0, ignore)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as known,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        for sock in (known, stranger):
            sock.bind(("127.0.0.1", 0))
        port = known.getsockname()[1]
        pair = port, port + 1
        ports.listen("127.0.0.1", pair, lambda data, now_us: heard.append(data), lambda *_: None)
        try:
            with pytest.raises(LimitExceeded):
                ports.listen("127.0.0.1", pair, lambda *_: None, lambda *_: None)
            stranger.sendto(b"stranger", ("127.0.0.1", ports.pair[0]))
            known.sendto(b"known", ("127.0.0.1", ports.pair[0]))
            ports._pumps[0]._receive_some()
            assert heard == [b"known"]
            ports.forget("127.0.0.1", pair)
            known.sendto(b"again", ("127.0.0.1", ports.pair[0]))
            ports._pumps[0]._receive_some()
            assert heard == [b"known"]
        finally:
            ports.close()


async def test_media_goes_to_the_address_of_the_connection() -> None:
    ports = MediaPorts("127.0.0.1", 0, ignore)
    try:
        assert ports.address(("::ffff:192.0.2.7", 9, 0, 0), 5000) == ("192.0.2.7", 5000)
        assert ports.address(("192.0.2.7", 9), 5000) == ("192.0.2.7", 5000)
    finally:
        ports.close()
