"""A browser's part of DTLS-SRTP: an active side by OpenSSL, and the way between the two."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from OpenSSL import SSL

from appliance.wire.dtls.certificate import DeviceCertificate, make_certificate
from appliance.wire.dtls.context import make_context
from appliance.wire.dtls.flight import records_to_datagrams
from appliance.wire.dtls.server import DtlsServer, DtlsState
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, AES128_CM_SHA1_80, SrtpProfile

BOTH = (AEAD_AES_128_GCM, AES128_CM_SHA1_80)
CHROMIUMS_ORDER = b"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM:SRTP_AEAD_AES_128_GCM"
STEP_US = 10_000


@cache
def certificate(name: str) -> DeviceCertificate:
    """One for each party of a test run; making them takes time."""
    return make_certificate()


@cache
def context(profiles: tuple[SrtpProfile, ...] = BOTH) -> SSL.Context:
    return make_context(certificate("server"), profiles)


class Client:
    """`received` keeps the certificate's fingerprint away: this side trusts whom it talks to."""

    def __init__(
        self,
        *,
        profiles: bytes = CHROMIUMS_ORDER,
        own: DeviceCertificate | None = None,
        ciphers: bytes | None = None,
        max_version: int = 0xFEFD,
    ) -> None:
        setup = SSL.Context(SSL.DTLS_CLIENT_METHOD)
        setup.set_min_proto_version(0xFEFF)
        setup.set_max_proto_version(max_version)
        setup.set_options(SSL.OP_NO_QUERY_MTU)
        setup.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        if ciphers:
            setup.set_cipher_list(ciphers)
        if own is not None:
            setup.use_privatekey(own.key)
            setup.use_certificate(own.certificate)
        if profiles:
            setup.set_tlsext_use_srtp(profiles)
        self.connection = SSL.Connection(setup, None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(1200)
        self.is_connected = self.has_ended = False
        self.data = b""

    def start(self) -> list[bytes]:
        self._go_on()
        return self.output()

    def receive(self, datagram: bytes) -> None:
        self.connection.bio_write(datagram)
        self._go_on()

    def _go_on(self) -> None:
        try:
            if not self.is_connected:
                self.connection.do_handshake()
                self.is_connected = True
            self.data += self.connection.recv(2048)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.has_ended = True

    def output(self) -> list[bytes]:
        try:
            return records_to_datagrams(self.connection.bio_read(65_536), 1200)
        except SSL.WantReadError:
            return []


def make_server(client: DeviceCertificate, **options: object) -> DtlsServer:
    profiles = options.get("profiles", BOTH)
    assert isinstance(profiles, tuple)
    return DtlsServer(context(profiles), (client.fingerprint,), 0)


def shake_hands(
    server: DtlsServer,
    client: Client,
    *,
    arrives: Callable[[], bool] = lambda: True,
    limit_us: int = 9_000_000,
) -> int:
    """To the end of the handshake or of the time. How long it took, by the clock in our hands.

    arrives: asked for each datagram of the server's. What the client says always arrives, as its
    own repetition would depend on the real clock.
    """
    now_us = 0
    outgoing = client.start()
    while now_us < limit_us:
        for datagram in outgoing:
            server.receive(datagram, now_us)
        if server.due_us is not None and server.due_us <= now_us:
            server.tick(now_us)
        for datagram in server.take_datagrams():
            if arrives():
                client.receive(datagram)
        outgoing = client.output()
        if client.is_connected and server.state is DtlsState.CONNECTED and not outgoing:
            break
        now_us += STEP_US
    return now_us
