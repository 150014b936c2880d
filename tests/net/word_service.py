"""A TCP service with a toy core: length-prefixed words that are echoed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from http_site import until

from appliance.errors import PeerError
from appliance.net.accept import Caps
from appliance.net.tcp import TcpConnection, TcpLimits
from appliance.net.tcp_server import TcpServer
from appliance.net.tls import ServerTls


class Words:
    """A byte of length, then the word; length 255 breaks the rules; ``x`` is echoed a lot."""

    def __init__(self) -> None:
        self.buffer = b""
        self.output = b""

    def receive(self, data: bytes) -> list[bytes]:
        buffer = self.buffer + data
        words = []
        start = 0
        while start < len(buffer) and len(buffer) - start > buffer[start]:
            end = start + 1 + buffer[start]
            if buffer[start] == 255:
                self.output += b"\x03bad"
                raise PeerError("a word of 255 bytes")
            words.append(buffer[start + 1 : end])
            start = end
        self.buffer = buffer[start:]
        return words

    def receive_eof(self) -> list[bytes]:
        if self.buffer:
            raise PeerError("ended within a word")
        return [b"<eof>"]

    def take_output(self) -> bytes:
        output, self.output = self.output, b""
        return output

    def send(self, word: bytes) -> None:
        self.output += bytes([len(word)]) + word


Session = TcpConnection[bytes]


async def echo(connection: Session) -> None:
    core = connection.core
    assert isinstance(core, Words)
    connection.established()
    async for words in connection:
        for word in words:
            if word == b"bug":
                raise ZeroDivisionError
            core.send(word)
        connection.flush()


@dataclass
class Service:
    server: TcpServer[bytes]
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.addresses[0].rpartition(":")[2])


@asynccontextmanager
async def service(
    serve: Callable[[Session], Awaitable[None]] = echo,
    *,
    limits: TcpLimits | None = None,
    caps: Caps | None = None,
    tls: ServerTls | None = None,
) -> AsyncIterator[Service]:
    faults: list[tuple[str, str, str]] = []
    server: TcpServer[bytes] = TcpServer(
        "toy",
        Words,
        serve,
        lambda *fault: faults.append(fault),
        limits=limits,
        caps=caps,
        tls=tls,
    )
    server.start(("127.0.0.1:0",))
    try:
        yield Service(server, faults)
    finally:
        await server.stop()
        await until(lambda: not server.inside)
