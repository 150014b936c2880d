"""Basic and Digest, from both sides and by the RFCs' own examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from appliance.wire.rtsp.auth import (
    NONCE_LIFE_US,
    Algorithm,
    BasicShown,
    DigestShown,
    Gate,
    Verdict,
    answer_digest,
    make_ha1,
    parse_authorization,
    parse_parameters,
)
from appliance.wire.rtsp.credentials import ClientAuth, _split_challenges

URL = "rtsp://h/live/camera"
REALM = "porthole"
NOISE = b"n" * 16
USERS = {
    "me": {algorithm: make_ha1(algorithm, "me", REALM, 'p"a\\ss:é') for algorithm in Algorithm}
}
GATE = Gate(REALM, b"s" * 32)


def secret_of(user: str) -> Mapping[Algorithm, str] | None:
    return USERS.get(user)


def show(
    gate: Gate = GATE,
    method: str = "DESCRIBE",
    url: str = URL,
    user: str = "me",
    password: str = 'p"a\\ss:é',
    only: str = "",
) -> DigestShown:
    client = ClientAuth(user, password, NOISE)
    assert client.challenge([line for line in gate.challenges("peer", 0) if only in line])
    shown = parse_authorization(client.header(method, url))
    assert isinstance(shown, DigestShown)
    return shown


def check(shown: DigestShown, method: str = "DESCRIBE", url: str = URL, **more: object) -> Verdict:
    peer, now_us = str(more.get("peer", "peer")), int(str(more.get("now_us", 0)))
    return GATE.check(shown, method, url, peer, now_us, secret_of)


def test_digest_of_rfc_2617_and_rfc_7616() -> None:
    """RFC 2617 §3.5; RFC 7616 §3.9.1."""
    realm, password = "testrealm@host.com", "Circle Of Life"
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    shown = DigestShown(
        "Mufasa", realm, nonce, "/dir/index.html", "", Algorithm.MD5, "auth", "00000001", "0a4f113b"
    )
    ha1 = make_ha1(Algorithm.MD5, "Mufasa", realm, password)
    assert answer_digest(shown, "GET", ha1) == "6629fae49393a05397450978507c4ef1"
    for algorithm, expected in {
        Algorithm.MD5: "8ca523f5e9506fed4657c9700eebdbec",
        Algorithm.SHA256: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }.items():
        shown = DigestShown(
            "Mufasa",
            "http-auth@example.org",
            "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "/dir/index.html",
            "",
            algorithm,
            "auth",
            "00000001",
            "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
        ha1 = make_ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
        assert answer_digest(shown, "GET", ha1) == expected


def test_client_takes_the_strongest_and_the_gate_agrees() -> None:
    assert show().algorithm is Algorithm.SHA256
    assert show().qop == "auth"
    assert show(only="MD5").algorithm is Algorithm.MD5
    assert show(only="MD5").qop == ""
    for only in ("", "MD5"):
        assert check(show(only=only)) is Verdict.RIGHT


def test_gate_refuses_what_is_wrong() -> None:
    shown = show()
    assert check(show(password="other")) is Verdict.WRONG
    assert check(show(user="nobody")) is Verdict.WRONG
    assert check(shown, method="PLAY") is Verdict.WRONG
    assert check(shown, url="rtsp://h/live/other") is Verdict.WRONG
    assert check(shown, url="rtsp://h/live/camera2") is Verdict.WRONG


def test_gate_refuses_users_it_has_no_secret_of_whatever_they_show() -> None:
    """Even what is made of the stand-in that their answers are compared with."""
    for stand_in in ("", "0" * 32, "0" * 64):
        shown = show(user="nobody", only="MD5")
        shown = replace(shown, response=answer_digest(shown, "DESCRIBE", stand_in))
        assert check(shown) is Verdict.WRONG


def test_gate_takes_the_url_as_clients_write_it() -> None:
    """live555 writes the session's for its tracks, others only the path."""
    assert check(show(url=URL), url=f"{URL}/trackID=1") is Verdict.RIGHT
    assert check(show(url=f"{URL}/"), url=URL) is Verdict.RIGHT
    assert check(show(url="/live/camera"), url=URL) is Verdict.RIGHT
    assert check(show(url=f"{URL}?key=k"), url=f"{URL}?key=k") is Verdict.RIGHT


