"""What is said of connections that nobody took."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl

import pytest

from appliance.net.connecting import is_absence, legible

ALL = "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), [Errno 111] …"


@pytest.mark.parametrize(
    ("error", "text", "absent"),
    [
        (OSError(111, "Connect call failed ('127.0.0.1', 554)"), "connection refused", True),
        (OSError(113, "Connect call failed ('10.0.0.9', 554)"), "no route to host", True),
        (OSError(ALL), "connection refused", True),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer", False),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known", False),
        (ssl.SSLError(1, "wrong version number"), "wrong version number", False),
    ],
)
def test_error_of_connecting_is_told_in_words(error: OSError, text: str, absent: bool) -> None:
    told = legible(error)
    assert told.strerror == text
    assert is_absence(told) is absent


async def test_error_of_asyncio_is_one_of_those() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="Connect call failed") as failed:
            await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, *held.getsockname()
            )
    told = legible(failed.value)
    assert isinstance(told, ConnectionRefusedError)
    assert told.strerror == "connection refused"
