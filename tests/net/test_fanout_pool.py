"""Fan-outs by ring and latency, and settings that change under them."""

from __future__ import annotations

from http_site import until

from appliance.hub.ring import Ring
from appliance.media.unit import Chunk
from appliance.net.fanout import FanOutSettings
from appliance.net.fanout_pool import FanOutPool, Latency
from appliance.net.supervisor import Supervisor


class Dummy:
    """A sink that takes everything."""

    descriptor: int | None = None

    def send(self, data: bytes | bytearray | memoryview, /) -> int:
        return len(data)

    def watch(self, callback: object) -> None:
        raise AssertionError

    def unwatch(self) -> None: ...
    def close(self) -> None: ...


def new_ring() -> Ring[Chunk]:
    return Ring(max_bytes=1 << 20, max_duration_us=1_000_000)


async def test_pool_makes_one_fan_out_for_each_ring_and_latency() -> None:
    supervisor = Supervisor()
    pool = FanOutPool("test", supervisor, FanOutSettings())
    one, other = new_ring(), new_ring()
    assert pool.of(one) is pool.of(one, Latency.NORMAL)
    made = [pool.of(ring, latency) for ring in (one, other) for latency in Latency]
    assert len(set(map(id, made))) == len(pool.fanouts) == 6
    intervals_us = [fanout.settings.max_interval_us for fanout in made]
    assert intervals_us == 2 * [40_000, 100_000, 200_000]
    one.close()
    other.close()
    await until(lambda: not pool.fanouts)
    await supervisor.close()


async def test_pool_is_as_patient_as_the_least_patient_of_its_viewers() -> None:
    supervisor = Supervisor()
    pool = FanOutPool("test", supervisor, FanOutSettings(few_viewers=0, many_viewers=1))
    ring = new_ring()
    assert pool.patience_us(ring) == 0
    pool.of(ring, Latency.LOW)  # where nobody is
    for latency, most_us in ((Latency.DENSE, 200_000), (Latency.NORMAL, 100_000)):
        pool.of(ring, latency).add(Dummy())
        assert most_us // 2 < pool.patience_us(ring) < most_us
    ring.close()
    await until(lambda: not pool.fanouts)
    await supervisor.close()


async def test_pool_that_is_adjusted_leaves_each_fan_out_its_latency() -> None:
    supervisor = Supervisor()
    pool = FanOutPool("test", supervisor, FanOutSettings())
    ring = new_ring()
    before = pool.of(ring, Latency.DENSE)
    pool.use(FanOutSettings(max_lag_us=1_000_000, stall_us=2_000_000))
    for fanout in (before, pool.of(ring, Latency.LOW)):
        settings = fanout.settings
        assert (settings.max_lag_us, settings.stall_us) == (1_000_000, 2_000_000)
    assert before.settings.max_interval_us == 200_000
    ring.close()
    await until(lambda: not pool.fanouts)
    await supervisor.close()
