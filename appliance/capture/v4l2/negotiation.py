"""Which of a camera's formats, sizes and rates is used, and why; pure.

H.264 of the camera's own if it is near to what is wanted, since it costs no encoding; else MJPEG,
which most USB cameras need for large pictures at a full rate; else raw. A kind that comes first
is passed over only for one that shows clearly more of what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from appliance.capture.v4l2.device import Mode, Offer, Wanted
from appliance.capture.v4l2.formats import BY_FOURCC, PREFERENCE, Kind, is_bayer, name_of

NEAR_AREA = (Fraction(1, 2), Fraction(3, 2))  # of the wanted picture, for what cannot be scaled
NEAR_RATE = Fraction(3, 5)
USABLE_RATE = Fraction(1, 2)  # a larger picture is no use at a slower rate than this
CLEARLY_BETTER = Fraction(5, 4)

KINDS = (Kind.H264, Kind.MJPEG, Kind.RAW)


@dataclass(frozen=True, slots=True)
class Encoding:
    """Whether the camera's own H.264 may, or must, be used.

    because: what needs the pictures themselves, such as "masks"; forced: by the setting.
    """

    because: str = ""
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """rate_hz: what to ask the camera for. why: one line for a person."""

    fourcc: str
    kind: Kind
    width: int
    height: int
    rate_hz: Fraction
    why: str


class NothingUsable(Exception):
    """One sentence on what the camera offers instead."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    offer: Offer
    kind: Kind
    mode: Mode
    rate_hz: Fraction
    worth: Fraction  # how much of the wanted pixels a second it shows, at most 1


def choose(offers: Sequence[Offer], wanted: Wanted, encoding: Encoding = Encoding()) -> Choice:
    """Raises: NothingUsable."""
    candidates = {kind: _best_of(kind, offers, wanted) for kind in KINDS}
    h264 = candidates[Kind.H264]
    if encoding.is_forced:
        if h264 is None:
            raise NothingUsable(
                'encoder = "camera", but this camera gives no H.264: it has '
                f'{describe_offers(offers)}; set encoder = "auto"'
            )
        return _choice(h264, "the camera encodes it, as the setting demands")
    passing = h264 is not None and not encoding.because and _is_near(h264, wanted)
    considered = [c for kind, c in candidates.items() if c is not None and (
        passing or kind is not Kind.H264)]  # fmt: skip
    if not considered:
        if h264 is not None and not encoding.because:
            return _choice(h264, "the camera gives nothing else")
        raise NothingUsable(_explain_nothing(offers, h264, encoding))
    most = max(candidate.worth for candidate in considered)
    chosen = next(c for c in considered if c.worth * CLEARLY_BETTER >= most)
    return _choice(chosen, _why(chosen, h264, passing, encoding, wanted))


def _best_of(kind: Kind, offers: Sequence[Offer], wanted: Wanted) -> _Candidate | None:
    """The best mode of this kind; of equals the format that is preferred."""
    found: list[tuple[Fraction, int, _Candidate]] = []
    for offer in offers:
        known = BY_FOURCC.get(offer.fourcc)
        if known is None or known.kind is not kind:
            continue
        mode = choose_mode(offer.modes, wanted, can_scale=kind is not Kind.H264)
        if mode is not None:
            rate_hz = choose_rate(mode.rates_hz, wanted)
            worth = _worth(mode, rate_hz, wanted)
            candidate = _Candidate(offer, kind, mode, rate_hz, worth)
            found.append((-worth, PREFERENCE[offer.fourcc], candidate))
    return min(found, key=lambda entry: entry[:2])[2] if found else None


def choose_mode(modes: Sequence[Mode], wanted: Wanted, *, can_scale: bool) -> Mode | None:
    """The smallest that is not smaller than wanted, or else the largest; if it cannot be scaled
    down later, the nearest. Sizes that are far too slow count only if all are."""
    fast = [mode for mode in modes if _is_usable(mode, wanted)]
    modes = fast or list(modes)
    if not modes:
        return None
    if not can_scale:
        return min(modes, key=lambda mode: (_distance(mode, wanted), -_area(mode)))
    enough = [m for m in modes if m.width >= wanted.width and m.height >= wanted.height]
    if enough:
        return min(enough, key=_area)
    return max(modes, key=_area)


