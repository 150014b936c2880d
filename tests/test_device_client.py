"""What a command gets to hear from a device, and from whoever else may listen there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance import device_client
from appliance.device_client import Device, DeviceError

KEY = "K" * 22


class Peer:
    """Answers every connection with the same bytes and notes what it was sent."""

    def __init__(self, answer: bytes, *, is_open: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer, self._is_open = answer, is_open
        self.heard = b""
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.heard += _request(connection)
                try:
                    connection.sendall(self._answer)
                except OSError:
                    continue
                if self._is_open:
                    self._done.wait(30)

    def close(self) -> None:
        self._done.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
        head, blank, body = data.partition(b"\r\n\r\n")
        length = head.partition(b"Content-Length: ")[2].partition(b"\r")[0]
        if blank and len(body) >= int(length or 0):
            break
    return data


@contextmanager
def peer(answer: bytes, *, is_open: bool = False) -> Iterator[Peer]:
    made = Peer(answer, is_open=is_open)
    try:
        yield made
    finally:
        made.close()


def http(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_client_shows_its_key_and_reads_the_document() -> None:
    with peer(http(b'{"code":0,"cameras":[]}')) as device:
        assert Device(device.url, KEY).get("/api/v1/cameras/") == {"code": 0, "cameras": []}
        assert device.heard.startswith(b"GET /api/v1/cameras/ HTTP/1.1\r\n")
        assert f"Authorization: Bearer {KEY}\r\n".encode() in device.heard
        Device(device.url + "/porthole/").get("/api/x")
        assert b"GET /porthole/api/x HTTP" in device.heard


def test_client_sends_a_change_as_json() -> None:
    with peer(http(b'{"code":0}')) as device:
        Device(device.url).patch("/api/v1/cameras/a", {"fps": 15})
        assert device.heard.startswith(b"PATCH /api/v1/cameras/a HTTP/1.1\r\n")
        assert b"Content-Type: application/json\r\n" in device.heard
        assert device.heard.endswith(b'{"fps": 15}') and b"Authorization" not in device.heard


def test_client_tells_a_refusal_in_the_device_s_words() -> None:
    body = b'{"code":400,"error":"fps: must be from 1 to 120"}'
    with peer(http(body, "400 Bad Request")) as device, pytest.raises(DeviceError) as caught:
        Device(device.url).get("/x")
    assert str(caught.value) == "fps: must be from 1 to 120" and caught.value.status == 400


def test_client_follows_no_redirect_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(http(b"{}")) as other:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other.url)
        moved = http(b"", "302 Found", f"Location: {other.url}/api/v1/cameras/")
        with peer(moved) as device, pytest.raises(DeviceError, match="not a Porthole"):
            Device(device.url, KEY).get("/api/v1/cameras/")
        assert other.heard == b""


@pytest.mark.parametrize(
    "answer",
    [b"", b"\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n\r\n", http(b"<html>"),
     http(b"[]"), http(b"5"), http(b"[" * 100_000), http(b"\xff\xfe"),
     http(b'{"error":5}', "500 X"),
     b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000,
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     b"\x00" * 70_000],
)  # fmt: skip
def test_client_of_something_else_says_so(answer: bytes) -> None:
    with peer(answer) as device, pytest.raises(DeviceError) as caught:
        Device(device.url).get("/x")
    assert "\n" not in str(caught.value) and device.url in str(caught.value)


def test_client_takes_no_endless_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_client, "MAX_ANSWER_BYTES", 100_000)
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b'{"x":"' + b"x" * 200_000
    with peer(endless) as device, pytest.raises(DeviceError, match="not a Porthole"):
        Device(device.url).get("/x")


def test_client_waits_for_no_answer_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_client, "TIMEOUT_S", 0.2)
    with peer(b"", is_open=True) as device, pytest.raises(DeviceError, match="does not answer"):
        Device(device.url).get("/x")


def test_client_tells_where_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeviceError, match="Connection refused"):
        Device(f"http://127.0.0.1:{port}").get("/x")


@pytest.mark.parametrize(
    "url",
    ["", "front-door", "front-door:8080", "ftp://x", "file:///etc/passwd", "http://", "http://x:y",
     "http://[::1", "http://u:p@h/", "http://h/?a=b", "http://h:99999", "http://a b:80",
     "http://\r\nx", "http://" + "x" * 300],
)  # fmt: skip
def test_client_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(DeviceError):
        Device(url).get("/x")


def test_client_key_is_not_in_what_is_shown_of_it() -> None:
    assert KEY not in repr(Device("http://h", KEY))
