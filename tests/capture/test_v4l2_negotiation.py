"""Which format, size and rate is taken of what cameras really offer."""

from __future__ import annotations

from fractions import Fraction

import pytest

from appliance.capture.v4l2.device import Mode, Offer, Wanted
from appliance.capture.v4l2.formats import Kind
from appliance.capture.v4l2.negotiation import (
    Encoding,
    NothingUsable,
    choose,
    choose_mode,
    choose_rate,
    describe_offers,
)
from appliance.capture.v4l2.ranges import Steps, rates_in, sizes_in

HD = Wanted(1280, 720, 30)


def mode(size: str, *rates: float) -> Mode:
    width, height = map(int, size.split("x"))
    return Mode(width, height, tuple(Fraction(rate).limit_denominator(1001) for rate in rates))


def offer(fourcc: str, *modes: Mode) -> Offer:
    return Offer(fourcc, fourcc, modes)


# The usual 720p webcam: raw is slow above VGA, as USB 2 has no more bandwidth.
WEBCAM = [
    offer("YUYV", mode("640x480", 30, 15), mode("1280x720", 10), mode("1920x1080", 5)),
    offer("MJPG", mode("640x480", 30), mode("1280x720", 30, 15), mode("1920x1080", 30)),
]
# A camera with an encoder (as the older C920).
ENCODING = [
    *WEBCAM,
    offer("H264", mode("640x480", 30), mode("1280x720", 30, 24), mode("1920x1080", 30)),
]
# A capture dongle that gives one size only.
DONGLE = [offer("YUYV", mode("1920x1080", 5)), offer("MJPG", mode("1920x1080", 30))]
CHEAP = [offer("YUYV", mode("640x480", 30), mode("320x240", 30))]
NIGHT = [offer("GREY", mode("640x480", 30))]
SENSOR = [offer("pRAA", mode("1920x1080", 30)), offer("RG10", mode("1920x1080", 30))]


@pytest.mark.parametrize(
    ("offers", "wanted", "expected"),
    [
        (WEBCAM, HD, "MJPG 1280x720 30"),
        (WEBCAM, Wanted(640, 480, 30), "MJPG 640x480 30"),
        (WEBCAM, Wanted(800, 600, 30), "MJPG 1280x720 30"),
        (WEBCAM, Wanted(1280, 720, 20), "MJPG 1280x720 15"),
        (WEBCAM, Wanted(3840, 2160, 30), "MJPG 1920x1080 30"),
        (ENCODING, HD, "H264 1280x720 30"),
        (ENCODING, Wanted(1280, 720, 25), "H264 1280x720 24"),
        (ENCODING, Wanted(1024, 768, 30), "H264 1280x720 30"),
        (ENCODING, Wanted(320, 180, 15), "MJPG 640x480 30"),
        (DONGLE, HD, "MJPG 1920x1080 30"),
        (CHEAP, HD, "YUYV 640x480 30"),
        (NIGHT, HD, "GREY 640x480 30"),
    ],
)
def test_choice_is_what_a_person_would_take(
    offers: list[Offer], wanted: Wanted, expected: str
) -> None:
    choice = choose(offers, wanted)
    shown = f"{choice.fourcc} {choice.width}x{choice.height} {choice.rate_hz}"
    assert shown == expected
    assert f"{choice.width}x{choice.height}" in choice.why


def test_choice_takes_raw_where_mjpeg_shows_clearly_less() -> None:
    offers = [offer("MJPG", mode("640x480", 30)), offer("YUYV", mode("1280x720", 30))]
    assert choose(offers, HD).kind is Kind.RAW


def test_choice_takes_raw_formats_by_the_work_they_make() -> None:
    every = [offer(name, mode("1280x720", 30)) for name in ("BGR3", "YUYV", "NV12", "YU12", "UYVY")]
    for expected in ("YU12", "NV12", "YUYV", "UYVY", "BGR3"):
        assert choose(every, HD).fourcc == expected
        every = [each for each in every if each.fourcc != expected]


def test_choice_prefers_the_raw_format_that_reaches_the_rate() -> None:
    offers = [offer("YU12", mode("1280x720", 5)), offer("YUYV", mode("1280x720", 30))]
    assert choose(offers, HD).fourcc == "YUYV"


@pytest.mark.parametrize("because", ["masks", "the overlay", 'encoder = "libx264"'])
def test_choice_encodes_here_when_a_setting_needs_the_pictures(because: str) -> None:
    choice = choose(ENCODING, HD, Encoding(because))
    assert choice.kind is Kind.MJPEG
    assert because in choice.why


