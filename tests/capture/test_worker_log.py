"""What the worker logs reaches the appliance with its priority."""

from __future__ import annotations

import logging

from worker_fixture import Worker

from appliance.capture.log import PriorityFormatter


def test_worker_log_lines_carry_their_priority() -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 0, "one\ntwo %d", (3,), None)
    assert PriorityFormatter().format(record) == "<4>one\n<4>two 3"
    for level, number in ((logging.ERROR, 3), (logging.INFO, 6), (logging.DEBUG, 7)):
        record.levelno = level
        assert PriorityFormatter().format(record).startswith(f"<{number}>one")


def test_worker_log_is_on_standard_error() -> None:
    with Worker("pattern:", audio="no-such-microphone") as worker:
        worker.read_units(10)
        worker.process.terminate()
        worker.process.wait()
        assert "<4>no sound: no-such-microphone: there is no such sound device" in worker.errors()
