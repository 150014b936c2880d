"""Frames of the pipe: bytes ↔ values, each with its truncated and overlong twins."""

from __future__ import annotations

import pytest
from pipe_fixture import REPORTS, TRACKS_OF_ALL_CODECS, VIDEO, audio_unit, spoken, video_unit

from appliance.errors import MisuseError, PeerError
from appliance.media.bits import Reader
from appliance.media.unit import AccessUnit
from appliance.wire.pipe import frames
from appliance.wire.pipe.connection import Pipe, Role
from appliance.wire.pipe.frames import MAX_FRAME_BYTES, MAX_UNIT_BYTES, Type
from appliance.wire.pipe.messages import (
    Change,
    Event,
    Recover,
    RequestKeyframe,
    RequestPicture,
    Rung,
    SetBitrate,
    State,
)

HELLO = frames.encode_hello()
TRACKS = frames.encode_tracks((VIDEO,))
CLOCK = (90_000).to_bytes(4, "big")
TURN = CLOCK + bytes(2)


def receive(data: bytes, role: Role = Role.APPLIANCE) -> list[Event]:
    return Pipe(role).receive(data)


def body(frame: bytes) -> Reader:
    return Reader(frame[5:])


def test_hello_is_as_documented() -> None:
    assert bytes.fromhex("0000000b01") + b"PORTHOLE" + bytes.fromhex("0003") == HELLO


def test_unit_frame_is_as_documented() -> None:
    unit = AccessUnit(VIDEO, 0x0102, 0x0103, True, (b"ab", b"c"), discontinuity=True)
    assert frames.encode_unit(unit) == bytes.fromhex(
        "0000001c 11 01 03 0000000000000102 00000001 0002 00000002 00000001"
    ) + b"abc"  # fmt: skip


def test_tracks_of_every_codec_survive_the_pipe() -> None:
    assert frames.decode_tracks(body(frames.encode_tracks(TRACKS_OF_ALL_CODECS))) == (
        TRACKS_OF_ALL_CODECS
    )


def test_unit_with_earlier_pts_survives_the_pipe() -> None:
    unit = video_unit(5_000_000, reorder_us=-80_000)
    decoded = frames.decode_unit(body(frames.encode_unit(unit)), {1: VIDEO})
    assert decoded == unit
    assert decoded.track is VIDEO


@pytest.mark.parametrize("event", REPORTS, ids=lambda event: type(event).__name__)
def test_report_cut_short_or_overlong_is_refused(event: Event) -> None:
    prelude = spoken(Role.WORKER, [TRACKS_OF_ALL_CODECS])
    whole = spoken(Role.WORKER, [event])[len(HELLO) :]
    for length in range(5, len(whole)):
        # a frame that says it is complete but lacks its end
        cut = (length - 4).to_bytes(4, "big") + whole[4:length]
        pipe = Pipe(Role.APPLIANCE)
        pipe.receive(prelude)
        try:
            events = pipe.receive(cut)
        except PeerError:
            continue
        assert events != [event]  # a fault's text is free to end anywhere, nothing else is
    longer = (len(whole) - 3).to_bytes(4, "big") + whole[4:] + b"\0"
    pipe = Pipe(Role.APPLIANCE)
    pipe.receive(prelude)
    if whole[4] not in {Type.FAULT, Type.ANSWER, Type.PICTURE}:  # these end in free bytes
        with pytest.raises(PeerError):
            pipe.receive(longer)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("no hello first", TRACKS),
        ("hello of another program", HELLO.replace(b"PORTHOLE", b"PORTHOL_")),
        ("hello of another version", HELLO[:-1] + b"\x01"),
        ("a second hello", HELLO + HELLO),
        ("empty frame", HELLO + bytes(4)),
        ("unknown type", HELLO + bytes.fromhex("00000001 7f")),
        ("command from the worker", HELLO + bytes.fromhex("00000001 20")),
        ("unit before tracks", HELLO + frames.encode_unit(video_unit())),
        ("unit of another track", HELLO + TRACKS + frames.encode_unit(audio_unit())),
        ("no tracks", HELLO + frames.frame(Type.TRACKS, b"\0")),
        ("too many tracks", HELLO + frames.frame(Type.TRACKS, b"\x09" + TRACKS[6:] * 9)),
        ("two tracks of one id", HELLO + frames.frame(Type.TRACKS, b"\x02" + TRACKS[6:] * 2)),
        ("unknown codec", HELLO + TRACKS.replace(b"h264", b"h999")),
        ("no clock", HELLO + TRACKS.replace((90_000).to_bytes(4, "big"), bytes(4))),
        ("damaged configuration", HELLO + TRACKS.replace(b"\x01\x64\x00\x1f", b"\x09\x64\x00\x1f")),
        ("unit without parts", HELLO + TRACKS + frames.frame(Type.UNIT, b"\1\1" + bytes(14))),
        (
            "empty part",
            HELLO + TRACKS + frames.frame(Type.UNIT, b"\1\1" + bytes(12) + b"\0\1" + bytes(4)),
        ),
        (
            "part beyond the end",
            HELLO + TRACKS + frames.frame(Type.UNIT, b"\1\1" + bytes(12) + b"\0\1\xff\xff\xff\xff"),
        ),
        (
            "time beyond all clocks",
            HELLO
            + TRACKS
            + frames.frame(Type.UNIT, b"\1\1" + b"\xff" * 8 + bytes(4) + b"\0\1\0\0\0\1x"),
        ),
        ("fault of unknown kind", HELLO + frames.frame(Type.FAULT, b"\x03odd", b"text")),
        ("a turn no picture can have", HELLO + TRACKS.replace(TURN, CLOCK + b"\0\x2d")),
        ("endless document", HELLO + frames.frame(Type.STATE, b'"' + b"x" * (64 << 10) + b'"')),
        ("document that is no object", HELLO + frames.frame(Type.STATE, b"[1]")),
        ("document with a NaN", HELLO + frames.frame(Type.STATE, b'{"a":NaN}')),
        ("document with an infinity", HELLO + frames.frame(Type.STATE, b'{"a":-1e999}')),
        ("document without an end", HELLO + frames.frame(Type.STATE, b"[" * 60_000)),
        ("endless answer", HELLO + frames.frame(Type.ANSWER, bytes(4), bytes(1025))),
        ("picture that is no JPEG", HELLO + frames.frame(Type.PICTURE, bytes(16), b"\1GIF8")),
        ("picture of another time", HELLO + frames.frame(Type.PICTURE, b"\xff" * 17, b"\xff\xd8")),
        ("endless fault", HELLO + frames.frame(Type.FAULT, b"\x08internal", bytes(1025))),
    ],
)
def test_receive_nonsense_raises_peer_error(name: str, data: bytes) -> None:
    with pytest.raises(PeerError):
        receive(data)