def test_choice_is_h264_of_any_size_when_the_setting_forces_it() -> None:
    choice = choose(ENCODING, Wanted(320, 180, 15), Encoding(is_forced=True))
    assert (choice.fourcc, choice.width) == ("H264", 640)


def test_choice_refuses_to_force_h264_where_there_is_none() -> None:
    with pytest.raises(NothingUsable, match='gives no H.264: it has MJPEG, YUYV.*"auto"'):
        choose(WEBCAM, HD, Encoding(is_forced=True))


def test_choice_takes_h264_far_from_the_wanted_size_if_there_is_nothing_else() -> None:
    choice = choose([offer("H264", mode("1920x1080", 30))], Wanted(640, 360, 15))
    assert choice.kind is Kind.H264
    assert "nothing else" in choice.why


def test_choice_explains_masks_on_a_camera_that_only_encodes() -> None:
    with pytest.raises(NothingUsable, match="masks need the pictures.*only H.264"):
        choose([offer("H264", mode("1280x720", 30))], HD, Encoding("masks"))


@pytest.mark.parametrize(
    ("offers", "words"),
    [
        (SENSOR, "picamera2:0"),
        ([], "no picture format at all"),
        ([offer("XYZ9"), offer("HEVC")], "only XYZ9, HEVC"),
    ],
)
def test_choice_says_what_there_is_when_nothing_can_be_used(
    offers: list[Offer], words: str
) -> None:
    with pytest.raises(NothingUsable, match=words):
        choose(offers, HD)


def test_why_names_the_size_and_rate_that_differ() -> None:
    why = choose(WEBCAM, Wanted(800, 600, 20)).why
    assert why.startswith("MJPEG 1280x720 at 15/s: the camera gives no H.264")
    assert "holds 800x600" in why
    assert "nearest rate to 20/s" in why
    assert "30" not in choose(ENCODING, HD).why.split(":")[1]


def test_why_tells_why_h264_is_passed_over() -> None:
    assert "its H.264 is only 640x480 at 30/s" in choose(ENCODING, Wanted(320, 180, 15)).why


def test_mode_that_is_far_too_slow_counts_only_if_all_are() -> None:
    slow, fast = mode("1280x720", 5), mode("640x480", 30)
    assert choose_mode([slow, fast], HD, can_scale=True) is fast
    assert choose_mode([slow], HD, can_scale=True) is slow
    assert choose_mode([], HD, can_scale=True) is None


@pytest.mark.parametrize(
    ("rates", "fps", "expected"),
    [
        ((30, 15), 25, 30), ((30, 24, 15), 25, 24), ((30, 20), 25, 30), ((30, 15, 5), 1, 5),
        ((), 25, 25), ((Fraction(30000, 1001),), 30, Fraction(30000, 1001)),
    ],
)  # fmt: skip
def test_rate_is_the_nearest(rates: tuple[int, ...], fps: int, expected: Fraction) -> None:
    assert choose_rate([Fraction(rate) for rate in rates], Wanted(640, 480, fps)) == expected


def test_description_has_the_best_first_and_ends() -> None:
    every = [offer("XYZ9"), *ENCODING, *NIGHT, offer("NV12"), offer("RGB3"), offer("ABCD")]
    assert describe_offers(every) == "H.264, MJPEG, NV12, YUYV 4:2:2, grey, RGB and 2 more"


def test_sizes_of_a_range_hold_the_wanted_and_the_largest() -> None:
    sizes = sizes_in(Steps(32, 3280, 2), Steps(32, 2464, 2), Wanted(1000, 500, 30))
    assert (1000, 500) in sizes
    assert (3280, 2464) in sizes
    assert (1280, 720) in sizes


@pytest.mark.parametrize(
    ("steps", "value", "expected"),
    [
        (Steps(32, 1024, 16), 1000, 1008), (Steps(32, 1024, 16), 5000, 1024),
        (Steps(32, 1024, 16), 1, 32), (Steps(30, 100, 16), 100, 94), (Steps(8, 8, 0), 8, 8),
    ],
)  # fmt: skip
def test_steps_find_the_nearest_that_is_not_smaller(
    steps: Steps, value: int, expected: int
) -> None:
    assert steps.nearest(value) == expected
    assert steps.holds(expected)


def test_rates_of_a_range_hold_the_wanted_and_the_fastest() -> None:
    rates = rates_in(Fraction(1, 90), Fraction(1, 2), Wanted(640, 480, 17))
    assert rates[0] == 90
    assert {Fraction(17), Fraction(25), Fraction(30)} <= set(rates)
    assert min(rates) >= 2
    assert rates_in(Fraction(0), Fraction(0), HD)[0] == 60
