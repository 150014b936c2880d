"""The passive side of DTLS-SRTP against OpenSSL's active side, in memory, on a clock of ours."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys

import pytest
from dtls_peer import BOTH, Client, certificate, context, make_server, shake_hands
from OpenSSL import SSL

from appliance.errors import PeerError
from appliance.wire.dtls.server import (
    HANDSHAKE_TIMEOUT_US,
    MAX_DATAGRAM_BYTES,
    DtlsServer,
    DtlsState,
)
from appliance.wire.srtp.keys import EXPORT_LABEL, exported_bytes
from appliance.wire.srtp.profile import AES128_CM_SHA1_80, SrtpProfile

ME = certificate("client")


def connected() -> tuple[DtlsServer, Client]:
    server, client = make_server(ME), Client(own=ME)
    shake_hands(server, client)
    assert server.state is DtlsState.CONNECTED
    return server, client


@pytest.mark.parametrize("order", [BOTH, BOTH[::-1]], ids=["gcm first", "cm first"])
def test_handshake_ends_with_the_servers_preferred_profile_and_the_peers_keys(
    order: tuple[SrtpProfile, ...],
) -> None:
    server, client = make_server(ME, profiles=order), Client(own=ME)
    shake_hands(server, client)
    keys = server.keys
    assert keys is not None
    profile = keys.local.profile
    assert profile is order[0]
    assert client.connection.get_selected_srtp_profile().decode() == profile.name
    size = exported_bytes(profile)
    theirs = client.connection.export_keying_material(EXPORT_LABEL, size)
    ours = keys.remote.key + keys.local.key + keys.remote.salt + keys.local.salt
    assert theirs == ours
    assert server.due_us is None


def test_handshake_with_a_peer_without_gcm_takes_counter_mode() -> None:
    server, client = make_server(ME), Client(own=ME, profiles=b"SRTP_AES128_CM_SHA1_80")
    shake_hands(server, client)
    assert server.keys is not None
    assert server.keys.remote.profile is AES128_CM_SHA1_80


def test_handshake_with_a_hello_in_pieces_is_understood() -> None:
    """As Chromium's, whose keys for the time after quantum computers do not fit one datagram."""
    server, client = make_server(ME), Client(own=ME)
    client.connection.set_ciphertext_mtu(256)
    shake_hands(server, client)
    assert server.keys is not None


def test_datagrams_of_the_server_fit_the_path() -> None:
    server, client = make_server(ME), Client(own=ME)
    client_says = client.start()
    sizes: list[int] = []
    for _ in range(4):
        for datagram in client_says:
            server.receive(datagram, 0)
        sent = server.take_datagrams()
        sizes += map(len, sent)
        for datagram in sent:
            client.receive(datagram)
        client_says = client.output()
    assert client.is_connected
    assert 0 < max(sizes) <= MAX_DATAGRAM_BYTES


@pytest.mark.parametrize("seed", range(5))
def test_datagrams_doubled_and_out_of_order_lead_to_the_same_keys(seed: int) -> None:
    rng, server, client = random.Random(seed), make_server(ME), Client(own=ME)
    client.connection.set_ciphertext_mtu(300)
    said, now_us = client.start(), 0
    for _ in range(200):
        now_us += 100_000
        for datagram in rng.sample(said * 2, 2 * len(said)):
            server.receive(datagram, now_us)
        if server.state is DtlsState.HANDSHAKE:
            server.tick(now_us)
        heard = server.take_datagrams()
        for datagram in rng.sample(heard * 2, 2 * len(heard)):
            client.receive(datagram)
        said = client.output()
        if client.is_connected and not said:
            break
    assert server.keys is not None
    theirs = client.connection.export_keying_material(EXPORT_LABEL, 56)
    assert theirs[16:32] == server.keys.local.key


def test_flight_that_is_lost_is_sent_again_until_it_arrives() -> None:
    server, client = make_server(ME), Client(own=ME)
    losses = iter([False] * 3)
    took_us = shake_hands(server, client, arrives=lambda: next(losses, True))
    assert server.state is DtlsState.CONNECTED
    assert client.is_connected
    assert took_us >= 100_000 + 200_000  # it waited, and longer the second time


