"""SRTP, µs of CPU per packet: protecting frames for a viewer, beside pylibsrtp packet by packet.

One H.264 stream of 720p30 at 2 Mbps in packets of 1200 bytes, from memory to memory; one pinned
core, rounds of all alternate. Each ratio is of one round, and the median of them is printed.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from measure import SERVER_CORE, spread
from pylibsrtp import Policy, Session

from appliance.wire.dtls.certificate import make_certificate
from appliance.wire.dtls.context import make_context
from appliance.wire.rtp.extensions import Extensions, HeaderForm
from appliance.wire.rtp.formats.contract import Payload
from appliance.wire.rtp.outgoing import Identity, RtpChunk, frame_payloads
from appliance.wire.rtp.viewer_packets import ViewerPackets
from appliance.wire.srtp.inbound import InboundSession
from appliance.wire.srtp.keys import MasterKey
from appliance.wire.srtp.outbound import OutboundSession
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, AES128_CM_SHA1_80, SrtpProfile

FRAME_BYTES = 2_000_000 // 8 // 30
PAYLOAD_BYTES = 1200
KIND, SSRC = 96, 0x1234
EXTENSIONS = Extensions(transport_cc=3, abs_send_time=2)
UDP_SEGMENT = 103
LIBSRTP = {
    AEAD_AES_128_GCM: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    AES128_CM_SHA1_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


def make_frames(seconds: int) -> list[ViewerPackets]:
    rng = random.Random(1)
    frames: list[ViewerPackets] = []
    sequence = 0
    for number in range(30 * seconds):
        left = FRAME_BYTES * 6 if number % 60 == 0 else rng.randrange(FRAME_BYTES * 2)
        payloads: list[Payload] = []
        while left > 0:
            payloads.append(Payload(rng.randbytes(min(left, PAYLOAD_BYTES)), False))
            left -= PAYLOAD_BYTES
        data, places = frame_payloads(payloads, KIND, sequence, number * 3000)
        sequence += len(payloads)
        frames.append(ViewerPackets(RtpChunk(data, 0, 0, True, places=places)))
    return frames


@dataclass
class Viewer:
    """What each round begins anew; numbers go on, as SRTP uses none twice."""

    profile: SrtpProfile
    form: HeaderForm
    sequence_offset: int = 0
    session: OutboundSession = field(init=False)

    def __post_init__(self) -> None:
        master = MasterKey(self.profile, bytes(16), bytes(self.profile.salt_bytes))
        self.session = OutboundSession(master)

    def protect(self, frame: ViewerPackets) -> bytes:
        mine = Identity(SSRC, self.sequence_offset, 0)
        headers = self.form.headers(frame.places, mine, 7, 1_000_000)
        first = mine.sequence(frame.places[0].sequence)
        return self.session.stream(SSRC).protect(first, headers, frame.payloads)


def ours(frames: list[ViewerPackets], profile: SrtpProfile, form: HeaderForm) -> None:
    viewer = Viewer(profile, form)
    for frame in frames:
        viewer.protect(frame)


def theirs(frames: list[ViewerPackets], profile: SrtpProfile) -> None:
    """The same packets one by one, as a server on pylibsrtp would."""
    key = bytes(profile.key_bytes + profile.salt_bytes)
    kind = Policy.SSRC_ANY_OUTBOUND
    session = Session(Policy(key=key, ssrc_type=kind, srtp_profile=LIBSRTP[profile]))
    form, mine = HeaderForm(KIND), Identity(SSRC, 0, 0)
    for frame in frames:
        headers = form.headers(frame.places, mine)
        for header, payload in zip(headers, frame.payloads, strict=True):
            session.protect(header + payload)


def send(frames: list[ViewerPackets], profile: SrtpProfile, udp: socket.socket) -> None:
    """Protected, and to the kernel, one call for each run."""
    viewer, overhead = Viewer(profile, HeaderForm(KIND, EXTENSIONS)), 0
    overhead = viewer.form.size_bytes + profile.tag_bytes
    for frame in frames:
        data = memoryview(viewer.protect(frame))
        for start, end, size in frame.runs(overhead):
            segment = (socket.SOL_UDP, UDP_SEGMENT, size.to_bytes(2, "little"))
            udp.sendmsg([data[start:end]], [segment])


def opened(packets: list[bytes], profile: SrtpProfile) -> None:
    session = InboundSession(MasterKey(profile, bytes(16), bytes(profile.salt_bytes)))
    for packet in packets:
        session.open(packet)


def protected_packets(frames: list[ViewerPackets], profile: SrtpProfile) -> list[bytes]:
    viewer = Viewer(profile, HeaderForm(KIND))
    overhead = viewer.form.size_bytes + profile.tag_bytes
    packets: list[bytes] = []
    for frame in frames:
        data = viewer.protect(frame)
        for start, end, size in frame.runs(overhead):
            packets += [data[at : min(at + size, end)] for at in range(start, end, size)]
    return packets


def contenders_of(
    frames: list[ViewerPackets], profile: SrtpProfile, udp: socket.socket
) -> dict[str, Callable[[], None]]:
    plain, extended = HeaderForm(KIND), HeaderForm(KIND, EXTENSIONS)
    packets = protected_packets(frames, profile)
    return {
        "pylibsrtp, one by one": lambda: theirs(frames, profile),
        "ours, a frame at once": lambda: ours(frames, profile, plain),
        "ours, with extensions": lambda: ours(frames, profile, extended),
        "ours, and sent by GSO": lambda: send(frames, profile, udp),
        "ours, inbound": lambda: opened(packets, profile),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    os.sched_setaffinity(0, {SERVER_CORE})
    frames = make_frames(options.seconds)
    count = sum(len(frame.places) for frame in frames)
    print(f"{count} packets in {len(frames)} frames")
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sink,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        sink.bind(("127.0.0.1", 0))
        udp.connect(sink.getsockname())
        for profile in (AEAD_AES_128_GCM, AES128_CM_SHA1_80):
            compare(profile.name, contenders_of(frames, profile, udp), count, options.rounds)
    print_certificate()


def compare(
    title: str, contenders: dict[str, Callable[[], None]], packets: int, rounds: int
) -> None:
    spent_us: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start_ns = time.process_time_ns()
            run()
            spent_us[name].append((time.process_time_ns() - start_ns) / 1000 / packets)
    print(title)
    peer, *_ = spent_us.values()
    for name, values in spent_us.items():
        ratios = [mine / other for mine, other in zip(values, peer, strict=True)]
        print(f"  {name:<24}{spread(values)} µs per packet, {spread(ratios)} of pylibsrtp's")


def print_certificate() -> None:
    start_ns = time.process_time_ns()
    for _ in range(20):
        make_certificate()
    made_us = (time.process_time_ns() - start_ns) / 20_000
    start_ns = time.process_time_ns()
    make_context(make_certificate(), (AEAD_AES_128_GCM,))
    context_us = (time.process_time_ns() - start_ns) / 1000
    print(f"a certificate {made_us:.0f} µs, a context with one {context_us:.0f} µs; once a device")


if __name__ == "__main__":
    main()
