"""A stream played from another server by RTMP."""

from __future__ import annotations

import os

from appliance import __version__
from appliance.containers.flv_tag_reader import FlvTagReader
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.net.horizon import Horizon
from appliance.net.tcp import TcpConnection
from appliance.net.tls import ClientTls
from appliance.services.pull.faults import ENDED, REFUSED, PullFault
from appliance.services.pull.intake import Intake
from appliance.services.pull.reach import reach
from appliance.wire.rtmp.address import RtmpAddress, redirected
from appliance.wire.rtmp.client import Ended, Event, Purpose, Refused, RtmpClient, Started
from appliance.wire.rtmp.message import Message

MAX_REDIRECTS = 3
AGENT = f"LNX 9,0,124,2 (Porthole/{__version__})"  # servers look at how it begins


class PlayCore:
    """RTMP's client as the TCP pump drives it."""

    def __init__(self, address: RtmpAddress) -> None:
        self.rtmp = RtmpClient(
            Purpose.PLAY,
            tc_url=address.tc_url,
            app=address.app,
            name=address.name,
            noise=os.urandom(1536),
            agent=AGENT,
        )

    def receive(self, data: bytes) -> list[Event]:
        return self.rtmp.receive(data, SYSTEM_CLOCK.monotonic_us())

    def receive_eof(self) -> list[Event]:
        """A server may end at any time; media that is there is used first."""
        return []

    def take_output(self) -> bytes:
        return self.rtmp.take_output()


async def fetch_rtmp(address: RtmpAddress, tls: ClientTls, intake: Intake, limit_s: float) -> None:
    """Never returns. limit_s: for connecting and asking.

    Raises: PullFault, PeerError, LimitExceeded, OSError, TimeoutError.
    """
    horizon = Horizon()
    for _ in range(1 + MAX_REDIRECTS):
        refused = await _play(address, tls, intake, limit_s, horizon)
        if not refused.redirect:
            raise PullFault(REFUSED, f"{refused.code} {refused.text}".strip())
        horizon.move_on()
        address = redirected(address, refused.redirect)
    raise PullFault(REFUSED, f"redirected more than {MAX_REDIRECTS} times")


async def _play(
    address: RtmpAddress, tls: ClientTls, intake: Intake, limit_s: float, horizon: Horizon
) -> Refused:
    """Returns if the server refuses."""
    core = PlayCore(address)
    connection = await reach(core, address, tls, horizon, limit_s)
    try:
        return await _receive(connection, intake)
    finally:
        core.rtmp.stop()
        connection.flush()
        connection.abort()
        await connection.close()


async def _receive(connection: TcpConnection[Event], intake: Intake) -> Refused:
    reader = FlvTagReader()
    async for events in connection:
        intake.count(connection.received_bytes)
        for event in events:
            match event:
                case Message():
                    connection.established()  # some send media without saying that it starts
                    intake.take(reader.receive(event.kind, event.timestamp_ms, event.payload))
                case Started():
                    connection.established()
                case Refused():
                    return event
                case Ended():
                    raise PullFault(ENDED, "the stream is over")
        connection.flush()
    raise PullFault(ENDED, "the server closed the connection")
