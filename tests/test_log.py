from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance import log as log_module
from appliance.log import LineFormatter, Log, LogSettings, QueueHandler, escape, is_journal

logger = logging.getLogger("appliance.test")


def record(message: str, *arguments: object, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("appliance.x", level, "x.py", 1, message, arguments, None)


@contextmanager
def piped(level: str = "debug", environ: dict[str, str] | None = None) -> Iterator[list[str]]:
    """Everything logged within, line by line, once the block is over."""
    reading, writing = os.pipe()
    root = logging.getLogger()
    before = root.level
    lines: list[str] = []
    try:
        with Log(LogSettings(level), descriptor=writing, environ=environ or {}):
            yield lines
    finally:
        root.setLevel(before)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as file:
            lines += file.read().splitlines()


def test_log_line_has_time_level_and_text() -> None:
    with piped() as lines:
        logger.warning("rtmp#12 %s", "live/cam")
    (line,) = lines
    stamp, clock, level, text = line.split(None, 3)
    assert len(stamp) == 10 and len(clock) == 12
    assert (level, text) == ("warning", "rtmp#12 live/cam")


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 3),
    ],
)
def test_log_line_for_the_journal_has_its_priority(level: int, prefix: int) -> None:
    assert LineFormatter(journal=True).format(record("x", level=level)) == f"<{prefix}>x"


def test_log_knows_the_journal_by_its_device_and_inode() -> None:
    reading, writing = os.pipe()
    try:
        status = os.fstat(writing)
        mine = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(writing, mine)
        assert is_journal(writing, {"INVOCATION_ID": "x"})
        assert not is_journal(writing, {})
        assert not is_journal(writing, {"JOURNAL_STREAM": "1:2"})
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "text",
    [
        "a\nb", "a\r\nX: y", "\x1b[2J", "a\x00b", "\x7f", "\x85", "\u2028", "\u202e", "\u200b",
        "\ufeff",
    ],
)  # fmt: skip
def test_log_line_shows_control_characters_escaped(text: str) -> None:
    line = LineFormatter(journal=True).format(record("peer says %s", text))
    assert line.isprintable() and "\\" in line


def test_log_line_keeps_other_languages_and_lone_surrogates() -> None:
    assert escape("café 日本 –") == "café 日本 –"
    with piped() as lines:
        logger.info("x\udcff")
    assert lines[0].endswith("x\\udcff")


def test_log_line_hides_secrets_wherever_they_come_from() -> None:
    with piped() as lines:
        logger.info("pulling %s", "rtsp://u:s3cret@cam/x?token=s3cret")
        try:
            raise ValueError("rtsp://u:s3cret@cam key=s3cret")  # noqa: TRY003
        except ValueError:
            logger.exception("fault key=s3cret")
    assert len(lines) > 3
    assert "s3cret" not in "\n".join(lines) and "rtsp://u:***@cam" in lines[0]


@pytest.mark.parametrize("journal", [True, False])
def test_log_traceback_cannot_pass_for_an_event(journal: bool) -> None:
    with piped(environ={"INVOCATION_ID": "x"} if journal else {}) as lines:
        try:
            raise ValueError("x\n2026-01-01 00:00:00.000 info    all is well\n<6>fine")
        except ValueError:
            logger.exception("fault")
    first, *rest = lines
    assert first.endswith("fault")
    assert rest and all(line.startswith("<3>  | " if journal else "  | ") for line in rest)


def test_log_line_is_cut() -> None:
    assert len(LineFormatter(journal=True).format(record("x" * 100_000))) < 5000


def test_log_level_is_held_and_changed_at_once() -> None:
    reading, writing = os.pipe()
    before = logging.getLogger().level
    try:
        with Log(LogSettings("warning"), descriptor=writing, environ={}) as log:
            logger.info("one")
            log.apply(LogSettings("info"))
            logger.info("two")
    finally:
        logging.getLogger().setLevel(before)
        os.close(writing)
    with os.fdopen(reading) as file:
        assert [line.split()[-1] for line in file] == ["two"]


@contextmanager
def stalled() -> Iterator[tuple[QueueHandler, int]]:
    """A handler whose pipe nobody reads, and the pipe's reading end."""
    reading, writing = os.pipe()
    handler = QueueHandler(writing, journal=True)
    try:
        yield handler, reading
    finally:
        handler.close()
        os.close(writing)


def test_log_wrong_format_of_ours_does_not_fail_the_caller() -> None:
    with stalled() as (handler, reading):
        handler.emit(record("%d", "no number"))
        assert os.read(reading, 1000) == b"unprintable log record from appliance.x:1\n"
        os.close(reading)


def test_log_that_nobody_reads_never_blocks_and_tells_its_losses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_module, "QUEUE_LINES", 10)
    text: list[str] = []
    with stalled() as (handler, reading):
        for number in range(5000):  # the pipe holds 64 KiB, about 900 of these
            handler.emit(record("%s %d", "x" * 60, number))
        assert handler.dropped > 3000

        def drain() -> None:
            with os.fdopen(reading, closefd=True) as file:
                text.append(file.read())

        reader = threading.Thread(target=drain)
        reader.start()
        while handler._untold:
            handler.emit(record("after"))
        dropped = handler.dropped
    reader.join()
    told = [int(line.split()[0][3:]) for line in text[0].splitlines() if "were dropped" in line]
    assert sum(told) == dropped


def test_log_whose_reader_is_gone_goes_on() -> None:
    reading, writing = os.pipe()
    before = logging.getLogger().level
    os.close(reading)
    try:
        with Log(LogSettings(), descriptor=writing, environ={}) as log:
            for _ in range(100):
                logger.info("x")
        assert log.handler.dropped > 0
    finally:
        logging.getLogger().setLevel(before)
        os.close(writing)
