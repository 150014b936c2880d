"""What one side says in a row: cut into datagrams, and said again until it is answered.

Theory of operation: OpenSSL's own timers read the real clock, start at a second, and fire wrongly
when somebody sets that clock. So the datagrams of a flight are kept, and sent again as they are: a
peer that has them already drops their records as replays (RFC 6347 §4.1.2.6), one that lacks some
takes those. What the peer says again is answered by OpenSSL itself.
"""

from __future__ import annotations

from collections.abc import Iterator

FIRST_WAIT_US = 100_000  # RFC 9147 §5.8.2 allows so little where the delay matters
MAX_WAIT_US = 1_600_000
RECORD_HEADER_BYTES = 13


class Flight:
    """The newest flight. due_us: when it is to be sent again; None if it was answered."""

    __slots__ = ("_datagrams", "_wait_us", "due_us")

    def __init__(self) -> None:
        self._datagrams: list[bytes] = []
        self._wait_us = FIRST_WAIT_US
        self.due_us: int | None = None

    def begin(self, datagrams: list[bytes], now_us: int) -> None:
        """A flight was sent, which ends the one before it."""
        self._datagrams = datagrams
        self._wait_us = FIRST_WAIT_US
        self.due_us = now_us + FIRST_WAIT_US

    def end(self) -> None:
        self._datagrams, self.due_us = [], None

    def take_due(self, now_us: int) -> list[bytes]:
        """The datagrams to send again now, if any; each time after twice the wait."""
        if self.due_us is None or now_us < self.due_us:
            return []
        self._wait_us = min(2 * self._wait_us, MAX_WAIT_US)
        self.due_us = now_us + self._wait_us
        return self._datagrams


def records_to_datagrams(output: bytes, max_bytes: int) -> list[bytes]:
    """Whole records, as many as fit into each.

    OpenSSL keeps records within the MTU it was told, so none is longer than `max_bytes`; one of a
    form without a plain length (DTLS 1.3's) stays with what follows it.
    """
    datagrams: list[bytes] = []
    for record in _records(output):
        if datagrams and len(datagrams[-1]) + len(record) <= max_bytes:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams


def _records(output: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(output):
        end = len(output)
        if 20 <= output[position] <= 23 and end - position >= RECORD_HEADER_BYTES:
            body = int.from_bytes(output[position + 11 : position + 13], "big")
            end = min(end, position + RECORD_HEADER_BYTES + body)
        yield output[position:end]
        position = end
