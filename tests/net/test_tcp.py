"""The TCP pump and server, with the toy core of `word_service`."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

import pytest
from http_site import until
from word_service import Session, Words, service

from appliance.net.accept import Caps
from appliance.net.tcp import TcpLimits
from appliance.net.tcp_client import connect_tcp

HASTY = TcpLimits(deadline_s=0.2, idle_s=0.2, stall_s=0.2)


async def test_tcp_events_taken_at_once_never_overtake_those_that_are_waited_for() -> None:
    order: list[bytes] = []
    asked, go_on = asyncio.Event(), asyncio.Event()
    served: list[Session] = []

    def take(words: list[bytes]) -> list[bytes]:
        rest = [*words, b"slow"].index(b"slow")
        order.extend(b"at once " + word for word in words[:rest])
        return words[rest:]

    async def serve(connection: Session) -> None:
        connection.established()
        served.append(connection)
        connection.on_events = take
        async for words in connection:
            for word in words:
                if word == b"slow":
                    asked.set()
                    await go_on.wait()
                order.append(word)

    async with service(serve) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x01a")
        await until(lambda: order)
        writer.write(b"\x01b\x04slow\x01c")
        await asked.wait()
        writer.write(b"\x01d")
        await until(lambda: served[0].received_bytes == 13)
        go_on.set()
        await until(lambda: len(order) == 5)
        writer.write(b"\x01e")
        await until(lambda: len(order) == 6)
        writer.close()
    first = order.index(b"slow")
    assert order[1:first] == [b"at once b"]
    assert order[first:] == [b"slow", b"c", b"d", b"at once e"]


async def test_tcp_fault_of_who_takes_events_at_once_ends_the_session() -> None:
    def take(words: list[bytes]) -> list[bytes]:
        raise ZeroDivisionError

    served: list[Session] = []

    async def serve(connection: Session) -> None:
        async for _ in connection:
            connection.on_events = take
            served.append(connection)

    async with service(serve) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x01a")
        await until(lambda: served)
        writer.write(b"\x01b")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: here.faults)
    assert here.faults == [("toy", "internal error", "ZeroDivisionError")]


async def test_tcp_client_and_server_exchange_words() -> None:
    async with service() as here:
        client: Session = await connect_tcp("127.0.0.1", here.port, Words())
        async with client:
            core = client.core
            assert isinstance(core, Words)
            got = []
            for word in (b"a", b"b" * 254, b""):
                core.send(word)
                client.flush()
                got += await anext(aiter(client))
            assert got == [b"a", b"b" * 254, b""]
            assert client.sent_bytes == client.received_bytes == 258
            sock = client.socket
            assert sock is not None
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not here.faults


async def test_tcp_half_close_is_answered_before_the_end() -> None:
    async with service() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x01a")
        writer.write_eof()
        assert await reader.read() == b"\x01a\x05<eof>"
        writer.close()
    assert not here.faults


async def test_tcp_end_within_a_word_is_the_peers_fault() -> None:
    async with service() as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x05ab")
        writer.close()
        await until(lambda: here.faults)
    assert here.faults[0][1:] == ("protocol error", "127.0.0.1 ended within a word")


async def test_tcp_peer_that_resets_is_no_fault() -> None:
    async with service() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x01a")
        assert await reader.readexactly(2) == b"\x01a"
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await until(lambda: not here.server.inside)
    assert not here.faults


async def test_tcp_broken_rule_gets_the_cores_last_word_and_ends() -> None:
    async with service() as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"\x01a\xff" + bytes(300))
        assert (await reader.read()).endswith(b"\x03bad")
        writer.close()
    assert [fault[1] for fault in here.faults] == ["protocol error"]


async def test_tcp_fault_of_a_session_ends_it_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with service() as here:
        canary = await asyncio.open_connection("127.0.0.1", here.port)
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
            writer.write(b"\x03bug")
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        canary[1].write(b"\x01a")
        assert await canary[0].readexactly(2) == b"\x01a"
        canary[1].close()
    assert [fault[1] for fault in here.faults] == ["internal error"] * 10
    assert len([record for record in caplog.records if record.exc_info]) == 1


@pytest.mark.parametrize("dribble", [False, True])
async def test_tcp_slow_handshake_is_closed(dribble: bool) -> None:
    async def never_established(connection: Session) -> None:
        async for _ in connection:
            pass

    async with service(never_established, limits=HASTY) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)

        async def talk() -> None:
            while True:
                writer.write(b"\x00" if dribble else b"")
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(talk())
        async with asyncio.timeout(5):
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        talking.cancel()
        writer.close()
    assert here.faults[0] == ("toy", "protocol error", "127.0.0.1 handshake too slow")


async def test_tcp_idle_peer_is_closed_and_a_talking_one_is_not() -> None:
    async with service(limits=HASTY) as here:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", here.port)
        busy, busy_writer = await asyncio.open_connection("127.0.0.1", here.port)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 0.6
        while loop.time() < until_s:
            busy_writer.write(b"\x01a")
            assert await busy.readexactly(2) == b"\x01a"
            await asyncio.sleep(0.02)
        assert await idle.read() == b""
        idle_writer.close()
        busy_writer.close()
        await until(lambda: not here.server.inside)
    assert [fault[2] for fault in here.faults] == ["127.0.0.1 nothing received for too long"]


async def test_tcp_peer_that_never_reads_is_not_read_either_and_ended() -> None:
    async def babble(connection: Session) -> None:
        connection.established()
        async for words in connection:
            for _ in words:
                connection.write(bytes(10_000))

    async with service(babble, limits=HASTY) as here:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", here.port))
            sock.setblocking(False)
            sent = 0

            def flood() -> bool:
                nonlocal sent
                try:
                    sent += sock.send(b"\x01a" * 5)
                except BlockingIOError:
                    pass
                except OSError:
                    return True
                return False

            await until(lambda: flood() or here.faults)
            await until(lambda: not here.server.inside)
    assert here.faults[0][2] in {
        "127.0.0.1 peer stopped reading",
        "127.0.0.1 the peer does not read our answers",
    }


async def test_tcp_session_that_is_busy_is_not_given_more_than_the_bound() -> None:
    release = asyncio.Event()
    seen: list[Session] = []

    async def slow(connection: Session) -> None:
        seen.append(connection)
        connection.established()
        async for _ in connection:
            await release.wait()

    limits = TcpLimits(unhandled_bytes=1000)
    async with service(slow, limits=limits) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write((b"\xfe" + bytes(254)) * 20_000)
        await until(lambda: seen and seen[0].received_bytes)
        for _ in range(50):
            await asyncio.sleep(0)
        assert seen[0].received_bytes <= 2 * (256 << 10) + 1000
        release.set()
        async with asyncio.timeout(20):
            await writer.drain()
        writer.close()
        await until(lambda: seen[0].received_bytes == 5_100_000)


async def test_tcp_connections_beyond_the_cap_are_closed() -> None:
    async with service(caps=Caps(total=3)) as here:
        pairs = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(5)]
        await until(lambda: len(here.faults) == 2)
        assert here.server.inside == 3
        for _, writer in pairs:
            writer.close()


async def test_tcp_reset_peers_leave_nothing() -> None:
    async with service() as here:
        for _ in range(50):
            sock = socket.create_connection(("127.0.0.1", here.port))
            sock.send(b"\x01a\x05")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        await until(lambda: not here.server.inside)
    assert {fault[1] for fault in here.faults} <= {"connection lost", "protocol error"}


async def test_tcp_drain_waits_for_the_reader() -> None:
    drained = asyncio.Event()

    async def push(connection: Session) -> None:
        connection.established()
        for _ in range(100):
            connection.write(bytes(100_000))
            await connection.drain()
        drained.set()

    async with service(push) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port, limit=65536)
        await until(lambda: here.server.inside)
        await asyncio.sleep(0)
        assert not drained.is_set()
        received = 0
        while chunk := await reader.read(1 << 20):
            received += len(chunk)
        assert received == 10_000_000
        assert drained.is_set()
        writer.close()


async def test_tcp_connect_refused_or_silent_is_an_error_in_time() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            await connect_tcp("127.0.0.1", port, Words())


@pytest.mark.parametrize("host", ["a..b", f"{'a' * 64}.test"])
async def test_tcp_connect_to_what_no_resolver_takes_is_an_error_of_its_name(host: str) -> None:
    with pytest.raises(socket.gaierror):
        await connect_tcp(host, 554, Words())


async def test_tcp_server_stop_ends_sessions() -> None:
    ended = asyncio.Event()

    async def wait(connection: Session) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with service(wait) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        await until(lambda: here.server.inside)
        await here.server.stop()
        assert await reader.read() == b""
        writer.close()
    assert not here.server.inside
