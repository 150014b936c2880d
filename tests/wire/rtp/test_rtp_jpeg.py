from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator

import av
import pytest
from mutation import assert_only_peer_error
from video_units import packet

from appliance.errors import PeerError
from appliance.media.mjpeg import MjpegConfig
from appliance.wire.rtp.formats import jpeg_file
from appliance.wire.rtp.formats.contract import MAX_UNIT_BYTES, Assembled
from appliance.wire.rtp.formats.jpeg import JpegDepacketizer

LUMA, CHROMA = bytes(range(1, 65)), bytes(range(65, 129))
SIZE = (160, 120)


def head(
    offset: int = 0, *, kind: int = 1, quality: int = 50, size: tuple[int, int] = SIZE
) -> bytes:
    numbers = kind, quality, size[0] // 8, size[1] // 8
    return b"\0" + offset.to_bytes(3, "big") + bytes(numbers)


def tables(*lists: bytes, precision: int = 0) -> bytes:
    data = b"".join(lists)
    return bytes((0, precision)) + len(data).to_bytes(2, "big") + data


def pictures_of(taken: JpegDepacketizer, *payloads: bytes, stamp: int = 0) -> list[bytes]:
    """Payloads of one picture; the last has the marker."""
    found: list[Assembled] = []
    for index, data in enumerate(payloads, 1):
        found += taken.push(packet(data, marker=index == len(payloads)), stamp)
    assert all(one.key and one.stamp == stamp for one in found)
    return [bytes(one.parts[0]) for one in found]


def encode(pix_fmt: str, *options: str) -> bytes:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120"]
    command += ["-frames:v", "1", "-pix_fmt", pix_fmt, "-huffman", "default", *options]
    return subprocess.run(
        [*command, "-c:v", "mjpeg", "-f", "mjpeg", "-"], check=True, stdout=subprocess.PIPE
    ).stdout


