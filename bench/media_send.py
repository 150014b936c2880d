"""CPU per MB of sending one segment to many sockets: bytes by `write`, a memory file by `sendfile`.

Nothing but the system calls: the floor under `bench/hls.py`. Server and readers on a core each,
alternating runs.
"""

from __future__ import annotations

import os
import select
import socket
import time

from measure import LOAD_CORE, SERVER_CORE, spread

BODY_BYTES = 500_000
ROUNDS = 4
PAIRS = 5


def read_all(address: tuple[str, int], sockets: int) -> None:
    """The readers, in a process of their own."""
    os.sched_setaffinity(0, {LOAD_CORE})
    peers = {}
    poll = select.epoll()
    for _ in range(sockets):
        peer = socket.create_connection(address)
        poll.register(peer, select.EPOLLIN)
        peers[peer.fileno()] = peer
    buffer = bytearray(1 << 18)
    left = sockets * BODY_BYTES * ROUNDS
    while left:
        for descriptor, _ in poll.poll():
            left -= peers[descriptor].recv_into(buffer)


def send_all(peers: list[socket.socket], body: bytes, memory_file: int | None) -> None:
    """One body to each peer, in whatever order their sockets empty."""
    poll = select.epoll()
    sent = {peer.fileno(): 0 for peer in peers}
    for descriptor in sent:
        poll.register(descriptor, select.EPOLLOUT)
    while sent:
        for descriptor, _ in poll.poll():
            start = sent[descriptor]
            if memory_file is None:
                count = os.write(descriptor, memoryview(body)[start:])
            else:
                count = os.sendfile(descriptor, memory_file, start, BODY_BYTES - start)
            sent[descriptor] = start + count
            if start + count == BODY_BYTES:
                poll.unregister(descriptor)
                del sent[descriptor]


def run(sockets: int, *, by_file: bool) -> float:
    """CPU µs per MB."""
    body = os.urandom(BODY_BYTES)
    memory_file = os.memfd_create("body")
    os.write(memory_file, body)
    listener = socket.create_server(("127.0.0.1", 0), backlog=sockets)
    child = os.fork()
    if not child:
        read_all(listener.getsockname(), sockets)
        os._exit(0)
    peers = [listener.accept()[0] for _ in range(sockets)]
    for peer in peers:
        peer.setblocking(False)
    began_s = time.process_time()
    for _ in range(ROUNDS):
        send_all(peers, body, memory_file if by_file else None)
    used_s = time.process_time() - began_s
    os.waitpid(child, 0)
    for peer in (*peers, listener):
        peer.close()
    os.close(memory_file)
    return used_s * 1e6 / (sockets * BODY_BYTES * ROUNDS / 1e6)


def main() -> None:
    os.sched_setaffinity(0, {SERVER_CORE})
    for sockets in (200, 1000):
        pairs = []
        for number in range(PAIRS):
            first = run(sockets, by_file=bool(number % 2))
            second = run(sockets, by_file=not number % 2)
            pairs.append((first, second) if not number % 2 else (second, first))
        print(f"{sockets} sockets, {BODY_BYTES} bytes each, {PAIRS} pairs, CPU µs per MB")
        print(f"  write     {spread([one for one, _ in pairs], 0)}")
        print(f"  sendfile  {spread([other for _, other in pairs], 0)}")
        print(f"  sendfile / write: {spread([other / one for one, other in pairs])}")


if __name__ == "__main__":
    main()
