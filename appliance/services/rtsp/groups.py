"""Multicast: one sender for a stream, however many players listen to its group."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network

from appliance.errors import LimitExceeded
from appliance.hub.stream import Stream
from appliance.net.address import is_loopback
from appliance.net.datagrams import DatagramSender
from appliance.net.fanout import End
from appliance.net.udp import UdpAddress
from appliance.services.rtsp.playing import Leg, Playing, make_identity
from appliance.wire.rtsp.rtp_info import RtpInfo
from appliance.wire.rtsp.transport import Pair
from appliance.wire.sdp.rtp_muxer import Carried

TTL = 1  # not beyond the link, whatever routers do
FIRST_PORT = 22_000
PORTS_PER_GROUP = (
    16  # of 8 tracks; each group has its own, as hosts tell groups apart by ports alone
)
MAX_GROUPS = 256


class GroupPorts:
    """The socket that a group's packets leave from.

    local_ip: of the interface to the player. One on this machine joins where the routes lead.
    """

    def __init__(self, local_ip: str) -> None:
        """Raises: LimitExceeded if no descriptor is left."""
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            raise LimitExceeded(f"no socket for a group: {error.strerror}") from None
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
        if local_ip and ":" not in local_ip and not is_loopback(local_ip):
            own = socket.inet_aton(local_ip)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        self.rtp = DatagramSender(sock)

    def send_control(self, data: bytes, address: UdpAddress) -> None:
        with contextlib.suppress(OSError):
            self.rtp.sock.sendto(data, address)

    def close(self) -> None:
        self.rtp.sock.close()


class Group:
    """One stream's. legs: of all its tracks; address: as text."""

    def __init__(self, slot: int, address: str, carried: Sequence[Carried], local_ip: str) -> None:
        self.slot = slot
        self.address = address
        self.members: set[GroupPlaying] = set()
        self.users = 0  # players who have set it up
        self.playing: Playing | None = None
        self.reported_us = 0
        self.ports = GroupPorts(local_ip)
        first = FIRST_PORT + slot * PORTS_PER_GROUP
        self.legs = [
            Leg(
                one,
                one.control,
                make_identity(),
                ((address, first + 2 * index), (address, first + 2 * index + 1)),
                self.ports,
            )
            for index, one in enumerate(carried)
        ]

    def ports_of(self, leg: Leg) -> Pair:
        assert leg.addresses is not None, "a group is by UDP"
        return leg.addresses[0][1], leg.addresses[1][1]

    def end(self, why: End) -> None:
        """The stream is over."""
        if self.playing is not None:
            self.playing.stop()
        for member in tuple(self.members):
            member.end(why)


class Groups:
    """Who sends to which group; one for each stream that is asked for so."""

    def __init__(self, network: str) -> None:
        self._network = IPv4Network(network) if network else None
        self._groups: dict[Stream, Group] = {}  # no more than there are addresses

    def join(self, stream: Stream, carried: Sequence[Carried], local_ip: str) -> Group:
        """Call `leave` afterwards. Raises: LimitExceeded if no address or descriptor is left."""
        group = self._groups.get(stream)
        if group is not None and [leg.carried.shape for leg in group.legs] != [
            one.shape for one in carried
        ]:
            raise LimitExceeded("the group is still that of what the stream was before")
        if group is None:
            slot, address = self._find_free()
            group = self._groups[stream] = Group(slot, address, carried[:8], local_ip)
        group.users += 1
        return group

    def _find_free(self) -> tuple[int, str]:
        """Raises: LimitExceeded."""
        taken = {group.slot for group in self._groups.values()}
        if self._network is not None:
            for slot in range(min(MAX_GROUPS, self._network.num_addresses)):
                if slot not in taken:
                    return slot, str(self._network[slot])
        raise LimitExceeded("no multicast group is free")

    def leave(self, stream: Stream, group: Group) -> None:
        group.users -= 1
        if not group.users:
            if group.playing is not None:
                group.playing.stop()
                group.playing.say_goodbye()
            group.ports.close()
            if self._groups.get(stream) is group:
                del self._groups[stream]


class GroupPlaying:
    """One player's share, with what a session does with `Playing`. It is sent nothing of its own.

    make: makes what sends to the group.
    """

    is_interleaved = False

    def __init__(self, group: Group, make: Callable[[], Playing]) -> None:
        """Raises: what `make` does."""
        self.lost_units = 0
        self.is_running = False
        self._group = group
        self._on_end: Callable[[End], object] | None = None
        if group.playing is None:
            group.playing = make()
        self._shared = group.playing

    def prepare(self, url_of: Callable[[str], str]) -> list[RtpInfo]:
        return self._shared.prepare(url_of)

    def start(self, on_end: Callable[[End], object]) -> None:
        self._on_end = on_end
        self.is_running = True
        self._group.members.add(self)
        if not self._shared.is_running:
            self._shared.start(self._group.end)
        self._shared.request_keyframe()

    def end(self, why: End) -> None:
        if self._on_end is not None:
            self._on_end(why)

    def stop(self) -> None:
        self.is_running = False
        self._on_end = None
        self._group.members.discard(self)
        if not self._group.members:
            self._shared.stop()

    def speak(self) -> None:
        """The connection is free to say what it has to."""

    def report(self) -> None:
        """The first of the members does it for all."""
        if next(iter(self._group.members), None) is self:
            self._shared.report()

    def say_goodbye(self) -> None:
        """The group says it when nobody is left."""

    def take_sent_bytes(self) -> int:
        """What went to the group counts for one of its players."""
        is_first = next(iter(self._group.members), None) is self
        return self._shared.take_sent_bytes() if is_first else 0