def segments(picture: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and bodies; the scan's body has its data and EOI."""
    at = 2
    while True:
        size = int.from_bytes(picture[at + 2 : at + 4], "big")
        body = picture[at + 4 : at + 2 + size]
        if picture[at + 1] == 0xDA:
            yield 0xDA, picture[at + 2 + size :]
            return
        yield picture[at + 1], body
        at += 2 + size


def pixels(picture: bytes) -> bytes:
    with av.open(io.BytesIO(picture), format="mjpeg") as container:
        (frame,) = container.decode(video=0)
        return bytes(frame.planes[0])


def test_picture_with_restart_intervals_decodes_as_it_was() -> None:
    picture = encode("yuvj420p", "-threads", "2", "-thread_type", "slice")
    parts = dict(segments(picture))
    assert 0xDD in parts  # it has some
    luma = parts[0xDB][1:65]
    restart = parts[0xDD] + b"\xff\xff"
    first = head(kind=65, quality=255) + restart + tables(luma, luma)
    scan = parts[0xDA].removesuffix(b"\xff\xd9")
    (found,) = pictures_of(
        JpegDepacketizer(),
        first + scan[:1000],
        head(1000, kind=65, quality=255) + restart + scan[1000:],
    )
    assert dict(segments(found))[0xDD] == parts[0xDD]
    assert pixels(found) == pixels(picture)


def test_tables_of_a_static_q_are_those_of_libjpeg() -> None:
    for quality in (5, 30, 50, 75, 99):
        made = subprocess.run(
            ["convert", "-size", "16x16", "xc:red", "-quality", str(quality), "jpeg:-"],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        written = b"".join(body for marker, body in segments(made) if marker == 0xDB)
        assert all(table in written for table in jpeg_file.scaled_tables(quality)), quality


def test_picture_has_what_its_packets_leave_out() -> None:
    taken = JpegDepacketizer()
    (found,) = pictures_of(taken, head(kind=0, quality=50) + b"scan")
    parts = list(segments(found))
    assert [marker for marker, _ in parts] == [0xE0, 0xDB, 0xDB, 0xC0, 0xC4, 0xDA]
    assert parts[1][1] == b"\0" + jpeg_file.scaled_tables(50)[0]
    assert parts[3][1] == bytes.fromhex("08 0078 00a0 03 012100 021101 031101")
    assert found.startswith(b"\xff\xd8") and parts[-1][1] == b"scan\xff\xd9"
    assert taken.config == MjpegConfig(*SIZE)


def test_end_marker_that_came_along_is_not_doubled() -> None:
    (found,) = pictures_of(JpegDepacketizer(), head() + b"scan\xff\xd9")
    assert found.endswith(b"scan\xff\xd9")


def test_tables_in_band_are_kept_for_their_q_but_not_for_255() -> None:
    taken = JpegDepacketizer()
    own = head(quality=200) + tables(LUMA, CHROMA)
    (first,) = pictures_of(taken, own + b"a")
    (later,) = pictures_of(taken, head(quality=200) + tables() + b"b", stamp=3000)
    for found in (first, later):
        assert [body for marker, body in segments(found) if marker == 0xDB] == [
            b"\0" + LUMA,
            b"\1" + CHROMA,
        ]
    assert pictures_of(taken, head(quality=255) + tables(LUMA, CHROMA) + b"c", stamp=6000)
    for quality in (201, 255):
        with pytest.raises(PeerError):
            pictures_of(taken, head(quality=quality) + tables() + b"d", stamp=9000)


def test_one_table_serves_both_and_one_of_sixteen_bits_makes_it_extended() -> None:
    (found,) = pictures_of(JpegDepacketizer(), head(quality=255) + tables(LUMA) + b"a")
    assert [body for m, body in segments(found) if m == 0xDB] == [b"\0" + LUMA, b"\1" + LUMA]
    wide = tables(LUMA * 2, CHROMA, precision=1)
    (found,) = pictures_of(JpegDepacketizer(), head(quality=255) + wide + b"a")
    parts = list(segments(found))
    assert [body for m, body in parts if m == 0xDB] == [b"\x10" + LUMA * 2, b"\1" + CHROMA]
    assert 0xC1 in dict(parts)


def test_picture_too_large_for_its_header_has_the_size_of_the_description() -> None:
    taken = JpegDepacketizer((2592, 1944))
    assert pictures_of(taken, head(size=(0, 0)) + b"a")
    assert taken.config == MjpegConfig(2592, 1944)
    before = taken.config
    assert pictures_of(taken, head(size=(0, 0)) + b"a", stamp=1)
    assert taken.config is before
    with pytest.raises(PeerError):
        pictures_of(JpegDepacketizer(), head(size=(0, 0)) + b"a")


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_picture_that_lacks_a_packet_is_dropped_whole(missing: int) -> None:
    taken = JpegDepacketizer()
    payloads = [head() + b"x" * 100, head(100) + b"y" * 100, head(200) + b"z" * 100]
    found: list[Assembled] = []
    for at, data in enumerate(payloads):
        if at == missing:
            taken.lost()
        else:
            found += taken.push(packet(data, marker=at == 2), 0)
    found += taken.push(packet(head(100) + b"stray", marker=True), 3000)
    found += taken.push(packet(head() + b"whole", marker=True), 6000)
    assert [one.stamp for one in found] == [6000]


def test_pieces_that_do_not_meet_or_are_of_two_pictures_are_no_picture() -> None:
    taken = JpegDepacketizer()
    assert not pictures_of(taken, head() + b"x" * 100, head(101) + b"y")
    assert not taken.push(packet(head() + b"x" * 100), 0)
    assert not taken.push(packet(head(100) + b"y", marker=True), 3000)
    assert not taken.flush()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        head()[:7],
        head(kind=2) + b"a",
        head(kind=128) + b"a",
        head(quality=0) + b"a",
        head(quality=100) + b"a",
        head(kind=65) + b"abc",
        head(quality=255) + tables(LUMA)[:40],
        head(quality=255) + tables(LUMA, CHROMA[:9]) + b"a",
    ],
)
def test_damaged_packet_raises_and_the_next_picture_is_whole(data: bytes) -> None:
    taken = JpegDepacketizer()
    with pytest.raises(PeerError):
        taken.push(packet(data, marker=True), 0)
    assert pictures_of(taken, head() + b"whole", stamp=3000)


def test_picture_without_end_is_bounded() -> None:
    taken, piece = JpegDepacketizer(), bytes(60_000)
    with pytest.raises(PeerError):
        for at in range(0, MAX_UNIT_BYTES + len(piece), len(piece)):
            taken.push(packet(head(at) + piece), 0)
    assert not taken.flush()


def test_damaged_packets_raise_nothing_but_peer_error() -> None:
    taken = JpegDepacketizer()
    seeds = [
        head() + b"scan",
        head(quality=255) + tables(LUMA, CHROMA) + b"scan",
        head(kind=65, quality=130) + b"\0\4\xff\xff" + tables(LUMA, CHROMA) + b"scan",
        head(4) + b"more",
    ]
    assert_only_peer_error(
        lambda data: taken.push(packet(data, marker=len(data) % 2 == 0), 0), seeds
    )
