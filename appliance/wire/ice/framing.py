"""Packets on a TCP connection: each behind its length in two octets (RFC 4571 §2, RFC 6544)."""

from __future__ import annotations

from appliance.errors import PeerError

HEAD_BYTES = 2
MAX_FRAME_BYTES = 4096  # DTLS and RTP are cut for UDP; against 64 KiB held for each stranger
MAX_EMPTY_FRAMES = 64  # in a row; they mean nothing, and 30 000 fit into one read


class FrameReader:
    """Bytes in, packets out. Holds at most one frame that is not whole."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._empty = 0

    def receive(self, data: bytes) -> list[bytes]:
        """The packets that are whole now; empty ones are passed over.

        Raises: PeerError for a longer one than any peer sends, or too many empty ones.
        """
        if self._held:
            self._held += data
            data = bytes(self._held)
            self._held.clear()
        packets: list[bytes] = []
        position, end = 0, len(data)
        while end - position >= HEAD_BYTES:
            size = data[position] << 8 | data[position + 1]
            if size > MAX_FRAME_BYTES:
                raise PeerError(f"a frame of {size} bytes")
            start, stop = position + HEAD_BYTES, position + HEAD_BYTES + size
            if stop > end:
                break
            self._count_empty(size)
            if size:
                packets.append(data[start:stop])
            position = stop
        self._held += data[position:]
        return packets

    def _count_empty(self, size: int) -> None:
        self._empty = 0 if size else self._empty + 1
        if self._empty > MAX_EMPTY_FRAMES:
            raise PeerError(f"more than {MAX_EMPTY_FRAMES} empty frames")


def format_frame(packet: bytes) -> bytes:
    """Of at most 65 535 bytes."""
    return len(packet).to_bytes(HEAD_BYTES, "big") + packet
