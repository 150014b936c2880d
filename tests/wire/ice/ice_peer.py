"""What a full ICE agent sends to ours, as bytes, with a new transaction for each check."""

from __future__ import annotations

import itertools

from appliance.wire.ice.agent import Remote
from appliance.wire.ice.credentials import Credentials
from appliance.wire.ice.stun import AttributeType, MessageClass, StunMessage

OURS = Credentials("ourF", "ourPassword0123456789ab")
PRIORITY = 0x6E0001FF
HERE = Remote("192.0.2.7", 40_000)
THERE = Remote("192.0.2.8", 50_000)

_transactions = itertools.count()


def request(
    username: str = "ourF:theirs",
    *,
    nominating: bool = False,
    priority: int | None = PRIORITY,
    role: AttributeType | None = AttributeType.ICE_CONTROLLING,
) -> StunMessage:
    message = StunMessage(MessageClass.REQUEST, next(_transactions).to_bytes(12, "big"))
    message.add(AttributeType.USERNAME, username.encode())
    if role is not None:
        message.add(role, bytes(range(8)))
    if nominating:
        message.add(AttributeType.USE_CANDIDATE)
    if priority is not None:
        message.add(AttributeType.PRIORITY, priority.to_bytes(4, "big"))
    return message


def check(
    local: Credentials = OURS, *, nominating: bool = False, priority: int = PRIORITY
) -> bytes:
    """A check as browsers send it."""
    username = f"{local.ufrag}:theirs"
    return request(username, nominating=nominating, priority=priority).pack(local.key)
