from __future__ import annotations

import pytest
from mutation import assert_only_peer_error
from video_units import packet

from appliance.errors import MisuseError, PeerError
from appliance.media.g711 import G711Config
from appliance.media.l16 import L16Config
from appliance.media.opus import OpusConfig
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.opus import MAX_PACKET_BYTES, OpusDepacketizer, OpusPacketizer
from appliance.wire.rtp.formats.pcm import PcmDepacketizer, PcmPacketizer

ALAW = G711Config(Codec.PCMA)
STEREO = L16Config(16_000, 2)


@pytest.mark.parametrize(
    ("config", "data", "duration"),
    [
        (ALAW, bytes(160), 160),
        (G711Config(Codec.PCMU, 16_000, 2), bytes(160), 80),
        (STEREO, bytes(160), 40),
        (L16Config(44_100, 1), bytes(160), 80),
    ],
)
def test_samples_are_counted_by_channels(
    config: G711Config | L16Config, data: bytes, duration: int
) -> None:
    taken = PcmDepacketizer(config)
    (unit,) = taken.push(packet(data), 9)
    assert (unit.stamp, unit.parts, unit.duration, unit.key) == (9, (data,), duration, True)
    assert taken.config is config and not taken.flush()


def test_samples_that_are_not_whole_raise() -> None:
    taken = PcmDepacketizer(STEREO)
    with pytest.raises(PeerError):
        taken.push(packet(b"abc"), 0)
    assert not taken.push(packet(b""), 0)


@pytest.mark.parametrize(("config", "frame_bytes"), [(ALAW, 1), (STEREO, 4), (L16Config(), 2)])
def test_long_units_are_cut_between_samples(
    config: G711Config | L16Config, frame_bytes: int
) -> None:
    data = bytes(at % 251 for at in range(1000))
    made = PcmPacketizer(config, 333).payloads(
        AccessUnit(Track(1, config), 0, 0, True, (memoryview(data),))
    )
    assert b"".join(one.data for one in made) == data
    assert all(len(one.data) <= 333 and not one.marker for one in made)
    size = 333 - 333 % frame_bytes
    assert [one.stamp_offset for one in made] == [at * size // frame_bytes for at in range(4)]


def test_payloads_smaller_than_a_sample_are_a_mistake_of_ours() -> None:
    with pytest.raises(MisuseError):
        PcmPacketizer(STEREO, 3)


@pytest.mark.parametrize(
    ("data", "duration"),
    [
        (b"\x78abc", 960),  # CELT, 20 ms
        (b"\x79abc", 1920),  # two frames
        (b"\x08abc", 960),  # SILK, 20 ms
        (b"\x80abc", 120),  # CELT, 2.5 ms
        (b"\x7b\x06abc", 5760),  # six frames of 20 ms
    ],
)
def test_opus_packet_tells_how_long_it_plays(data: bytes, duration: int) -> None:
    (unit,) = OpusDepacketizer(OpusConfig()).push(packet(data), 3)
    assert (unit.stamp, unit.parts, unit.duration) == (3, (data,), duration)


def test_opus_packet_that_plays_too_long_or_is_huge_raises() -> None:
    taken = OpusDepacketizer(OpusConfig())
    for data in (b"\x7b\x07abc", b"\x7b", b"\x78" * (MAX_PACKET_BYTES + 1)):
        with pytest.raises(PeerError):
            taken.push(packet(data), 0)
    assert not taken.push(packet(b""), 0)


def test_opus_unit_is_one_payload() -> None:
    unit = AccessUnit(Track(1, OpusConfig()), 0, 0, True, (memoryview(b"\x78abc"),))
    (made,) = OpusPacketizer().payloads(unit)
    assert (made.data, made.marker, made.stamp_offset) == (b"\x78abc", False, 0)


def test_damaged_packets_raise_nothing_but_peer_error() -> None:
    takers = (PcmDepacketizer(STEREO), OpusDepacketizer(OpusConfig()))
    for taken in takers:
        assert_only_peer_error(
            lambda data, taken=taken: taken.push(packet(data), 0), [b"\x7b\x06a"]
        )
