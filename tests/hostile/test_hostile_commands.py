"""Hostile words on the command line: a sentence, an exit code, no traceback, no file."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance_process import ROOT, _clean_environment

NAMES = ("../x", "-rf", "$(id)<script>\x1b[2J\r\n\u202e", "x" * 4096)


def _run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        cwd=folder, env=_clean_environment() | {"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_hostile_words_end_in_a_sentence_and_make_no_file(tmp_path: Path) -> None:
    state = f'device.state="{tmp_path / "state"}"'
    commands = []
    for name in NAMES:
        commands += [
            ["run", "--set", state, "--set", f"stream.0.name='{name}'"],
            ["check", "-c", name],
            ["user", "add", name, "--set", state],
            ["probe", name],
            ["run", name, "--set", state, "--set", "http.listen=127.0.0.1:1"],
        ]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda arguments: _run(arguments, tmp_path), commands))
    for command, result in zip(commands, results, strict=True):
        assert result.returncode != 0, (command, result)
        said = result.stdout + result.stderr
        assert "Traceback" not in said, (command, said)
        assert "\x1b" not in said and "\u202e" not in said, (command, said)
        assert said and len(said) < 5000, (command, said)
    assert [path.name for path in tmp_path.iterdir()] in ([], ["state"])
