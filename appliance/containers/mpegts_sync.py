"""Finds the packets of a transport stream in bytes cut anywhere, after damage too."""

from __future__ import annotations

from appliance.containers.mpegts import PACKET_BYTES, SYNC
from appliance.errors import PeerError

MAX_SEARCH_BYTES = 1 << 20  # a peer that sends something else
_LOOKAHEAD = 3  # sync bytes at this many packet starts make a stream


class PacketFinder:
    """lost: how often sync was lost. skipped_bytes: passed over in search of it."""

    __slots__ = ("_is_synced", "_rest", "_searched_bytes", "lost", "skipped_bytes")

    def __init__(self) -> None:
        self._rest = b""  # at most as much as the lookahead wants
        self._is_synced = False
        self._searched_bytes = 0
        self.lost = 0
        self.skipped_bytes = 0

    def receive(self, data: bytes | memoryview, *, is_end: bool = False) -> list[memoryview]:
        """The packets that `data` completes. Raises: PeerError if too many bytes hold none.

        is_end: nothing follows, so search with less lookahead.
        """
        whole = self._rest + data
        view = memoryview(whole)
        packets: list[memoryview] = []
        position, size = 0, len(whole)
        while True:
            if not self._is_synced:
                position = self._search(whole, position, is_end=is_end)
                if not self._is_synced:
                    break
            if size - position < PACKET_BYTES:
                break
            if whole[position] == SYNC:
                packets.append(view[position : position + PACKET_BYTES])
                position += PACKET_BYTES
            else:
                self._is_synced = False
                self.lost += 1
        self._rest = whole[position:]
        return packets

    def _search(self, whole: bytes, start: int, *, is_end: bool) -> int:
        """Where packets begin, or may begin once more has come."""
        position, size = start, len(whole)
        while (position := whole.find(SYNC, position)) >= 0:
            ahead = range(position, position + _LOOKAHEAD * PACKET_BYTES, PACKET_BYTES)
            if ahead[-1] >= size and not is_end:
                break
            self._is_synced = all(whole[i] == SYNC for i in ahead if i < size)
            if self._is_synced:
                break
            position += 1
        position = size if position < 0 else position
        self.skipped_bytes += position - start
        self._searched_bytes = 0 if self._is_synced else self._searched_bytes + position - start
        if self._searched_bytes > MAX_SEARCH_BYTES:
            raise PeerError(f"no MPEG-TS in {self._searched_bytes} bytes")
        return position
