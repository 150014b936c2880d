"""How the TCP pump reads: what is much in turns, what may wait together, and never a stall."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from http_site import until
from word_service import Session, service

from appliance.net import tcp
from appliance.net.tcp import READ_EARLY_BYTES, TcpLimits
from appliance.net.tls import ServerTls, client_context

FOR_EVER_S = 3600.0
SENT = [b"%d" % number for number in range(2000)]


def spell(words: list[bytes]) -> bytes:
    return b"".join(bytes([len(word)]) + word for word in words)


class Listener:
    """Hears one connection. turns: (how much the core was given, in which turn of the loop)."""

    def __init__(self, pace: Callable[[], float] | None = None) -> None:
        self.heard: list[bytes] = []
        self.turns: list[tuple[int, int]] = []
        self.connections: list[Session] = []
        self.may_handle = asyncio.Event()
        self.may_handle.set()
        self._pace = pace
        self._loop_turn = 0

    async def serve(self, connection: Session) -> None:
        core = connection.core
        receive = core.receive

        def receive_turn(data: bytes) -> list[bytes]:
            self.turns.append((len(data), self._loop_turn))
            return receive(data)

        core.receive = receive_turn  # type: ignore[method-assign]
        self._count_turns()
        connection.established()
        connection.pace = self._pace
        self.connections.append(connection)
        async for words in connection:
            await self.may_handle.wait()
            self.heard.extend(words)

    def _count_turns(self) -> None:
        self._loop_turn += 1
        if self.heard[-1:] != [b"<eof>"]:
            asyncio.get_running_loop().call_soon(self._count_turns)

    @property
    def least_read(self) -> int:
        """Of how many bytes the kernel tells."""
        assert self.connections[0].transport is not None
        sock = self.connections[0].transport.get_extra_info("socket")
        return int(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerTls]:
    folder = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = "openssl req -x509 -nodes -days 2 -subj /CN=localhost -newkey ec"
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", key, "-out", cert)
    subprocess.run([*command.split(), *curve], check=True, capture_output=True)
    yield ServerTls(cert, key)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_tcp_many_small_messages_let_others_have_turns_to_the_end(
    is_tls: bool, tls: ServerTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the end comes with them, as it does by TLS."""
    monkeypatch.setattr(tcp, "TURN_S", 0.0)
    listener = Listener()
    limits = TcpLimits(turn_bytes=100)
    async with service(listener.serve, limits=limits, tls=tls if is_tls else None) as here:
        context = client_context(insecure=True) if is_tls else None
        _, writer = await asyncio.open_connection("127.0.0.1", here.port, ssl=context)
        await until(lambda: listener.connections)
        writer.write(spell(SENT))
        writer.close()
        await until(lambda: listener.heard[-1:] == [b"<eof>"])
    assert listener.heard[:-1] == SENT
    sizes, loop_turns = zip(*listener.turns, strict=True)
    assert len(set(loop_turns)) == len(sizes) > 50
    assert max(sizes) <= 100
    assert here.faults == []


async def test_tcp_what_waits_for_its_turn_is_not_mixed_with_what_others_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "TURN_S", 0.0)
    heard: dict[Session, list[bytes]] = {}

    async def serve(connection: Session) -> None:
        connection.established()
        async for words in connection:
            heard.setdefault(connection, []).extend(words)

    peers = 5
    async with service(serve, limits=TcpLimits(turn_bytes=1000)) as here:
        for number in range(peers):
            with socket.create_connection(("127.0.0.1", here.port)) as peer:
                peer.sendall(spell([b"%d of %d" % (n, number) for n in range(5000)]))
        await until(lambda: len(heard) == peers and all(h[-1] == b"<eof>" for h in heard.values()))
    for words in heard.values():
        whose = words[0].split()[-1]
        assert words == [*(b"%d of %s" % (n, whose) for n in range(5000)), b"<eof>"]


async def test_tcp_large_read_that_takes_no_time_is_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "TURN_S", FOR_EVER_S)
    listener = Listener()
    async with service(listener.serve, limits=TcpLimits(turn_bytes=100)) as here:
        with socket.create_connection(("127.0.0.1", here.port)) as peer:
            await until(lambda: listener.connections)
            peer.sendall(spell(SENT))
            await until(lambda: listener.heard == SENT)
        await until(lambda: listener.heard[-1:] == [b"<eof>"])
    sizes, loop_turns = zip(*listener.turns, strict=True)
    assert len(sizes) > 50
    assert len(set(loop_turns)) < 10


