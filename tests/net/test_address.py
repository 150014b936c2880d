"""Addresses to listen on."""

from __future__ import annotations

import socket

import pytest

from appliance.errors import ConfigError
from appliance.net.address import (
    bind_udp,
    format_address,
    listen_tcp,
    parse_address,
    peer_address,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8080", ("", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("localhost:1", ("localhost", 1)),
    ],
)
def test_address_text_is_parsed(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "8080", "host", ":", "a:b", ":65536", ":-1", ":8080x", "::1:80", ":١٢", ": 80"]
)
def test_address_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        parse_address(text)


def test_address_peer_of_dual_stack_socket_is_plain_ipv4() -> None:
    assert peer_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert peer_address("fe80::1%eth0") == "fe80::1"
    assert peer_address("::ffff:0:1") == "::ffff:0:1"


def test_listen_any_takes_both_families_on_one_port() -> None:
    (listener,) = listen_tcp(":0")
    with listener:
        port = listener.getsockname()[1]
        assert format_address(listener.getsockname()) == f"[::]:{port}"
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


def test_listen_any_without_ipv6_takes_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without_ipv6(family: int, *args: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", without_ipv6)
    (listener,) = listen_tcp(":0")
    with listener:
        assert listener.family == socket.AF_INET


def test_listen_host_name_binds_each_of_its_addresses() -> None:
    listeners = listen_tcp("localhost:0")
    assert listeners
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize("make", [listen_tcp, bind_udp])
def test_listen_taken_port_names_who_has_it(make: object) -> None:
    (holder,) = make("127.0.0.1:0")  # type: ignore[operator]
    with holder:
        port = holder.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"port {port} is taken by \S+ \(process \d+\); stop"
        ):
            make(f"127.0.0.1:{port}")  # type: ignore[operator]


def test_listen_address_of_another_device_says_so() -> None:
    with pytest.raises(ConfigError, match="does not have that address"):
        listen_tcp("192.0.2.1:0")


def test_listen_unknown_name_says_so() -> None:
    with pytest.raises(ConfigError, match="no-such-host.invalid"):
        listen_tcp("no-such-host.invalid:0")
