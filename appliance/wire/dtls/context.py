"""OpenSSL as all sessions of the device use it: one context for one certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL

from appliance.wire.dtls.certificate import DeviceCertificate
from appliance.wire.srtp.profile import SrtpProfile

_DTLS_1_2 = 0xFEFD
_OPTIONS = (
    SSL.OP_NO_QUERY_MTU
    | SSL.OP_NO_TICKET
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_NO_COMPRESSION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
)
_CIPHERS = (  # the first is what everybody must know (RFC 8827 §6.5); all of them keep secrecy
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
)


def make_context(certificate: DeviceCertificate, profiles: Sequence[SrtpProfile]) -> SSL.Context:
    """For any number of sessions. profiles: the server's order decides."""
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.set_min_proto_version(_DTLS_1_2)
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(_CIPHERS)
    context.use_privatekey(certificate.key)
    context.use_certificate(certificate.certificate)
    context.set_tlsext_use_srtp(b":".join(profile.name.encode() for profile in profiles))
    _ask_for_any_certificate(context)
    return context


def _ask_for_any_certificate(context: SSL.Context) -> None:
    """The peer must show a certificate and own its key; whose it is, the fingerprint decides.

    `Context.set_verify` would do, but its callback in Python needs memory that is writable and
    executable, which systemd refuses the service (MemoryDenyWriteExecute). So the callback is a C
    function that is not zero whatever it is called with: OpenSSL's own version number.
    """
    library: Any = _openssl.lib
    anything: Any = _openssl.ffi.addressof(library, "OpenSSL_version_num")
    always = _openssl.ffi.cast("int (*)(int, X509_STORE_CTX *)", anything)
    mode = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    library.SSL_CTX_set_verify(context._context, mode, always)
