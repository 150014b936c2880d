"""What RTMP peers are told and given, by the running appliance."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from appliance_process import ApplianceProcess, appliance_process
from rtmp_peer import RtmpPeer, Tag, clip_tags

from appliance.wire.rtmp.message import MessageType

TAGS = clip_tags()
SECONDS = TAGS[-1][1] // 1000


class Publishing:
    """A peer that publishes the clip second by second, whenever it is told to go on."""

    def __init__(self, peer: RtmpPeer) -> None:
        self.peer = peer
        self._round = 0
        self._heads = [tag for tag in TAGS if tag[1] == 0 and tag[2][1:2] == b"\0"]
        peer.send_tags(self._heads)

    def go_on(self) -> None:
        """One more second, which begins with a keyframe."""
        start_ms = self._round % SECONDS * 1000
        shift_ms = self._round // SECONDS * SECONDS * 1000
        tags: list[Tag] = [
            (kind, stamp_ms + shift_ms, body)
            for kind, stamp_ms, body in TAGS
            if start_ms <= stamp_ms < start_ms + 1000 and body[1:2] != b"\0"
        ]
        self._round += 1
        self.peer.send_tags(tags)


@contextmanager
def published(device: ApplianceProcess, name: str) -> Iterator[Publishing]:
    with RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish(name) == "NetStream.Publish.Start"
        publishing = Publishing(peer)
        publishing.go_on()
        yield publishing


def api(device: ApplianceProcess, path: str, method: str = "GET") -> dict[str, Any]:
    fields = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(device.url + path, headers=fields, method=method)) as reply:
        return dict(json.load(reply))


def clients(device: ApplianceProcess, kind: str) -> list[dict[str, Any]]:
    rows = api(device, "api/v1/clients/?count=100")["clients"]
    return [row for row in rows if row["type"] == kind]


def test_connect_tells_srs_s_tools_the_id_that_the_api_shows(device: ApplianceProcess) -> None:
    with RtmpPeer(device.rtmp_port) as peer:
        peer.connect()
        data = [values for values in peer.heard if values.kind == MessageType.COMMAND]
        srs_id = peer.wait_answer(1.0)[-1]["data"]["srs_id"]
        assert data and clients(device, "flash-publish") == []
        stream_id = peer.create_stream()
        peer.call(stream_id, "publish", 5.0, None, "traced", "live")
        peer.wait_status("NetStream.Publish.Start")
        (row,) = clients(device, "flash-publish")
        assert row["id"] == srs_id and row["publish"] is True


def test_second_publisher_is_refused_in_words_and_the_first_goes_on(
    device: ApplianceProcess,
) -> None:
    with published(device, "once") as first, RtmpPeer(device.rtmp_port) as player:
        player.play("once")
        player.wait_media(MessageType.VIDEO)
        with RtmpPeer(device.rtmp_port) as second:
            assert second.publish("once") == "NetStream.Publish.BadName"
        first.go_on()
        newest = max(message.timestamp_ms for message in player.heard)
        player.wait(lambda message: True if message.timestamp_ms > newest + 500 else None)


def test_publisher_takes_over_where_the_setting_says_so(device: ApplianceProcess) -> None:
    with published(device, "taken-over") as first, RtmpPeer(device.rtmp_port) as player:
        player.play("taken-over")
        player.wait_media(MessageType.VIDEO)
        with published(device, "taken-over") as second:
            first.peer.send_tags(TAGS[:4])
            assert first.peer.wait_status("NetStream.Publish.BadName")["level"] == "error"
            newest = max(message.timestamp_ms for message in player.heard)
            second.go_on()
            player.wait(lambda message: True if message.timestamp_ms > newest + 500 else None)


def test_takeover_ends_a_publisher_that_says_nothing_more(device: ApplianceProcess) -> None:
    with published(device, "taken-over") as first, published(device, "taken-over"):
        first.peer.hear_all()


def test_player_before_the_publisher_gets_the_stream_from_its_first_picture(
    device: ApplianceProcess,
) -> None:
    with RtmpPeer(device.rtmp_port) as player:
        player.play("awaited")
        with published(device, "awaited"):
            player.wait_status("NetStream.Play.Start")
            header = player.wait_media(MessageType.VIDEO)
            assert header.payload[:2] == b"\x17\x00"
            picture = player.wait_media(MessageType.VIDEO, since=player.heard.index(header) + 1)
            assert picture.payload[:2] == b"\x17\x01"


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 300, "a//b", "cam.flv"])
def test_bad_name_is_refused_in_words(device: ApplianceProcess, name: str) -> None:
    with RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish(name) == "NetStream.Publish.BadName"
    with RtmpPeer(device.rtmp_port) as peer:
        peer.play(name)
        assert peer.wait_status("NetStream.Play")["code"] == "NetStream.Play.BadName"


def test_media_that_cannot_be_carried_is_refused_in_words(device: ApplianceProcess) -> None:
    with RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish("damaged") == "NetStream.Publish.Start"
        peer.send_tags([(MessageType.VIDEO, 0, b"\x17\0\0\0\0" + b"\xff" * 20)])
        assert peer.wait_status("NetStream.Publish.Failed")["level"] == "error"
        peer.hear_all()  # and is not kept


def test_pause_stops_the_media_and_unpause_goes_on(device: ApplianceProcess) -> None:
    with published(device, "paused") as publishing, RtmpPeer(device.rtmp_port) as player:
        player.play("paused")
        player.wait_media(MessageType.VIDEO)
        player.call(1, "pause", 0.0, None, True, 0.0)
        player.wait_status("NetStream.Pause.Notify")
        seen = len(player.heard)
        publishing.go_on()
        player.call(0, "getStreamLength", 9.0, None, "paused")
        player.wait_answer(9.0)
        assert not [m for m in player.heard[seen:] if m.kind == MessageType.VIDEO]
        player.call(1, "pause", 0.0, None, False, 0.0)
        player.wait_status("NetStream.Unpause.Notify")
        publishing.go_on()
        player.wait_media(MessageType.VIDEO, since=len(player.heard))


def test_calls_are_answered_while_it_plays(device: ApplianceProcess) -> None:
    with published(device, "talks") as publishing, RtmpPeer(device.rtmp_port) as player:
        player.play("talks")
        player.wait_media(MessageType.VIDEO)
        player.call(0, "getStreamLength", 9.0, None, "talks")
        player.wait_answer(9.0)
        publishing.go_on()
        player.wait_media(MessageType.VIDEO, since=len(player.heard))


def switch(player: RtmpPeer, word: str, wanted: bool) -> None:
    """And whatever came before is heard."""
    player.call(1, word, 0.0, None, wanted)
    player.call(0, "getStreamLength", 9.0, None, "switched")
    player.wait_answer(9.0)
    player.heard.clear()


def hear_only(player: RtmpPeer, publishing: Publishing, kind: MessageType) -> None:
    publishing.go_on()
    while sum(m.kind == kind for m in player.heard) < 30:
        player.hear()
    others = {MessageType.VIDEO, MessageType.AUDIO} - {kind}
    assert not [m for m in player.heard if m.kind in others]


def test_player_gets_the_kinds_of_media_that_it_wants_at_the_time(
    device: ApplianceProcess,
) -> None:
    with published(device, "switched") as publishing, RtmpPeer(device.rtmp_port) as player:
        player.play("switched")
        player.wait_media(MessageType.VIDEO)
        switch(player, "receiveVideo", wanted=False)
        hear_only(player, publishing, MessageType.AUDIO)
        player.call(1, "receiveVideo", 0.0, None, True)
        switch(player, "receiveAudio", wanted=False)
        hear_only(player, publishing, MessageType.VIDEO)
        first = next(m for m in player.heard if m.payload[1:2] == b"\x01")
        assert first.payload[0] == 0x17  # a keyframe
        switch(player, "receiveAudio", wanted=True)
        publishing.go_on()
        player.wait_media(MessageType.AUDIO)
        player.wait_media(MessageType.VIDEO)


def test_kick_ends_a_player_and_a_publisher(device: ApplianceProcess) -> None:
    with published(device, "kicked") as publishing, RtmpPeer(device.rtmp_port) as player:
        player.play("kicked")
        player.wait_media(MessageType.VIDEO)
        (row,) = clients(device, "rtmp-play")
        assert row["name"] == "kicked"
        assert api(device, f"api/v1/clients/{row['id']}", "DELETE")["code"] == 0
        player.hear_all()
        (row,) = clients(device, "flash-publish")
        assert api(device, f"api/v1/clients/{row['id']}", "DELETE")["code"] == 0
        publishing.peer.hear_all()
    device.wait_line("live/kicked ended .*: ended by the API")
    assert clients(device, "rtmp-play") == clients(device, "flash-publish") == []


def test_publisher_that_stops_is_gone_once(device: ApplianceProcess) -> None:
    with published(device, "left") as publishing:
        publishing.peer.call(1, "FCUnpublish", 6.0, None, "left")
        publishing.peer.call(0, "deleteStream", 7.0, None, 1.0)
        publishing.peer.wait_answer(6.0)
        with published(device, "left"):
            pass
    device.wait_line("live/left ended .*the connection ended")
    assert device.log.count("live/left ended") == device.log.count("live/left publishes") == 2


def test_silent_publishers_and_waiting_players_are_ended(tmp_path: Path) -> None:
    settings = ('rtmp.first_packet="1s"', 'rtmp.silence="1s"', 'rtmp.wait="1s"')
    with appliance_process(tmp_path, *settings, 'auth.publish="open"', config="") as device:
        with RtmpPeer(device.rtmp_port) as peer, RtmpPeer(device.rtmp_port) as player:
            assert peer.publish("mute") == "NetStream.Publish.Start"
            player.play("nobody")
            assert player.wait_status("NetStream.Play")["code"] == "NetStream.Play.StreamNotFound"
            peer.hear_all()
        with published(device, "falls-silent") as publishing:
            publishing.peer.hear_all()
        for name in ("mute", "falls-silent"):
            device.wait_line(f"live/{name} ended .*: publisher is silent")


def test_hangup_reloads_what_can_change_and_tells_what_waits(tmp_path: Path) -> None:
    with appliance_process(tmp_path, config="") as device:
        for text, told in (
            ('rtmp.wait = "0s"\nedge.absent = "1s"\npull.open = "2s"', r"info +reloaded$"),
            ('rtmp.tls.cert = "new.pem"', "wait for a restart: rtmp.tls$"),
            ('rtmp.wait = "0s"', r"info +reloaded$"),
        ):
            (tmp_path / "porthole.toml").write_text(text)
            lines = len(device.lines)
            os.kill(device.pid, signal.SIGHUP)
            device.wait_line(told, since=lines)
        with RtmpPeer(device.rtmp_port) as player:
            player.play("nobody")
            assert player.wait_status("NetStream.Play")["code"] == "NetStream.Play.StreamNotFound"


def test_key_is_needed_where_the_setting_says_so(tmp_path: Path) -> None:
    settings = ('auth.publish="key"', 'auth.play="key"')
    with appliance_process(tmp_path, *settings, config="") as device:
        key = device.owner_key
        for app, name, code in (
            ("live", "cam", "Denied"),
            ("live", "cam?key=wrong", "Denied"),
            ("live", f"cam?key={key}", "Start"),
            (f"live?key={key}", "cam2", "Start"),
            (f"live?vhost=h&token={key}", "cam3", "Start"),
        ):
            with RtmpPeer(device.rtmp_port) as peer:
                assert peer.publish(name, app) == f"NetStream.Publish.{code}"
        with published(device, f"cam?key={key}"):
            with RtmpPeer(device.rtmp_port) as player:
                player.play("cam")
                assert player.wait_status("NetStream.Play")["code"] == "NetStream.Play.Failed"
            with RtmpPeer(device.rtmp_port) as player:
                player.play(f"cam?key={key}")
                player.wait_status("NetStream.Play.Start")
        assert device.log.count(key) == 1  # where it is shown to its owner


def make_certificate(folder: Path, name: str) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "9", "-subj", f"/CN={name}", "-keyout", folder / "key.new",
         "-out", folder / "cert.new"],
        check=True, capture_output=True,
    )  # fmt: skip
    for kind in ("key", "cert"):
        (folder / f"{kind}.new").rename(folder / f"{kind}.pem")


def subject_of(peer: RtmpPeer) -> bytes:
    assert isinstance(peer.sock, ssl.SSLSocket)
    return peer.sock.getpeercert(binary_form=True) or b""


def test_rtmps_publishes_and_plays_and_follows_its_certificate(tmp_path: Path) -> None:
    make_certificate(tmp_path, "first.example")
    settings = (
        'rtmp.tls.listen=["127.0.0.1:0"]',
        f'rtmp.tls.cert="{tmp_path / "cert.pem"}"',
        f'rtmp.tls.key="{tmp_path / "key.pem"}"',
        'auth.publish="open"',
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with appliance_process(tmp_path, *settings, config="") as device:
        port = int(device.wait_line(r"listening on rtmps://\S+:(\d+)/")[1])
        with RtmpPeer(port, tls=tls) as peer, RtmpPeer(port, tls=tls) as player:
            assert b"first.example" in subject_of(peer)
            assert peer.publish("cam") == "NetStream.Publish.Start"
            publishing = Publishing(peer)
            publishing.go_on()
            player.play("cam")
            player.wait_media(MessageType.VIDEO)
            make_certificate(tmp_path, "second.example")
            names = b""
            while b"second.example" not in names:
                with RtmpPeer(port, tls=tls) as other:
                    names = subject_of(other)
            publishing.go_on()
            player.wait_media(MessageType.VIDEO, since=len(player.heard))
        (tmp_path / "cert.pem").write_text("no certificate")
        while "certificate unusable" not in device.log:
            with RtmpPeer(port, tls=tls) as other:
                assert b"second.example" in subject_of(other)


def test_publisher_that_comes_and_goes_does_not_fill_the_log(device: ApplianceProcess) -> None:
    for _ in range(12):
        with RtmpPeer(device.rtmp_port) as peer:
            assert peer.publish("flaps") == "NetStream.Publish.Start"
            peer.call(1, "FCUnpublish", 6.0, None, "flaps")
            peer.wait_answer(6.0)
    lines = [line for line in device.log.splitlines() if "live/flaps" in line]
    assert 6 <= len(lines) <= 8, lines


def test_media_that_is_left_out_is_counted_and_told_once(device: ApplianceProcess) -> None:
    with RtmpPeer(device.rtmp_port) as peer:
        assert peer.publish("odd") == "NetStream.Publish.Start"
        peer.send_tags([*TAGS[:20], *[(MessageType.VIDEO, 900, b"\x91vp08frame")] * 7])
        device.wait_line("live/odd sends what is not carried: vp08")
        peer.send_tags([(MessageType.VIDEO, 900, b"\x91vp08frame")] * 3)
        peer.call(1, "FCUnpublish", 6.0, None, "odd")
        peer.wait_answer(6.0)
    wanted = 'rejects_total{proto="rtmp",reason="vp08"} 10'
    fields = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(device.url + "metrics", headers=fields)) as reply:
        assert wanted in reply.read().decode()
    assert device.log.count("not carried: vp08") == 1
