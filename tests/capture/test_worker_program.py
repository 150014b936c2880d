"""The worker as a process: how it starts, what it may not do, and that it never outlives us."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from worker_fixture import DEADLINE_S, ROOT, Worker, make_clip, run_to_end

from appliance.media.track import Kind
from appliance.wire.pipe.connection import Pipe, Role


def wait_gone(pid: int) -> None:
    """Until the kernel has ended this process, which need not be a child of ours."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            ready, _, _ = select.select([descriptor], [], [], DEADLINE_S)
            assert ready, f"{pid} is still there"
        finally:
            os.close(descriptor)


def test_worker_ends_with_its_standard_input() -> None:
    with Worker("pattern:", "--parent", str(os.getpid())) as worker:
        worker.read_units(1)
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        assert worker.process.wait(DEADLINE_S) == 0


def test_worker_ends_at_nonsense_on_its_standard_input() -> None:
    with Worker("pattern:") as worker:
        worker.read_units(1)
        assert worker.process.stdin is not None
        worker.process.stdin.write(b"GET / HTTP/1.1\r\n\r\n")
        worker.process.stdin.flush()
        assert worker.process.wait(DEADLINE_S) == 76
        assert worker.process.stderr is not None
        assert worker.process.stderr.read().startswith(b"<3>commands: ")


def test_worker_ends_when_nobody_reads_its_output() -> None:
    with Worker("pattern:") as worker:
        worker.read_units(1)
        assert worker.process.stdout is not None
        os.close(os.dup(worker.process.stdout.fileno()))
        worker.process.stdout.close()
        assert worker.process.wait(DEADLINE_S) == 0
        worker.process.stdout = open(os.devnull, "rb")  # noqa: PTH123, SIM115 - for the fixture


def test_worker_dies_with_its_parent() -> None:
    """The parent is killed, so that nothing of its own could end the worker; and the worker's
    input stays open in a third process."""
    code = (
        "import os, subprocess, sys\n"
        "read, write = os.pipe()\n"
        "holder = subprocess.Popen(['sleep', '60'], pass_fds=[write])\n"
        "worker = subprocess.Popen([sys.executable, '-m', 'appliance.capture', 'pattern:',\n"
        "    '--parent', str(os.getpid())], stdin=read, stdout=subprocess.PIPE)\n"
        "worker.stdout.read(1)\n"
        "print(worker.pid, holder.pid, flush=True)\n"
        "holder.wait()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    worker_pid, holder_pid = map(int, parent.stdout.readline().split())
    try:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        wait_gone(worker_pid)
    finally:
        os.kill(holder_pid, signal.SIGKILL)


def test_worker_whose_parent_died_before_it_could_tell_ends_at_once() -> None:
    with Worker("pattern:", "--parent", "1") as worker:
        assert worker.process.wait(DEADLINE_S) == 0


def test_worker_print_of_a_library_does_not_reach_the_pipe(tmp_path: Path) -> None:
    """Whatever writes to descriptor 1, in Python or in C, ends up in the log."""
    (tmp_path / "noisy.py").write_text(
        "import os, sys\n"
        "from appliance.capture import program\n"
        "inner = program.open_source\n"
        "def open_source(url, options):\n"
        "    print('a print', flush=True)\n"
        "    os.write(1, b'a write\\n')\n"
        "    return inner(url, options)\n"
        "program.open_source = open_source\n"
        "sys.exit(program.main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "noisy.py"), "file:missing.mp4"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    output, errors = process.stdout.read(), process.stderr.read()
    process.stdin.close()  # only now: its end would end the worker
    process.stdout.close()
    process.stderr.close()
    assert process.wait(DEADLINE_S) == 1
    (fault,) = Pipe(Role.APPLIANCE).receive(output)
    assert fault.reason == "source-missing"
    assert b"a print\n" in errors
    assert b"a write\n" in errors


@pytest.mark.parametrize(
    "options", ["{", "[]", '{"width": "wide"}', '{"colour": 1}', '{"width": true}']
)
def test_worker_refuses_options_that_are_none(options: str) -> None:
    with Worker("pattern:", "--options-json", options) as worker:
        fault = worker.read_end()
    assert fault is not None
    assert fault.reason == "source-invalid"


def test_worker_takes_its_source_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTHOLE_SOURCE", "file:from-the-environment.mp4")
    assert "from-the-environment.mp4" in run_to_end("-").text


def test_worker_is_the_first_to_go_when_memory_is_short() -> None:
    with Worker("pattern:", "--nice", "5") as worker:
        worker.read_units(1)
        process = Path(f"/proc/{worker.process.pid}")
        assert (process / "oom_score_adj").read_text().strip() == "300"
        assert os.getpriority(os.PRIO_PROCESS, worker.process.pid) >= 5


def test_worker_memory_is_small_besides_the_encoder() -> None:
    """60 MB are its share; x264's frames at this size are a few MB more."""
    with Worker("pattern:") as worker:
        worker.read_units(50)
        status = Path(f"/proc/{worker.process.pid}/status").read_text()
    rss_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    assert rss_kb < 60_000


def test_describe_prints_a_table(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path, "clip.mp4", "-f", "lavfi", "-i", "testsrc2=size=192x128:rate=25:duration=1",
        "-pix_fmt", "yuv420p", "-c:v", "libx264",
    )  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "appliance.capture", f"file:{path}", "--describe", "--seconds", "1"],
        capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE_S,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "track 1: avc1." in result.stdout
    assert "192x128" in result.stdout
    assert result.stdout.count("h264") >= 20
    assert " key" in result.stdout


def test_describe_of_a_missing_file_says_so() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "appliance.capture", "file:none.mp4", "--describe"],
        capture_output=True, text=True, cwd=ROOT, timeout=DEADLINE_S,
    )  # fmt: skip
    assert result.returncode == 1
    assert "none.mp4 does not exist" in result.stderr


def test_worker_kinds_are_both_delivered() -> None:
    with Worker("pattern:") as worker:
        worker.read_units(2, Kind.AUDIO)
        worker.read_units(2, Kind.VIDEO)