@pytest.mark.parametrize("pace_s", [FOR_EVER_S, 0.01])
async def test_tcp_paced_connection_is_read_when_time_is_over_or_there_is_much_or_an_end(
    pace_s: float,
) -> None:
    listener = Listener(lambda: pace_s)
    heard = listener.heard
    async with service(listener.serve) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x01a")
        await until(lambda: heard == [b"a"])
        if pace_s == FOR_EVER_S:
            await until(lambda: listener.least_read == READ_EARLY_BYTES)
            writer.write(501 * (b"\xc8" + bytes(200)))  # more than that
            await until(lambda: len(heard) > 200)
        else:
            writer.write(501 * b"\x01b")
            await until(lambda: len(heard) == 502)
        writer.write(b"\x01c")
        writer.write_eof()
        await until(lambda: heard[-1:] == [b"<eof>"])
        writer.close()
    assert heard[-2] == b"c"
    assert len(heard) == 504


async def test_tcp_paced_connection_with_a_small_buffer_is_read_when_that_is_full() -> None:
    listener = Listener(lambda: FOR_EVER_S)
    async with service(listener.serve) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        await until(lambda: listener.connections)
        sock = listener.connections[0].socket
        assert sock is not None
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        writer.write(b"\x01a")
        await until(lambda: listener.heard)
        writer.write(201 * (b"\xc8" + bytes(200)))  # less than READ_EARLY_BYTES
        await until(lambda: len(listener.heard) > 150)  # the rest is less than the buffer
        writer.close()
        await until(lambda: listener.heard[-1:] == [b"<eof>"])
    assert len(listener.heard) == 203


async def test_tcp_paced_connection_by_tls_hears_all(tls: ServerTls) -> None:
    listener = Listener(lambda: 0.005)
    async with service(listener.serve, tls=tls) as here:
        context = client_context(insecure=True)
        _, writer = await asyncio.open_connection("127.0.0.1", here.port, ssl=context)
        for word in SENT[:20]:
            writer.write(spell([word]))
            await until(lambda word=word: listener.heard[-1:] == [word])  # type: ignore[misc]
        writer.write(spell(SENT[20:]))
        writer.close()
        await until(lambda: listener.heard[-1:] == [b"<eof>"])
    assert listener.heard[:-1] == SENT
    assert here.faults == []


async def test_tcp_pace_that_ends_is_followed_after_the_rest_that_has_begun() -> None:
    pauses_s = [0.05]
    listener = Listener(lambda: pauses_s.pop() if pauses_s else 0.0)
    async with service(listener.serve) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        for word in (b"a", b"b", b"c"):
            writer.write(spell([word]))
            await until(lambda word=word: listener.heard[-1:] == [word])  # type: ignore[misc]
        assert listener.least_read == 1
        writer.close()
        await until(lambda: not here.server.inside)


async def test_tcp_busy_session_of_a_paced_connection_hears_all_in_the_end() -> None:
    """Reading pauses while it rests, and rests while it pauses."""
    listener = Listener(lambda: 0.002)
    async with service(listener.serve, limits=TcpLimits(unhandled_bytes=50)) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        for number in range(0, len(SENT), 100):
            listener.may_handle.clear()
            seen = listener.turns[:]
            writer.write(spell(SENT[number : number + 100]))
            await until(lambda seen=seen: len(listener.turns) > len(seen))  # type: ignore[misc]
            listener.may_handle.set()
        await until(lambda: listener.heard == SENT)
        writer.close()
        await until(lambda: not here.server.inside)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_tcp_connection_that_ends_while_it_rests_leaves_nothing(
    is_tls: bool, tls: ServerTls, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(lambda: 0.001)
    async with service(listener.serve, tls=tls if is_tls else None) as here:
        context = client_context(insecure=True) if is_tls else None
        for _ in range(10):
            _, writer = await asyncio.open_connection("127.0.0.1", here.port, ssl=context)
            seen = len(listener.heard)
            writer.write(b"\x01a")
            await until(lambda seen=seen: len(listener.heard) > seen)  # type: ignore[misc]
            writer.transport.abort()
        await until(lambda: not here.server.inside)
    assert not [record for record in caplog.records if record.exc_info]