def test_receive_announced_size_is_refused_before_its_bytes_come() -> None:
    at_limit, above = MAX_FRAME_BYTES.to_bytes(4, "big"), (MAX_FRAME_BYTES + 1).to_bytes(4, "big")
    assert receive(HELLO + at_limit) == []
    with pytest.raises(PeerError):
        receive(HELLO + above)


def test_unit_of_the_greatest_size_passes_and_one_more_byte_does_not() -> None:
    part = bytes(MAX_UNIT_BYTES // 2)
    whole = AccessUnit(VIDEO, 1, 1, True, (part, part))
    assert receive(spoken(Role.WORKER, [(VIDEO,), whole])) == [(VIDEO,), whole]
    huge = AccessUnit(VIDEO, 1, 1, True, (bytes(MAX_FRAME_BYTES),))
    with pytest.raises(MisuseError):
        Pipe(Role.WORKER).send(huge)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("change without a serial", frames.frame(Type.CHANGE, b"\0\0")),
        ("change that is no object", frames.frame(Type.CHANGE, bytes(4), b"7")),
        ("picture of no quality", frames.frame(Type.REQUEST_PICTURE, bytes(8))),
        ("recovery of no rung", frames.frame(Type.RECOVER, b"\7")),
        ("state from the appliance", frames.frame(Type.STATE, b"{}")),
    ],
)
def test_command_of_no_sense_is_refused(name: str, data: bytes) -> None:
    with pytest.raises(PeerError):
        receive(HELLO + data, Role.WORKER)


def test_commands_survive_the_pipe() -> None:
    commands = [
        RequestKeyframe(),
        SetBitrate(1_500_000),
        Change(7, {"controls": {"gain": 1.5}, "text": "é", "overlay": True}),
        RequestPicture(8, 640, 75, sub=True),
        Recover(Rung.CAMERA),
    ]
    assert receive(spoken(Role.APPLIANCE, commands), Role.WORKER) == commands


def test_document_beyond_its_cap_is_not_sent() -> None:
    with pytest.raises(MisuseError):
        Pipe(Role.WORKER).send(State({"a": "x" * (64 << 10)}))


@pytest.mark.parametrize("bitrate_bps", [0, 1_000_000_001])
def test_bitrate_outside_all_sense_is_refused(bitrate_bps: int) -> None:
    with pytest.raises(PeerError):
        receive(HELLO + frames.encode_bitrate(SetBitrate(bitrate_bps)), Role.WORKER)


def test_fault_text_is_cut_to_its_cap() -> None:
    text = "é" * 2000
    data = frames.encode_fault(frames.Fault(frames.Reason.INTERNAL, text))
    fault = frames.decode_fault(body(data))
    assert text.startswith(fault.text.rstrip("\ufffd"))
    assert len(fault.text) > 500


def test_commands_are_refused_from_the_wrong_end() -> None:
    with pytest.raises(MisuseError):
        Pipe(Role.WORKER).send(RequestKeyframe())
    with pytest.raises(MisuseError):
        Pipe(Role.APPLIANCE).send(State({}))
