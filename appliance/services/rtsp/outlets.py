"""What sends to all players of the service: fan-outs by TCP and UDP, groups, and the UDP ports."""

from __future__ import annotations

from appliance.net.address import parse_address
from appliance.net.datagram_fanout import DatagramFanOuts
from appliance.net.fanout_pool import FanOutPool
from appliance.net.supervisor import OnFault, Supervisor
from appliance.services.rtsp.groups import Groups
from appliance.services.rtsp.ports import MediaPorts
from appliance.services.rtsp.settings import Settings
from appliance.wire.rtp.outgoing import DatagramBatch


class Outlets:
    """settings: may be replaced at any time, but for the ports once they are open."""

    def __init__(self, settings: Settings, supervisor: Supervisor, on_fault: OnFault) -> None:
        self.settings = settings
        self.pool = FanOutPool("rtsp", supervisor, settings.fan_out)
        self.datagrams = DatagramFanOuts(supervisor.spawn, DatagramBatch)
        self.groups = Groups(settings.multicast)
        self._on_fault = on_fault
        self._ports: MediaPorts | None = None

    @property
    def ports(self) -> MediaPorts:
        """Opened when somebody first needs them. Raises: ConfigError."""
        if self._ports is None:
            settings = self.settings
            addresses = settings.listen or settings.tls.listen
            host, _ = parse_address(addresses[0])
            self._ports = MediaPorts(host, settings.udp_port, self._on_fault)
        return self._ports

    def use(self, settings: Settings) -> None:
        self.settings = settings
        self.pool.use(settings.fan_out)

    def close_players(self) -> None:
        """All of them end now; the ports stay for their goodbyes."""
        self.pool.close()
        self.datagrams.close()

    def close(self) -> None:
        if self._ports is not None:
            self._ports.close()
            self._ports = None
