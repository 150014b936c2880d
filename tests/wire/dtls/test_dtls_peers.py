"""OpenSSL's own program shakes hands with us over UDP, and tells the keys it derived."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dtls_peer import certificate, context

from appliance.wire.dtls.server import DtlsServer, DtlsState
from appliance.wire.srtp.keys import exported_bytes
from appliance.wire.srtp.profile import AEAD_AES_128_GCM, AES128_CM_SHA1_80, SrtpProfile

PATIENCE_S = 20


@contextmanager
def s_client(port: int, pem: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = ["openssl", "s_client", "-dtls1_2", "-connect", f"127.0.0.1:{port}"]
    command += ["-cert", str(pem), "-key", str(pem), *options]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def serve(udp: socket.socket, server: DtlsServer) -> None:
    """Until the handshake is over."""
    while server.state is DtlsState.HANDSHAKE:
        datagram, address = udp.recvfrom(4096)
        server.receive(datagram, time.monotonic_ns() // 1000)
        for answer in server.take_datagrams():
            udp.sendto(answer, address)


def told(child: subprocess.Popen[str], pattern: str) -> str:
    """What it prints for a pattern; its end, if it never does, is a failure."""
    assert child.stdout is not None
    text = ""
    for line in child.stdout:
        text += line
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(text)


@pytest.mark.parametrize("profile", [AEAD_AES_128_GCM, AES128_CM_SHA1_80], ids=lambda it: it.name)
def test_openssl_shakes_hands_and_derives_the_same_keys(
    tmp_path: Path, profile: SrtpProfile
) -> None:
    pem = tmp_path / "client.pem"
    pem.write_bytes(certificate("client").pem())
    server = DtlsServer(context(), (certificate("client").fingerprint,), 0)
    size = exported_bytes(profile)
    options = ("-use_srtp", profile.name, "-keymatexport", "EXTRACTOR-dtls_srtp")
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(PATIENCE_S)
        port = udp.getsockname()[1]
        with s_client(port, pem, *options, "-keymatexportlen", str(size)) as child:
            serve(udp, server)
            material = bytes.fromhex(told(child, r"Keying material: ([0-9A-F]+)"))
    keys = server.keys
    assert keys is not None
    assert keys.local.profile is profile
    ours = keys.remote.key + keys.local.key + keys.remote.salt + keys.local.salt
    assert material == ours
