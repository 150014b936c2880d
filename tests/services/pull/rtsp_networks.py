"""A camera behind a cable, and somebody who watches it: scenarios for `two_networks`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fault_camera import FaultCamera, fault_camera
from relay_site import Place, Watcher, place, until, watching
from rtsp_source import from_camera, last_error
from two_networks import ELSEWHERE, THERE, TwoNetworks, main

from appliance.services.pull import Settings

QUICK = Settings(open_us=1_000_000, silence_us=500_000)
PATIENT = Settings(open_us=8_000_000, silence_us=8_000_000)
NAME = "camera.local"


@asynccontextmanager
async def watched(
    networks: TwoNetworks,
    transport: str,
    name: str = THERE,
    pulls: Settings = QUICK,
    **switches: Any,
) -> AsyncIterator[tuple[FaultCamera, Place, Watcher]]:
    async with fault_camera(
        host=THERE, bind_udp=networks.bind_udp, listen_on=networks.listen, **switches
    ) as camera:
        stream = from_camera(camera, transport, host=name)
        async with place(stream, serves=False, pulls=pulls) as edge, watching(edge) as viewer:
            await until(lambda: len(viewer.units) > 60)
            yield camera, edge, viewer
            assert not viewer.is_over
            assert len(edge.pulls) == 1
            for number in (1, 2):
                stamps = [unit.dts_us for unit in viewer.units if unit.track.id == number]
                assert stamps == sorted(set(stamps))


async def goes_on(viewer: Watcher, cuts: int) -> None:
    await until(lambda: viewer.cuts == cuts)
    seen = len(viewer.units)
    await until(lambda: len(viewer.units) > seen + 60)


def lost_tries(edge: Place) -> int:
    counts = edge.context.faults.counts
    return counts["pull", "unreachable"] + counts["pull", "silent"]


async def unplugged(networks: TwoNetworks, transport: str) -> None:
    """Long enough for it to be noticed and asked for in vain."""
    async with watched(networks, transport) as (_, edge, viewer):
        networks.unplug()
        await until(lambda: lost_tries(edge) >= 2)
        networks.plug()
        await goes_on(viewer, 1)


async def blinked(networks: TwoNetworks, transport: str) -> None:
    """Shorter than what is taken for silence: the same session goes on, with all of it."""
    async with watched(networks, transport, pulls=PATIENT) as (camera, _, viewer):
        networks.unplug()
        await asyncio.sleep(0.1)
        networks.plug()
        seen = len(viewer.units)
        await until(lambda: len(viewer.units) > seen + 60)
        assert camera.connections == 1
        assert viewer.cuts == 0
        assert viewer.longest_gap_us() < 100_000  # of the picture's own time


async def moved(networks: TwoNetworks, transport: str) -> None:
    """The camera gets another address, which its name leads to from then on."""

    async def lookup(host: str, port: int, **more: Any) -> list[tuple[Any, ...]]:
        return await getaddrinfo(address if host == NAME else host, port, **more)

    loop, address = asyncio.get_running_loop(), THERE
    getaddrinfo = loop.getaddrinfo
    loop.getaddrinfo = lookup  # type: ignore[method-assign]
    async with watched(networks, transport, NAME) as (camera, edge, viewer):
        networks.move()
        await until(lambda: lost_tries(edge) >= 1)
        address = ELSEWHERE
        camera.host = ELSEWHERE
        await camera.power_off()
        await camera.power_on()
        await goes_on(viewer, 1)
        assert ELSEWHERE in {session.peer_ip for session in edge.pulls} or last_error(edge)


async def rebooted(networks: TwoNetworks, transport: str) -> None:
    """Its power is cut, so nobody says goodbye; it comes back with another picture."""
    async with watched(networks, transport) as (camera, edge, viewer):
        camera.freeze()
        networks.ip_there("link set there down")
        await camera.power_off()  # what it says is not heard
        await until(lambda: lost_tries(edge) >= 1)
        camera.thaw()
        camera.film = "h264+aac"
        networks.ip_there("link set there up")
        await camera.power_on()
        await goes_on(viewer, 1)
        assert camera.playing == 1


async def multicast(networks: TwoNetworks, _: str) -> None:
    """Without a route for groups: it is joined where the camera is."""
    async with watched(networks, "multicast") as (camera, _, viewer):
        assert camera.sent["MULTICAST"] > 60
        assert camera.sent["UDP"] == camera.sent["TCP"] == 0
        assert viewer.cuts == 0


async def punched(networks: TwoNetworks, _: str) -> None:
    """Behind a firewall, or an address that is translated: media go where a packet came from."""
    async with watched(networks, "udp", needs_punch=True) as (camera, _, viewer):
        assert camera.sent["UDP"] > 60
        assert viewer.cuts == 0


SCENARIOS: dict[str, Callable[[TwoNetworks, str], Any]] = {
    one.__name__: one for one in (unplugged, blinked, moved, rebooted, multicast, punched)
}

if __name__ == "__main__":
    main({name: lambda n, run=run: run(n, sys.argv[2]) for name, run in SCENARIOS.items()})
