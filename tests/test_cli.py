from __future__ import annotations

import io
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import __version__, cli
from appliance.hub.accounts import Accounts, Action, digest_key
from appliance.hub.digest import make_ha1s

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    for name in os.environ:
        if name.startswith("PORTHOLE_"):
            monkeypatch.delenv(name)


def accounts(tmp_path: Path) -> Accounts:
    return Accounts(tmp_path / "state")


def start(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "appliance", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["rnu"], ["run", "--unknown"], ["user"], ["user", "add"], ["probe"], ["run", "a", "b"],
     ["user", "add", "x", "--key", "--password-stdin"], ["probe", "x", "--seconds", "y"],
     ["run", "--conf", "x"]],
)  # fmt: skip
def test_cli_wrong_usage_is_one_sentence_and_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == os.EX_USAGE
    assert "porthole" in capsys.readouterr().err


def test_cli_version_names_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"porthole {__version__}\n") and "aiohttp 3." in out


def test_cli_check_says_ok_with_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.toml"
    file.write_text('[[stream]]\nname="live/a"\nsource="av:rtsp://u:s3cret@cam/x"\non_demand=true')
    assert cli.main(["check", "-c", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("ok\n")
    assert "live/a  av:rtsp://u:***@cam/x, on demand" in out and "s3cret" not in out
    assert not (tmp_path / "state").exists(), "checking makes nothing"


def test_cli_check_without_a_file_takes_the_checkout_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check"]) == 0
    assert "conf/porthole.toml" in capsys.readouterr().out


def test_cli_check_tells_every_fault_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.toml"
    file.write_text('[hls]\nsegmet = "1s"\nwindow = "x"\n')
    assert cli.main(["check", "-c", str(file), "--set", "http.lisen=x"]) == os.EX_CONFIG
    assert capsys.readouterr().err.splitlines() == [
        f"porthole: {file}:2: hls.segmet is not a known key; did you mean segment?",
        f'porthole: {file}:3: hls.window = "x": not a duration; write 200ms, 2s, 1m or 1h',
        'porthole: --set: http has no key "lisen"; did you mean listen?',
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["check", "-c", "/none/porthole.toml"], os.EX_NOINPUT),
        (["check", "/none/clip.mp4"], os.EX_NOINPUT),
        (["check", "/none/\x1b[2J\n\u202e.mp4"], os.EX_NOINPUT),
        (["check", "-c", "/none/\x1b[2J\u202e"], os.EX_NOINPUT),
        (["probe", "/none/\x1b[2J\n"], os.EX_NOINPUT),
        (["run", "--source", "/none/clip.mp4"], os.EX_NOINPUT),
        (["check", "exec:id"], os.EX_CONFIG),
        (["run", "gopher:x"], os.EX_CONFIG),
        (["user", "remove", "nobody"], os.EX_CONFIG),
        (["user", "add", "../x"], os.EX_CONFIG),
        (["user", "add", "x", "--allow", "everything"], os.EX_CONFIG),
        (["user", "add", "x", "--allow", ","], os.EX_CONFIG),
        (["user", "add", "x", "--stream", "a b"], os.EX_CONFIG),
        (["user", "add", "x", "--ip", "10.0.0.0/99"], os.EX_CONFIG),
        (["user", "add", "x", "--digest"], os.EX_CONFIG),
        (["probe", "/none/clip.mp4"], os.EX_NOINPUT),
        (["probe", "pattern:"], os.EX_USAGE),
        (["probe", "x", "--seconds", "0"], os.EX_USAGE),
    ],
)
def test_cli_faults_have_their_exit_code_and_one_line(
    arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines and all(line.startswith("porthole: ") and line.isprintable() for line in lines)


def test_cli_user_with_a_key_sees_it_once_and_only_its_hash_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["user", "add", "obs", "--allow", "publish,play", "--stream", "live/*"]
    assert cli.main([*arguments, "--ip", "10.0.0.0/8", "--ip", "fd00::/8"]) == 0
    captured = capsys.readouterr()
    key = captured.out.strip()
    assert len(key) == 22 and key not in captured.err
    (account,) = accounts(tmp_path).load()
    assert account.key_digest == digest_key(key)
    assert account.ha1s == make_ha1s("obs", key)
    assert account.allow == {Action.PUBLISH, Action.PLAY}
    assert account.permits(Action.PLAY, "live/a", "10.1.1.1")
    assert not account.permits(Action.PLAY, "other/a", "10.1.1.1")
    path = accounts(tmp_path).path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and key not in path.read_text()
    assert cli.main(["user", "list"]) == 0
    out = capsys.readouterr().out
    assert "obs" in out and "live/*" in out and key not in out and account.key_digest not in out


def test_cli_user_with_a_password_gives_it_on_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\nmore"))
    assert cli.main(["user", "add", "ann", "--password-stdin"]) == 0
    (account,) = accounts(tmp_path).load()
    assert account.password is not None and account.password.matches("correct horse")
    assert account.allow == {Action.PLAY}
    captured = capsys.readouterr()
    assert "horse" not in captured.out + captured.err + accounts(tmp_path).path.read_text()
    assert not account.ha1s and "cost" not in captured.err


def test_cli_user_password_is_kept_for_digest_if_asked_for_and_the_cost_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\n"))
    assert cli.main(["user", "add", "ann", "--password-stdin", "--digest"]) == 0
    (account,) = accounts(tmp_path).load()
    assert account.password is not None and account.password.matches("correct horse")
    assert account.ha1s == make_ha1s("ann", "correct horse")
    captured = capsys.readouterr()
    assert "cost" in captured.err and str(accounts(tmp_path).path) in captured.err
    assert "horse" not in captured.out + captured.err + accounts(tmp_path).path.read_text()
    assert cli.main(["user", "list"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^ann +password +yes ", out, re.MULTILINE)
    assert not any(ha1 in out for ha1 in account.ha1s.values())


@pytest.mark.parametrize("password", ["", "short\n", "x" * 300])
def test_cli_user_password_that_is_too_short_or_long_is_refused(
    tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(password))
    assert cli.main(["user", "add", "ann", "--password-stdin"]) == os.EX_CONFIG
    assert accounts(tmp_path).load() == ()


def test_cli_user_is_added_once_and_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["user", "add", "ann"]) == 0
    assert cli.main(["user", "add", "ann"]) == os.EX_CONFIG
    assert "already" in capsys.readouterr().err
    assert cli.main(["user", "remove", "ann"]) == 0
    assert accounts(tmp_path).load() == ()
    capsys.readouterr()
    assert cli.main(["user", "list"]) == 0
    assert capsys.readouterr().out.startswith("no users in ")


def test_cli_where_the_state_cannot_be_written_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("a file")
    assert cli.main(["user", "add", "ann"]) != 0
    assert str(tmp_path / "state") in capsys.readouterr().err


def test_cli_run_on_a_taken_port_ends_with_69_and_names_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start(
            "run", "--set", f"http.listen=127.0.0.1:{port}", "--set", "stream.0.enabled=no"
        )
    assert done.returncode == os.EX_UNAVAILABLE
    assert f"port {port} is taken" in done.stderr and "Traceback" not in done.stderr


def test_cli_run_makes_the_owner_s_key_once(tmp_path: Path) -> None:
    """Two starts that cannot listen: the first shows a key that works, the second none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ("run", "--set", f"http.listen=127.0.0.1:{port}")
        first, second = start(*arguments), start(*arguments)
    (owner,) = accounts(tmp_path).load()
    shown = [word for word in first.stderr.split() if digest_key(word) == owner.key_digest]
    assert len(shown) == 1 and owner.allow == set(Action)
    assert "owner" not in second.stderr and shown[0] not in second.stderr + first.stdout


def test_cli_starts_without_what_only_some_commands_use() -> None:
    code = (
        "import sys; from appliance.cli import make_parser; make_parser();"
        "print(sorted({'av', 'aiohttp', 'asyncio', 'ssl', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_cli_output_cut_off_by_its_reader_is_no_fault() -> None:
    command = f"{sys.executable} -m appliance check | head -c1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0" and done.stderr == ""
