"""`porthole check` beyond syntax: what is not there, and what will not do as expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import cli
from appliance.catalog import settings_types, source_schemes
from appliance.config import ConfigSource
from appliance.config_advice import advise


def advice(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "p.toml"
    path.write_text(text)
    return advise(ConfigSource(path, (), None, {}).load(settings_types(), source_schemes()))


def camera(source: str, more: str = "") -> str:
    return f'[[stream]]\nname = "live/a"\nsource = "{source}"\n{more}'


def test_advice_of_a_good_configuration_is_none(tmp_path: Path) -> None:
    clip = tmp_path / "a clip.mp4"
    clip.touch()
    for source in ("pattern:", f"file:{clip}", f"file://{str(clip).replace(' ', '%20')}"):
        assert advice(tmp_path, camera(source)) == []


@pytest.mark.parametrize("path", ["/none/clip.mp4", "/none/" + "x" * 900])
def test_advice_names_a_file_that_is_missing(tmp_path: Path, path: str) -> None:
    wanted = [f"stream live/a: there is no file {path}"]
    assert advice(tmp_path, camera(f"file:{path}")) == wanted
    assert advice(tmp_path, camera(f"file://{path}")) == wanted
    assert advice(tmp_path, camera(f"file:{path}", "enabled = false")) == []


def test_advice_tells_of_a_password_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "door.password"
    text = camera("rtsp://cam/x", f"rtsp.password_file = '{file}'")
    missing = f'stream live/a: cannot read password_file "{file}": No such file or directory'
    assert advice(tmp_path, text) == [missing]
    file.write_text("\nsecond line")
    empty = f'stream live/a: the first line of password_file "{file}" is empty'
    assert advice(tmp_path, text) == [empty]
    file.write_text("s3cret\n")
    assert advice(tmp_path, text) == []


def test_advice_names_a_camera_or_led_that_is_missing(tmp_path: Path) -> None:
    (found,) = advice(tmp_path, camera("v4l2:/dev/v4l/by-id/none"))
    assert found.startswith("stream live/a: there is no device /dev/v4l/by-id/none; `porthole")
    (found,) = advice(tmp_path, camera("pattern:", 'led = "none:such"'))
    assert found.startswith("stream live/a: there is no LED none:such")
    assert advice(tmp_path, camera("pattern:", 'led = "gpio:17"')) == []


@pytest.mark.parametrize(
    ("segment", "keyframe", "is_told"),
    [("1s", "2s", True), ("2s", "2s", False), ("2s", "1s", False), ("2s", "2500ms", True)],
)
def test_advice_tells_segments_shorter_than_keyframes_allow(
    tmp_path: Path, segment: str, keyframe: str, is_told: bool
) -> None:
    text = f'[hls]\nsegment = "{segment}"\n' + camera(
        "pattern:", f'video = {{ keyframe = "{keyframe}" }}'
    )
    wanted = (
        f"stream live/a: keyframe = {keyframe} makes HLS segments of {keyframe}, although "
        f"hls.segment = {segment}; give both the same"
    )
    assert advice(tmp_path, text) == ([wanted] if is_told else [])
    passed = text.replace("pattern:", "av:rtsp://cam/x")
    assert advice(tmp_path, passed) == [], "it has the keyframes of its origin"


def test_advice_on_a_second_stream_as_large_as_the_first(tmp_path: Path) -> None:
    second = '[[stream]]\nname = "live/b"\nsource = "camera:a/sub"\n'
    (found,) = advice(tmp_path, camera("pattern:") + second)
    assert "live/b: it is as large as live/a" in found
    (found,) = advice(tmp_path, camera("pattern:", "enabled = false\n") + second)
    assert found == "stream live/b: its camera live/a is off"


def test_check_tells_advice_as_warnings_and_is_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(camera("file:/none/clip.mp4"))
    assert cli.main(["check", "-c", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("ok\n")
    assert captured.err == "porthole: warning: stream live/a: there is no file /none/clip.mp4\n"
