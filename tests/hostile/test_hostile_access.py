"""Who may watch, asked of the running appliance by those who may not.

The appliance believes the X-Forwarded-For of these tests, so that strangers can come from afar.
"""

from __future__ import annotations

import base64
import re

from appliance_process import ApplianceProcess
from siege import Talk, siege

NEAR = "X-Forwarded-For: 192.168.7.7"
FAR = "X-Forwarded-For: 203.0.113.9"
MEDIA = "/live/camera.hls/fmp4.m3u8"
MAX_HASHING_KB = 160 << 10  # scrypt takes 16 MiB per guess, eight at a time


def _token(talk: Talk, key: str, *fields: str) -> str:
    code, head, body = talk.ask(f"/live/camera.m3u8?key={key}", FAR, *fields)
    assert code == 200 and b"no-store" in head and key.encode() not in body
    match = re.search(rb"fmp4\.m3u8\?t=([\w-]{44})\n", body)
    assert match is not None, body
    return match[1].decode()


def test_stranger_without_a_key_gets_nothing_and_learns_nothing(device: ApplianceProcess) -> None:
    paths = (
        *("/live/{}.m3u8", "/live/{}.hls/fmp4.m3u8", "/live/{}.hls/fmp4-1.m4s", "/live/{}.hls/x"),
        *("/live/{}.jpg", "/live/{}.mjpeg", "/api/frame.jpeg?src={}", "/?action=stream&src={}"),
    )
    with siege(device), Talk(device.port) as talk:
        for path in paths:
            for claim in (FAR, "X-Forwarded-For: 127.0.0.1, 203.0.113.9", "X-Forwarded-For: x"):
                answers = {talk.ask(path.format(n), claim)[::2] for n in ("camera", "second", "no")}
                assert len(answers) == 1
                assert answers.pop()[0] == 401
        for path in ("/web/streams.json", "/healthz", "/metrics", "/api/v1/streams/"):
            assert talk.ask(path, FAR)[0] == 401
        pages = {n: talk.ask(f"/live/{n}", FAR)[2] for n in ("camera", "nobody")}
        assert pages["camera"].replace(b"live/camera", b"live/nobody") == pages["nobody"]


def test_proxy_connection_shared_by_users_serves_each_by_his_own_right(
    device: ApplianceProcess, owner_key: str
) -> None:
    """Whatever the connection has carried before, the short way included."""
    with siege(device, owner_key), Talk(device.port) as talk:
        token = _token(talk, owner_key)
        for _ in range(20):
            assert talk.ask(MEDIA, NEAR)[0] == 200
            assert talk.ask(MEDIA, NEAR)[0] == 200
            assert talk.ask(MEDIA, FAR)[0] == 401
            code, head, body = talk.ask(f"{MEDIA}?t={token}", FAR)
            assert code == 200 and token.encode() in body and b"no-store" in head
            assert talk.ask(f"{MEDIA}?t={token}", FAR)[2].count(token.encode()) > 1
            code, _, body = talk.ask(MEDIA, NEAR)
            assert code == 200 and token.encode() not in body


def test_forged_tokens_are_refused_on_the_short_way_too(
    device: ApplianceProcess, owner_key: str
) -> None:
    with siege(device, owner_key), Talk(device.port) as talk:
        token = _token(talk, owner_key)
        other = "A" if token[10] != "A" else "B"
        forged = [
            "A" * 44, token[:10] + other + token[11:], token[:-1], token + "=", token + "A", "",
            token.replace(token[0], "%00", 1), token.swapcase(), f"{token}%20", f"%20{token}",
        ]  # fmt: skip
        for bad in forged:
            assert talk.ask(f"{MEDIA}?t={token}", FAR)[0] == 200
            for field in (f"X: {bad}", f"Cookie: porthole_hls={bad}"):
                assert talk.ask(f"{MEDIA}?t={bad}", FAR, field)[0] in {400, 401}
        for path in ("/live/second.hls/fmp4.m3u8", "/live/second.m3u8", "/live/camera2.m3u8"):
            assert talk.ask(f"{path}?t={token}", FAR)[0] == 401
        assert (
            talk.ask("/live/second.hls/fmp4.m3u8", FAR, f"Cookie: porthole_hls={token}")[0] == 401
        )
        for path in ("/api/v1/streams/", "/web/streams.json", "/metrics"):
            assert talk.ask(f"{path}?t={token}&key={owner_key}", FAR)[0] == 401


