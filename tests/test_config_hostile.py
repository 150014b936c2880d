"""Names, files and flags that mean harm: every one ends in a sentence, none in a traceback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mutation import mutations

from appliance import cli
from appliance.catalog import settings_types, source_schemes
from appliance.config import ConfigFaults, ConfigSource
from appliance.errors import ConfigError
from appliance.hub.access import Access
from appliance.hub.accounts import Account, Accounts, Action, Scrypt, digest_key

CONF = Path(__file__).parent.parent / "conf"

# The vectors that every entry point for names is tried with.
HOSTILE_NAMES = (
    "", "/", ".", "..", "../x", "a/../../x", "a//b", "/etc/passwd", "..\\x", "%2e%2e%2fx",
    "%252e%252e%252f", "..%c0%af", "a\x00.flv", "a\r\nX: y", "a\x1b[2J", ".hidden", "-rf", "$(id)",
    "`id`", ";id", "a|b", "<script>", '"', "'", "?x", "#x", "a b", "\u202e", "\uff0e\uff0e\uff0f",
    "e\u0301", "\u00e9", "😀", "x" * 129, "x" * 255, "x" * 256, "x" * 4096, "x" * 65_535,
    "\udcff\udcfe",
    "a/b/c/d/e", "live/cam.m3u8", "live/cam/", "a\n", "１２",
)  # fmt: skip


def load(path: Path | None, *overrides: str, environ: dict[str, str] | None = None) -> None:
    ConfigSource(path, overrides, None, environ or {}).load(settings_types(), source_schemes())


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(name)[:24])
def test_hostile_stream_name_is_refused_wherever_it_is_given(tmp_path: Path, name: str) -> None:
    file = tmp_path / "p.toml"
    text = json.dumps(name)
    file.write_text(f"[[stream]]\nname = {text}\n", errors="surrogatepass")
    attempts = [(file, (), {})] if "\udcff" not in name else []
    if "\x00" not in name and name == name.strip():
        quote = '"' if "'" in name else "'"
        attempts += [
            (None, (f"stream.0.name={quote}{name}{quote}",), {}),
            (None, (), {"PORTHOLE_STREAM_0_NAME": name}),
            (None, (f"stream.{name}.source=pattern:",), {}),
        ]  # fmt: skip
    for path, overrides, environ in attempts:
        with pytest.raises(ConfigFaults) as caught:
            load(path, *overrides, environ=environ)
        for fault in caught.value.faults:
            assert fault.text.isprintable() and len(fault.text) < 600
    assert sorted(os.listdir(tmp_path)) == ["p.toml"]  # noqa: PTH208


@pytest.mark.parametrize(
    "name",
    [name for name in HOSTILE_NAMES if name not in {"live/cam.m3u8"}],
    ids=lambda name: ascii(name)[:24],
)
def test_hostile_user_name_and_pattern_are_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert cli.main(["user", "add", "--", name]) == os.EX_CONFIG
    assert cli.main(["user", "remove", "--", name]) == os.EX_CONFIG
    err = capsys.readouterr().err
    assert err.count("\n") == 2 and err.replace("\n", "").isprintable()
    assert not (tmp_path / "state" / "accounts.json").exists()


@pytest.mark.parametrize("name", ["a b", "$(id)", "a\x1b[2J", "é", "[a]", "x" * 129, ""])
def test_hostile_pattern_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    assert cli.main(["user", "add", "ann", f"--stream={name}"]) == os.EX_CONFIG
    assert not (tmp_path / "state" / "accounts.json").exists()


def test_mutated_configuration_ends_in_faults_and_nothing_else(tmp_path: Path) -> None:
    corpus = [path.read_bytes() for path in sorted(CONF.glob("*.toml"))]
    corpus.append(b'a = [{b = "c"}, {d = [1, 2]}]\n[[stream]]\nname="x"\n[stream.video]\nfps=1\n')
    file = tmp_path / "p.toml"
    refused = 0
    for data in mutations(corpus, 1500, seed=5):
        file.write_bytes(data)
        try:
            load(file)
        except ConfigFaults as error:
            refused += 1
            for fault in error.faults:
                assert fault.text.isprintable() and str(file) in fault.place
    assert refused > 500


def test_mutated_flags_end_in_faults_and_nothing_else() -> None:
    corpus = [
        b"hls.segment=1s", b"stream.0.source=pattern:", b"stream.live/camera.video.fps=30",
        b'http.listen=["127.0.0.1:0"]', b"device.state='/x'", b"http.tls.listen=:1,:2",
    ]  # fmt: skip
    for data in mutations(corpus, 2000, seed=6):
        text = data.decode("utf-8", "surrogateescape")
        try:
            load(None, text)
        except ConfigFaults as error:
            assert all(fault.text.isprintable() for fault in error.faults), text


def test_mutated_environment_ends_in_faults_and_nothing_else() -> None:
    for data in mutations(
        [b"HTTP_LISTEN", b"STREAM_0_SOURCE", b"STREAM_12_VIDEO_FPS"], 1500, seed=7
    ):
        name = "PORTHOLE_" + data.decode("utf-8", "surrogateescape")
        try:
            load(None, environ={name: "1"})
        except ConfigFaults as error:
            assert all(str(fault).isprintable() for fault in error.faults), name


def test_mutated_accounts_end_in_config_errors_and_grant_nothing_new(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    scrypt = Scrypt(b"s" * 16, b"d" * 32, 2, 1, 1)
    accounts.save(
        (
            Account(
                "cam", frozenset({Action.PUBLISH}), ("live/*",), key_digest=digest_key("k" * 22)
            ),
            Account("ann", frozenset({Action.PLAY}), password=scrypt),
        )
    )
    seed = accounts.path.read_bytes()
    for data in mutations([seed], 1500, seed=8):
        accounts.path.write_bytes(data)
        try:
            access = Access(None, tmp_path)
        except ConfigError:
            continue
        for account in (*access._by_name.values(), *access._by_key.values()):
            assert account.name and account.allow <= frozenset(Action)