async def test_last_flight_that_is_lost_is_sent_again_when_the_peer_repeats_itself() -> None:
    server, client = make_server(ME), Client(own=ME)
    said = client.start()
    while server.state is DtlsState.HANDSHAKE:
        for datagram in server.take_datagrams():
            client.receive(datagram)
        for datagram in said + client.output():
            server.receive(datagram, 0)
        said = []
    assert server.take_datagrams()  # and they are lost
    assert not client.is_connected
    async with asyncio.timeout(20):  # OpenSSL's own clock, of a second
        while True:
            await asyncio.sleep(client.connection.DTLSv1_get_timeout() or 0)
            if client.connection.DTLSv1_handle_timeout():
                break
    for datagram in client.output():
        server.receive(datagram, 0)
    for datagram in server.take_datagrams():
        client.receive(datagram)
    assert client.is_connected


def test_handshake_that_is_not_finished_fails_at_its_deadline() -> None:
    server, client = make_server(ME), Client(own=ME)
    for datagram in client.start():
        server.receive(datagram, 0)
    repeated = 0
    now_us = 0
    while (due_us := server.due_us) is not None and due_us < HANDSHAKE_TIMEOUT_US:
        assert due_us > now_us
        now_us = due_us
        server.tick(now_us)
        repeated += bool(server.take_datagrams())
    assert 5 <= repeated <= 12
    assert due_us == HANDSHAKE_TIMEOUT_US
    with pytest.raises(PeerError):
        server.tick(due_us)
    assert server.state is DtlsState.CLOSED
    assert server.due_us is None


def test_tick_before_it_is_due_says_nothing() -> None:
    server, client = make_server(ME), Client(own=ME)
    for datagram in client.start():
        server.receive(datagram, 0)
    server.take_datagrams()
    server.tick(99_999)
    assert server.take_datagrams() == []
    server.tick(100_000)
    assert server.take_datagrams()


def test_close_tells_the_peer() -> None:
    server, client = connected()
    server.close(0)
    for datagram in server.take_datagrams():
        client.receive(datagram)
    assert client.has_ended
    assert server.state is DtlsState.CLOSED


def test_close_before_the_handshake_is_silent() -> None:
    server = make_server(ME)
    server.close(0)
    assert server.take_datagrams() == []
    assert server.state is DtlsState.CLOSED


def test_peers_goodbye_closes_the_session() -> None:
    server, client = connected()
    client.connection.shutdown()
    for datagram in client.output():
        server.receive(datagram, 0)
    assert server.state is DtlsState.CLOSED


