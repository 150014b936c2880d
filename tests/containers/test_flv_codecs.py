"""FLV of AV1, VP9, FLAC, AC-3, E-AC-3 and MP3: tags by hand, as peers may send them."""

from __future__ import annotations

import contextlib

import pytest
from container_samples import (
    IDR,
    Event,
    avc_frame_body,
    avc_header_body,
    demux,
    flv,
    joined,
    mux,
    tracks_of,
    units_of,
)
from mutation import assert_only_peer_error, corpus

from appliance.containers.flv import TagType
from appliance.containers.flv_demuxer import FlvDemuxer
from appliance.containers.flv_muxer import FlvMuxer
from appliance.containers.fmp4_muxer import Fmp4Muxer
from appliance.errors import CodecUnsupported
from appliance.media.ac3 import Ac3Config
from appliance.media.amf0 import EcmaArray, encode
from appliance.media.av1 import Av1Config
from appliance.media.mp3 import Mp3Config
from appliance.media.timeline import Timeline
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit
from appliance.media.vp9 import Vp9Config

VIDEO, AUDIO, SCRIPT = TagType.VIDEO, TagType.AUDIO, TagType.SCRIPT
AV1C = bytes.fromhex("81000c000a0b000000043cffbcfbf90040")
AV1_SEQUENCE = AV1C[4:]
AV1_KEY, AV1_INTER = b"\x32\x04\x14key", b"\x32\x04\x34int"
VPCC = bytes.fromhex("010000000014820202020000")
VP9_KEY = bytes.fromhex("824983420013f00ef60638241c184a00")
VP9_INTER = b"\x86\x00inter"
STREAMINFO = bytes.fromhex("1200120000037000051d0bb802f00002ee00db3f5d78d31d342d7f038577053dc10d")
AC3 = bytes.fromhex("0b77fe95144043e106f46370c0c0c218")
EAC3 = bytes.fromhex("0b77017f3487c0002084210838008c06") + bytes(768 - 16)
MP3 = b"\xff\xfb\x94\x64mp3"


def read(*tags: tuple[TagType, int, bytes]) -> tuple[FlvDemuxer, list[Event]]:
    demuxer = FlvDemuxer()
    return demuxer, demux(demuxer, flv(*tags))


def test_av1_is_read_without_delimiters_and_key_by_its_own_word() -> None:
    demuxer, events = read(
        (VIDEO, 0, b"\x90av01" + AV1C),
        (VIDEO, 0, b"\x91av01\x12\0" + AV1_SEQUENCE + AV1_KEY),
        (VIDEO, 40, b"\xa1av01\x12\0" + AV1_INTER),
        (VIDEO, 80, b"\x93av01" + AV1_INTER),  # whose tag lies
    )
    ((track,),) = tracks_of(events)
    assert track.config == Av1Config.from_av1c(AV1C)
    units = units_of(events)
    assert [unit.parts for unit in units] == [
        (AV1_SEQUENCE, AV1_KEY),
        (AV1_INTER,),
        (AV1_INTER,),
    ]
    assert [unit.key for unit in units] == [True, False, False]
    assert [unit.pts_us - unit.dts_us for unit in units] == [0, 0, 0]
    assert not demuxer.tags.damaged


def test_av1_that_leaves_its_sequence_header_to_the_first_key_waits_for_it() -> None:
    demuxer, events = read(
        (VIDEO, 0, b"\x90av01" + AV1C[:4]),
        (VIDEO, 0, b"\xa1av01" + AV1_INTER),
        (VIDEO, 40, b"\x91av01" + AV1_SEQUENCE + AV1_KEY),
    )
    ((track,),) = tracks_of(events)
    assert track.config == Av1Config.from_av1c(AV1C)
    assert len(units_of(events)) == 1
    assert demuxer.tags.ignored == {"before its first key": 1}


def test_vp9_is_announced_with_the_size_of_its_metadata_and_has_that_of_its_key() -> None:
    script = encode("onMetaData", EcmaArray(width=640.0, height=480.0))
    _, events = read(
        (SCRIPT, 0, script),
        (VIDEO, 0, b"\x90vp09" + VPCC),
        (AUDIO, 0, b"\x2f" + MP3),
        (VIDEO, 0, b"\x91vp09" + VP9_KEY),
        (VIDEO, 40, b"\xa1vp09" + VP9_INTER),
    )
    first, second = tracks_of(events)
    assert first[0].config == Vp9Config(640, 480, level_idc=20)
    assert second[0].config == Vp9Config(320, 240, level_idc=20)
    assert first[1] is second[1]
    pictures = [unit for unit in units_of(events) if unit.track.codec is Codec.VP9]
    assert [unit.parts for unit in pictures] == [(VP9_KEY,), (VP9_INTER,)]
    assert [unit.key for unit in pictures] == [True, False]


@pytest.mark.parametrize("width", [0, 1e300, float("nan"), -4, "640", None, 16_385])
def test_vp9_without_a_size_in_its_metadata_waits_for_its_key(width: float | str | None) -> None:
    script = encode("onMetaData", EcmaArray(width=width, height=480))
    demuxer, events = read(
        (SCRIPT, 0, script),
        (VIDEO, 0, b"\x90vp09" + VPCC[4:]),
        (VIDEO, 0, b"\xa1vp09" + VP9_INTER),
        (VIDEO, 40, b"\x91vp09" + VP9_KEY),
    )
    ((track,),) = tracks_of(events)
    assert track.config == Vp9Config(320, 240, level_idc=20)
    assert demuxer.tags.ignored == {"before its first key": 1}


