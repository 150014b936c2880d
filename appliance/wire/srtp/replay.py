"""Which indices have been received already (RFC 3711 §3.3.2)."""

from __future__ import annotations

WINDOW_PACKETS = 1024  # as many as Chromium remembers; a later one is refused unread


class ReplayWindow:
    """Indices of any width; `highest` is -1 before the first."""

    __slots__ = ("_seen", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._seen = 0  # bit n: the index `highest - n`

    def is_new(self, index: int) -> bool:
        behind = self.highest - index
        return behind < 0 or (behind < WINDOW_PACKETS and not self._seen >> behind & 1)

    def add(self, index: int) -> None:
        """Only of what is authentic: anything else would let strangers move the window."""
        ahead = index - self.highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return
        kept = self._seen << ahead & (1 << WINDOW_PACKETS) - 1 if ahead < WINDOW_PACKETS else 0
        self._seen, self.highest = kept | 1, index
