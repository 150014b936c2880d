"""The transcode service on a hub, real workers, and a publisher of pictures and G.711."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from container_samples import avc_track, picture

from appliance.containers.fmp4_muxer import Fmp4Muxer
from appliance.hub.access import Access, AuthSettings
from appliance.hub.alternatives import Alternative
from appliance.hub.hub import Hub
from appliance.hub.publisher import Publisher
from appliance.hub.rendition import Rendition
from appliance.hub.sessions import Sessions
from appliance.hub.stats import Counters, Faults
from appliance.hub.stream import Stream
from appliance.media.l16 import L16Config
from appliance.media.track import Codec, Track
from appliance.media.unit import AccessUnit
from appliance.net.http import Router
from appliance.net.supervisor import Supervisor
from appliance.services.contract import Context
from appliance.services.transcode import Settings, create
from appliance.services.transcode.feed import Feed
from appliance.services.transcode.service import Transcode

VIDEO = avc_track()
L16 = Track(2, L16Config(8_000, 1), 8_000)
FRAME_US = 40_000
TONE_HZ, LEVEL = 440, 8_000


async def until(condition: Callable[[], object]) -> None:
    """Looks again and again at something that tells nobody when it changes."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


class Show:
    """Pictures and a tone, 40 ms of each at a time, with a key every ten."""

    def __init__(self, publisher: Publisher, native: Track = L16) -> None:
        self.publisher = publisher
        self.native = native
        self.count = 0
        self.start_us = publisher.stream.clock.monotonic_us()
        publisher.describe((VIDEO, native))

    @property
    def newest_us(self) -> int:
        return self.start_us + (self.count - 1) * FRAME_US

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            dts_us = self.start_us + self.count * FRAME_US
            self.publisher.write(picture(VIDEO, dts_us, key=self.count % 10 == 0))
            self.publisher.write(AccessUnit(self.native, dts_us, dts_us, True, (self._samples(),)))
            self.count += 1

    def _samples(self) -> bytes:
        first, samples = self.count * 320, 320
        turn = 2 * math.pi * TONE_HZ / 8_000
        values = array("h", (int(LEVEL * math.sin(turn * (first + n))) for n in range(samples)))
        values.byteswap()
        return values.tobytes()


@dataclass
class TranscodeSite:
    context: Context
    service: Transcode
    shows: list[Show] = field(default_factory=list)

    @property
    def hub(self) -> Hub:
        return self.context.hub

    def publish(self, name: str = "live/a", native: Track = L16) -> tuple[Stream, Show]:
        show = Show(self.hub.publish(name, "test"), native)
        self.shows.append(show)
        return self.hub.find(name), show

    @property
    def feeds(self) -> list[Feed]:
        return list(self.service._feeds)

    def faults(self) -> set[str]:
        return {reason for proto, reason in self.context.faults.counts if proto == "transcode"}

    async def heard(self, stream: Stream, show: Show, codec: Codec = Codec.AAC) -> Alternative:
        """Once all that was shown so far is made."""
        target_us = show.newest_us
        show.write(5)  # encoders hold some back
        alternative = stream.alternatives.by_codec[codec]
        await until(lambda: (alternative.newest_us or 0) > target_us)
        return alternative


def open_fmp4(stream: Stream) -> Rendition:
    return stream.rendition("fmp4", Fmp4Muxer)


@asynccontextmanager
async def transcode_site(
    tmp_path: Path, settings: Settings | None = None
) -> AsyncIterator[TranscodeSite]:
    hub, supervisor = Hub(), Supervisor()
    context = Context(
        hub=hub, router=Router(), access=Access(AuthSettings(), tmp_path / "accounts"),
        sessions=Sessions(), faults=Faults(), counters=Counters(), supervisor=supervisor,
        device_name="test", streams=(),
    )  # fmt: skip
    service = create(settings or Settings(), context)
    await service.start()
    try:
        yield TranscodeSite(context, service)
    finally:
        await service.stop()
        hub.close()
        await supervisor.close()
