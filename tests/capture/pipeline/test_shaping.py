"""Whatever comes in: its size, its range, its colours, its turn, and what nobody may see."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import pytest
from pipeline_fixture import grey, pixels

from appliance.capture.encoders.encoder import BT601, BT709
from appliance.capture.options import MaskOptions, Options
from appliance.capture.pipeline.shaping import Scaler, Shaper, fit

MASK = MaskOptions(0.5, 0.25, 0.25, 0.5)


def shaper(*, turned_deg: int = 0, **options: Any) -> Shaper:
    return Shaper(Options(**{"width": 160, "height": 96} | options), turned_deg=turned_deg)


def test_shaper_hands_on_what_fits_untouched() -> None:
    frame = grey(160, 96)
    shaped = shaper().shape(frame, keep=True)
    assert shaped.frame is frame
    assert not shaped.is_ours
    assert shaper().shape(frame, keep=False).is_ours


@pytest.mark.parametrize(
    ("size", "expected"),
    [((320, 192), (160, 96)), ((320, 240), (128, 96)), ((100, 80), (100, 80)),
     ((101, 81), (100, 80)), ((161, 97), (160, 96)), ((4000, 100), (160, 64))],
)  # fmt: skip
def test_shaper_makes_sizes_fit_and_even(size: tuple[int, int], expected: tuple[int, int]) -> None:
    frame = av.VideoFrame(*size, "yuv422p")
    shaped = shaper().shape(frame, keep=False).frame
    assert (shaped.width, shaped.height) == expected
    assert shaped.format.name == "yuv420p"


def test_shaper_scale_is_on_top_of_the_settings() -> None:
    made = shaper()
    made.scale = Fraction(3, 4)
    assert fit(160, 96, 120, 72) == (120, 72)
    assert made.shape(grey(160, 96), keep=False).frame.width == 120
    made.scale = Fraction(1)
    assert made.shape(grey(160, 96), keep=False).frame.width == 160


@pytest.mark.parametrize(
    ("name", "colorspace", "expected"),
    [("yuvj420p", 2, (235, BT601)), ("yuvj422p", 2, (235, BT601)), ("yuv422p", 2, (255, BT709)),
     ("yuv422p", 1, (255, BT709)), ("yuv422p", 6, (255, BT601)), ("yuyv422", 5, (255, BT601)),
     ("rgb24", 2, (235, BT709))],
)  # fmt: skip
def test_scaler_keeps_white_white_and_tells_the_matrix(
    name: str, colorspace: int, expected: tuple[int, int]
) -> None:
    """JPEG's full range becomes limited; white of a limited range stays what it was."""
    frame = av.VideoFrame(64, 64, name)
    for number, plane in enumerate(frame.planes):
        luma = b"\xff\x80" if name == "yuyv422" else b"\xff" if not number else b"\x80"
        plane.update(luma * (plane.buffer_size // len(luma)))
    frame.colorspace = colorspace
    scaled = Scaler().scale(frame, 64, 64)
    at = pixels(scaled)[10][10]
    assert (at, scaled.colorspace) == expected
    assert bytes(scaled.planes[1])[5] == pytest.approx(128, abs=1)


def test_scaler_turns_full_range_420_into_limited() -> None:
    frame = grey(64, 64, luma=255)
    frame.color_range = 2
    assert pixels(Scaler().scale(frame, 64, 64))[5][5] == 235


def test_shaper_hides_what_is_masked_and_nothing_else() -> None:
    rows = pixels(shaper(masks=(MASK,)).shape(grey(160, 96), keep=False).frame)
    assert all(value == 16 for row in rows[24:72] for value in row[80:120])
    assert rows[23][100] == rows[72][100] == rows[50][79] == rows[50][120] == 120


def test_shaper_does_not_draw_on_frames_that_stay_the_caller_s() -> None:
    frame = grey(160, 96)
    shaped = shaper(masks=(MASK,)).shape(frame, keep=True)
    assert shaped.frame is not frame
    assert shaped.is_ours
    assert pixels(frame)[50][100] == 120


def test_shaper_does_not_draw_on_what_a_decoder_still_refers_to() -> None:
    """Otherwise the mask would move into later pictures, and what it hides would return."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 160, 96, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"tune": "zerolatency", "qp": "10"}
    decoder = av.VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    made = shaper(masks=(MASK,))
    for number in range(8):
        picture = grey(160, 96, luma=100)
        picture.pts = number
        for packet in encoder.encode(picture):
            for frame in decoder.decode(packet):
                before = pixels(frame)[50][100]
                shaped = made.shape(frame, keep=False)
                assert before == pytest.approx(100, abs=4), number
                assert pixels(shaped.frame)[50][100] == 16


@pytest.mark.parametrize("size", [(320, 192), (640, 384), (200, 120)])
def test_masked_pixels_do_not_leak_into_smaller_pictures(size: tuple[int, int]) -> None:
    """What lies under a mask has no influence on any pixel that is shown."""
    made = shaper(masks=(MASK,))
    pictures = []
    for hidden in (16, 235):
        frame = grey(*size)
        plane = frame.planes[0]
        data = bytearray(bytes(plane))
        for y in range(size[1] // 4, size[1] * 3 // 4):
            start = y * plane.line_size + size[0] // 2
            data[start : start + size[0] // 4] = bytes((hidden,)) * (size[0] // 4)
        plane.update(bytes(data))
        pictures.append(pixels(made.shape(frame, keep=False).frame))
    assert pictures[0] == pictures[1]


def marked(width: int, height: int) -> av.VideoFrame:
    """Bright in its top left corner."""
    frame = grey(width, height, luma=50)
    plane = frame.planes[0]
    data = bytearray(bytes(plane))
    for y in range(16):
        data[y * plane.line_size : y * plane.line_size + 16] = b"\xc8" * 16
    plane.update(bytes(data))
    return frame


@pytest.mark.parametrize(
    ("options", "turned_deg", "size", "corner", "left_deg"),
    [
        ({"rotation": 0}, 0, (160, 96), (0, 0), 0),
        ({"rotation": 180}, 0, (160, 96), (159, 95), 0),
        ({"rotation": 180}, 180, (160, 96), (0, 0), 0),
        ({"rotation": 180, "rotate": "picture"}, 0, (160, 96), (159, 95), 0),
        ({"rotation": 90}, 0, (160, 96), (0, 0), 90),
        ({"rotation": 270}, 0, (160, 96), (0, 0), 270),
        ({"rotation": 90, "rotate": "picture"}, 0, (96, 160), (95, 0), 0),
        ({"rotation": 270, "rotate": "picture"}, 0, (96, 160), (0, 159), 0),
    ],
)
def test_shaper_turns_pixels_or_leaves_it_to_viewers(
    options: dict[str, Any],
    turned_deg: int,
    size: tuple[int, int],
    corner: tuple[int, int],
    left_deg: int,
) -> None:
    made = shaper(turned_deg=turned_deg, **options)
    frame = made.shape(marked(160, 96), keep=False).frame
    assert (frame.width, frame.height) == size
    assert made.rotation_deg == left_deg
    x, y = corner
    assert pixels(frame)[y][x] == 200
    assert sum(value == 200 for row in pixels(frame) for value in row) == 256


def test_mask_is_where_the_sensor_saw_it_however_the_picture_was_turned() -> None:
    mask = MaskOptions(0.0, 0.0, 0.25, 0.25)
    here = pixels(shaper(masks=(mask,), rotation=180).shape(grey(160, 96), keep=False).frame)
    assert (here[95][159], here[0][0]) == (16, 120)  # turned here, after masking
    there = shaper(masks=(mask,), rotation=180, turned_deg=180)
    rows = pixels(there.shape(grey(160, 96), keep=False).frame)
    assert (rows[95][159], rows[0][0]) == (16, 120)  # turned by the sensor, before
    tall = shaper(masks=(mask,), rotation=90, rotate="picture")
    rows = pixels(tall.shape(grey(160, 96), keep=False).frame)
    assert (rows[0][95], rows[0][0], rows[159][95]) == (16, 120, 120)


def test_shaper_mask_at_the_far_edge_is_where_a_camera_that_turns_put_it() -> None:
    made = shaper(turned_deg=180, rotation=180, masks=(MaskOptions(0.9, 0.0, 0.1, 1.0),))
    luma = pixels(made.shape(grey(160, 96), keep=False).frame)
    assert luma[0][0] == 16
    assert luma[0][20] != 16
