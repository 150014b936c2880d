"""The Transport header: how packets of one track travel (RFC 2326 §12.39)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import Enum

from appliance.errors import PeerError

MAX_SPECS = 8  # alternatives of one header; clients send up to three
MAX_PARAMETERS = 32

Pair = tuple[int, int]


class Delivery(Enum):
    """The ways that packets can take."""

    TCP = "tcp"  # interleaved
    UDP = "udp"  # unicast
    MULTICAST = "multicast"


class Mode(Enum):
    PLAY = "PLAY"
    RECORD = "RECORD"


@dataclass(frozen=True, slots=True)
class Transport:
    """Pairs are (RTP, RTCP). `ports` are those of a multicast group, whose address `destination`
    is; of a unicast, `source` and `destination` are what the peer says and nothing to send to."""

    delivery: Delivery
    is_secure: bool = False  # RTP/SAVP
    client_ports: Pair | None = None
    server_ports: Pair | None = None
    ports: Pair | None = None
    channels: Pair | None = None
    destination: str = ""
    source: str = ""
    ttl: int | None = None
    ssrc: int | None = None
    mode: Mode = Mode.PLAY

    @property
    def is_complete(self) -> bool:
        """As a request for it must be: UDP names its ports."""
        return self.delivery is not Delivery.UDP or self.client_ports is not None

    def __str__(self) -> str:
        return ";".join(self._words())

    def _words(self) -> list[str]:
        profile = "RTP/SAVP" if self.is_secure else "RTP/AVP"
        words = [f"{profile}/TCP" if self.delivery is Delivery.TCP else profile]
        words.append("multicast" if self.delivery is Delivery.MULTICAST else "unicast")
        for name, text in (("destination", self.destination), ("source", self.source)):
            if text:
                words.append(f"{name}={text}")
        for name, pair in (
            ("interleaved", self.channels),
            ("client_port", self.client_ports),
            ("server_port", self.server_ports),
            ("port", self.ports),
        ):
            if pair is not None:
                words.append(f"{name}={pair[0]}-{pair[1]}")
        if self.ttl is not None:
            words.append(f"ttl={self.ttl}")
        if self.ssrc is not None:
            words.append(f"ssrc={self.ssrc:08X}")
        if self.mode is Mode.RECORD:
            words.append("mode=record")
        return words


def parse_transports(value: str) -> list[Transport]:
    """The alternatives of a request that we understand, in the peer's order.

    Those with other profiles or with impossible ports are left out. Raises: PeerError for more
    alternatives than anybody has.
    """
    specs = _split(value, ",")
    if len(specs) > MAX_SPECS:
        raise PeerError(f"more than {MAX_SPECS} transports")
    return [found for spec in specs if (found := _parse_spec(spec)) is not None]


def usable_transports(
    value: str, deliveries: Collection[Delivery], mode: Mode
) -> tuple[Transport, ...]:
    """What of a request a server can do. Raises: PeerError as `parse_transports`.

    `destination` is left out: media go to who asks, or the server would be a reflector.
    """
    return tuple(
        replace(item, destination="", source="", mode=mode)
        for item in parse_transports(value)
        if item.delivery in deliveries and item.is_complete and not item.is_secure
    )


def free_channels(asked: Pair | None, tracks: Iterable[Transport]) -> Pair:
    """Those asked for if they lie beside each other, as everybody's do, and none of `tracks` has
    one of them; at most 127 tracks."""
    taken = {channel for track in tracks for channel in track.channels or ()}
    if asked is not None and asked[1] == asked[0] + 1 and taken.isdisjoint(asked):
        return asked
    return next((n, n + 1) for n in range(0, 256, 2) if taken.isdisjoint((n, n + 1)))


def parse_answer(value: str, asked: Transport) -> Transport:
    """What a server says to `asked`; what it leaves out is taken as asked.

    Cameras leave out the header altogether, ports, channels and ssrc, or write the client's
    address where none is due. Raises: PeerError for a way that was not asked, as some answer with
    UDP what was asked for TCP, and then send nothing.
    """
    if not value:
        return asked
    found = next(iter(parse_transports(value)), None)
    if found is None:
        raise PeerError("an unintelligible Transport in an answer")
    if found.delivery is not asked.delivery:
        raise PeerError(f"{asked.delivery.value} was asked for, {found.delivery.value} answered")
    if found.delivery is Delivery.MULTICAST and not is_multicast(found.destination):
        raise PeerError("a multicast without a group's address")
    return Transport(
        found.delivery,
        is_secure=found.is_secure,
        client_ports=asked.client_ports,
        server_ports=found.server_ports,
        ports=found.ports or asked.ports,
        channels=found.channels or asked.channels,
        destination=found.destination,
        source=found.source,
        ttl=found.ttl,
        ssrc=found.ssrc,
        mode=asked.mode,
    )


def is_multicast(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_multicast
    except ValueError:
        return False


def _split(value: str, mark: str) -> list[str]:
    """At marks outside of quotes: ``mode="PLAY,RECORD"`` is one parameter."""
    parts = re.findall(rf'(?:[^"{mark}]|"[^"]*"?)+', value)
    return [part.strip() for part in parts]


def _parse_spec(spec: str) -> Transport | None:
    profile, *parameters = _split(spec, ";")[: MAX_PARAMETERS + 1] or [""]
    match = re.fullmatch(r"RTP/(S?)AVPF?(?:/(TCP|UDP))?", profile, re.IGNORECASE)
    if match is None:
        return None
    words: dict[str, str] = {}
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        words.setdefault(name.strip().lower(), text.strip().strip('"').strip())
    is_tcp = (match[2] or "").upper() == "TCP" or "interleaved" in words
    delivery = Delivery.TCP if is_tcp else Delivery.UDP
    if "multicast" in words and "unicast" not in words and not is_tcp:
        delivery = Delivery.MULTICAST
    try:
        return Transport(
            delivery,
            is_secure=bool(match[1]),
            client_ports=_pair(words, "client_port", 1, 0xFFFF),
            server_ports=_server_pair(words),
            ports=_pair(words, "port", 1, 0xFFFF),
            channels=_pair(words, "interleaved", 0, 0xFF),
            destination=_host(words, "destination"),
            source=_host(words, "source"),
            ttl=_number(words, "ttl", 0xFF),
            ssrc=_ssrc(words.get("ssrc", "")),
            mode=Mode.RECORD if "RECORD" in words.get("mode", "").upper() else Mode.PLAY,
        )
    except PeerError:
        return None


def _pair(words: dict[str, str], name: str, lowest: int, highest: int) -> Pair | None:
    """``a-b``, or ``a`` for a and the next. Raises: PeerError outside of the range."""
    if not words.get(name):
        return None
    match = re.fullmatch(r"([0-9]{1,5})(?:\s*-\s*([0-9]{1,5}))?", words[name])
    if match is None:
        raise PeerError(f"a malformed {name}")
    first = int(match[1])
    second = int(match[2]) if match[2] else first + 1
    if first == second or not (lowest <= first <= highest and lowest <= second <= highest):
        raise PeerError(f"an impossible {name}")
    return first, second


def _server_pair(words: dict[str, str]) -> Pair | None:
    """Cameras say 0-0 for ports they do not tell (live555 of 2018 with `-t`): as if left out."""
    try:
        return _pair(words, "server_port", 1, 0xFFFF)
    except PeerError:
        return None


def _number(words: dict[str, str], name: str, highest: int) -> int | None:
    text = words.get(name, "")
    return int(text) if re.fullmatch(r"[0-9]{1,3}", text) and int(text) <= highest else None


def _host(words: dict[str, str], name: str) -> str:
    text = words.get(name, "")
    return text if re.fullmatch(r"[0-9A-Za-z.:\-\[\]_%]{1,255}", text) else ""


def _ssrc(text: str) -> int | None:
    """Hexadecimal of eight digits by the RFC; some write fewer, blanks before it or ``0x``."""
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,8})", text, re.IGNORECASE)
    return int(match[1], 16) if match else None
