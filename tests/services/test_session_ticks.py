"""Once a second RTMP and RTSP look at each session; a fault of ours in one is that one's alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from appliance.hub.access import Access
from appliance.hub.hub import Hub
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.net.http import Router
from appliance.net.supervisor import Supervisor
from appliance.services import rtmp, rtsp
from appliance.services.contract import Context
from appliance.services.rtmp.session import RtmpSession
from appliance.services.rtsp.session import RtspSession

SERVICES: dict[str, tuple[Any, Any]] = {"rtmp": (rtmp, RtmpSession), "rtsp": (rtsp, RtspSession)}


@pytest.mark.parametrize("proto", SERVICES)
async def test_fault_in_one_sessions_tick_ends_it_and_no_other(
    proto: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package, kind = SERVICES[proto]
    context = Context(
        hub=Hub(),
        router=Router(),
        access=Access(),
        sessions=Sessions(),
        faults=Faults(),
        counters=Counters(),
        supervisor=Supervisor(),
        device_name="porthole",
        streams=(),
    )
    service = package.create(package.Settings(listen=("127.0.0.1:0",)), context)
    ticked: list[Any] = []
    tick = kind.tick

    def fail_for_the_first(session: Any) -> None:
        ticked.append(session)
        if session is ticked[0]:
            raise RuntimeError("a bug")
        tick(session)

    await service.start()
    try:
        host, _, port = service.addresses[0].rpartition(":")
        peers = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        monkeypatch.setattr(kind, "tick", fail_for_the_first)
        ends = [asyncio.create_task(reader.read()) for reader, _ in peers]
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        while len(set(ticked)) < 3 or ticked.count(ticked[-1]) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(done) == 1 and len([one for one in ends if one.done()]) == 1
        assert context.faults.counts[proto, "internal error"] == 1
        assert caplog.text.count("please report it") == 1
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        for _, writer in peers:
            writer.close()
    finally:
        await service.stop()
        await context.supervisor.close()
