"""Fan-outs by the ring they send and by how much is put together: made with the first viewer, gone
when the ring ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from appliance.errors import PeerError
from appliance.net.fanout import FanOut, FanOutSettings, FanRing
from appliance.net.supervisor import Supervisor


class Latency(StrEnum):
    """How much is put together before it is sent, when many watch."""

    LOW = "low"
    NORMAL = "normal"
    DENSE = "dense"

    @property
    def batch_us(self) -> int:
        return {Latency.LOW: 40_000, Latency.NORMAL: 100_000, Latency.DENSE: 200_000}[self]

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> Latency | None:
        """What a viewer asked for by `?latency=`, if anything. Raises: PeerError."""
        asked = query.get("latency")
        if asked is None:
            return None
        try:
            return cls(asked)
        except ValueError:
            raise PeerError("latency is low, normal or dense") from None


class FanOutPool:
    """One for all viewers whose headers are renewed in the same way.

    settings: but for max_interval_us, which each viewer's latency says.
    renew: see `FanOut`.
    """

    def __init__(
        self,
        name: str,
        supervisor: Supervisor,
        settings: FanOutSettings,
        *,
        renew: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._name = name
        self._supervisor = supervisor
        self._settings = settings
        self._renew = renew
        # By identity of the ring; three times as many as there are rings watched, at most.
        self.fanouts: dict[tuple[int, Latency], FanOut] = {}

    def of(self, ring: FanRing, latency: Latency = Latency.NORMAL) -> FanOut:
        key = id(ring), latency
        fanout = self.fanouts.get(key)
        if fanout is None:
            settings = replace(self._settings, max_interval_us=latency.batch_us)
            fanout = self.fanouts[key] = FanOut(ring, settings, renew=self._renew)
            self._supervisor.spawn(f"{self._name} fan-out", self._run(fanout, key))
        return fanout

    async def _run(self, fanout: FanOut, key: tuple[int, Latency]) -> None:
        try:
            await fanout.run()
        finally:
            del self.fanouts[key]

    def patience_us(self, ring: FanRing) -> int:
        """For how long nobody would be sent what comes into this ring now."""
        found = (self.fanouts.get((id(ring), latency)) for latency in Latency)
        waits = (one.patience_us() for one in found if one is not None and one.viewers)
        return min(waits, default=0)

    def use(self, settings: FanOutSettings) -> None:
        """From now on, for who watches already, too."""
        self._settings = settings
        for (_, latency), fanout in self.fanouts.items():
            fanout.settings = replace(settings, max_interval_us=latency.batch_us)

    def close(self) -> None:
        """End all viewers now."""
        for fanout in list(self.fanouts.values()):
            fanout.close()
