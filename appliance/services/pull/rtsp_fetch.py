"""A stream played from a camera, or another server, by RTSP."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from dataclasses import dataclass

from appliance.errors import PeerError
from appliance.hub.clock import SYSTEM_CLOCK
from appliance.net.horizon import Horizon
from appliance.net.tls import ClientTls
from appliance.net.tls_pin import OtherCertificate, read_fingerprint
from appliance.services.contract import RtspSettings
from appliance.services.pull.faults import REFUSED, SILENT, TLS, PullFault
from appliance.services.pull.intake import Inlet
from appliance.services.pull.rtsp_notes import Notes, Way
from appliance.services.pull.rtsp_session import RtspSession, Unfit
from appliance.services.pull.rtsp_wire import AGENT, Wire, open_wire
from appliance.wire.rtsp.client import MAX_REDIRECTS, RtspClient
from appliance.wire.rtsp.credentials import ClientAuth
from appliance.wire.rtsp.target import RtspAddress


@dataclass(frozen=True, slots=True)
class Camera:
    """settings: of the stream. notes: kept from one connection to the next.

    silence_us: without media of a track that was promised, and it is tried anew.
    """

    address: RtspAddress
    settings: RtspSettings
    notes: Notes
    silence_us: int


class RtspFetch:
    """One attempt: as many connections as redirects, ways of media and logins need."""

    def __init__(self, camera: Camera, tls: ClientTls, intake: Inlet, limit_s: float) -> None:
        self._camera = camera
        self._tls = tls
        self._intake = intake
        self._limit_s = limit_s
        self._horizon = Horizon()
        self._address = camera.address
        self._redirects = 0
        self._auth: ClientAuth | None = None
        self._was_answered = True  # all that was asked on the last connection

    async def run(self) -> None:
        """Never returns. Raises: PullFault, PeerError, LimitExceeded, OSError, TimeoutError."""
        camera = self._camera
        ways = camera.notes.ways(camera.settings.transport, is_tls=camera.address.is_tls)
        why = ""
        for at, way in enumerate(ways):
            camera.notes.tried = way
            unfit = await self._try(way, has_other=at + 1 < len(ways))
            why = f"{why}; {unfit.text}" if why else unfit.text
        raise PullFault(REFUSED if "SETUP" in why else SILENT, why)

    async def _try(self, way: Way, *, has_other: bool) -> Unfit:
        """Follows redirects."""
        while True:
            outcome = await self._play(way, has_other=has_other)
            if isinstance(outcome, Unfit):
                return outcome
            self._redirects += 1
            if self._redirects > MAX_REDIRECTS:
                raise PullFault(REFUSED, f"redirected more than {MAX_REDIRECTS} times")
            self._horizon.move_on()
            self._address, self._auth = outcome, None

    async def _play(self, way: Way, *, has_other: bool) -> RtspAddress | Unfit:
        """On a second connection if the camera closes the first with its 401."""
        client = self._make_client()
        try:
            return await self._connect_and_play(client, way, has_other=has_other)
        except (OSError, PullFault):
            auth = client.auth
            is_challenged = bool(auth.header("OPTIONS", self._address.url))
            if self._auth is not None or self._was_answered or not is_challenged:
                raise
            self._auth = auth
        return await self._connect_and_play(self._make_client(), way, has_other=has_other)

    def _make_client(self) -> RtspClient:
        return RtspClient(self._address, noise=os.urandom(32), agent=AGENT, auth=self._auth)

    async def _connect_and_play(
        self, client: RtspClient, way: Way, *, has_other: bool
    ) -> RtspAddress | Unfit:
        wire = await self._open(client, way)
        session = RtspSession(
            client,
            wire,
            self._intake,
            self._camera.notes,
            way,
            silence_us=self._camera.silence_us,
            tracks=self._camera.settings.tracks,
            has_other=has_other,
        )
        try:
            return await session.run()
        finally:
            self._was_answered = client.is_idle
            await _say_goodbye(client, wire)

    async def _open(self, client: RtspClient, way: Way) -> Wire:
        address, is_tunnel = self._address, way is Way.HTTP
        try:
            return await open_wire(
                client, address, self._tls, self._horizon, self._limit_s, through_http=is_tunnel
            )
        except OtherCertificate as error:
            text = f'another certificate than tls_fingerprint says; it shows "{error.seen}"'
            raise PullFault(TLS, text) from None
        except ssl.SSLCertVerificationError as error:
            # Not where a redirect leads: nobody may be told to trust that.
            seen = "" if self._redirects else await read_fingerprint(address.host, address.port)
            text = "untrusted certificate"
            if seen:
                text += f'; tls_fingerprint = "{seen}" in [stream.rtsp] trusts it'
            raise PullFault(TLS, text, said=error.verify_message) from None
        except ssl.SSLError as error:
            said = str(error.reason or error).lower().replace("_", " ")
            text = "no TLS is spoken there" if said == "wrong version number" else "TLS fails"
            raise PullFault(TLS, text, said=said) from None


async def _say_goodbye(client: RtspClient, wire: Wire) -> None:
    with suppress(PeerError):  # of a camera that answers nothing
        client.tick(SYSTEM_CLOCK.monotonic_us())
    client.teardown()
    await wire.close()
