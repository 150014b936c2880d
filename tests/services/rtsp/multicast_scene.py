"""A program for a network namespace of its own, where loopback carries multicast: two players of
one group. Writes the tracks and bytes that each of them saw, and the bytes sent to both."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from appliance_process import SMALL_PATTERN, appliance_process

PLAYER = "ffmpeg -v error -nostdin -rtsp_transport udp_multicast -t 2.5 -i"
TO_CRC = "-map 0 -c copy -f framecrc -"


def main() -> None:
    for words in ("link set lo up", "route add 239.0.0.0/8 dev lo"):
        subprocess.run(["ip", *words.split()], check=True)
    groups = 'rtsp.multicast="239.255.42.0/24"'
    with appliance_process(Path(sys.argv[1]), groups, config=SMALL_PATTERN) as device:
        device.wait_line("is live")
        url = f"rtsp://127.0.0.1:{device.rtsp_port}/live/camera"
        words = [*PLAYER.split(), url, *TO_CRC.split()]
        players = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        seen = []
        for player in players:
            said, _ = player.communicate(timeout=20)
            rows = [line.split(",") for line in said.splitlines() if line[0] != "#"]
            seen.append([len({row[0] for row in rows}), sum(int(row[4]) for row in rows)])
        metrics = urlopen(device.url + "metrics").read().decode()
    found = re.search(r"^porthole_stream_sent_bytes_total\S* (\d+)", metrics, re.MULTILINE)
    json.dump([*seen, int(found[1]) if found else 0], sys.stdout)


if __name__ == "__main__":
    main()
