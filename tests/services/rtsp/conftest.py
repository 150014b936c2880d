"""One appliance that anybody may publish to, without a camera of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from appliance_process import ApplianceProcess, appliance_process

CONFIG = """
[auth]
publish = "open"
[hls]
segment = "1s"
window = "30s"
[[stream]]
name = "live/taken-over"
takeover = true
"""


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApplianceProcess]:
    folder = tmp_path_factory.mktemp("rtsp")
    with appliance_process(folder, config=CONFIG) as process:
        yield process
        assert "Traceback" not in process.log
