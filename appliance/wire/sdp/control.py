"""Which URL a control attribute means (RFC 2326 C.1.1), as players resolve it.

Not as RFC 3986 resolves references: a camera whose base is ``rtsp://h/a?b=1/`` and whose control
is ``trackID=0`` (Dahua) means one behind the other.
"""

from __future__ import annotations

from appliance.wire.sdp.session import Media, Session

_SCHEMES = ("rtsp://", "rtsps://", "rtspu://")


def aggregate_url(base: str, session: Session) -> str:
    """Of the whole presentation. base: Content-Base, else Content-Location, else the URL asked."""
    return _join(base, session.control)


def media_url(base: str, session: Session, media: Media) -> str:
    """Of one media section, for its SETUP; the aggregate's if it names none."""
    return _join(aggregate_url(base, session), media.control)


def _join(base: str, control: str | None) -> str:
    if not control or control == "*":
        return base
    if control.lower().startswith(_SCHEMES):
        return control
    if control.startswith("?"):
        return base.removesuffix("/") + control
    return f"{base.removesuffix('/')}/{control.removeprefix('/')}"
