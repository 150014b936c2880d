"""WHEP's and SRS's older words: what is agreed, what is refused and how, and who may ask at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from webrtc_site import LISTEN, OFFER, PATH, WebRtcSite, webrtc_site
from webrtc_viewer import Viewer, offer_of, until

from appliance.hub.access import AuthSettings, Policy
from appliance.services.webrtc import Settings

ENDPOINT = "/rtc/v1/whep/?app=live&stream=camera"
FRAGMENT = "application/trickle-ice-sdpfrag"
NOTHING = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
DATA = re.sub(
    rb"(?s)m=video.*", b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n", OFFER
)
REFUSED = {
    "empty": (b"", 400),
    "no description": (b"hello", 400),
    "no media": (NOTHING, 400),
    "data channels alone": (DATA.replace(b"BUNDLE 0 1", b"BUNDLE 0"), 400),
    "no fingerprint": (re.sub(rb"a=fingerprint.*\r\n", b"", OFFER), 400),
    "no credentials": (re.sub(rb"a=ice-pwd.*\r\n", b"", OFFER), 400),
    "a handshake left to us": (OFFER.replace(b"actpass", b"passive"), 400),
    "no H.264": (re.sub(rb"(?m)^a=rtpmap:\d+ H264/90000\r\n", b"", OFFER), 415),
    "too long": (OFFER + b"a=x:y\r\n" * 20_000, 413),
}  # fmt: skip


async def play(site: WebRtcSite, path: str = PATH) -> Viewer:
    viewer = Viewer()
    await viewer.ask(site, offer_of(), path)
    return viewer


@pytest.mark.parametrize("path", [PATH, ENDPOINT])
async def test_offer_is_answered_with_a_resource_of_its_own(path: str) -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        status, text, head = await site.offer(path=path)
        assert (status, head["content-type"]) == (201, "application/sdp")
        assert head["location"].startswith("/rtc/v1/whep/")
        assert head["accept-patch"] == FRAGMENT
        assert head["etag"]
        assert "a=ice-lite" in text
        assert "access-control-allow-origin" not in head


@pytest.mark.parametrize("why", REFUSED)
async def test_bad_offer_is_refused_in_words(why: str) -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        offer, wanted = REFUSED[why]
        status, text, _ = await site.offer(offer)
        assert status == wanted, text
        assert len(text) > 10
        assert not site.context.sessions.active
        older = json.dumps({"streamurl": "webrtc://x/live/camera", "sdp": offer.decode()})
        status, text, _ = await site.ask(
            "POST", "/rtc/v1/play/", older.encode(), Content_Type="application/json"
        )
        assert status == 200
        assert json.loads(text)["code"] == 400


async def test_handshake_left_to_us_is_refused_with_what_to_do_instead() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        _, text, _ = await site.offer(OFFER.replace(b"actpass", b"passive"))
        assert "actpass" in text


async def test_stream_that_nobody_publishes_is_not_found() -> None:
    async with webrtc_site() as site:
        assert (await site.offer())[0] == 404
        assert (await site.offer(path="/rtc/v1/whep/?app=..&stream=a"))[0] == 400
        assert (await site.offer(path="/rtc/v1/whep/"))[0] == 400


async def test_offer_of_another_type_is_refused() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        for kind in ("application/json", "text/plain", ""):
            status, _, _ = await site.ask("POST", PATH, OFFER, Content_Type=kind)
            assert status == 415


async def test_resource_of_somebody_else_cannot_be_guessed() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        for token in ("x", "rtc-1", "0" * 24, "%2e", "a/b"):
            path = f"/rtc/v1/whep/{token}"
            assert (await site.ask("DELETE", path))[0] in {400, 404}
        viewer = await play(site)
        assert (await site.ask("DELETE", f"{viewer.location}x"))[0] == 404
        assert (await site.ask("GET", viewer.location))[0] == 405
        assert (await site.offer(path=viewer.location))[0] == 405
        assert len(site.exchange.by_token) == 1


async def test_delete_ends_the_session_once() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        viewer = await play(site)
        assert len(site.context.sessions.active) == 1
        assert (await site.ask("DELETE", viewer.location))[0] == 200
        assert not site.context.sessions.active
        assert (await site.ask("DELETE", viewer.location))[0] == 404


def fragment(ufrag: str, password: str) -> bytes:
    return (
        f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\n"
        "a=mid:0\r\na=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n"
    ).encode()


async def test_candidates_are_taken_and_restarts_are_answered() -> None:
    async with webrtc_site() as site:
        film = site.publish()
        film.write(3)
        viewer = await play(site)
        same = fragment("sZ1X", "s07UboUPLuzIgKkhVsT3b9BV")

        async def patch(body: bytes, **headers: str) -> tuple[int, str, dict[str, str]]:
            return await site.ask("PATCH", viewer.location, body, Content_Type=FRAGMENT, **headers)

        assert (await patch(same, If_Match=viewer.etag))[0] == 204
        assert (await patch(same))[0] == 428
        assert (await patch(same, If_Match='"other"'))[0] == 412
        assert (await patch(b"\xff", If_Match=viewer.etag))[0] in {204, 400}
        assert (await site.ask("PATCH", viewer.location, same, Content_Type="a/b"))[0] == 415
        status, text, head = await patch(fragment("frsh", "f" * 22), If_Match="*")
        assert status == 200
        assert head["etag"] != viewer.etag
        assert "a=ice-ufrag:" in text
        assert viewer.local.ufrag not in text
        assert (await patch(same, If_Match=viewer.etag))[0] in {200, 412}


async def test_pages_of_other_sites_are_let_in_only_if_it_is_configured() -> None:
    foreign = {"Origin": "http://elsewhere.example", "Content_Type": "application/sdp"}
    async with webrtc_site() as site:
        site.publish().write(3)
        status, _, head = await site.ask("POST", PATH, OFFER, **foreign)
        assert status == 403
        assert "access-control-allow-origin" not in head
        status, _, head = await site.ask("OPTIONS", PATH)
        assert (status, head["accept-post"]) == (204, "application/sdp")
        assert "access-control-allow-origin" not in head
    async with webrtc_site(Settings(listen=LISTEN, wait_us=1000, public=True)) as site:
        site.publish().write(3)
        status, _, head = await site.ask("POST", PATH, OFFER, **foreign)
        assert (status, head["access-control-allow-origin"]) == (201, "*")
        assert "Location" in head["access-control-expose-headers"]
        status, _, head = await site.ask("OPTIONS", PATH)
        assert "PATCH" in head["access-control-allow-methods"]
        status, _, head = await site.ask("POST", PATH, b"x", **foreign)
        assert (status, head["access-control-allow-origin"]) == (400, "*")


async def test_crowd_without_connections_is_told_to_come_later() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        for _ in range(32):
            assert (await site.offer())[0] == 201
        status, text, head = await site.offer()
        assert status == 503
        assert head["retry-after"]
        assert "wait for their peers" in text
        assert len(site.context.sessions.active) == 32


async def test_one_address_does_not_take_all_the_room() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        far = {"X_Forwarded_For": "10.0.0.5", "Content_Type": "application/sdp"}
        for _ in range(8):
            assert (await site.ask("POST", PATH, OFFER, **far))[0] == 201
        status, text, _ = await site.ask("POST", PATH, OFFER, **far)
        assert status == 503
        assert "of this address" in text
        assert (await site.offer())[0] == 201


async def test_peer_that_never_comes_is_explained_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        await play(site)
        later_us = site.hub.clock.monotonic_us() + 11_000_000
        site.exchange._sweep(later_us)
        assert not site.context.sessions.active
        [line] = [one for one in caplog.messages if "no connection came about" in one]
        assert "udp 127.0.0.1" in line
        assert "checked from nowhere" in line
        assert "arrived nothing" in line


async def test_key_is_asked_for_and_ends_what_it_opened_when_it_is_gone(tmp_path: Path) -> None:
    closed = AuthSettings(play=Policy.KEY)
    async with webrtc_site(auth=closed, state_dir=tmp_path) as site:
        key = site.context.access.make_owner()
        site.publish().write(3)
        assert (await site.offer(offer_of()))[0] == 401
        bearer = {"Authorization": f"Bearer {key}", "Content_Type": "application/sdp"}
        assert (await site.ask("POST", PATH, offer_of(), **bearer))[0] == 201
        assert (await site.offer(offer_of(), f"{PATH}?key={key}"))[0] == 201
        assert len(site.exchange.by_token) == 2
        accounts = site.context.access.accounts
        assert accounts is not None
        accounts.remove("owner")
        site.context.access.reload()
        await until(lambda: not site.exchange.by_token)


async def test_certificate_is_kept_for_the_device_alone(tmp_path: Path) -> None:
    prints = []
    for _ in range(2):
        async with webrtc_site(state_dir=tmp_path) as site:
            site.publish().write(3)
            _, text, _ = await site.offer()
            prints.append(re.findall("a=fingerprint:(.*)", text)[0])
    assert prints[0] == prints[1]
    assert (tmp_path / "webrtc.pem").stat().st_mode & 0o777 == 0o600
    (tmp_path / "webrtc.pem").write_bytes(b"damaged")
    async with webrtc_site(state_dir=tmp_path) as site:
        site.publish().write(3)
        _, text, _ = await site.offer()
        assert prints[0] not in text


async def test_older_api_answers_as_srs_does() -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        body = {"api": "x", "streamurl": "webrtc://127.0.0.1/live/camera", "sdp": OFFER.decode()}
        status, text, _ = await site.ask(
            "POST", "/rtc/v1/play/", json.dumps(body).encode(), Content_Type="application/json"
        )
        reply = json.loads(text)
        assert (status, reply["code"]) == (200, 0)
        assert reply.keys() >= {"server", "service", "pid", "sdp", "sessionid"}
        viewer = Viewer()
        viewer.take_answer(reply["sdp"])
        assert reply["sessionid"] == f"{viewer.local.ufrag}:sZ1X"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"sdp": 1, "streamurl": 2}', b'{"sdp": "", "streamurl": "http://["}']
)  # fmt: skip
async def test_older_api_fails_with_a_code(body: bytes) -> None:
    async with webrtc_site() as site:
        status, text, _ = await site.ask(
            "POST", "/rtc/v1/play/", body, Content_Type="application/json"
        )
        assert (status, json.loads(text)["code"]) == (200, 400)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("eip=192.0.2.9", "udp 2130706431 192.0.2.9 "),
        ("eip=192.0.2.9:4000", "udp 2130706431 192.0.2.9 4000 "),
        ("candidate=192.0.2.9", "udp 2130706431 192.0.2.9 "),
    ],
)
async def test_viewer_may_say_what_the_device_is_reached_by(query: str, wanted: str) -> None:
    async with webrtc_site() as site:
        site.publish().write(3)
        _, text, _ = await site.offer(path=f"{PATH}?{query}")
        assert wanted in text
        assert " 127.0.0.1 " in text
        _, text, _ = await site.offer(path=f"{PATH}?eip=evil.example")
        assert "evil" not in text
