"""What comes in one read through a tunnel is handled in pieces, so that others have their turns."""

from __future__ import annotations

import base64

from appliance.services.rtsp.core import POST_PIECE_BYTES, PostData, RtspCore
from appliance.wire.rtsp.tunnel import PostOpened

HEAD = (
    b"POST / HTTP/1.0\r\nx-sessioncookie: a\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n"
)
FRAMES = b"$\0\0\0" * 40_000


def pieces_of(*reads: bytes) -> list[bytes]:
    core = RtspCore((), 60)
    events = [event for read in reads for event in core.receive(read)]
    assert events[0] == PostOpened("a")
    assert all(isinstance(event, PostData) for event in events[1:])
    return [event.data for event in events[1:] if isinstance(event, PostData)]


def test_read_of_a_tunnel_comes_in_pieces_and_none_is_missing() -> None:
    body = base64.b64encode(FRAMES)
    for reads in ([HEAD + body], [HEAD, body], [HEAD, body[:7], body[7:]]):
        found = pieces_of(*reads)
        assert b"".join(found) == FRAMES
        assert max(map(len, found)) <= POST_PIECE_BYTES < len(FRAMES) / 4