def test_context_needs_no_memory_that_is_writable_and_executable() -> None:
    """As the unit's MemoryDenyWriteExecute= has it; prctl 65 is PR_SET_MDWE."""
    program = (
        "import ctypes\n"
        "from appliance.wire.dtls.certificate import make_certificate\n"
        "from appliance.wire.dtls.context import make_context\n"
        "from appliance.wire.srtp.profile import AEAD_AES_128_GCM\n"
        "ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)\n"
        "make_context(make_certificate(), (AEAD_AES_128_GCM,))\n"
        "print('made')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "made\n"


def test_application_loads_neither_openssl_nor_cryptography() -> None:
    program = "import sys, appliance.app; print({'OpenSSL', 'cryptography'} & {*sys.modules})"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"


# -- who may not come in ---------------------------------------------------------------------------


def test_peer_with_another_certificate_gets_no_keys_and_no_answer() -> None:
    server, client = make_server(ME), Client(own=certificate("stranger"))
    with pytest.raises(PeerError, match="not the one it announced"):
        shake_hands(server, client)
    assert server.keys is None
    assert server.state is DtlsState.CLOSED
    assert server.take_datagrams() == []
    assert not client.is_connected


def test_peer_without_any_certificate_is_refused() -> None:
    server, client = make_server(ME), Client()
    with pytest.raises(PeerError, match="handshake failed"):
        shake_hands(server, client)
    assert server.keys is None


@pytest.mark.parametrize("profiles", [b"", b"SRTP_AES128_CM_SHA1_32"])
def test_peer_without_a_profile_in_common_is_refused(profiles: bytes) -> None:
    server, client = make_server(ME), Client(own=ME, profiles=profiles)
    with pytest.raises(PeerError):
        shake_hands(server, client)
    assert server.keys is None


@pytest.mark.parametrize(
    "client",
    [
        {"max_version": 0xFEFF, "ciphers": b"ALL:@SECLEVEL=0"},
        {"ciphers": b"eNULL:@SECLEVEL=0"},
        {"ciphers": b"aNULL:@SECLEVEL=0"},
        {"ciphers": b"ECDHE-RSA-AES128-GCM-SHA256"},
    ],
    ids=["DTLS 1.0", "no cipher", "no authentication", "another kind of key"],
)
def test_peer_with_weak_or_foreign_terms_is_refused(client: dict[str, object]) -> None:
    server = make_server(ME)
    with pytest.raises(PeerError, match="handshake failed"):
        shake_hands(server, Client(own=ME, **client))
    assert server.state is DtlsState.CLOSED


def test_peer_is_told_by_an_alert_why_it_is_refused() -> None:
    server, client = make_server(ME), Client(own=ME, ciphers=b"ECDHE-RSA-AES128-GCM-SHA256")
    with pytest.raises(PeerError):
        for datagram in client.start():
            server.receive(datagram, 0)
    [alert] = server.take_datagrams()
    with pytest.raises(SSL.Error, match="handshake failure"):
        client.receive(alert)


def test_fingerprints_may_be_several_and_one_must_match() -> None:
    server = DtlsServer(context(), (certificate("stranger").fingerprint, ME.fingerprint), now_us=0)
    shake_hands(server, Client(own=ME))
    assert server.keys is not None


def test_fingerprints_none_match_nobody() -> None:
    server = DtlsServer(context(), (), now_us=0)
    with pytest.raises(PeerError):
        shake_hands(server, Client(own=ME))


# -- what a connected peer may not do --------------------------------------------------------------


def test_application_data_is_counted_and_dropped() -> None:
    server, client = connected()
    client.connection.send(bytes(500))
    for datagram in client.output():
        server.receive(datagram, 0)
    assert server.ignored_bytes == 500
    assert server.state is DtlsState.CONNECTED
    assert server.take_datagrams() == []


def test_application_data_without_end_is_not_even_decrypted() -> None:
    server, client = connected()
    for _ in range(200):
        client.connection.send(bytes(1000))
        for datagram in client.output():
            server.receive(datagram, 0)
    assert server.ignored_bytes < 40_000
    assert server.dropped_datagrams > 150
    client.connection.send(b"later")
    for datagram in client.output():
        server.receive(datagram, 1_000_000)
    assert server.state is DtlsState.CONNECTED


def test_renegotiation_is_not_begun() -> None:
    server, client = connected()
    keys = server.keys
    client.connection.renegotiate()
    client.is_connected = False
    try:
        for datagram in client.start():
            server.receive(datagram, 0)
    except PeerError:
        return  # closing is as good as not listening
    assert server.keys is keys


def test_alert_in_clear_does_not_end_a_session() -> None:
    server, _ = connected()
    alert = bytes.fromhex("15 fefd 0000 0000000000ff 0002 0228")
    server.receive(alert, 0)
    assert server.state is DtlsState.CONNECTED


def test_records_of_the_next_epoch_before_any_hello_are_dropped() -> None:
    server, client = make_server(ME), Client(own=ME)
    for number in range(20):
        header = bytes.fromhex("17 fefd 0001") + number.to_bytes(6, "big") + bytes((0, 40))
        server.receive(header + bytes(40), 0)
    assert server.take_datagrams() == []
    shake_hands(server, client)
    assert server.keys is not None