def test_viewer_whom_the_owner_ends_is_refused_on_its_open_connection(
    device: ApplianceProcess, owner_key: str
) -> None:
    bearer = f"Authorization: Bearer {owner_key}"
    with siege(device, owner_key), Talk(device.port) as viewer, Talk(device.port) as owner:
        for _ in range(3):
            assert viewer.ask(MEDIA, "User-Agent: to be ended")[0] == 200
        clients = owner.ask("/api/v1/clients/?count=1000", bearer)[2].decode()
        number = max(int(n) for n in re.findall(r'"id":"hls-(\d+)"', clients))
        for method, field, expected in (
            ("DELETE", "X: y", 401),
            ("DELETE", f"{bearer}\r\nOrigin: http://evil.example", 403),
            ("POST", f"{bearer}\r\nX-HTTP-Method-Override: DELETE", 405),
            ("DELETE", bearer, 200),
        ):
            assert viewer.ask(MEDIA, "User-Agent: to be ended")[0] == 200
            assert owner.ask(f"/api/v1/clients/hls-{number}", field, method=method)[0] == expected
        for _ in range(3):
            assert viewer.ask(MEDIA, "User-Agent: to be ended")[0] == 403


def test_guessed_keys_are_slowed_and_never_keep_the_owner_out(
    device: ApplianceProcess, owner_key: str
) -> None:
    with siege(device, owner_key), Talk(device.port) as talk:
        claim = "X-Forwarded-For: 203.0.113.66"
        codes = [
            talk.ask("/api/v1/streams/", claim, f"Authorization: Bearer guess{n:017}")[0]
            for n in range(300)
        ]
        assert set(codes[:5]) == {401} and set(codes[6:]) == {403}
        assert talk.ask("/api/v1/streams/", claim, f"Authorization: Bearer {owner_key}")[0] == 200
        for field in (
            "Authorization: Basic", "Authorization: Basic !!!", "Authorization: " + "x" * 2000,
            f"Authorization: Bearer {owner_key}\r\nAuthorization: Bearer x",
            "Authorization: Bearer",
            f"Authorization: bearer{owner_key}",
            f"X-Forwarded-User: owner\r\nCookie: key={owner_key}",
        ):  # fmt: skip
            assert talk.ask("/api/v1/streams/", FAR, field)[0] in {400, 401}


def test_guessed_passwords_from_everywhere_cost_a_bounded_moment(device: ApplianceProcess) -> None:
    with siege(device, max_growth_kb=MAX_HASHING_KB):
        talks = [Talk(device.port) for _ in range(60)]
        for n, talk in enumerate(talks):
            pair = base64.b64encode(b"owner:guess %d" % n).decode()
            fields = f"X-Forwarded-For: 203.0.{n}.1\r\nAuthorization: Basic {pair}"
            talk.sock.sendall(
                f"GET /api/v1/streams/ HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n".encode()
            )
        codes = {talk.read()[0] for talk in talks}
        assert codes <= {401, 503}
        for talk in talks:
            talk.sock.close()


def test_page_of_another_site_reads_and_changes_nothing(
    device: ApplianceProcess, owner_key: str
) -> None:
    bearer = f"Authorization: Bearer {owner_key}"
    evil = "Origin: http://evil.example"
    with siege(device), Talk(device.port) as talk:
        for path in ("/api/v1/streams/", "/web/streams.json", "/healthz", "/"):
            code, head, _ = talk.ask(path, bearer, evil)
            assert code == 200 and b"access-control" not in head.lower()
        for path in (MEDIA, "/live/camera.m3u8"):
            head = talk.ask(path, evil)[1].lower()
            assert b"allow-credentials" not in head and b"evil" not in head
        code, _, body = talk.ask("/api/v1/streams/?callback=alert", bearer)
        assert code == 400 and b"alert" not in body
        code, head, _ = talk.ask("/", "Connection: close")
        assert b"script-src 'self'" in head and b"frame-ancestors 'none'" in head
    with Talk(device.port) as talk:
        talk.sock.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert talk.read()[0] == 421
