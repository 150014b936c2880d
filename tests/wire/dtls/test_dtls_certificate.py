"""The device's certificate as a file, and fingerprints as text."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from dtls_peer import certificate

from appliance.errors import ConfigError
from appliance.wire.dtls.certificate import make_certificate, read_certificate
from appliance.wire.dtls.fingerprint import Fingerprint


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
    text = certificate("server").fingerprint.value()
    assert text == "sha-256 " + told.partition("=")[2].strip()


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


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_fingerprint_of_each_algorithm_matches_its_certificate_only(algorithm: str) -> None:
    digest = hashlib.new(algorithm.replace("-", ""), b"certificate").digest()
    found = Fingerprint(algorithm, digest)
    assert found.matches(b"certificate")
    assert not found.matches(b"another")