def choose_rate(rates_hz: Sequence[Fraction], wanted: Wanted) -> Fraction:
    """The nearest, of two equally near ones the higher; the wanted if the camera does not tell."""
    if not rates_hz:
        return Fraction(wanted.fps)
    return min(rates_hz, key=lambda rate: (abs(rate - wanted.fps), -rate))


def _is_usable(mode: Mode, wanted: Wanted) -> bool:
    return choose_rate(mode.rates_hz, wanted) >= USABLE_RATE * wanted.fps


def _area(mode: Mode | Wanted) -> int:
    return mode.width * mode.height


def _distance(mode: Mode, wanted: Wanted) -> Fraction:
    """How far two sizes are apart, as ratios of their sides: 0 for the same."""
    ratios = (Fraction(mode.width, wanted.width), Fraction(mode.height, wanted.height))
    return sum((max(ratio, 1 / ratio) - 1 for ratio in ratios if ratio > 0), Fraction(0))


def _worth(mode: Mode, rate_hz: Fraction, wanted: Wanted) -> Fraction:
    return min(Fraction(1), Fraction(_area(mode), _area(wanted))) * min(
        Fraction(1), rate_hz / wanted.fps
    )


def _is_near(candidate: _Candidate, wanted: Wanted) -> bool:
    area = Fraction(_area(candidate.mode), _area(wanted))
    return NEAR_AREA[0] <= area <= NEAR_AREA[1] and candidate.rate_hz >= NEAR_RATE * wanted.fps


def _choice(candidate: _Candidate, reason: str) -> Choice:
    mode, rate_hz = candidate.mode, candidate.rate_hz
    shown = f"{name_of(candidate.offer.fourcc)} {mode.width}x{mode.height} at {show_rate(rate_hz)}"
    return Choice(
        candidate.offer.fourcc, candidate.kind, mode.width, mode.height, rate_hz,
        f"{shown}: {reason}",
    )  # fmt: skip


def _why(
    chosen: _Candidate,
    h264: _Candidate | None,
    passing: bool,
    encoding: Encoding,
    wanted: Wanted,
) -> str:
    parts = []
    if chosen.kind is Kind.H264:
        parts.append("the camera encodes it, so nothing is encoded here")
    elif h264 is None:
        parts.append("the camera gives no H.264, so it is encoded here")
    elif encoding.because:
        parts.append(f"encoded here because of {encoding.because}")
    elif not passing:
        size = f"{h264.mode.width}x{h264.mode.height} at {show_rate(h264.rate_hz)}"
        parts.append(f"its H.264 is only {size}, so it is encoded here")
    else:
        parts.append("its H.264 shows much less, so it is encoded here")
    if (chosen.mode.width, chosen.mode.height) != (wanted.width, wanted.height):
        parts.append(f"{_compare_size(chosen.mode, wanted)} {wanted.width}x{wanted.height}")
    if chosen.mode.rates_hz and chosen.rate_hz != wanted.fps:
        parts.append(f"the nearest rate to {wanted.fps}/s")
    return "; ".join(parts)


def _compare_size(mode: Mode, wanted: Wanted) -> str:
    if mode.width >= wanted.width and mode.height >= wanted.height:
        return "the smallest size that holds"
    return "the nearest size to"


def _explain_nothing(offers: Sequence[Offer], h264: _Candidate | None, encoding: Encoding) -> str:
    if h264 is not None:
        return (
            f"{encoding.because} need the pictures themselves, and this camera gives only H.264: "
            "leave that setting away for this camera"
        )
    if offers and all(is_bayer(offer.fourcc) for offer in offers):
        return "it gives a sensor's raw data, not pictures: use picamera2:0"
    if not offers:
        return "it offers no picture format at all"
    return f"it offers none of the formats we read, only {describe_offers(offers)}"


def describe_offers(offers: Sequence[Offer], most: int = 6) -> str:
    """Names, the best first, of a handful; how many more."""
    known = [offer for offer in offers if offer.fourcc in PREFERENCE]
    known.sort(key=lambda offer: PREFERENCE[offer.fourcc])
    names = [name_of(offer.fourcc) for offer in known]
    names += [offer.fourcc for offer in offers if offer.fourcc not in PREFERENCE]
    names = list(dict.fromkeys(names))
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def show_rate(rate_hz: Fraction) -> str:
    return f"{float(rate_hz):.4g}/s"
