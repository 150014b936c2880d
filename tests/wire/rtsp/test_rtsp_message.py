"""Heads of requests and responses: what is read, what is refused."""

from __future__ import annotations

import pytest

from appliance.errors import MisuseError, PeerError
from appliance.wire.rtsp.message import (
    MAX_BODY_BYTES,
    MAX_HEADERS,
    Headers,
    Request,
    Response,
    format_request,
    format_response,
    parse_head,
    read_content_length,
    read_cseq,
)

LINE = b"OPTIONS rtsp://h/a RTSP/1.0"


def parse_request(head: bytes) -> Request:
    message = parse_head(head, is_tolerant=False)
    assert isinstance(message, Request)
    return message


def parse_response(head: bytes) -> Response:
    message = parse_head(head, is_tolerant=True)
    assert isinstance(message, Response)
    return message


def test_request_is_read_whatever_its_line_ends_and_case() -> None:
    for end in (b"\r\n", b"\n"):
        request = parse_request(end.join((LINE, b"cseq: 7", b"X-Long: a", b"\tb", b" c")))
        assert (request.method, request.url, request.cseq) == ("OPTIONS", "rtsp://h/a", 7)
        assert request.headers.get("x-long") == "a b c"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"OPTIONS",
        b"OPTIONS rtsp://h/a",
        b"OPTIONS  rtsp://h/a RTSP/1.0",
        b"OPTIONS rtsp://h/a b RTSP/1.0",
        b"OPTIONS rtsp://h/\x00 RTSP/1.0",
        b"OPT\x00IONS rtsp://h/a RTSP/1.0",
        b"OPTIONS rtsp://h/a HTTP/1.1",
        b"OPTIONS rtsp://h/a RTSP/11.0",
        b"REGISTER sip:h SIP/2.0",
        b"SSH-2.0-OpenSSH_9.2",
        b"\x16\x03\x01\x02\x00\x01",
        LINE + b"\r\nno colon",
        LINE + b"\r\n folded onto nothing",
        LINE + b"\r\n: nameless",
        LINE + b"\r\nA B: c",
        LINE + b"\r\nCSeq: 1\x00",
        LINE + b"\r\nCSeq: 1\rX: 2",
        LINE + b"\r\nA: b" * (MAX_HEADERS + 1),
    ],
)
def test_request_that_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(PeerError):
        parse_head(head, is_tolerant=False)


def test_request_of_as_many_headers_as_are_allowed_is_read() -> None:
    assert len(parse_request(LINE + b"\r\nA: b" * MAX_HEADERS).headers) == MAX_HEADERS


@pytest.mark.parametrize(
    ("line", "code", "reason"),
    [
        (b"RTSP/1.0 200 OK", 200, "OK"),
        (b"RTSP/1.0 200", 200, ""),
        (b"RTSP/1.0  401  Unauthorized ", 401, "Unauthorized"),
        (b"rtsp/1.0 454 Session Not Found", 454, "Session Not Found"),
    ],
)
def test_status_line_of_cameras_is_read(line: bytes, code: int, reason: str) -> None:
    response = parse_response(line + b"\r\nSession: 1")
    assert (response.code, response.reason) == (code, reason)
    assert response.headers.get("session") == "1"


@pytest.mark.parametrize("line", [b"RTSP/1.0", b"RTSP/1.0 20", b"RTSP/1.0 2000 OK", b"RTSP/1 200"])
def test_status_line_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(PeerError):
        parse_head(line, is_tolerant=True)


def test_lines_of_cameras_that_are_no_header_are_passed_over() -> None:
    response = parse_response(b"RTSP/1.0 200 OK\r\nno colon\r\nA: \x01\r\nCSeq: 2")
    assert (response.cseq, len(response.headers)) == (2, 1)


@pytest.mark.parametrize(
    ("values", "cseq"),
    [
        (["1"], 1),
        (["0"], 0),
        ([], None),
        (["-1"], None),
        (["+1"], None),
        (["1 2"], None),
        (["١"], None),
        (["1", "2"], None),
        (["1", "1"], 1),
        (["12345678901"], None),
    ],
)
def test_cseq_is_a_number_or_none(values: list[str], cseq: int | None) -> None:
    assert read_cseq(Headers(("CSeq", value) for value in values)) == cseq


def test_content_length_is_read_up_to_its_cap() -> None:
    assert read_content_length(Headers()) == 0
    assert read_content_length(Headers([("content-length", "5"), ("Content-Length", "5")])) == 5
    assert read_content_length(Headers([("Content-Length", str(MAX_BODY_BYTES))])) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    "values",
    [["99999999999"], ["-1"], ["1", "2"], ["x"], [""], ["１"], ["0x10"], [str(MAX_BODY_BYTES + 1)]],
)
def test_content_length_that_lies_is_refused(values: list[str]) -> None:
    with pytest.raises(PeerError):
        read_content_length(Headers(("Content-Length", value) for value in values))


def test_messages_are_printed_as_they_are_read() -> None:
    data = format_request("ANNOUNCE", "rtsp://h/ä", [("CSeq", "1")], b"v=0\r\n")
    assert data.endswith(b"Content-Length: 5\r\n\r\nv=0\r\n")
    request = parse_request(data.partition(b"\r\n\r\n")[0])
    assert (request.method, request.url, request.cseq) == ("ANNOUNCE", "rtsp://h/ä", 1)
    assert format_response(461, []).startswith(b"RTSP/1.0 461 Unsupported Transport\r\n")


def test_message_of_ours_with_a_broken_line_is_a_bug() -> None:
    with pytest.raises(MisuseError):
        format_response(200, [("Session", "a\r\nInjected: b")])


def test_secrets_of_a_request_are_not_in_its_repr() -> None:
    request = parse_request(b"PLAY rtsp://h/a?key=s3cret RTSP/1.0\r\nAuthorization: Basic s3cret")
    assert "s3cret" not in repr(request)
