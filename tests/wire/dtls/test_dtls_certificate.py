"""The device's certificate as a file, and fingerprints as text."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from dtls_peer import certificate

from appliance.errors import ConfigError, PeerError
from appliance.wire.dtls.certificate import make_certificate, read_certificate
from appliance.wire.dtls.fingerprint import Fingerprint, parse_fingerprint


def test_certificate_survives_its_file() -> None:
    made = certificate("server")
    read = read_certificate(made.pem())
    assert read.fingerprint == made.fingerprint
    assert read.pem() == made.pem()


def test_certificates_are_never_the_same() -> None:
    assert make_certificate().fingerprint != make_certificate().fingerprint


def test_fingerprint_is_the_one_that_openssl_tells(tmp_path: Path) -> None:
    path = tmp_path / "certificate.pem"
    path.write_bytes(certificate("server").pem())
    command = ["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    text = str(certificate("server").fingerprint)
    assert text == "sha-256 " + told.partition("=")[2].strip()
    assert parse_fingerprint(text) == certificate("server").fingerprint


@pytest.mark.parametrize("pem", [b"", b"text", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_certificate_file_that_is_none_is_a_fault_of_the_device(pem: bytes) -> None:
    with pytest.raises(ConfigError):
        read_certificate(pem)


def test_certificate_file_with_another_key_is_a_fault_of_the_device() -> None:
    key = certificate("server").pem().split(b"-----BEGIN CERTIFICATE")[0]
    other = certificate("client").pem().partition(b"-----BEGIN CERTIFICATE")
    with pytest.raises(ConfigError, match="another key"):
        read_certificate(key + other[1] + other[2])


@pytest.mark.parametrize("cut", [0, 30, 150, 250, 400])
def test_certificate_file_cut_short_is_a_fault_of_the_device(cut: int) -> None:
    with pytest.raises(ConfigError):
        read_certificate(certificate("server").pem()[:cut])


@pytest.mark.parametrize("algorithm", ["sha-256", "SHA-384", "sha-512"])
def test_fingerprint_of_each_algorithm_matches_its_certificate_only(algorithm: str) -> None:
    digest = hashlib.new(algorithm.lower().replace("-", ""), b"certificate").digest()
    found = parse_fingerprint(f"{algorithm} {digest.hex(':')}")
    assert found.matches(b"certificate")
    assert not found.matches(b"another")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-1 " + ":".join(["00"] * 20),
        "md5 " + ":".join(["00"] * 16),
        "sha-256 " + ":".join(["00"] * 31),
        "sha-256 " + ":".join(["00"] * 33),
        "sha-256 " + "00" * 32,
        "sha-256 " + ":".join(["0x"] * 32),
        "sha-256 " + ":".join(["+1"] * 32),
        "sha-256 " + ":".join(["٣٣"] * 32),
        "sha-256 " + ":".join(["zz"] * 32),
    ],
)
def test_fingerprint_that_proves_nothing_or_is_damaged_is_refused(value: str) -> None:
    with pytest.raises(PeerError):
        parse_fingerprint(value)


def test_fingerprint_reads_itself() -> None:
    fingerprint = Fingerprint("sha-256", bytes(range(32)))
    assert parse_fingerprint(str(fingerprint)) == fingerprint
