"""Sends standard input to the board as a script and shows what it says. usage: ask.py PORT"""

from __future__ import annotations

import re
import socket
import sys

TIMEOUT_S = 300


def main() -> int:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.sendall(sys.stdin.buffer.read())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    end = re.search(rb"\nended (-?\d+)\n\Z", answer)
    sys.stdout.write(answer[: end.start() if end else None].decode(errors="replace"))
    return min(abs(int(end[1])), 255) if end else 255


try:
    sys.exit(main())
except OSError as error:
    sys.exit(f"the board does not answer: {error}")
