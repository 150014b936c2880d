"""RTP over loopback with programs that we did not write: a port, and who sends to it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.media.track import Track
from appliance.media.unit import AccessUnit
from appliance.wire.rtp.formats.contract import Assembled, Depacketizer, Payload
from appliance.wire.rtp.packet import RtpPacket, header, is_rtcp, parse
from appliance.wire.sdp.session import Connection, Media, Session
from appliance.wire.sdp.tracks import describe, packetizer, rtp_clock_rate_hz

DEADLINE_S = 30
RECEIVE_BYTES = 4 * 1024 * 1024


@contextlib.contextmanager
def ports(count: int) -> Iterator[list[socket.socket]]:
    """Sockets on even ports, as RTP wants."""
    with contextlib.ExitStack() as stack:
        found: list[socket.socket] = []
        for number in range(20_000, 60_000, 2):
            if len(found) == count:
                break
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", number))
                found.append(one)
        yield found


def port_of(one: socket.socket) -> int:
    number: int = one.getsockname()[1]
    return number


def run_sender(
    command: Sequence[str], sockets: Sequence[socket.socket]
) -> tuple[str, list[list[RtpPacket]]]:
    """What the program prints, and what each socket got until it ended."""
    packets: list[list[RtpPacket]] = [[] for _ in sockets]
    for one in sockets:
        one.setblocking(False)
    deadline_s = time.monotonic() + DEADLINE_S
    with (
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as complained,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=complained
        ) as process,
    ):
        try:
            while process.poll() is None:
                assert time.monotonic() < deadline_s, command
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
                for one, into in zip(sockets, packets, strict=True):
                    into += _drain(one)
        finally:
            process.kill()
        said.seek(0)
        complained.seek(0)
        text, errors = said.read().decode(), complained.read().decode(errors="replace")
    for one, into in zip(sockets, packets, strict=True):
        into += _drain(one)
    assert process.returncode == 0, errors
    return text, packets


def received(one: socket.socket) -> list[RtpPacket]:
    """What has come already."""
    one.setblocking(False)
    return list(_drain(one))


def _drain(one: socket.socket) -> Iterator[RtpPacket]:
    with contextlib.suppress(BlockingIOError):
        while True:
            data = one.recv(65_536)
            if not is_rtcp(data):
                yield parse(data)


def depacketized(depacketizer: Depacketizer, packets: Sequence[RtpPacket]) -> list[Assembled]:
    found: list[Assembled] = []
    for packet in packets:
        found += depacketizer.push(packet, packet.timestamp)
    return found + depacketizer.flush()


_CAPS = re.compile(r"Pay:(\w+)\.GstPad:src: caps = application/x-rtp, (.*)")
_FIELD = re.compile(r"([\w-]+)=\((\w+)\)(\"[^\"]*\"|[^,]*)")
_OWN_FIELDS = frozenset({"media", "clock-rate", "encoding-name", "encoding-params", "payload"})


def caps_sdp(text: str) -> dict[str, str]:
    """What gst-launch-1.0 -v says of its payloaders, by their names, as session descriptions."""
    found: dict[str, str] = {}
    for name, caps in _CAPS.findall(text):
        fields = {field: value.strip('"') for field, _, value in _FIELD.findall(caps)}
        number = fields["payload"]
        channels = f"/{fields['encoding-params']}" if "encoding-params" in fields else ""
        fmtp = ";".join(f"{k}={v}" for k, v in fields.items() if k not in _OWN_FIELDS)
        found[name] = (
            f"v=0\nm={fields['media']} 0 RTP/AVP {number}\n"
            f"a=rtpmap:{number} {fields['encoding-name']}/{fields['clock-rate']}{channels}\n"
            f"a=fmtp:{number} {fmtp}\n"
        )
    return found


@dataclass(slots=True)
class Lane:
    """One track on its way to a player: its payloads, each with its stamp, in sending order."""

    media: Media
    payloads: list[tuple[int, Payload]]
    clock_rate_hz: int
    port: int = 0
    sent: int = 0

    def send_until(self, one: socket.socket, time_s: float) -> None:
        while self.sent < len(self.payloads):
            stamp, payload = self.payloads[self.sent]
            if stamp > time_s * self.clock_rate_hz:
                return
            kind = self.media.payload_types[0]
            head = header(kind, self.sent, stamp, 0x5EED, payload.marker)
            one.sendto(head + payload.data, ("127.0.0.1", self.port))
            self.sent += 1


def lane(track: Track, units: Iterable[tuple[int, tuple[bytes, ...]]], max_bytes: int) -> Lane:
    """units: stamps in ticks, and parts; each key."""
    maker = packetizer(track.config, max_bytes)
    payloads = [
        (stamp + payload.stamp_offset, payload)
        for stamp, parts in units
        for payload in maker.payloads(AccessUnit(track, 0, 0, True, parts))
    ]
    media = describe(track, 96, "")
    media.connection = Connection("127.0.0.1")
    return Lane(media, payloads, rtp_clock_rate_hz(track.config))


def write_sdp(path: Path, lanes: Sequence[Lane]) -> None:
    """Picks ports that are free now."""
    with ports(len(lanes)) as sockets:
        for one, found in zip(lanes, sockets, strict=True):
            one.port = one.media.port = port_of(found)
    path.write_bytes(Session(media=[one.media for one in lanes]).pack())


def play_to(command: Sequence[str], lanes: Sequence[Lane]) -> None:
    """Sends the lanes at twice their speed until the program, a player, has enough of it."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        subprocess.Popen(command, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            for tick in range(1000):
                for each in lanes:
                    each.send_until(one, tick * 0.02)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
                    break
        finally:
            process.kill()
    assert process.returncode == 0
