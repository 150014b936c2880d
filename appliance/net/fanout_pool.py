"""Fan-outs by the ring they send: made with the first viewer, gone when the ring ends."""

from __future__ import annotations

from collections.abc import Callable

from appliance.net.fanout import FanOut, FanOutSettings, FanRing
from appliance.net.supervisor import Supervisor


class FanOutPool:
    """One for a service, as the services' ways of renewing headers differ.

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
        self._fanouts: dict[int, FanOut] = {}  # by identity of the ring; as many as are watched

    def of(self, ring: FanRing) -> FanOut:
        fanout = self._fanouts.get(id(ring))
        if fanout is None:
            fanout = FanOut(ring, self._settings, renew=self._renew)
            self._fanouts[id(ring)] = fanout
            self._supervisor.spawn(f"{self._name} fan-out", self._run(fanout, ring))
        return fanout

    async def _run(self, fanout: FanOut, ring: FanRing) -> None:
        try:
            await fanout.run()
        finally:
            del self._fanouts[id(ring)]

    def close(self) -> None:
        """End all viewers now."""
        for fanout in list(self._fanouts.values()):
            fanout.close()