@pytest.mark.parametrize(
    "more", [{"now_us": NONCE_LIFE_US + 1_000_000}, {"peer": "other"}, {"now_us": -1}]
)
def test_gate_finds_a_replayed_nonce_stale(more: dict[str, object]) -> None:
    assert check(show(), **more) is Verdict.STALE


def test_gate_finds_a_forged_nonce_stale() -> None:
    for nonce in ("x", "é" * 40, "0" * 36, "f" * 12):
        shown = replace(show(only="MD5"), nonce=nonce)
        response = answer_digest(shown, "DESCRIBE", USERS["me"][Algorithm.MD5])
        assert check(replace(shown, response=response)) is Verdict.STALE


def test_gate_says_stale_and_names_the_algorithm_that_all_know_last() -> None:
    lines = GATE.challenges("peer", 0, is_stale=True)
    assert len(lines) == 2
    assert all(line.startswith("Digest ") and 'stale="true"' in line for line in lines)
    assert "MD5" in lines[-1]
    assert "qop" not in lines[-1]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer x",
        "Basic",
        "Basic ***",
        "Basic bm9jb2xvbg==",
        "Digest",
        "Digest username=me",
        'Digest username="me", realm="r", uri="u", response="x"',
        'Digest username="me", realm="r", nonce="n", uri="u", response="x", qop=auth-int',
        'Digest username="me", realm="r", nonce="n", uri="u", response="x", qop=auth',
        'Digest username="me", realm="r", nonce="n", uri="u", response="x", algorithm=SHA-1',
        'Digest username="me, realm="r',
        "Digest " + "a=b, " * 2000,
    ],
)
def test_authorization_that_lacks_something_is_none(header: str) -> None:
    assert parse_authorization(header) is None


def test_authorization_of_basic_is_read() -> None:
    assert parse_authorization("basic bWU6cDphc3M=") == BasicShown("me", "p:ass")
    assert "p:ass" not in repr(parse_authorization("Basic bWU6cDphc3M="))


def test_client_answers_basic_only_where_there_is_no_digest() -> None:
    client = ClientAuth("me", "p", NOISE)
    assert client.challenge(['Basic realm="a"'])
    assert client.header("PLAY", URL) == "Basic bWU6cA=="
    assert client.challenge(['Basic realm="a"', 'Digest realm="a", nonce="n"'])
    assert client.header("PLAY", URL).startswith("Digest ")


def test_client_reads_several_challenges_of_one_header() -> None:
    client = ClientAuth("me", "p", NOISE)
    assert client.challenge(['Digest realm="a, Basic b", nonce="n, x", Basic realm="c"'])
    shown = parse_authorization(client.header("PLAY", URL))
    assert isinstance(shown, DigestShown)
    assert (shown.realm, shown.nonce) == ("a, Basic b", "n, x")


def test_client_repeats_opaque_and_counts() -> None:
    client = ClientAuth("me", "p", NOISE)
    client.challenge(['Digest realm="a", nonce="n", opaque="o", qop="auth-int, auth"'])
    first, second = client.header("PLAY", URL), client.header("PLAY", URL)
    assert 'opaque="o"' in first
    assert "nc=00000001" in first
    assert "nc=00000002" in second
    assert "algorithm" not in first


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        ["Digest"],
        ['Digest realm="a"'],
        ['Digest realm="a", nonce="n", algorithm=MD5-sess'],
        ["Negotiate", "Bearer"],
    ],
)
def test_client_gives_up_a_challenge_that_cannot_be_answered(headers: list[str]) -> None:
    assert not ClientAuth("me", "p", NOISE).challenge(headers)


def test_client_without_credentials_does_not_try() -> None:
    assert not ClientAuth("", "", NOISE).challenge(['Basic realm="a"'])


@pytest.mark.parametrize(
    "piece", [" ", ", ", ' "', '"\\', '\\"', 'x="', "x ", "Digest ", ",Digest "]
)
def test_parameters_take_time_linear_in_their_text(piece: str) -> None:
    """Headers of nothing but blanks, which anybody may send, kept everybody waiting."""
    text = piece * 200_000
    parse_parameters(text)
    _split_challenges(text)
