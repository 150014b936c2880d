"""The appliance as its owner starts it, with nginx-rtmp as its origin."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from appliance_process import SMALL_PATTERN, ApplianceProcess, appliance_process
from forward_site import KEY
from nginx_destination import free_port, nginx_destination

RULE = """
[[forward]]
to = ["{origin}", "rtmp://127.0.0.1:{own}/live/{{stream}}?key={key}"]
"""


def read(device: ApplianceProcess, path: str) -> bytes:
    headers = {"Authorization": f"Bearer {device.owner_key}"}
    with urlopen(Request(f"{device.url}{path}", headers=headers), timeout=10) as reply:
        data: bytes = reply.read()
        return data


def rows(device: ApplianceProcess) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(read(device, "api/v1/forwards/"))["forwards"]
    return found


async def test_device_forwards_to_its_origin_and_not_to_itself(tmp_path: Path) -> None:
    own = free_port()
    async with nginx_destination(tmp_path) as server:
        text = SMALL_PATTERN + RULE.format(origin=server.url(KEY), own=own, key=KEY)
        listen = f'rtmp.listen=["127.0.0.1:{own}"]'
        with appliance_process(tmp_path, listen, config=text) as device:
            while True:
                first, second = await asyncio.to_thread(rows, device)
                if first["state"] == "live" and first["bytes"] and second["last_error"]:
                    break
                await asyncio.sleep(0.1)
            assert first["url"] == f"rtmp://127.0.0.1:{server.port}/live/***"
            assert "the device itself" in second["last_error"]
            metrics = read(device, "metrics").decode()
            for row, up in ((first, 1), (second, 0)):
                labels = f'stream="live/camera",destination="{row["name"]}"'
                assert f"porthole_forward_up{{{labels}}} {up}" in metrics
            assert KEY not in metrics and KEY not in json.dumps([first, second])
            device.wait_line(r"forward live/camera to 127\.0\.0\.1:\d+/live is live")
            assert device.stop() == 0
            device.wait_line(r"stopping")
            assert KEY not in device.log
        await server.until_told("deleteStream")
