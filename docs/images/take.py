"""Takes the pictures of the pages that the documentation shows, from a running appliance.

usage: .venv/bin/python docs/images/take.py      (needs chromium-driver and ImageMagick)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "web")]

from appliance_process import ApplianceProcess, appliance_process  # noqa: E402
from chromium import Chromium, chromium  # noqa: E402

CONFIG = """
[device]
name = "front-door"
[[stream]]
name = "live/camera"
source = "pattern:"
[[stream]]
name = "live/garden"
source = "pattern:"
[[stream]]
name = "live/doorbell"
source = "pattern:"
on_demand = true
"""
PLAYING = (
    "document.querySelector('video[src]')"
    " && [...document.querySelectorAll('video[src]')].every((v) => v.currentTime > 8)"
    " && !document.querySelector('.stage:not(.quiet)')"
)


def take(
    browser: Chromium, device: ApplianceProcess, path: str, name: str, *, height: int, dark: bool
) -> None:
    browser.emulate(1280, height, dark=dark)
    browser.open(f"http://front-door.local:{device.port}/{path}")
    browser.wait(PLAYING, 60)
    browser.run("document.querySelectorAll('.card .actions button').forEach((b) => b.click())")
    file = ROOT / "docs" / "images" / name
    file.write_bytes(browser.screenshot())
    subprocess.run(["mogrify", "-strip", "-quality", "95", file], check=True)
    print(f"{file}: {file.stat().st_size // 1024} KiB")  # noqa: T201


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        appliance_process(Path(folder), config=CONFIG) as device,
        chromium() as browser,
    ):
        take(browser, device, "live/camera", "player.png", height=830, dark=True)
        take(browser, device, "", "device.png", height=740, dark=False)


if __name__ == "__main__":
    main()
