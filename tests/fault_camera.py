"""An RTSP camera that does wrong what it is told to, and counts what is done to it.

async with fault_camera(refuses={"UDP": "461 Unsupported Transport"}) as camera:
    ...camera.url()...
    camera.freeze()

Its RTSP is its own, written apart from the cores it tests; its media are those of `camera_film`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext

from camera_film import MAX_PAYLOAD_BYTES, Film, Take, Weather, Wind, film
from camera_login import Login

from appliance.wire.rtp.clock import unix_us_to_ntp
from appliance.wire.rtp.rtcp import Goodbye
from appliance.wire.rtp.sender import RtpSender

PATH = "/live/main"
NO_END = 1 << 30
EARLY_S = 0.1
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN"
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing is a reset


@dataclass
class Asked:
    """A request as it came."""

    method: str
    url: str
    headers: dict[str, str]


@dataclass
class Lane:
    """One track that was set up: where its packets go, and what they are called."""

    delivery: str  # TCP, UDP or MULTICAST
    channel: int = 0
    to: tuple[str, int] = ("", 0)
    sockets: tuple[socket.socket, ...] = ()
    sender: RtpSender = field(default_factory=lambda: RtpSender(96, 0, 0, 0))
    wind: Wind | None = None
    reported_s: float = 0.0


def bind_udp(host: str) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.bind((host, 0))
    return one


@dataclass
class FaultCamera:
    """Switches are looked at when what they are about comes up, and may be changed at any time.

    film, speed, rounds: what is filmed, how many times as fast, and how often; then it is silent.
        Another film, with the same kinds of tracks, begins with the next keyframe.
    payload_bytes: packets' size.
    greets: False accepts and says nothing, ever.
    answers: by method, a status and headers instead of what is due; "" is no answer at all.
    refuses: a status by kind of transport (TCP, UDP, MULTICAST). swallows: kinds that are agreed
        and then bring nothing.
    redirect: the Location that DESCRIBE is answered with, where {port} is ours.
    edit_sdp: what becomes of the description. content_base: instead of the right one.
    session_tail: behind the session's id. public: the methods it says it has.
    silent_tracks: by index. first_sequence, before_wrap_s: where packets begin; seconds before
        32-bit stamps wrap. payload_types: instead of the announced ones, by index.
    weather: what becomes of packets. shift_us: of the stamps, from now on.
    between: raw bytes sent behind each unit by TCP. dribble_bytes: TCP in pieces so small.
    is_early: media come before the answer to PLAY.
    needs_punch: by UDP it sends to where packets come from, and nothing before.
    reports_s: pause between sender reports. ntp_of: what they say it is, of our Unix time in µs.
    filmed_at_us: Unix time of the film's begin, by which they date its stamps, instead of now.
    """

    film: str = "h264-small+aac"
    speed: float = 1.0
    rounds: int = NO_END
    payload_bytes: int = MAX_PAYLOAD_BYTES
    login: Login | None = None
    greets: bool = True
    answers: dict[str, str] = field(default_factory=dict)
    refuses: dict[str, str] = field(default_factory=dict)
    swallows: set[str] = field(default_factory=set)
    redirect: str = ""
    edit_sdp: Callable[[bytes], bytes] | None = None
    content_base: str | None = None
    session_tail: str = ";timeout=60"
    public: str = METHODS
    silent_tracks: set[int] = field(default_factory=set)
    first_sequence: int = 1000
    before_wrap_s: float | None = None
    payload_types: dict[int, int] = field(default_factory=dict)
    weather: Weather | None = None
    shift_us: int = 0
    between: bytes = b""
    dribble_bytes: int = 0
    reports_s: float = 1.0
    ntp_of: Callable[[int], int] = unix_us_to_ntp
    filmed_at_us: int | None = None
    needs_punch: bool = False
    is_early: bool = False
    tls: SSLContext | None = None
    host: str = "127.0.0.1"
    bind_udp: Callable[[str], socket.socket] = bind_udp
    listen_on: Callable[[str, int], socket.socket] | None = None

    port: int = 0
    connections: int = 0
    open: set[Visit] = field(default_factory=set)
    most_playing: int = 0
    plays: int = 0
    asked: list[Asked] = field(default_factory=list)
    reports: int = 0  # RTCP that came from who watches
    sent: Counter[str] = field(default_factory=Counter)  # units, and packets by transport

    def __post_init__(self) -> None:
        self.moves = asyncio.Event()  # cleared: frozen
        self.moves.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- what a test does --------------------------------------------------------------------------

    def url(self, path: str = PATH, login: str = "", host: str = "") -> str:
        scheme = "rtsps" if self.tls else "rtsp"
        return f"{scheme}://{login}{host or self.host}:{self.port}{path}"

    @property
    def playing(self) -> int:
        return sum(visit.is_playing for visit in self.open)

    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    @property
    def shown(self) -> list[str]:
        """Credentials that were shown, request by request."""
        return [
            asked.headers["authorization"]
            for asked in self.asked
            if "authorization" in asked.headers
        ]

    def freeze(self) -> None:
        """From now on nothing is sent, answered or closed: as after the power is cut."""
        self.moves.clear()

    def thaw(self) -> None:
        self.moves.set()

    def reset(self) -> None:
        """Every connection, by RST."""
        for visit in self.open:
            visit.reset()

    def close(self) -> None:
        """Every connection, in order."""
        for visit in self.open:
            visit.writer.close()

    def say(self, data: bytes) -> None:
        """Raw, on every connection."""
        for visit in self.open:
            visit.writer.write(data)

    def new_source(self, *, goodbye: bool = False) -> None:
        """Other SSRCs, sequence numbers and stamps from the next packet on."""
        for visit in self.open:
            visit.change_source(goodbye=goodbye)

    def say_goodbye(self) -> None:
        """Of every source, by RTCP; whether more of it comes is up to `silent_tracks`."""
        for visit in self.open:
            visit.say_goodbye()

    def restart_sequence(self) -> None:
        for visit in self.open:
            for lane in visit.lanes.values():
                lane.sender.sequence = self.first_sequence

    async def power_on(self) -> None:
        """Listens where it did before."""
        place: dict[str, object] = {"host": self.host, "port": self.port}
        if self.listen_on is not None:
            place = {"sock": self.listen_on(self.host, self.port)}
        self._server = await asyncio.start_server(self._accept, **place, ssl=self.tls)  # type: ignore[call-overload]
        self.port = self._server.sockets[0].getsockname()[1]

    async def power_off(self) -> None:
        """Nobody listens any more; connections are reset."""
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        visit = Visit(self, reader, writer)
        self.open.add(visit)
        task = asyncio.ensure_future(visit.run())
        task.add_done_callback(lambda _: visit.end())  # also if it never began
        self._tasks.add(task)


class Visit:
    """One connection to the camera."""

    def __init__(
        self, camera: FaultCamera, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.writer = writer
        self.lanes: dict[int, Lane] = {}  # by the track's index
        self.is_playing = False
        self._camera = camera
        self._reader = reader
        self._filmed = camera.film
        self._film: Film = film(camera.film, camera.payload_bytes)
        self._begin_us = 0  # of this film, on the connection's timeline
        self._number = camera.connections
        self._sending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._listen()

    def end(self) -> None:
        self._camera.open.discard(self)
        if self._sending is not None:
            self._sending.cancel()
        for lane in self.lanes.values():
            for one in lane.sockets:
                one.close()
        self.writer.close()

    def reset(self) -> None:
        with suppress(OSError):  # closed already
            self.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE
            )
        self.writer.transport.abort()

    # -- requests ----------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while first := await self._reader.read(1):
            if first == b"$":
                _, size = struct.unpack("!BH", await self._reader.readexactly(3))
                await self._reader.readexactly(size)
                self._camera.reports += 1
                continue
            text = (first + await self._reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = text.strip().split("\r\n")
            method, url, _ = line.split(" ")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (one.partition(":") for one in rest)
            }
            await self._reader.readexactly(int(headers.get("content-length", "0")))
            asked = Asked(method, url, headers)
            self._camera.asked.append(asked)
            await self._camera.moves.wait()
            if not self._camera.greets:
                continue
            answer = self._answer(asked)
            is_played = method == "PLAY" and b" 200 " in answer[:16]
            if is_played and self._camera.is_early:
                self._play()
                await asyncio.sleep(EARLY_S)
            await self._write(answer)
            if is_played and not self._camera.is_early:
                self._play()
            if method == "TEARDOWN":
                return

    def _answer(self, asked: Asked) -> bytes:
        camera = self._camera
        if asked.method in camera.answers:
            scripted = camera.answers[asked.method]
            return self._reply(asked, scripted) if scripted else b""
        if camera.login and asked.method != "OPTIONS":
            refusal = camera.login.refusal(asked.method, asked.headers.get("authorization", ""))
            if refusal:
                return self._reply(asked, "401 Unauthorized", *refusal)
        match asked.method:
            case "OPTIONS":
                return self._reply(asked, "200 OK", f"Public: {camera.public}")
            case "DESCRIBE":
                return self._describe(asked)
            case "SETUP":
                return self._set_up(asked)
            case "PLAY" | "PAUSE" | "GET_PARAMETER" | "TEARDOWN":
                return self._reply(asked, "200 OK", self._session)
        return self._reply(asked, "501 Not Implemented")

    def _reply(self, asked: Asked, status: str, *headers: str, body: bytes = b"") -> bytes:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {asked.headers.get('cseq', '')}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    @property
    def _session(self) -> str:
        return f"Session: {self._number:08d}{self._camera.session_tail}"

    def _describe(self, asked: Asked) -> bytes:
        camera = self._camera
        if camera.redirect:
            location = camera.redirect.format(port=camera.port)
            return self._reply(asked, "302 Found", f"Location: {location}")
        sdp = self._film.describe().pack()
        if camera.edit_sdp is not None:
            sdp = camera.edit_sdp(sdp)
        base = asked.url + "/" if camera.content_base is None else camera.content_base
        named = [f"Content-Base: {base}"] if base else []
        return self._reply(asked, "200 OK", "Content-Type: application/sdp", *named, body=sdp)

    def _set_up(self, asked: Asked) -> bytes:
        camera = self._camera
        wish = asked.headers["transport"]
        kind = "TCP" if "/TCP" in wish else "MULTICAST" if "multicast" in wish else "UDP"
        if kind in camera.refuses:
            return self._reply(asked, camera.refuses[kind])
        match = re.search(r"trackID=(\d+)", asked.url)
        index = int(match[1]) - 1 if match else -1
        if not 0 <= index < len(self._film.tracks):
            return self._reply(asked, "404 Not Found")
        lane, words = self._lane(kind, wish, index)
        self.lanes[index] = lane
        if camera.weather is not None:
            lane.wind = camera.weather(index)
        self._name(index)
        return self._reply(asked, "200 OK", self._session, f"Transport: {words}")

    def _lane(self, kind: str, wish: str, index: int) -> tuple[Lane, str]:
        camera = self._camera
        if kind == "TCP":
            match = re.search(r"interleaved=(\d+)", wish)
            channel = int(match[1]) if match else index * 2
            return Lane(kind, channel), f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        sockets = camera.bind_udp(camera.host), camera.bind_udp(camera.host)
        if kind == "MULTICAST":
            group, port = f"239.255.77.{index + 1}", 20_000 + camera.port % 20_000 // 2 * 2
            sockets[0].setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(camera.host)
            )
            return Lane(kind, 0, (group, port), sockets), (
                f"RTP/AVP;multicast;destination={group};port={port}-{port + 1};ttl=1"
            )
        match = re.search(r"client_port=(\d+)", wish)
        assert match is not None
        peer = self.writer.get_extra_info("peername")[0]
        ports = "-".join(str(one.getsockname()[1]) for one in sockets)
        words = f"RTP/AVP;unicast;{match[0]}-{int(match[1]) + 1};server_port={ports}"
        to = (camera.host, 9) if camera.needs_punch else (peer, int(match[1]))
        return Lane(kind, 0, to, sockets), words

    # -- media -------------------------------------------------------------------------------------

    def _name(self, index: int, life: int = 0) -> None:
        """Gives the track's packets an SSRC, sequence numbers and stamps."""
        camera, rate_hz = self._camera, self._film.rates_hz[index]
        offset = 77_000 + 1_000_003 * life
        if camera.before_wrap_s is not None:
            offset = -round(camera.before_wrap_s * rate_hz)
        announced = self._film.describe().media[index].payload_types[0]
        self.lanes[index].sender = RtpSender(
            camera.payload_types.get(index, announced),
            self._number << 16 | life << 8 | index,
            camera.first_sequence + 10_000 * life,
            offset,
        )

    def say_goodbye(self) -> None:
        for lane in self.lanes.values():
            self._send_control(lane, Goodbye((lane.sender.ssrc,)).pack())

    def change_source(self, *, goodbye: bool) -> None:
        for index, lane in self.lanes.items():
            ssrc = lane.sender.ssrc
            if goodbye:
                self._send_control(lane, Goodbye((ssrc,)).pack())
            self._name(index, (ssrc >> 8 & 0xFF) + 1)

    def _play(self) -> None:
        camera = self._camera
        camera.plays += 1
        self.is_playing = True
        camera.most_playing = max(camera.most_playing, camera.playing)
        self._sending = asyncio.ensure_future(self._send_all())

    async def _send_all(self) -> None:
        camera, loop = self._camera, asyncio.get_running_loop()
        begin_s = loop.time()
        with suppress(OSError):
            for take in self._takes():
                at_us = self._begin_us + take.at_us
                delay_s = begin_s + at_us / 1_000_000 / camera.speed - loop.time()
                if delay_s > 0:
                    await asyncio.sleep(delay_s)
                await camera.moves.wait()
                await self._send(take)

    def _takes(self) -> Iterator[Take]:
        camera, is_over = self._camera, False
        while not is_over:
            is_over = True
            for take in self._film.run(camera.rounds):
                if take.key and take.track == 0 and camera.film != self._filmed:
                    self._filmed, self._film = camera.film, film(camera.film, camera.payload_bytes)
                    self._begin_us += take.at_us
                    is_over = False
                    break
                yield take

    async def _send(self, take: Take) -> None:
        camera, lane = self._camera, self.lanes.get(take.track)
        if lane is None or take.track in camera.silent_tracks or lane.delivery in camera.swallows:
            return
        stamp = self._film.stamp(take, self._begin_us + camera.shift_us)
        packets = lane.sender.datagrams(take.payloads, stamp)
        self._report(lane, stamp, self._begin_us + take.pts_us)
        if lane.wind is not None:
            packets = lane.wind(packets)
        camera.sent["units"] += 1
        camera.sent[lane.delivery] += len(packets)
        if lane.delivery == "TCP":
            await self._write(frames(lane.channel, packets) + camera.between)
            return
        self._hear(lane)
        for packet in packets:
            with suppress(OSError):  # nobody listens there
                lane.sockets[0].sendto(packet, lane.to)

    def _hear(self, lane: Lane) -> None:
        """What came by UDP. RTP's port gets packets that only open a way back."""
        for one in lane.sockets:
            with suppress(OSError):
                while True:
                    data, peer = one.recvfrom(2048)
                    if data[1:2] and data[1:2] in b"\xc8\xc9":
                        self._camera.reports += 1
                    if one is lane.sockets[0]:
                        lane.to = peer

    def _report(self, lane: Lane, stamp: int, at_us: int) -> None:
        """Of the unit that is sent next, as if it were filmed now, or then."""
        camera, now_s = self._camera, asyncio.get_running_loop().time()
        if now_s - lane.reported_s < camera.reports_s:
            return
        lane.reported_s = now_s
        begun_us = camera.filmed_at_us
        unix_us = time.time_ns() // 1000 if begun_us is None else begun_us + at_us
        ntp = camera.ntp_of(unix_us)
        self._send_control(lane, lane.sender.report(ntp, stamp).pack())

    def _send_control(self, lane: Lane, data: bytes) -> None:
        if lane.delivery == "TCP":
            self.writer.write(frames(lane.channel + 1, [data]))
            return
        with suppress(OSError):
            lane.sockets[1].sendto(data, (lane.to[0], lane.to[1] + 1))

    async def _write(self, data: bytes) -> None:
        size = self._camera.dribble_bytes or len(data) or 1
        for begin in range(0, len(data), size):
            self.writer.write(data[begin : begin + size])
            if size < len(data):
                await asyncio.sleep(0)
        await self.writer.drain()


def frames(channel: int, packets: Iterable[bytes]) -> bytes:
    """As they are interleaved with RTSP."""
    return b"".join(b"$%c%b%b" % (channel, len(p).to_bytes(2, "big"), p) for p in packets)


@asynccontextmanager
async def fault_camera(**switches: object) -> AsyncIterator[FaultCamera]:
    """Listens while the block runs."""
    camera = FaultCamera(**switches)  # type: ignore[arg-type]
    await camera.power_on()
    try:
        yield camera
    finally:
        camera.thaw()
        await camera.power_off()


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port where the kernel drops who knocks, for the backlog is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in (first, second):
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(listener.getsockname())
        yield listener.getsockname()[1]