SOUNDS = {
    "flac": ((b"\x90fLaC" + STREAMINFO,), b"\x91fLaC", b"\xff\xf8frame", Codec.FLAC),
    "flac with its mark": (
        (b"\x90fLaCfLaC\x80\0\0\x22" + STREAMINFO,),
        b"\x91fLaC",
        b"\xff\xf8frame",
        Codec.FLAC,
    ),
    "ac-3": ((), b"\x91ac-3", AC3, Codec.AC3),
    "ac-3 of ffmpeg 8": ((b"\x90ac-3", b"\x94ac-3\x01\x02\0\0\0\x03"), b"\x91ac-3", AC3, Codec.AC3),
    "ec-3": ((), b"\x91ec-3", EAC3, Codec.EAC3),
    "mp3": ((), b"\x2f", MP3, Codec.MP3),
    "mp3 of 8 kHz": ((), b"\xee", b"\xff\xe3\x98\xc0mp3", Codec.MP3),
    "enhanced mp3": ((), b"\x91.mp3", MP3, Codec.MP3),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_is_read_and_written_as_it_was(name: str) -> None:
    heads, head, frame, codec = SOUNDS[name]
    tags = [*((AUDIO, 0, body) for body in heads), *((AUDIO, at, head + frame) for at in (0, 24))]
    demuxer, events = read(*tags)
    ((track,),) = tracks_of(events)
    assert track.codec is codec
    assert [unit.parts for unit in units_of(events)] == [(frame,)] * 2
    assert not demuxer.tags.damaged
    again = demux(FlvDemuxer(), joined(mux(FlvMuxer(), (track,), units_of(events))))
    assert tracks_of(again) == [(Track(track.id, track.config, 1000),)]
    assert [unit.parts for unit in units_of(again)] == [(frame,)] * 2


@pytest.mark.parametrize(
    ("header", "head"),
    [
        (b"\xff\xfb\x90\x64", 0x2F),
        (b"\xff\xfb\x94\xc0", 0x2E),  # 48 kHz, mono
        (b"\xff\xf3\x90\x64", 0x2B),
        (b"\xff\xe3\x90\x64", 0x27),
        (b"\xff\xe3\x98\xc0", 0xE2),  # 8 kHz, which has a number of its own
    ],
)
def test_mp3_takes_the_legacy_form_with_the_nearest_rate(header: bytes, head: int) -> None:
    track = Track(2, Mp3Config.from_frame(header))
    muxer = FlvMuxer()
    muxer.header((track,))
    (chunk,) = muxer.feed(AccessUnit(track, 0, 0, True, (header,)))
    assert chunk.data[11:-4] == bytes((head,)) + header


def test_publisher_who_changes_codecs_is_followed() -> None:
    demuxer, events = read(
        (VIDEO, 0, avc_header_body()),
        (VIDEO, 0, avc_frame_body(IDR)),
        (AUDIO, 0, b"\xaf\0\x11\x90"),
        (AUDIO, 0, b"\xaf\x01raw"),
        (AUDIO, 20, b"\x2f" + MP3),
        (AUDIO, 40, b"\xaf\x01raw"),  # without a new header
        (VIDEO, 40, b"\x90vp09" + VPCC),
        (VIDEO, 40, b"\xa1vp09" + VP9_INTER),  # belongs to nothing yet
        (VIDEO, 80, b"\x91vp09" + VP9_KEY),
        (VIDEO, 120, b"\x90av01" + AV1C),
        (VIDEO, 120, b"\x91av01" + AV1_SEQUENCE + AV1_KEY),
    )
    codecs = [unit.track.codec for unit in units_of(events)]
    assert codecs == [Codec.H264, Codec.AAC, Codec.MP3, Codec.VP9, Codec.AV1]
    assert demuxer.tags.ignored == {"before its sequence header": 1, "before its first key": 1}


@pytest.mark.parametrize(
    ("kind", "start", "body"),
    [
        (AUDIO, b"", b"\x2fnot mp3"),
        (AUDIO, b"", b"\x91ac-3not ac-3, however long it is"),
        (AUDIO, b"", b"\x91ec-3" + EAC3[:-1]),
        (VIDEO, b"\x90av01" + AV1C, b"\x91av01\x32\xff\xff\x7f"),
        (VIDEO, b"\x90vp09" + VPCC, b"\x91vp09not vp9"),
    ],
)
def test_frame_that_is_not_what_it_claims_is_dropped_and_counted(
    kind: TagType, start: bytes, body: bytes
) -> None:
    demuxer, events = read(*([(kind, 0, start)] if start else []), (kind, 0, body))
    assert events == []
    assert demuxer.tags.damaged == 1


def test_ac3_that_varies_its_rate_is_one_track() -> None:
    other = AC3[:4] + bytes((AC3[4] + 2,)) + AC3[5:]
    _, events = read(*((AUDIO, 32 * n, b"\x91ac-3" + (AC3, other)[n % 2]) for n in range(4)))
    assert tracks_of(events) == [(Track(2, Ac3Config.from_frame(AC3), 1000),)]


def test_damaged_flv_of_any_codec_makes_fmp4_or_is_refused() -> None:
    def remux(data: bytes) -> None:
        muxer, timeline, is_described = Fmp4Muxer(), Timeline(0), False
        for event in FlvDemuxer().receive(data):
            if not isinstance(event, AccessUnit):
                muxer.flush()
                with contextlib.suppress(CodecUnsupported):
                    is_described = bool(muxer.header(event))
            elif is_described:
                place = timeline.place(event.track.id, event.dts_us, event.pts_us)
                event.dts_us, event.pts_us = place.dts_us, place.pts_us
                event.discontinuity = place.discontinuity
                muxer.feed(event)
        muxer.flush()

    assert_only_peer_error(remux, corpus("flv"), count=1500)
