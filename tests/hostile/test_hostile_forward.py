"""Destinations and backends that fail in every way at once, and nobody who watches sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from appliance_process import ApplianceProcess, appliance_process
from bad_servers import BadServers
from rtmp_canary import RtmpCanary
from rtmp_peer import RtmpPeer, clip_tags
from siege import MAX_GROWTH_KB, count_fds, eventually, rss_kb
from test_hostile_rtmp import MAX_GAP_S

from appliance.wire.rtmp.message import MessageType

SECRET = "str34m-K3y"
BACKENDS = ("hangs", "500", "long", "html", "0", "elsewhere")
WORDS = {
    "refuses": "connection refused",
    "blackhole": "",
    "mute": "",
    "deaf": "",
    "slow": "",
    "good": "",
    "circle": "redirected more than 3 times",
    "file": "redirected to what is no RTMP address",
    "talks": "talks without end",
    "closes": "closed the connection|[Rr]eset|[Bb]roken",
    "garbage": "",
    "web": "first byte is 0x48",
    "nowhere": "[Nn]ame .*(known|resol)|name resolution",
}
TAKING = {"good", "slow", "deaf"}


def config(servers: BadServers) -> str:
    places = {kind: f"127.0.0.1:{servers.ports.get(kind)}" for kind in WORDS}
    places["nowhere"] = "nowhere.invalid"
    to = [f"rtmp://{place}/live/{SECRET}-{{stream}}" for place in places.values()]
    rules = [f"to = {json.dumps(to)}"]
    rules += [
        f'backend = "http://127.0.0.1:{servers.ports[kind]}/?token={SECRET}"' for kind in BACKENDS
    ]
    return "".join(f'[[forward]]\nstream = "live/*"\n{rule}\n' for rule in rules)


def rows(device: ApplianceProcess, stream: str) -> dict[str, dict[str, Any]]:
    """The destinations of a stream by the kind of their server."""
    fields = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(f"{device.url}api/v1/forwards/?count=100", headers=fields)) as reply:
        text = reply.read().decode()
    assert SECRET not in text
    found = [row for row in json.loads(text)["forwards"] if row["stream"] == stream]
    return dict(zip(WORDS, found, strict=True)) if found else {}


def errors(device: ApplianceProcess, stream: str) -> list[tuple[str, str]]:
    return [(kind, row["last_error"]) for kind, row in rows(device, stream).items()]


def is_as_told(device: ApplianceProcess, stream: str) -> bool:
    found = rows(device, stream)
    return bool(found) and all(
        re.search(words, found[kind]["last_error"])
        and (found[kind]["bytes"] > 0) >= (kind in TAKING)
        for kind, words in WORDS.items()
    )


def test_bad_destinations_and_backends_disturb_neither_each_other_nor_who_watches(
    tmp_path: Path,
) -> None:
    """§3.9, all of them for each of two streams."""
    tags = clip_tags("h264+aac")
    with BadServers() as servers, appliance_process(tmp_path, config=config(servers)) as device:
        key, port = device.owner_key, device.rtmp_port
        fds, rss = count_fds(device.pid), rss_kb(device.pid)
        with RtmpCanary(port, key) as canary:
            stream = f"live/{canary.name}"
            assert eventually(lambda: is_as_told(device, stream)), errors(device, stream)
            with RtmpPeer(port) as peer, RtmpPeer(port) as player:
                player.play("other")
                assert peer.publish(f"other?key={key}") == "NetStream.Publish.Start"
                peer.send_tags(tags)
                player.wait_media(MessageType.VIDEO)  # whatever is asked, and of whom
            before = servers.received["good"]
            canary.wait_pictures(30)
            assert servers.received["good"] > before + 30
            assert eventually(lambda: set(BACKENDS) <= set(servers.connections))
        assert canary.longest_gap_s < MAX_GAP_S, canary.longest_gap_s
        assert rss_kb(device.pid) - rss < MAX_GROWTH_KB
        assert eventually(lambda: count_fds(device.pid) <= fds + 4), count_fds(device.pid)
        for secret in (SECRET, key):
            assert device.log.count(secret) == (secret == key), "shown to its owner, once"
        with urlopen(device.url + "metrics") as reply:
            assert SECRET not in reply.read().decode()
        assert "Traceback" not in device.log
        assert len(device.lines) < 120
        assert device.stop() == 0
