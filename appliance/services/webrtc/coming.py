"""A peer that has been let in, and is to be answered."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.hub.sessions import Session
from appliance.wire.ice.candidate import Candidate
from appliance.wire.sdp.webrtc_offer import WebRtcOffer


@dataclass(frozen=True, slots=True)
class Coming:
    """candidates: that it is told."""

    offer: WebRtcOffer
    candidates: tuple[Candidate, ...]
    session: Session
