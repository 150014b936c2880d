"""Messages to the service manager, read by a socket in systemd's place."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.net.systemd import Notifier, Watchdog


class Manager:
    """Binds what $NOTIFY_SOCKET names; messages come one by one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(5)

    def read(self) -> str:
        return self._socket.recv(4096).decode()

    def read_all(self) -> list[str]:
        """What is there already."""
        self._socket.setblocking(False)
        messages = []
        while True:
            try:
                messages.append(self.read())
            except BlockingIOError:
                self._socket.settimeout(5)
                return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    manager = Manager(path if request.param == "path" else f"@porthole-test-{os.getpid()}")
    yield manager
    manager.close()


def environ(manager: Manager, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, **more}


def test_notifier_tells_what_systemd_reads(manager: Manager) -> None:
    notifier = Notifier.from_environ(environ(manager, WATCHDOG_USEC="30000000"))
    notifier.ready()
    assert manager.read() == "READY=1"
    notifier.status("2 of 3 streams live\nREADY=1")
    assert manager.read() == "STATUS=2 of 3 streams live READY=1"  # one line, whatever is in it
    notifier.feed_watchdog()
    assert manager.read() == "WATCHDOG=1"
    notifier.reloading()
    first, second = manager.read().split("\n")
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=") and int(second.partition("=")[2]) > 0
    notifier.stopping()
    assert manager.read() == "STOPPING=1"
    notifier.close()


def test_notifier_repeats_no_status(manager: Manager) -> None:
    notifier = Notifier.from_environ(environ(manager))
    for text in ("one", "one", "two", "two"):
        notifier.status(text)
    assert manager.read_all() == ["STATUS=one", "STATUS=two"]
    notifier.close()


def test_notifier_keeps_its_variables_from_children(manager: Manager) -> None:
    variables = environ(manager, WATCHDOG_USEC="1", WATCHDOG_PID=str(os.getpid()), HOME="/")
    notifier = Notifier.from_environ(variables)
    assert variables == {"HOME": "/"}
    assert notifier.is_heard and notifier.watchdog_us == 1
    notifier.close()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "relative/path"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
    ],
)
def test_notifier_without_a_manager_tells_nobody(variables: dict[str, str]) -> None:
    notifier = Notifier.from_environ(variables)
    assert not notifier.is_heard
    notifier.ready()
    notifier.feed_watchdog()
    notifier.close()


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("20000000", "", 20_000_000),
        pytest.param("20000000", str(os.getpid()), 20_000_000, id="ours"),
        ("20000000", "1", 0),  # meant for somebody else
        ("twenty", "", 0),
        ("-5", "", 0),
        ("", "", 0),
    ],
)
def test_notifier_watchdog_is_on_only_for_us(usec: str, pid: str, expected: int) -> None:
    assert Notifier.from_environ(
        {"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    ).watchdog_us == expected  # fmt: skip


def test_notifier_survives_a_manager_that_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    for _ in range(3):
        notifier.ready()
    assert len(caplog.records) == 1
    notifier.close()


async def test_notifier_feeds_the_watchdog_until_somebody_despairs(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = Watchdog()
    notifier = Notifier.from_environ(environ(manager, WATCHDOG_USEC="60000"))
    keeping = asyncio.create_task(notifier.keep_well(watchdog, lambda: "well"))

    async def turns(count: int) -> list[str]:
        """At least so many messages, as the loop turns; those that say nothing new among them."""
        messages: list[str] = []
        async with asyncio.timeout(10):
            while len(messages) < count:
                await asyncio.sleep(0.02)
                messages += manager.read_all()
        return messages

    messages = await turns(4)
    assert messages.count("STATUS=well") == 1
    assert set(messages) == {"WATCHDOG=1", "STATUS=well"}
    watchdog.despair("camera live/front", "20 workers failed in a row")
    assert "STATUS=camera live/front: 20 workers failed in a row" in await turns(1)
    await asyncio.sleep(0.2)  # ten of its periods, in which nothing may be told
    assert manager.read_all() == []
    told = [record for record in caplog.records if "not fed" in record.getMessage()]
    assert len(told) == 1
    watchdog.hope("camera live/front")
    assert "WATCHDOG=1" in await turns(2)
    keeping.cancel()
    await asyncio.wait({keeping})
    notifier.close()


async def test_notifier_is_silent_while_the_loop_stands_still(manager: Manager) -> None:
    notifier = Notifier.from_environ(environ(manager, WATCHDOG_USEC="30000"))
    keeping = asyncio.create_task(notifier.keep_well(Watchdog(), lambda: "well"))
    await asyncio.sleep(0.05)
    manager.read_all()
    time.sleep(0.3)  # noqa: ASYNC251 - the standstill is what is tested
    assert manager.read_all() == []
    await asyncio.sleep(0.05)
    assert "WATCHDOG=1" in manager.read_all()
    keeping.cancel()
    await asyncio.wait({keeping})
    notifier.close()
