"""Publishing by RTMP: what 300 publishers of 2 Mbit/s cost, and whether all arrives.

Each publisher sends 30 pictures and 47 sounds a second at a chunk size of 128 bytes, all from one
process that made the chunks beforehand. Server on one core, publishers on the other; porthole and
nginx-rtmp alternate. Printed: the CPU that the server took for what was sent (over 100 % of a core:
it cannot keep up); how late the publishers were (if they were, they are the bottleneck); how much
was not read when they stopped and when it was; and of porthole the units that are missing in the
API's counts. Before that, what a message costs to parse alone.

    python bench/rtmp_publish.py [--publishers 300] [--pairs 5] [--seconds 8]
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import LOAD_CORE, ROOT, SERVER_CORE, cpu_s, fetch, memory, pin, spread
from rtmp_servers import Server, allow_descriptors, nginx, ours

sys.path.insert(0, str(ROOT))

from appliance.containers.flv_tag_reader import FlvTagReader  # noqa: E402
from appliance.media.amf0 import EcmaArray, encode  # noqa: E402
from appliance.media.h264 import H264Config  # noqa: E402
from appliance.wire.rtmp.chunks import ChunkReader, ChunkWriter  # noqa: E402
from appliance.wire.rtmp.client import Purpose, RtmpClient, Started  # noqa: E402
from appliance.wire.rtmp.message import CONTROL_CSID, Message, MessageType, control  # noqa: E402

SPS = bytes.fromhex("6764001facb402802dd350101014000003000400000300f23c60ca80")
PPS = bytes.fromhex("68ee3cb0")
MARK = b"PORTHOLE-BENCH-T"  # before the clock in every picture, for bench/rtmp_load.c
GOP_MS, PICTURES, SOUNDS = 2000, 60, 94
KEY_BYTES, PICTURE_BYTES, SOUND_BYTES = 40_000, 7_500, 170
CSIDS = {MessageType.AUDIO: 4, MessageType.VIDEO: 6, MessageType.DATA: 5}
STREAM_ID = 1  # what both servers give
SETTLE_S = 2.0
DRAIN_S = 20.0


# -- what is sent: one GOP, made once --------------------------------------------------------------


@dataclass(slots=True)
class Piece:
    """A message in chunks, whose timestamp and clock are written before it is sent."""

    at_ms: int
    kind: MessageType
    chunks: bytearray
    clock_at: int  # -1: it has none

    def stamp(self, timestamp_ms: int) -> bytearray:
        self.chunks[1:4] = timestamp_ms.to_bytes(3, "big")
        if self.clock_at >= 0:
            clock_us = time.monotonic_ns() // 1000
            self.chunks[self.clock_at : self.clock_at + 8] = clock_us.to_bytes(8, "big")
        return self.chunks


def piece(at_ms: int, kind: MessageType, payload: bytes, chunk_bytes: int) -> Piece:
    writer = ChunkWriter()  # a new one each: every header is whole, and its timestamp absolute
    writer.chunk_bytes = chunk_bytes
    chunks = bytearray(writer.write(Message(kind, STREAM_ID, at_ms, payload), CSIDS[kind]))
    mark = chunks.find(MARK)
    return Piece(at_ms, kind, chunks, mark + len(MARK) if mark >= 0 else -1)


def gop(chunk_bytes: int) -> list[Piece]:
    noise = bytes(random.Random(1).choices(range(128, 256), k=KEY_BYTES))
    pieces = []
    for number in range(PICTURES):
        size = KEY_BYTES if number == 0 else PICTURE_BYTES
        nal = (b"\x41" if number else b"\x65") + MARK + bytes(8) + noise[: size - 25]
        head = (b"\x27" if number else b"\x17") + b"\1\0\0\0"
        payload = head + len(nal).to_bytes(4, "big") + nal
        pieces.append(piece(number * GOP_MS // PICTURES, MessageType.VIDEO, payload, chunk_bytes))
    sound = b"\xaf\1" + noise[:SOUND_BYTES]
    sounds = (
        piece(number * GOP_MS // SOUNDS, MessageType.AUDIO, sound, chunk_bytes)
        for number in range(SOUNDS)
    )
    return sorted((*pieces, *sounds), key=lambda one: one.at_ms)


def chunk_size(chunk_bytes: int) -> bytes:
    return ChunkWriter().write(
        control(MessageType.SET_CHUNK_SIZE, chunk_bytes.to_bytes(4, "big")), CONTROL_CSID
    )


def beginning(chunk_bytes: int) -> bytes:
    """What describes the stream."""
    facts = EcmaArray({"videocodecid": 7, "audiocodecid": 10, "width": 1280, "height": 720})
    described = (
        (MessageType.DATA, encode("@setDataFrame", "onMetaData", facts)),
        (MessageType.VIDEO, b"\x17\0\0\0\0" + H264Config((SPS,), (PPS,)).to_avcc()),
        (MessageType.AUDIO, b"\xaf\0" + bytes.fromhex("1190")),
    )
    pieces = (piece(0, kind, payload, chunk_bytes) for kind, payload in described)
    return b"".join(bytes(one.chunks) for one in pieces)


# -- the publishers, in a process of their own -----------------------------------------------------


class Publisher:
    """One connection. waiting: what the server has not let us send yet. sent: units by kind."""

    def __init__(self, port: int, name: str, chunk_bytes: int) -> None:
        self.name = name
        self.waiting = bytearray()
        self.sent: Counter[MessageType] = Counter()
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = RtmpClient(
            Purpose.PUBLISH, tc_url=f"rtmp://127.0.0.1:{port}/live", app="live", name=name,
            noise=os.urandom(1536), agent="FMLE/3.0",
        )  # fmt: skip
        started = False
        while not started:
            self.sock.sendall(self.client.take_output())
            data = self.sock.recv(65536)
            if not data:
                raise SystemExit("the server closed a publisher")
            started = any(isinstance(e, Started) for e in self.client.receive(data, 0))
        self.sock.sendall(self.client.take_output() + chunk_size(chunk_bytes))
        self.sock.setblocking(False)

    def send(self, data: bytes | bytearray) -> None:
        if self.waiting:
            self.waiting += data
            data, self.waiting = self.waiting, bytearray()
        count = 0
        with contextlib.suppress(BlockingIOError):
            count = self.sock.send(data)
        if count < len(data):
            self.waiting = bytearray(data[count:])

    def listen(self) -> None:
        """Acknowledgements and pings; now and then is enough."""
        with contextlib.suppress(BlockingIOError):
            self.client.receive(self.sock.recv(65536), 0)
            self.send(self.client.take_output())


def due_messages(count: int, pieces: list[Piece]) -> Iterator[tuple[float, int, int]]:
    """(when in seconds, which publisher, which of its messages), without end; spread evenly."""
    queue = [(index / count * GOP_MS / PICTURES, index, 0) for index in range(count)]
    heapq.heapify(queue)
    while True:
        due_ms, index, number = queue[0]
        yield due_ms / 1000, index, number
        rounds, place = divmod(number + 1, len(pieces))
        phase_ms = index / count * GOP_MS / PICTURES
        next_ms = phase_ms + rounds * GOP_MS + pieces[place].at_ms
        heapq.heapreplace(queue, (next_ms, index, number + 1))


def publish(port: int, count: int, chunk_bytes: int, seconds: float) -> None:
    """Says "begin", "end" after `seconds`, then one line of JSON; leaves when its input ends."""
    pieces = gop(chunk_bytes)
    publishers = [Publisher(port, f"bench{index or ''}", chunk_bytes) for index in range(count)]
    time.sleep(0.2)  # nginx-rtmp 1.2.2 loses what comes in one read with a smaller chunk size
    for publisher in publishers:
        publisher.send(beginning(chunk_bytes))
    began = time.monotonic()
    late_s, messages, size = 0.0, 0, 0
    is_measuring = False
    for due_s, index, number in due_messages(count, pieces):
        if not is_measuring and due_s >= SETTLE_S:
            is_measuring = True
            print("begin", flush=True)
        if due_s >= SETTLE_S + seconds:
            break
        while (ahead_s := began + due_s - time.monotonic()) > 0:
            time.sleep(ahead_s)
        rounds, place = divmod(number, len(pieces))
        one, publisher = pieces[place], publishers[index]
        publisher.send(one.stamp(rounds * GOP_MS + one.at_ms))
        publisher.sent[one.kind] += 1
        if place == 0:
            publisher.listen()
        if is_measuring:
            late_s = max(late_s, -ahead_s)
            messages += 1
            size += len(one.chunks)
    print("end", flush=True)
    finish(publishers)
    sent = {one.name: [one.sent[kind] for kind in CSIDS] for one in publishers}
    told = {"late_s": late_s, "messages": messages, "bytes": size, "sent": sent}
    print(json.dumps(told), flush=True)
    sys.stdin.read()


def finish(publishers: list[Publisher]) -> None:
    end = time.monotonic() + DRAIN_S
    while any(one.waiting for one in publishers) and time.monotonic() < end:
        for one in publishers:
            one.send(b"")
        time.sleep(0.005)


@contextlib.contextmanager
def publishing(
    port: int, count: int, chunk_bytes: int, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    command = (sys.executable, __file__, "--to", port, "--publishers", count)
    command += ("--chunk", chunk_bytes, "--seconds", seconds)
    with subprocess.Popen(
        [*pin(LOAD_CORE), *map(str, command)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            yield child
        finally:
            child.kill()


# -- measuring -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    """Of one run. missing: units sent and not counted by the server; None if it does not count."""

    cpu_ms_per_s: float
    cpu_us_per_message: float
    mbit_per_s: float
    late_ms: float
    queued_mb: float
    drain_ms: float
    rss_mb: float
    missing: int | None


def measure(server: Server, count: int, chunk_bytes: int, seconds: float) -> Result:
    with publishing(server.port, count, chunk_bytes, seconds) as child:
        assert child.stdout is not None
        expect(child.stdout.readline(), "begin")
        before_s, began = cpu_s(server.pid), time.monotonic()
        expect(child.stdout.readline(), "end")
        took_s, queued_mb = time.monotonic() - began, queued_bytes(server.port) / 1e6
        told = json.loads(child.stdout.readline())
        drain_ms = drain(server.port) * 1000
        used_s = cpu_s(server.pid) - before_s
        missing = missing_units(server.url, told["sent"]) if server.url else None
        return Result(
            used_s / took_s * 1e3,
            used_s * 1e6 / told["messages"],
            told["bytes"] * 8 / 1e6 / took_s,
            told["late_s"] * 1e3,
            queued_mb,
            drain_ms,
            memory(server.pid).rss_mb,
            missing,
        )


def expect(line: str, word: str) -> None:
    if line.strip() != word:
        raise SystemExit("the publishers could not go on")


def drain(port: int) -> float:
    """Seconds until nothing to or from this port waits in the kernel."""
    began = time.monotonic()
    while queued_bytes(port) and time.monotonic() - began < DRAIN_S:
        time.sleep(0.01)
    return time.monotonic() - began


def queued_bytes(port: int) -> int:
    """In the queues of the port's connections; proc(5), /proc/net/tcp."""
    end, total = f":{port:04X}", 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        if state == "01" and (local.endswith(end) or remote.endswith(end)):
            total += sum(int(part, 16) for part in queues.split(":"))
    return total


