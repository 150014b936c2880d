"""Moving pictures in <img>, on a page of the device and on another site's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from appliance_process import ApplianceProcess
from chromium import Chromium

ADD = """
for (const url of arguments) {
  const image = new Image(320, 180);
  image.src = url;
  document.body.prepend(image);
}
"""
LOADED = "[...document.images].every((image) => image.complete && image.naturalWidth === 320)"


class Page(BaseHTTPRequestHandler):
    """Some other site in the house."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<link rel=icon href=data:,><p>another site")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def other_site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("place", ["own", "other"])
def test_pictures_move_in_a_page(
    browser: Chromium, device: ApplianceProcess, other_site: str, place: str
) -> None:
    browser.open(f"{device.url}healthz" if place == "own" else other_site)
    moving = f"{device.url}?action=stream&fps=10&width=320"
    browser.run(ADD, moving, f"{device.url}snapshot.jpg?width=320")
    browser.wait(LOADED)
    shots = set()
    for _ in range(50):
        shots.add(browser.screenshot())
        if len(shots) >= 4:
            break
    assert len(shots) >= 4
    assert browser.noticed() == []
    assert [line for line in browser.console() if "favicon" not in line] == []
