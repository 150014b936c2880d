from __future__ import annotations

import asyncio

import pytest

from appliance.errors import ConfigError
from appliance.net import tcp_sessions
from appliance.net.accept import Caps
from appliance.net.http_settings import TlsSettings
from appliance.net.supervisor import Supervisor
from appliance.net.tcp import TcpConnection, TcpLimits
from appliance.net.tcp_sessions import TcpSessions

HERE = ("127.0.0.1:0",)


class Mute:
    """A core that says nothing."""

    def receive(self, data: bytes) -> list[bytes]:
        return [data]

    def receive_eof(self) -> list[bytes]:
        return []

    def take_output(self) -> bytes:
        return b""


class Guest:
    def __init__(self, connection: TcpConnection[bytes]) -> None:
        self.connection = connection
        self.ticks = 0
        self.came = asyncio.Event()

    async def run(self) -> None:
        async for _ in self.connection:
            self.came.set()

    def tick(self) -> None:
        self.ticks += 1
        if self.ticks == 1:
            raise RuntimeError("a bug")
        self.end("late")

    def end(self, why: str) -> None:
        self.connection.write(why.encode())

    async def see_off(self) -> None:
        self.connection.write(b", goodbye")
        await self.connection.close()


class Hall:
    def __init__(self) -> None:
        self.guests: asyncio.Queue[Guest] = asyncio.Queue()
        self.faults: list[tuple[str, str]] = []
        self.supervisor = Supervisor()
        self.sessions: TcpSessions[bytes, Guest] = TcpSessions(
            "hall",
            lambda is_tls: Mute(),
            self.make,
            self.supervisor,
            lambda proto, what, detail: self.faults.append((proto, what)),
        )

    def make(self, connection: TcpConnection[bytes]) -> Guest:
        guest = Guest(connection)
        self.guests.put_nowait(guest)
        return guest

    def start(self, listen: tuple[str, ...], tls: TlsSettings | None = None) -> None:
        self.sessions.start(listen, tls or TlsSettings(), Caps(), TcpLimits())

    async def stop(self) -> None:
        await self.sessions.stop()
        await self.supervisor.close()


async def test_sessions_are_ticked_told_of_the_end_and_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp_sessions, "TICK_S", 0.001)
    hall = Hall()
    hall.start(HERE)
    assert hall.sessions.listening == {"hall": hall.sessions.addresses}
    host, _, port = hall.sessions.addresses[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    guest = await hall.guests.get()
    assert await reader.readexactly(21) == b"a fault of ours" + b"late" + b"la"
    assert hall.faults == [("hall", "internal error")]
    assert hall.sessions.active == {guest}
    await hall.stop()
    assert (await reader.read()).endswith(b", goodbye")
    assert not hall.sessions.active
    writer.close()


async def test_address_that_cannot_be_had_is_named_with_its_key() -> None:
    hall = Hall()
    with pytest.raises(ConfigError, match=r"^hall\."):
        hall.start(("127.0.0.1:no",))
    await hall.stop()
