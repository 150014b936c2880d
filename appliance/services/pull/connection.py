"""One connection of a pull, from asking until it ends, one way or another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.errors import ApplianceError
from appliance.hub.sessions import Session
from appliance.hub.stream import Stream
from appliance.net.tls import ClientTls
from appliance.services.contract import Context, RtspSettings
from appliance.services.pull.faults import ENDED, GARBAGE, KICKED, SILENT, UNREACHABLE, PullFault
from appliance.services.pull.flv_fetch import fetch_flv
from appliance.services.pull.intake import Intake
from appliance.services.pull.remote import Address
from appliance.services.pull.rtmp_fetch import fetch_rtmp
from appliance.services.pull.rtsp_fetch import Camera, RtspFetch
from appliance.services.pull.rtsp_notes import Notes
from appliance.wire.rtmp.address import RtmpAddress
from appliance.wire.rtsp.target import RtspAddress


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fetched, from which servers, and how patiently.

    open_us: from connecting to the first media; silence_us: from then on without any.
    close_us: on demand, and ended so long after the last viewer; None is always.
    notes: of a camera, kept as long as the plan.
    """

    addresses: tuple[Address, ...]
    tls: ClientTls
    open_us: int
    silence_us: int
    close_us: int | None = None
    rtsp: RtspSettings = field(default_factory=RtspSettings)
    notes: Notes = field(default_factory=Notes, compare=False)


class Connection:
    """first_unit_us: when media came, None before.
    on_media: called then, before it is published.
    """

    def __init__(
        self,
        context: Context,
        stream: Stream,
        plan: Plan,
        address: Address,
        session: Session,
        on_media: Callable[[Connection], None],
    ) -> None:
        self.session = session
        self.address = address
        self._context = context
        self._stream = stream
        self._plan = plan
        self._on_media = on_media
        self._intake: Intake | None = None

    @property
    def first_unit_us(self) -> int | None:
        return None if self._intake is None else self._intake.first_unit_us

    async def run_while_wanted(self) -> None:
        """Returns when nobody has watched for long enough. Raises: PullFault."""
        running = asyncio.create_task(self._run())
        unwanted = asyncio.create_task(self._wait_unwanted())
        is_kicked = False

        def kick() -> None:
            nonlocal is_kicked
            is_kicked = True
            running.cancel()

        self.session.kick = kick
        try:
            await asyncio.wait({running, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            if is_kicked:
                raise PullFault(KICKED, "ended by the operator")
            if running.done():
                running.result()
        finally:
            for task in (running, unwanted):
                task.cancel()
            await asyncio.gather(running, unwanted, return_exceptions=True)

    async def _wait_unwanted(self) -> None:
        if self._plan.close_us is None:
            await asyncio.get_running_loop().create_future()
        else:
            await self._stream.demand.wait_idle(self._plan.close_us)

    async def _run(self) -> None:
        """Raises: PullFault, whatever goes wrong."""
        limit_s = self._plan.open_us / 1_000_000
        deadline = asyncio.timeout(limit_s)
        try:
            async with deadline:
                await self._fetch(deadline, limit_s)
        except PullFault:
            raise
        except TimeoutError:
            seconds = limit_s if self.first_unit_us is None else self._plan.silence_us / 1_000_000
            what = SILENT if deadline.expired() else UNREACHABLE
            raise PullFault(what, f"no media for {seconds:g} s") from None
        except ApplianceError as error:
            raise PullFault(GARBAGE, str(error)) from error
        except OSError as error:
            what = UNREACHABLE if self.first_unit_us is None else ENDED
            text = error.strerror or str(error)
            raise PullFault(what, text[:1].lower() + text[1:]) from error

    async def _fetch(self, deadline: asyncio.Timeout, limit_s: float) -> None:
        self._intake = Intake(
            self._context.hub,
            self._stream.name,
            self.session,
            deadline,
            self._plan.silence_us,
            lambda: self._on_media(self),
        )
        plan, intake = self._plan, self._intake
        try:
            match self.address:
                case RtmpAddress() as address:
                    await fetch_rtmp(address, plan.tls, intake, limit_s)
                case RtspAddress() as address:
                    camera = Camera(address, plan.rtsp, plan.notes, plan.silence_us)
                    await RtspFetch(camera, plan.tls, intake, limit_s).run()
                case address:
                    await fetch_flv(address, plan.tls, intake, limit_s)
        finally:
            self._intake.close()
