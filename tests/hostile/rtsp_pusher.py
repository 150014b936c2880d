"""A publisher by RTSP who may send whatever it likes, and a player who keeps what comes of it."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterable
from types import TracebackType

from camera_film import Film, Take, Wind, film
from fault_camera import frames
from framehash import clip_units
from rtsp_siege import SDP_TYPE
from rtsp_talk import TCP, RtspTalk

from appliance.errors import PeerError
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.formats.h264 import H264Depacketizer
from appliance.wire.rtp.packet import parse
from appliance.wire.rtp.sender import RtpSender

SPEED = 4.0
KEY_UNITS = 15  # from one key to the next
PICTURE = {1, 5}  # kinds of NAL units

Picture = tuple[bytes, ...]


def picture(parts: Iterable[bytes | memoryview]) -> Picture:
    """The slices of a unit."""
    return tuple(bytes(part) for part in parts if part[0] & 31 in PICTURE)


class Pusher:
    """Announces and records a film of pictures alone, in small packets, faster than it was made.

    by_udp: from two ports of ours. takes, pictures: of one round.
    """

    def __init__(
        self, port: int, name: str, *, by_udp: bool = False, host: str = "127.0.0.1"
    ) -> None:
        self.film: Film = film("h264-small", 200)
        self.takes = list(self.film.takes)
        self.pictures = [picture(unit.parts) for unit in clip_units("h264-small")[1]]
        self.talk = RtspTalk(port, name, host=host)
        self.sender = RtpSender(96, 0xC0FFEE, 65_500, -90_000)
        self._socks = [_bound(host), _bound(host)] if by_udp else []
        self._to: tuple[str, int] = (host, 0)
        self._began_s = 0.0
        self._shift_us = 0

    def record(self) -> int:
        """The code of RECORD."""
        sdp = self.film.describe().pack()
        assert self.talk.ask("ANNOUNCE", SDP_TYPE, body=sdp)[0] == 200
        self.sender.payload_type = self.film.describe().media[0].payload_types[0]
        ways = "RTP/AVP/TCP;unicast;interleaved=0-1"
        if self._socks:
            ports = "-".join(str(sock.getsockname()[1]) for sock in self._socks)
            ways = f"RTP/AVP;unicast;client_port={ports}"
        url = f"{self.talk.url}/trackID=1"
        code, text = self.talk.ask("SETUP", f"Transport: {ways};mode=record", url=url)
        assert code == 200, text
        if found := re.search(r"server_port=(\d+)", text):
            self._to = self._to[0], int(found[1])
        code = self.talk.ask("RECORD")[0]
        self._began_s = time.monotonic()
        return code

    def send_some(self) -> None:
        """So that there is something to play."""
        self._send(self.takes[:KEY_UNITS])
        self._shift_us += self.takes[KEY_UNITS].at_us

    def send_round(self, wind: Wind | None = None, between: Iterable[bytes] = ()) -> None:
        """All units, and behind each the next raw bytes of `between`."""
        self._send(self.takes, wind, between)
        self._shift_us += self.film.length_us

    def _send(
        self, takes: list[Take], wind: Wind | None = None, between: Iterable[bytes] = ()
    ) -> None:
        rest = iter(between)
        for take in takes:
            at_s = (take.at_us + self._shift_us) / 1e6 / SPEED
            time.sleep(max(0.0, self._began_s + at_s - time.monotonic()))
            packets = self.packets(take.payloads, take)
            self.send(wind(packets) if wind else packets)
            if raw := next(rest, b""):
                self.talk.sock.sendall(raw)

    def packets(self, payloads: list[Payload], take: Take, later_ticks: int = 0) -> list[bytes]:
        """With the next sequence numbers."""
        stamp = self.film.stamp(take, self._shift_us) + later_ticks
        return self.sender.datagrams(payloads, stamp)

    def send(self, packets: Iterable[bytes]) -> None:
        if not self._socks:
            self.talk.sock.sendall(frames(0, packets))
            return
        for packet in packets:
            self._socks[0].sendto(packet, self._to)

    def __enter__(self) -> Pusher:
        return self

    def __exit__(self, *_: object) -> None:
        self.talk.sock.close()
        for sock in self._socks:
            sock.close()


def _bound(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    return sock


class Onlooker:
    """Plays pictures by TCP in a thread of its own while the block runs."""

    def __init__(self, port: int, name: str, *, host: str = "127.0.0.1") -> None:
        self.pictures: list[Picture] = []
        self.is_over = False  # the server closed
        self._talk = RtspTalk(port, name, host=host)
        self._depacketizer = H264Depacketizer()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Onlooker:
        self._talk.play(TCP)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._talk.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join(20)
        self._talk.sock.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError, EOFError, PeerError):
            while True:
                channel, data = self._talk.frame()
                if channel:
                    continue
                packet = parse(data)
                for unit in self._depacketizer.push(packet, packet.timestamp):
                    if slices := picture(unit.parts):
                        self.pictures.append(slices)
        self.is_over = True
