"""Accepting TCP connections under caps, quietly even when descriptors run out.

asyncio's own accept loop goes on after EMFILE for the whole backlog and logs a traceback for each
try (some 700 a second); this one stops listening for a moment, counts, and comes back.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.net.address import is_loopback, peer_address
from appliance.net.supervisor import OnFault

RESERVED_FDS = 64  # files, pipes of workers and outgoing connections must still open
ACCEPTS_PER_TURN = 64  # a flood of connections must not hold the loop
PAUSE_S = 0.5  # after EMFILE; the kernel's backlog keeps who comes meanwhile
EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class Caps:
    """How many connections a server holds at once.

    Loopback peers, and those for whom `is_exempt` holds, are outside the cap per address: reverse
    proxies speak for many viewers. They still count in the total.
    """

    total: int = 512  # against a crowd
    per_ip: int = 32  # against one peer that takes all
    is_exempt: Callable[[str], bool] | None = None


class Doorkeeper:
    """Counts who is inside. One may guard several listeners of one service."""

    __slots__ = ("_fd_limit", "caps", "inside", "per_ip")

    def __init__(self, caps: Caps) -> None:
        self.caps = caps
        self.inside = 0
        self.per_ip: Counter[str] = Counter()  # no more keys than `inside`
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._fd_limit = soft_limit - RESERVED_FDS

    def enter(self, ip: str, fd: int) -> str | None:
        """Count a new connection in; or the reason, in words of ours, why it must leave.

        The kernel hands out the lowest free number, so one this high means that only the
        reserve is left.
        """
        caps = self.caps
        if fd >= self._fd_limit:
            return "descriptors exhausted"
        if self.inside >= caps.total:
            return "too many connections"
        if self.per_ip.get(ip, 0) >= caps.per_ip and not self._is_exempt(ip):
            return "too many connections of one peer"
        self.inside += 1
        self.per_ip[ip] += 1
        return None

    def _is_exempt(self, ip: str) -> bool:
        return is_loopback(ip) or (self.caps.is_exempt is not None and self.caps.is_exempt(ip))

    def leave(self, ip: str) -> None:
        self.inside -= 1
        self.per_ip[ip] -= 1
        if self.per_ip[ip] <= 0:
            del self.per_ip[ip]


class Acceptor:
    """The accept loop over listening sockets.

    on_accept: gets the connected, non-blocking socket (TCP_NODELAY set) and the peer's address,
        owns the socket from then on, and calls `door.leave(ip)` when it is closed.
    on_refuse: may write a word of refusal to the socket, which is closed afterwards.
    """

    def __init__(
        self,
        proto: str,
        listeners: Sequence[socket.socket],
        door: Doorkeeper,
        on_accept: Callable[[socket.socket, str], None],
        on_fault: OnFault,
        on_refuse: Callable[[socket.socket], None] | None = None,
    ) -> None:
        self._proto = proto
        self.listeners = list(listeners)
        self._door = door
        self._on_accept = on_accept
        self._on_refuse = on_refuse
        self._on_fault = on_fault
        self._resume: dict[socket.socket, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        for listener in self.listeners:
            self._loop.add_reader(listener, self._accept_some, listener)

    def close(self) -> None:
        """Stop listening; connections stay."""
        for handle in self._resume.values():
            handle.cancel()
        self._resume.clear()
        for listener in self.listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self.listeners.clear()

    def _accept_some(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, sockname = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(listener, error)
                return
            self._welcome(sock, peer_address(sockname[0]))

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        """Out of descriptors or memory: a level-triggered listener would spin the loop."""
        reason = "descriptors exhausted" if error.errno in EXHAUSTED else "accept failed"
        self._on_fault(self._proto, reason, error.strerror or str(error))
        self._loop.remove_reader(listener)
        self._resume[listener] = self._loop.call_later(PAUSE_S, self._unpause, listener)

    def _unpause(self, listener: socket.socket) -> None:
        del self._resume[listener]
        self._loop.add_reader(listener, self._accept_some, listener)

    def _welcome(self, sock: socket.socket, ip: str) -> None:
        reason = self._door.enter(ip, sock.fileno())
        if reason is not None:
            self._on_fault(self._proto, reason, ip)
            if self._on_refuse is not None:
                self._on_refuse(sock)
            sock.close()
            return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        except OSError:  # reset before we came to it
            self._door.leave(ip)
            sock.close()
            return
        self._on_accept(sock, ip)