def missing_units(url: str, sent: dict[str, list[int]]) -> int:
    """Sent and not arrived, by the API's counts."""
    streams = json.loads(fetch(f"{url}/api/v1/streams/?count=100000"))["streams"]
    arrived = {one["name"]: (one["audio_frames"], one["video_frames"]) for one in streams}
    return sum(
        abs(sounds - arrived.get(name, (0, 0))[0]) + abs(pictures - arrived.get(name, (0, 0))[1])
        for name, (sounds, pictures, _) in sent.items()
    )


def parse_cost(chunk_bytes: int, rounds: int = 20) -> tuple[float, float]:
    """us per message: of the chunk reader alone, and with reading units out of the messages."""
    os.sched_setaffinity(0, {SERVER_CORE})
    pieces = gop(chunk_bytes)
    costs = []
    for with_units in (False, True):
        chunks, tags = ChunkReader(), FlvTagReader()
        for message in chunks.receive(chunk_size(chunk_bytes) + beginning(chunk_bytes)):
            tags.receive(message.kind, message.timestamp_ms, message.payload)
        began = time.process_time()
        for number, one in itertools.product(range(rounds), pieces):
            for message in chunks.receive(one.stamp(number * GOP_MS + one.at_ms)):
                if with_units:
                    tags.receive(message.kind, message.timestamp_ms, message.payload)
        costs.append((time.process_time() - began) * 1e6 / rounds / len(pieces))
    return costs[0], costs[1]


