"""RTSP over HTTP: both halves, joined and misused."""

from __future__ import annotations

import base64

import pytest
from rtsp_pair import SDP, Pair, accept, make_client, make_server

from appliance.errors import PeerError
from appliance.wire.rtsp.client import Described
from appliance.wire.rtsp.message import MAX_HEAD_BYTES
from appliance.wire.rtsp.tunnel import (
    MAX_WAITING,
    MAX_WAITING_PER_PEER,
    TUNNELLED,
    Base64Reader,
    GetOpened,
    Plain,
    PostOpened,
    TunnelClient,
    TunnelDoor,
    Tunnels,
)

GET = (
    b"GET /live/camera HTTP/1.0\r\nx-sessioncookie: abc\r\nAccept: application/x-rtsp-tunnelled"
    b"\r\n\r\n"
)
POST = GET.replace(b"GET", b"POST").replace(b"Accept", b"Content-Type")


def make_tunnel() -> TunnelClient:
    return TunnelClient("/live/camera", "cam.local", "abc", "test")


def feed(door: TunnelDoor, data: bytes, piece_bytes: int) -> list[object]:
    pieces = (data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes))
    return [opened for piece in pieces if (opened := door.receive(piece)) is not None]


@pytest.mark.parametrize("piece_bytes", [1, 2, 3, 7, 1000])
def test_tunnel_carries_both_ways(piece_bytes: int) -> None:
    tunnel, getter, poster = make_tunnel(), TunnelDoor("test"), TunnelDoor("test")
    assert feed(getter, tunnel.open_get(), piece_bytes) == [GetOpened("abc")]
    assert not tunnel.is_open
    assert tunnel.receive(getter.take_output()) == b""
    assert tunnel.is_open
    assert feed(poster, tunnel.open_post(), piece_bytes) == [PostOpened("abc", b"")]
    client, server = make_client(), make_server()
    client.begin(0)
    told = []
    for _ in range(2):
        said = tunnel.encode(client.take_output())
        for at in range(0, len(said), piece_bytes):
            for event in server.receive(poster.decode(said[at : at + piece_bytes]), 0):
                accept(server, event)
        told += client.receive(tunnel.receive(server.take_output()), 0)
    [described] = told
    assert isinstance(described, Described)
    assert described.sdp.decode() == SDP


def test_door_lets_plain_rtsp_through() -> None:
    pair = Pair(make_client(), make_server())
    pair.client.begin(0)
    data = pair.client.take_output()
    for size in (1, len(data)):
        door = TunnelDoor("test")
        assert door.receive(data[:size]) == Plain(data[:size])
    door = TunnelDoor("test")
    assert door.receive(b"G") is None  # GET, or GET_PARAMETER
    assert door.receive(b"ET") is None
    assert door.receive(b"_PARA") == Plain(b"GET_PARA")


def test_first_requests_may_come_with_the_head() -> None:
    assert TunnelDoor("test").receive(POST + base64.b64encode(b"OPTIONS")[:-1]) == PostOpened(
        "abc", b"OPTION"
    )


def test_post_behind_its_get_is_refused() -> None:
    """live555 #19: both halves on one connection, freed by each other."""
    for data in (GET + POST, GET + b"x"):
        door = TunnelDoor("test")
        with pytest.raises(PeerError):
            door.receive(data)
        assert b"HTTP/1.0 400 " in door.take_output()
    door = TunnelDoor("test")
    assert door.receive(GET) == GetOpened("abc")
    with pytest.raises(PeerError):
        door.receive(POST)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET /../../../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (GET.replace(b"x-sessioncookie", b"x-other"), 400),
        (GET.replace(b"abc", b"a" * 257), 400),
        (GET.replace(b"abc", b"a b"), 400),
        (GET.replace(b"GET", b"HEAD"), 400),
        (b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n", 400),
        (b"GET / RTSP/1.0\r\n\r\n", 400),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, 400),
    ],
)
def test_http_that_is_no_tunnel_is_told_so(data: bytes, code: int) -> None:
    door = TunnelDoor("test")
    with pytest.raises(PeerError):
        for at in range(0, len(data), 100):
            door.receive(data[at : at + 100])
    assert door.take_output().startswith(f"HTTP/1.0 {code} ".encode())


def test_base64_is_read_in_any_pieces_with_padding_and_lines_amid() -> None:
    messages = [b"a", b"bc", b"def", b"ghij" * 100]
    data = b"\r\n".join(base64.b64encode(message) for message in messages)
    for size in (1, 2, 3, 5, len(data)):
        reader = Base64Reader()
        pieces = [reader.receive(data[at : at + size]) for at in range(0, len(data), size)]
        assert b"".join(pieces) == b"".join(messages)


@pytest.mark.parametrize("data", [b"!!!!", b"a===", b"====", b"ab=c", b"\0\0\0\0", b"OPTI ONS"])
def test_base64_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        Base64Reader().receive(data)


def test_halves_find_each_other_by_cookie_and_address() -> None:
    tunnels: Tunnels[str] = Tunnels()
    tunnels.add("abc", "192.0.2.1", "get")
    for cookie, peer in (("xyz", "192.0.2.1"), ("abc", "192.0.2.2")):
        with pytest.raises(PeerError):
            tunnels.join(cookie, peer)
    assert tunnels.join("abc", "192.0.2.1") == "get"
    with pytest.raises(PeerError):
        tunnels.join("abc", "192.0.2.1")
    with pytest.raises(PeerError):
        tunnels.add("abc", "192.0.2.1", "other")
    tunnels.leave("abc")
    assert tunnels.join("abc", "192.0.2.1") == "get"
    tunnels.remove("abc")
    tunnels.leave("abc")
    with pytest.raises(PeerError):
        tunnels.join("abc", "192.0.2.1")


def test_gets_without_posts_are_bounded() -> None:
    """Those of one peer, and those of all."""
    tunnels: Tunnels[int] = Tunnels()
    for number in range(MAX_WAITING):
        peer = str(number // MAX_WAITING_PER_PEER)
        tunnels.add(str(number), peer, number)
        if (number + 1) % MAX_WAITING_PER_PEER == 0:
            with pytest.raises(PeerError):
                tunnels.add("more", peer, 0)
    with pytest.raises(PeerError):
        tunnels.add("more", "another", 0)
    tunnels.join("0", "0")
    tunnels.add("more", "0", 0)


def test_client_is_told_of_a_refusal() -> None:
    tunnel = make_tunnel()
    assert tunnel.receive(b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="a"\r\n\r\n') == b""
    assert not tunnel.is_open
    assert tunnel.refused is not None
    assert tunnel.refused.code == 401
    assert tunnel.refused.headers.get("www-authenticate") == 'Basic realm="a"'
    assert b"\r\nAuthorization: Basic x\r\n" in make_tunnel().open_get("Basic x")
    assert TUNNELLED.encode() in make_tunnel().open_post()


@pytest.mark.parametrize("data", [b"RTSP/1.0 200 OK\r\n\r\n", b"junk\r\n\r\n", b"a" * 9000])
def test_client_refuses_what_is_no_http(data: bytes) -> None:
    with pytest.raises(PeerError):
        make_tunnel().receive(data)
