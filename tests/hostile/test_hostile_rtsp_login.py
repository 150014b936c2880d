"""Who may not comes in by no digest, and who may no longer is ended within seconds."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from rtmp_peer import RtmpPeer
from rtsp_canary import RtspCanary
from rtsp_siege import announce, count_rejects
from rtsp_talk import TCP, RtspTalk
from siege import MAX_GROWTH_KB, eventually, rss_kb

from appliance.hub.accounts import Account, Accounts, Action, digest_key, make_key
from appliance.hub.digest import make_ha1s
from appliance.wire.rtsp.auth import Algorithm, DigestShown, answer_digest, make_ha1

KEY, REMOVED, CHANGED = make_key(), make_key(), make_key()
ALLOWED = frozenset({Action.PLAY, Action.PUBLISH})
CONFIG = SMALL_PATTERN + '[auth]\nplay = "key"\n'
STORM = 1500
MAX_TOLD = 25  # lines of a storm that takes a few seconds


def account(name: str, key: str) -> Account:
    return Account(name, ALLOWED, key_digest=digest_key(key), ha1s=make_ha1s(name, key))


ACCOUNTS = (account("nvr", KEY), account("removed", REMOVED), account("changed", CHANGED))


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("login")
    (folder / "state").mkdir(mode=0o700)
    Accounts(folder / "state").save(ACCOUNTS)
    with appliance_process(folder, 'rtsp.wait="1s"', config=CONFIG) as process:
        process.wait_line("live/camera is live")
        with RtspCanary(process.rtsp_port, f"live/camera?key={KEY}") as canary:
            yield process
            assert eventually(lambda: canary.packets > 30)
        assert "Traceback" not in process.log
        for key in (KEY, REMOVED, CHANGED, *make_ha1s("nvr", KEY).values()):
            assert key not in process.log


def challenged(talk: RtspTalk) -> str:
    """The nonce of an answer to who shows nothing."""
    code, text = talk.ask("DESCRIBE")
    found = re.search(r'nonce="(\w+)", algorithm=MD5', text)
    assert code == 401 and found is not None
    return found[1]


def shown(talk: RtspTalk, nonce: str, key: str = KEY, **more: str) -> str:
    """A right Authorization of DESCRIBE for "nvr", but for what `more` says; `_` leaves it out."""
    words = {"username": "nvr", "realm": "porthole", "nonce": nonce, "uri": talk.url} | more
    text = (words["username"], words["realm"], nonce, words["uri"], "", Algorithm.MD5)
    qop = tuple(words.get(name, "") for name in ("qop", "nc", "cnonce"))
    method = words.pop("method", "DESCRIBE")
    ha1 = make_ha1(Algorithm.MD5, "nvr", words["realm"], key)
    words.setdefault("response", answer_digest(DigestShown(*text, *qop), method, ha1))
    pairs = [f'{name}="{value}"' for name, value in words.items() if value != "_"]
    return f"Authorization: Digest {', '.join(pairs)}"


ROWS: dict[str, dict[str, str]] = {
    "wrong key": {"key": "wrong"},
    "other realm": {"realm": "elsewhere"},
    "other user": {"username": "removed"},
    "unknown user": {"username": "nobody"},
    "no user": {"username": ""},
    "no nonce": {"nonce_": "_"},
    "empty response": {"response": ""},
    "other method": {"method": "PLAY"},
    "other address": {"uri": "rtsp://127.0.0.1/live/other"},
    "longer address": {"uri": "rtsp://127.0.0.1/live/cam"},
    "auth-int": {"qop": "auth-int", "nc": "00000001", "cnonce": "c"},
    "qop without count": {"qop": "auth"},
    "session algorithm": {"algorithm": "MD5-sess"},
    "unknown algorithm": {"algorithm": "SHA-512-256"},
    "digest of SHA-256 with MD5": {"algorithm": "SHA-256"},
}


def test_digests_that_are_wrong_let_nobody_in(device: ApplianceProcess) -> None:
    """Each from an address of its own, as wrong ones slow their source down."""
    for number, (name, row) in enumerate(ROWS.items()):
        more = dict(row)
        with RtspTalk(device.rtsp_port, source=f"127.0.1.{number + 1}") as talk:
            nonce = challenged(talk)
            key = more.pop("key", KEY)
            line = shown(talk, nonce, key, **more)
            if more.pop("nonce_", ""):
                line = line.replace(f'nonce="{nonce}", ', "")
            code, text = talk.ask("DESCRIBE", line)
            assert (code, "stale" in text) == (401, False), name
            assert talk.ask("DESCRIBE", shown(talk, nonce))[0] == 200, name


def test_digests_by_nonces_of_others_are_stale_and_of_no_use(device: ApplianceProcess) -> None:
    """Forged, of another peer, and one that was overheard with its answer."""
    with (
        RtspTalk(device.rtsp_port, source="127.0.2.1") as talk,
        RtspTalk(device.rtsp_port, source="127.0.2.2") as other,
    ):
        nonce = challenged(talk)
        overheard = shown(talk, nonce, qop="auth", nc="00000001", cnonce="c")
        assert talk.ask("DESCRIBE", overheard)[0] == 200
        for line in (overheard, shown(other, nonce), shown(other, nonce[:12] + "0" * 24)):
            code, text = other.ask("DESCRIBE", line)
            assert (code, text.count('stale="true"')) == (401, 2)
        assert other.ask("DESCRIBE", shown(other, "x" * 36))[0] == 401
        assert other.ask("DESCRIBE", shown(other, challenged(other)))[0] == 200


def test_credentials_of_strange_forms_are_refused_and_not_kept(device: ApplianceProcess) -> None:
    rows = (
        "Basic bnZyOmtleQ==",
        "Basic !!!!",
        "Digest",
        "Bearer " + KEY,
        "Digest " + 'a="b", ' * 500,
        "Digest " + "username=" * 400,
        'Digest username="' + "x" * 7000,
    )
    for number, row in enumerate(rows):
        with RtspTalk(device.rtsp_port, source=f"127.0.3.{number + 1}") as talk:
            assert talk.ask("DESCRIBE", f"Authorization: {row}")[0] == 401, row[:40]
            assert talk.ask("DESCRIBE", shown(talk, challenged(talk)))[0] == 200
    with RtspTalk(device.rtsp_port) as talk:
        assert talk.ask("DESCRIBE", "Authorization: Digest " + "x" * 9000)[0] == 400
        assert talk.is_closed()


def test_storm_of_wrong_digests_slows_down_nobody_else(device: ApplianceProcess) -> None:
    """On one connection and on many; told in a line a second; who has the key comes in."""
    told, before_kb = len(device.lines), rss_kb(device.pid)
    refused = count_rejects(device, "DESCRIBE refused")
    with RtspTalk(device.rtsp_port, source="127.0.4.1") as talk:
        line = shown(talk, challenged(talk), "wrong")
        codes = {talk.ask("DESCRIBE", line)[0] for _ in range(STORM)}
        assert codes == {401, 403}, "guesses are slowed down"
        with RtspTalk(device.rtsp_port, source="127.0.4.2") as other:
            assert other.ask("DESCRIBE", shown(other, challenged(other)))[0] == 200
        assert talk.ask("DESCRIBE", shown(talk, challenged(talk)))[0] == 200, "a key is never"
    for _ in range(100):
        with RtspTalk(device.rtsp_port, source="127.0.4.3") as talk:
            talk.write("DESCRIBE", line)
    assert count_rejects(device, "DESCRIBE refused") - refused >= STORM
    lines = [line for line in device.lines[told:] if "refused" in line]
    assert len(lines) <= MAX_TOLD, lines[-5:]
    assert rss_kb(device.pid) - before_kb <= MAX_GROWTH_KB


def test_stream_that_is_set_up_is_the_one_that_was_asked_for(device: ApplianceProcess) -> None:
    """Whatever was described before, and with whatever right to that."""
    with RtspTalk(device.rtsp_port, f"live/camera?key={KEY}") as talk:
        assert talk.ask("DESCRIBE")[0] == 200
        other = f"rtsp://127.0.0.1:{device.rtsp_port}/live/other"
        assert talk.ask("SETUP", TCP, url=f"{other}/trackID=1")[0] == 401
        assert talk.ask("SETUP", TCP, url=f"{other}/trackID=1?key={KEY}")[0] == 404
        assert talk.ask("SETUP", TCP, url=f"{talk.url}/trackID=1")[0] == 200
        assert talk.ask("SETUP", TCP, url=f"{other}/trackID=2?key={KEY}")[0] == 455
        assert talk.ask("PLAY")[0] == 200
        assert talk.frame()[0] in {0, 1}


def begin(
    device: ApplianceProcess, name: str, key: str, stack: ExitStack
) -> list[RtspTalk | RtmpPeer]:
    """A player and a publisher of each protocol."""
    player = stack.enter_context(RtspTalk(device.rtsp_port, f"live/camera?key={key}"))
    player.play()
    publisher = stack.enter_context(RtspTalk(device.rtsp_port, f"live/{name}?key={key}"))
    assert announce(publisher) == 200
    rtmp_player = stack.enter_context(RtmpPeer(device.rtmp_port))
    rtmp_player.play(f"camera?key={key}")
    rtmp_player.wait_status("NetStream.Play.Start")
    rtmp_publisher = stack.enter_context(RtmpPeer(device.rtmp_port))
    assert rtmp_publisher.publish(f"{name}-too?key={key}") == "NetStream.Publish.Start"
    return [player, publisher, rtmp_player, rtmp_publisher]


def is_over(peer: RtspTalk | RtmpPeer) -> bool:
    if isinstance(peer, RtspTalk):
        return peer.is_closed()
    peer.hear_all()
    return peer.is_closed


def test_sessions_end_with_the_account_that_began_them(device: ApplianceProcess) -> None:
    """The account is gone, or has another key; by `porthole user`, which is another process."""
    store = Accounts(device.folder / "state")
    nvr, _, changed = ACCOUNTS
    with ExitStack() as stack:
        stays = begin(device, "nvr", KEY, stack)
        goes = begin(device, "removed", REMOVED, stack) + begin(device, "changed", CHANGED, stack)
        store.save((nvr, dataclasses.replace(changed, key_digest=digest_key(make_key()))))
        assert all([is_over(peer) for peer in goes])
        player, publisher, rtmp_player, _ = stays
        assert isinstance(player, RtspTalk) and isinstance(publisher, RtspTalk)
        assert isinstance(rtmp_player, RtmpPeer)
        for _ in range(30):
            player.frame()
            rtmp_player.hear()
        assert publisher.ask("GET_PARAMETER")[0] == 200
    for proto in ("rtsp", "rtmp"):
        assert count_rejects(device, "no longer allowed", proto) == 4
    store.save(ACCOUNTS)


def test_sessions_that_needed_no_key_end_when_everybody_does(tmp_path: Path) -> None:
    """By a reload of the configuration."""
    (tmp_path / "state").mkdir(mode=0o700)
    Accounts(tmp_path / "state").save(ACCOUNTS)
    opened = SMALL_PATTERN + '[auth]\nplay = "open"\npublish = "open"\n'
    with appliance_process(tmp_path, config=opened) as device:
        device.wait_line("live/camera is live")
        with RtspTalk(device.rtsp_port) as player, RtspTalk(device.rtsp_port, "live/x") as pusher:
            player.play()
            assert announce(pusher) == 200
            (tmp_path / "porthole.toml").write_text(CONFIG)
            os.kill(device.pid, signal.SIGHUP)
            assert player.is_closed()
            assert pusher.is_closed()
        with RtspTalk(device.rtsp_port) as talk:
            assert talk.ask("DESCRIBE")[0] == 401
        assert eventually(lambda: count_rejects(device, "no longer allowed") == 2)
