"""Two networks of our own with a cable between them; a device on this side, a camera on the other.

Run as a program, in a network namespace that `in_two_networks` made for it; the other one is that
of a single thread here, so that nothing is left of either when the process ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

CLONE_NEWNET = 0x40000000
HERE, THERE, ELSEWHERE = "10.77.0.1", "10.77.0.2", "10.77.0.3"
HERE_6, THERE_6 = "fd77::1", "fd77::2"
DEADLINE_S = 60
T = TypeVar("T")
TESTS = Path(__file__).parent


def in_two_networks(program: str | Path, *words: str) -> None:
    """Runs a program of the tests so; it must end well. Root is not needed, user namespaces are."""
    command = [
        "unshare",
        "--map-root-user",
        "--net",
        "--mount",
        sys.executable,
        "-X",
        "dev",
        str(program),
    ]
    paths = os.pathsep.join([str(TESTS), *filter(None, sys.path)])
    result = subprocess.run(
        [*command, *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=os.environ | {"PYTHONPATH": paths},
    )
    assert result.returncode == 0, result.stdout + result.stderr


class TwoNetworks:
    """The cable is plugged in."""

    def __init__(self) -> None:
        self._there = ThreadPoolExecutor(1, initializer=_leave)
        thread = self._there.submit(threading.get_native_id).result()
        ip("link add here type veth peer name there")
        ip(f"link set there netns {thread}")
        for words in (f"addr add {HERE}/24 dev here", "link set here up", "link set lo up"):
            ip(words)
        for words in (f"addr add {THERE}/24 dev there", "link set there up", "link set lo up"):
            self.ip_there(words)

    def ip_there(self, words: str) -> None:
        self._there.submit(ip, words).result()

    def unplug(self) -> None:
        ip("link set here down")

    def plug(self) -> None:
        ip("link set here up")

    def move(self) -> None:
        """The other side has another address from now on."""
        self.ip_there(f"addr del {THERE}/24 dev there")
        self.ip_there(f"addr add {ELSEWHERE}/24 dev there")

    def number_by_six(self) -> None:
        """Both sides have IPv6, too, from now on."""
        ip(f"addr add {HERE_6}/64 dev here nodad")
        self.ip_there(f"addr add {THERE_6}/64 dev there nodad")

    def there(self, work: Callable[..., T], *words: Any) -> T:
        """Called so that whatever it starts is on the other side."""
        return self._there.submit(work, *words).result()

    def bind_udp(self, host: str) -> socket.socket:
        """A port of the other side."""
        return self._there.submit(_bind, socket.SOCK_DGRAM, host, 0).result()

    def listen(self, host: str, port: int) -> socket.socket:
        """There, too."""
        return self._there.submit(_bind, socket.SOCK_STREAM, host, port).result()


def _leave() -> None:
    """Of this thread alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


def _bind(kind: socket.SocketKind, host: str, port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, kind)
    one.setblocking(False)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, port))
    return one


def ip(words: str) -> None:
    result = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
    assert result.returncode == 0, (words, result.stderr)


def name_host(host: str, address: str, folder: Path) -> None:
    """What it is called by, of all programs on this side; another address may follow."""
    hosts = folder / "hosts"
    is_first = not hosts.exists()
    hosts.write_text(f"127.0.0.1 localhost\n{address} {host}\n")
    if is_first:
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True, capture_output=True)


Scenario = Callable[[TwoNetworks], Awaitable[Any]]


def main(scenarios: dict[str, Scenario]) -> None:
    """Of a program: the scenario that its first word names."""

    async def run() -> None:
        async with asyncio.timeout(DEADLINE_S - 10):
            await scenarios[sys.argv[1]](TwoNetworks())

    asyncio.run(run())
