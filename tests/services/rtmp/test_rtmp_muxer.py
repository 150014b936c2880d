"""RTMP's bytes as players are sent them."""

from __future__ import annotations

import pytest
from framehash import clip_units

from appliance.containers.flv_muxer import LEAD_US
from appliance.errors import CodecUnsupported
from appliance.media.track import Kind
from appliance.services.rtmp.muxer import RtmpMuxer
from appliance.wire.rtmp.chunks import ChunkReader
from appliance.wire.rtmp.connection import CHUNK_BYTES
from appliance.wire.rtmp.message import Message, MessageType

EDGES_MS = (0xFF_FFFF, 0xFFFF_FFFF)


def read(*parts: bytes) -> list[Message]:
    reader = ChunkReader()
    reader.chunk_bytes = CHUNK_BYTES
    return reader.receive(b"".join(parts))


@pytest.mark.parametrize("edge_ms", EDGES_MS)
def test_muxer_across_the_edges_of_stamps_loses_nothing(edge_ms: int) -> None:
    """Also in messages of several chunks, whose headers repeat the extended stamp."""
    tracks, units = clip_units("h264-b+aac")
    muxer = RtmpMuxer()
    header = muxer.header(tracks)
    first_us = units[0].dts_us
    muxer.feed(units[0])
    expected, data = [], []
    shift_us = (edge_ms - 1500) * 1000 - LEAD_US
    for unit in units:
        unit.dts_us += shift_us
        unit.pts_us += shift_us
        if unit.key and unit.track.kind is Kind.VIDEO:
            unit.parts = (*unit.parts, b"\x0c" + b"\xff" * 3 * CHUNK_BYTES + b"\x80")
        stamp_us = unit.dts_us - first_us // 1000 * 1000 + LEAD_US
        expected.append(((stamp_us + 500) // 1000) & 0xFFFF_FFFF)
        (chunk,) = muxer.feed(unit)
        data.append(chunk.data)
    found = [m for m in read(header, *data) if m.kind != MessageType.DATA][len(tracks) :]
    assert [message.timestamp_ms for message in found] == pytest.approx(expected, abs=1)
    assert max(len(message.payload) for message in found) > 3 * CHUNK_BYTES
    assert any(a.timestamp_ms <= edge_ms - 5 for a in found)
    joined = read(*data[len(data) // 2 :])  # a player that comes in the middle
    assert len(joined) == len(data) - len(data) // 2


def test_muxer_of_one_kind_leaves_the_other_out() -> None:
    tracks, units = clip_units("h264-b+aac")
    muxer = RtmpMuxer(frozenset({Kind.AUDIO}))
    header = muxer.header(tracks)
    data = [chunk.data for unit in units for chunk in muxer.feed(unit)]
    kinds = {message.kind for message in read(header, *data)}
    assert kinds == {MessageType.DATA, MessageType.AUDIO}


def test_muxer_without_anything_to_carry_says_so() -> None:
    tracks, _ = clip_units("h264-b")
    with pytest.raises(CodecUnsupported):
        RtmpMuxer(frozenset({Kind.AUDIO})).header(tracks)
