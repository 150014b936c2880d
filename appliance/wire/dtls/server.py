"""The passive side of DTLS-SRTP: datagrams in, datagrams and SRTP keys out (RFC 5764, RFC 8827).

Theory of operation: HANDSHAKE → CONNECTED → CLOSED; any fault in the handshake goes to CLOSED at
once, but a connected session ends by the peer's goodbye or by its caller only, whatever else comes.
OpenSSL does the protocol between two memory buffers, one datagram at a time. Who may talk to it at
all is the caller's to know: nothing from an address that ICE has not validated comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from appliance.errors import PeerError
from appliance.wire.allowance import Allowance
from appliance.wire.dtls.fingerprint import Fingerprint
from appliance.wire.dtls.flight import RECORD_HEADER_BYTES, Flight, records_to_datagrams
from appliance.wire.srtp.keys import EXPORT_LABEL, SrtpKeys, exported_bytes, server_keys
from appliance.wire.srtp.profile import PROFILES

MAX_DATAGRAM_BYTES = 1200  # of ours; fits any path with IPv6 and a tunnel around it
MAX_RECEIVED_BYTES = 4096  # of a peer's datagram; nothing that a browser sends comes near
MAX_HANDSHAKE_DATAGRAMS = 64  # with all repetitions; Chromium's hello alone takes two each time
MAX_HANDSHAKE_BYTES = 65_536  # certificates included; against endless fragments
HANDSHAKE_TIMEOUT_US = 10_000_000
MAX_BYTES_PER_S = 32_768  # once connected: alerts and repetitions, and data that nobody reads
_READ_BYTES = 16_384


class DtlsState(Enum):
    HANDSHAKE = "handshake"
    CONNECTED = "connected"
    CLOSED = "closed"


class DtlsServer:
    """One peer.

    fingerprints: of the peer's certificate, as its session description tells them; one must match.
    keys: for SRTP, from the moment it is CONNECTED on.
    dropped_datagrams: beyond our limits, or no DTLS. ignored_bytes: of application data.
    """

    __slots__ = (
        "_allowance",
        "_connection",
        "_deadline_us",
        "_fingerprints",
        "_flight",
        "_heard_bytes",
        "_heard_datagrams",
        "_is_deaf",
        "_output",
        "dropped_datagrams",
        "ignored_bytes",
        "keys",
        "state",
    )

    def __init__(
        self, context: SSL.Context, fingerprints: Sequence[Fingerprint], now_us: int
    ) -> None:
        """context: of `make_context`, shared by all sessions."""
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()
        self._connection.set_ciphertext_mtu(MAX_DATAGRAM_BYTES)
        self._fingerprints = tuple(fingerprints)
        self._deadline_us = now_us + HANDSHAKE_TIMEOUT_US
        self._flight = Flight()
        self._heard_bytes = self._heard_datagrams = 0
        self._allowance = Allowance(MAX_BYTES_PER_S)
        self._output: list[bytes] = []
        self._is_deaf = False
        self.dropped_datagrams = self.ignored_bytes = 0
        self.keys: SrtpKeys | None = None
        self.state = DtlsState.HANDSHAKE

    def receive(self, datagram: bytes, now_us: int) -> None:
        """One datagram of the peer. Take the output afterwards, even if it raised.

        Raises: PeerError if the handshake has failed or went beyond its bounds.
        """
        if self.state is DtlsState.CLOSED or not self._is_admitted(datagram, now_us):
            self.dropped_datagrams += 1
            return
        self._connection.bio_write(datagram)
        try:
            if self.state is DtlsState.HANDSHAKE:
                self._shake_hands()
            if self.state is DtlsState.CONNECTED:
                self._read()
        except PeerError:
            self.state, self.keys = DtlsState.CLOSED, None
            raise
        finally:
            self._collect(now_us)

    def tick(self, now_us: int) -> None:
        """To be called when it is due. Raises: PeerError if the handshake took too long."""
        if self.state is not DtlsState.HANDSHAKE:
            return
        if now_us >= self._deadline_us:
            self._end()
            raise PeerError("no DTLS handshake within 10 s")
        self._output += self._flight.take_due(now_us)

    @property
    def due_us(self) -> int | None:
        """When `tick` should be called even if nothing arrives."""
        if self.state is not DtlsState.HANDSHAKE:
            return None
        again_us = self._flight.due_us
        return self._deadline_us if again_us is None else min(again_us, self._deadline_us)

    def take_datagrams(self) -> list[bytes]:
        """What to send now, once; none is longer than MAX_DATAGRAM_BYTES."""
        output, self._output = self._output, []
        return output

    def close(self, now_us: int) -> None:
        """Say goodbye (close_notify) if the peer is there to hear it; no answer is awaited."""
        if self.state is DtlsState.CONNECTED:
            try:
                self._connection.shutdown()
            except SSL.Error:
                self.dropped_datagrams += 1
            self._collect(now_us)
        self._end()

    def _is_admitted(self, datagram: bytes, now_us: int) -> bool:
        size = len(datagram)
        if not RECORD_HEADER_BYTES <= size <= MAX_RECEIVED_BYTES or not 20 <= datagram[0] <= 63:
            return False
        if self.state is DtlsState.CONNECTED:
            return not self._is_deaf and self._allowance.take(size, now_us)
        self._heard_bytes += size
        self._heard_datagrams += 1
        if self._heard_bytes > MAX_HANDSHAKE_BYTES or (
            self._heard_datagrams > MAX_HANDSHAKE_DATAGRAMS
        ):
            self._end()
            raise PeerError("a DTLS handshake without end")
        return True

    def _shake_hands(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise PeerError(f"the DTLS handshake failed: {_reason(error)}") from None
        try:
            self.keys = self._agree()
        except PeerError:
            self._discard_output()  # our half of the proof, that would let the peer believe in us
            raise
        self.state = DtlsState.CONNECTED

    def _agree(self) -> SrtpKeys:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None:
            raise PeerError("a DTLS peer without a certificate")
        der = certificate.public_bytes(Encoding.DER)
        if not any(fingerprint.matches(der) for fingerprint in self._fingerprints):
            raise PeerError("the peer's certificate is not the one it announced")
        profile = PROFILES.get(self._connection.get_selected_srtp_profile().decode())
        if profile is None:
            raise PeerError("the peer offers no SRTP profile that is spoken here")
        material = self._connection.export_keying_material(EXPORT_LABEL, exported_bytes(profile))
        return server_keys(profile, material)

    def _read(self) -> None:
        """Drop application data (nobody asked for data channels), answer repetitions."""
        try:
            while data := self._connection.recv(_READ_BYTES):
                self.ignored_bytes += len(data)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            self._end()
        except SSL.Error:
            self._is_deaf = True  # a forged record does that to OpenSSL 3.5; SRTP goes on without

    def _collect(self, now_us: int) -> None:
        """What OpenSSL has to say is a flight of the handshake, or an alert."""
        datagrams = records_to_datagrams(self._discard_output(), MAX_DATAGRAM_BYTES)
        self._output += datagrams
        if self.state is not DtlsState.HANDSHAKE:
            self._flight.end()
        elif datagrams:
            self._flight.begin(datagrams, now_us)

    def _discard_output(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while True:  # until the buffer is empty; only our own output is in it
                pieces.append(self._connection.bio_read(_READ_BYTES))
        except SSL.WantReadError:
            return b"".join(pieces)

    def _end(self) -> None:
        self.state = DtlsState.CLOSED
        self._flight.end()


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words; nothing of the peer's is in them."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return str(reasons[-1][-1]) if reasons else type(error).__name__
