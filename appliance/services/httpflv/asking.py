"""What a viewer asks for, by path and query."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.hub.names import stream_name
from appliance.media.track import Kind
from appliance.net.fanout_pool import Latency
from appliance.net.http import Request
from appliance.services.httpflv.forms import FORMS, Form

OFF = {"0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class Ask:
    """latency: None if it is not for the viewer to say; is_live: from the next keyframe on, instead
    of the newest there is."""

    name: str
    form: Form
    kinds: frozenset[Kind]
    latency: Latency | None
    is_live: bool


def read_ask(request: Request) -> Ask:
    """Raises: NameInvalid, PeerError."""
    path, dot, suffix = request.path[1:].rpartition(".")
    form = FORMS[dot + suffix]
    return Ask(
        stream_name(path),
        form,
        _read_kinds(request, form),
        Latency.of_query(request.query),
        _read_is_live(request),
    )


def _read_kinds(request: Request, form: Form) -> frozenset[Kind]:
    kinds = frozenset(
        kind for kind in form.kinds if request.query.get(kind.value, "1").lower() not in OFF
    )
    if not kinds:
        raise PeerError("neither sound nor picture was asked for")
    return form.kinds if kinds == form.kinds else kinds


def _read_is_live(request: Request) -> bool:
    start = request.query.get("start", "")
    if start not in {"", "gop", "live"}:
        raise PeerError("start is gop or live")
    return start == "live"