def compare(count: int, pairs: int, chunk_bytes: int, seconds: float) -> dict[str, list[Result]]:
    """Results by server; each run with a server of its own, whose memory is then its own, too."""
    results: dict[str, list[Result]] = {"nginx-rtmp": [], "porthole": []}
    for _ in range(pairs):
        for start in (nginx, ours):
            with start() as server:
                results[server.name].append(measure(server, count, chunk_bytes, seconds))
    for name, made in results.items():
        middle = {
            key: statistics.median(getattr(one, key) for one in made)
            for key in ("cpu_ms_per_s", "cpu_us_per_message", "mbit_per_s", "rss_mb")
        }
        missing = (
            "" if made[0].missing is None else f"  {sum(r.missing or 0 for r in made)} missing"
        )
        print(
            f"{count:5} publishers  {name:10}"
            f"  {middle['cpu_ms_per_s'] / 10:5.1f} % of a core"
            f"  {middle['cpu_ms_per_s'] / count:6.3f} ms/s each"
            f"  {middle['cpu_us_per_message']:5.1f} us/message"
            f"  {middle['mbit_per_s']:5.0f} Mbit/s  late {max(r.late_ms for r in made):.0f} ms"
            f"  {max(r.queued_mb for r in made):.1f} MB unread,"
            f" read in {max(r.drain_ms for r in made):.0f} ms"
            f"  {middle['rss_mb']:.1f} MB RSS{missing}",
            flush=True,
        )
    costs = [[one.cpu_us_per_message for one in made] for made in results.values()]
    ratios = [mine / theirs for theirs, mine in zip(*costs, strict=True)]
    print(f"{count:5} publishers  ratio {spread(ratios)}", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--publishers", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--chunk", type=int, default=128)
    parser.add_argument("--to", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    allow_descriptors()
    if asked.to:
        publish(asked.to, asked.publishers, asked.chunk, asked.seconds)
        return
    chunks_us, units_us = parse_cost(asked.chunk)
    print(f"chunk reader {chunks_us:.2f} us/message, with the units {units_us:.2f} us/message")
    compare(asked.publishers, asked.pairs, asked.chunk, asked.seconds)


if __name__ == "__main__":
    main()
