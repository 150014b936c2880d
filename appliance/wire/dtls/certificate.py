"""The device's own certificate: made once, kept by the caller, known to peers by fingerprint.

Its dates and names mean nothing: peers trust the fingerprint that the signalling told them
(RFC 8827 §6.5), and a board without a clock must be able to make one.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from appliance.errors import ConfigError
from appliance.wire.dtls.fingerprint import Fingerprint, of_certificate

COMMON_NAME = "porthole"  # the same for all, so that it tells nothing of whose device it is
_VALID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_VALID_UNTIL = datetime(2099, 12, 31, tzinfo=UTC)


class DeviceCertificate:
    """An ECDSA P-256 key and its self-signed certificate."""

    __slots__ = ("certificate", "fingerprint", "key")

    def __init__(self, key: EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate
        self.fingerprint: Fingerprint = of_certificate(certificate.public_bytes(Encoding.DER))

    def pem(self) -> bytes:
        """Key and certificate, for a file that only the device's user can read (0600)."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + self.certificate.public_bytes(Encoding.PEM)


def make_certificate() -> DeviceCertificate:
    """A new one, from OpenSSL's random numbers."""
    key = generate_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_UNTIL)
        .sign(key, SHA256())
    )
    return DeviceCertificate(key, certificate)


def read_certificate(pem: bytes) -> DeviceCertificate:
    """What `DeviceCertificate.pem` gave. Raises: ConfigError if the file is anything else."""
    try:
        key = load_pem_private_key(pem, None)
        certificate = x509.load_pem_x509_certificate(pem)
    except (ValueError, TypeError):
        raise ConfigError("the stored certificate for WebRTC cannot be read") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ConfigError("the stored key for WebRTC is not of ECDSA P-256")
    if certificate.public_key() != key.public_key():
        raise ConfigError("the stored certificate for WebRTC belongs to another key")
    return DeviceCertificate(key, certificate)
