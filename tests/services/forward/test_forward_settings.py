from __future__ import annotations

from pathlib import Path

import pytest

from appliance.catalog import settings_types, source_schemes
from appliance.config import Config, ConfigFaults, ConfigSource
from appliance.services.forward.settings import Rule, TlsOptions

STREAM = '[[stream]]\nname = "live/cam"\nsource = "pattern:"\n'
KEY = "s3cret-K3y"


def load(folder: Path, text: str, *overrides: str, **environ: str) -> Config:
    file = folder / "p.toml"
    file.write_text(STREAM + text)
    return ConfigSource(file, overrides, None, environ).load(settings_types(), source_schemes())


def faults(folder: Path, text: str, *overrides: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        load(folder, text, *overrides, **environ)
    return [str(fault) for fault in caught.value.faults]


def test_rules_are_read_from_the_file(tmp_path: Path) -> None:
    text = """
    [[forward]]
    to = ["rtmp://origin.example/live/{device}-{stream}", "rtmps://h:8443/app/key?x=1"]
    [[forward]]
    stream = "live/a, cams/*"
    backend = "http://127.0.0.1:9000/forward"
    tls = { ca = "/etc/ca.pem", insecure = true }
    max_backlog = "1s"
    """
    first, second = load(tmp_path, text).services["forward"]
    assert first == Rule(to=first.to) and len(first.to) == 2
    assert second.tls == TlsOptions("/etc/ca.pem", insecure=True)
    assert second.max_backlog_us == 1_000_000
    assert second.matches("cams/1") and second.matches("live/a") and not second.matches("live/b")


def test_environment_and_command_line_make_and_change_rules(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        '[[forward]]\nto = ["rtmp://a/live/x"]\n',
        "forward.0.stream=cams/*",
        "forward.1.to=rtmp://c/live/z,rtmp://d/live/z",
        PORTHOLE_FORWARD_0_TO="rtmp://b/live/y",
        PORTHOLE_FORWARD_0_TLS_INSECURE="yes",
        PORTHOLE_FORWARD_0_MAX_BACKLOG="1s",
    )
    first, second = config.services["forward"]
    assert first.stream == "cams/*" and first.to == ("rtmp://b/live/y",)
    assert first.tls.insecure and first.max_backlog_us == 1_000_000
    assert second.to == ("rtmp://c/live/z", "rtmp://d/live/z")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "give addresses in `to`, or a backend"),
        ('to = ["rtmp://h/a/b"]\nbackend = "http://h/"', "give addresses in `to`, or a backend"),
        (f'to = ["http://h/live/{KEY}"]', "neither rtmp:// nor rtmps://"),
        (f'to = ["rtmp:///live/{KEY}"]', "no host"),
        (f'to = ["rtmp://h/{KEY}"]', "an app and a name"),
        (f'to = ["rtmp://h:99999/live/{KEY}"]', "host or port is malformed"),
        (f'to = ["rtmp://[h/live/{KEY}"]', "host or port is malformed"),
        (f'to = ["rtmp://u:{KEY}@h/live/x"]', "no user and password"),
        (f'to = ["rtmp://h/live/{{name}}-{KEY}"]', "only {device}, {app} and {stream}"),
        (f'to = ["rtmp://h/live/a {KEY}"]', "spaces"),
        (f'to = "rtmp://h/live/{KEY}"', "must be an array"),
        (f'to = ["rtmp://h/live/{KEY};x"]', "must not contain"),
        (f'to = {[f"rtmp://h/live/{n}" for n in range(17)]}', "at most 16"),
        ('to = ["rtmp://h/a/b"]\nbackend = "ftp://h/"', "write http://"),
        ('to = ["rtmp://h/a/b"]\nmax_backlog = "1h"', "must be from"),
        ('to = ["rtmp://h/a/b"]\nkey = 1', "is not a known key"),
    ],
)  # fmt: skip
def test_rule_that_is_wrong_is_told_without_its_key(tmp_path: Path, lines: str, words: str) -> None:
    told = faults(tmp_path, f"[[forward]]\n{lines}\n")
    assert len(told) == 1 and words in told[0], told
    assert KEY not in "".join(told)


def test_wrong_values_from_outside_are_told_without_their_key(tmp_path: Path) -> None:
    text = '[[forward]]\nto = ["rtmp://a/live/x"]\n'
    for told in (
        faults(tmp_path, text, f'forward.0.to=["rtmp://h/live/{KEY}'),
        faults(tmp_path, text, f"forward.0.to=rtmps://h/live/{KEY}{{x}}"),
        faults(tmp_path, text, PORTHOLE_FORWARD_0_TO=f"rtmp://h/live/{KEY} "[:-1] + "|"),
    ):
        assert told and KEY not in "".join(told), told


@pytest.mark.parametrize("value", ["1", '"rtmp://h/a/b"', "[1]", "[[1]]"])
def test_forward_that_is_no_array_of_tables_is_told(tmp_path: Path, value: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(f"forward = {value}\n{STREAM}")
    with pytest.raises(ConfigFaults, match="forward"):
        ConfigSource(file, (), None, {}).load(settings_types(), source_schemes())


def test_rule_does_not_show_its_addresses() -> None:
    assert KEY not in repr(Rule(to=(f"rtmp://h/live/{KEY}",)))
    assert KEY not in repr(Rule(backend=f"http://h/{KEY}"))
