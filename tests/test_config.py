from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from appliance.config import (
    Config,
    ConfigFaults,
    ConfigSource,
    DeviceSettings,
    find_file,
    state_directory,
)
from appliance.errors import ConfigError
from appliance.hub.access import Policy

SCHEMES = frozenset({"pattern", "file", "av", "rtsp", "rtmp", "rtmps", "http", "https"})


class Form(StrEnum):
    FMP4 = "fmp4"
    TS = "ts"


@dataclass(frozen=True, slots=True)
class Part:
    size_bytes: int = field(default=1000, metadata={"key": "size", "max": 1 << 20})


@dataclass(frozen=True, slots=True)
class HlsSettings:
    enabled: bool = True
    segment_us: int = field(
        default=2_000_000,
        metadata={"key": "segment", "unit": "duration", "min": 500_000, "max": 30_000_000},
    )
    window_us: int = field(default=20_000_000, metadata={"key": "window", "unit": "duration"})
    format: Form = Form.FMP4
    ratio: float = 1.0
    names: tuple[str, ...] = ()
    part: Part = field(default_factory=Part)
    note: str | None = None

    def __post_init__(self) -> None:
        if self.window_us < 3 * self.segment_us:
            raise ConfigError("window is shorter than three segments")


SERVICES = {"hls": HlsSettings}


def load(
    tmp_path: Path,
    text: str | bytes = "",
    *overrides: str,
    environ: dict[str, str] | None = None,
    source: str | None = None,
) -> Config:
    path = tmp_path / "porthole.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ConfigSource(path, overrides, source, environ or {}).load(SERVICES, SCHEMES)


def faults(tmp_path: Path, *arguments: Any, **keywords: Any) -> list[str]:
    """What is wrong, without the directory of the file."""
    with pytest.raises(ConfigFaults) as caught:
        load(tmp_path, *arguments, **keywords)
    return [str(fault).replace(f"{tmp_path}/", "") for fault in caught.value.faults]


def test_config_of_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.http.listen == (":8080",)
    assert config.auth.play is Policy.LAN
    assert config.streams == ()
    assert config.services == {"hls": HlsSettings()}
    assert config.device.name


def test_config_without_a_file_shows_the_test_pattern() -> None:
    config = ConfigSource(None, (), None, {}).load(SERVICES, SCHEMES)
    assert [(stream.name, stream.source) for stream in config.streams] == [
        ("live/camera", "pattern:")
    ]


def test_config_reads_every_kind_of_value(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """
        [device]
        name = "front-door"
        [http]
        listen = ["127.0.0.1:0", "[::1]:8081"]
        max_header_line_bytes = "16KiB"
        [http.tls]
        cert = "/c.pem"
        key = "/k.pem"
        [auth]
        play = "open"
        [hls]
        enabled = false
        segment = "1500ms"
        window = 30
        format = "ts"
        ratio = 2
        names = ["a", "b"]
        part.size = "64KB"
        note = "x"
        [[stream]]
        name = "live/door"
        [[stream]]
        name = "239.1.1.1:1234"
        source = "rtsp://u:p@cam/path?channel=1&subtype=0"
        on_demand = true
        on_demand_close = "1m"
        [stream.video]
        width = 640
        bitrate = "1.5M"
        keyframe = 0.5
        [stream.audio]
        bitrate = 32000
        """,
    )
    assert config.device.name == "front-door"
    assert config.http.listen == ("127.0.0.1:0", "[::1]:8081")
    assert config.http.max_header_line_bytes == 16384
    assert config.http.tls.cert == "/c.pem"
    assert config.auth.play is Policy.OPEN
    assert config.services["hls"] == HlsSettings(
        enabled=False,
        segment_us=1_500_000,
        window_us=30_000_000,
        format=Form.TS,
        ratio=2.0,
        names=("a", "b"),
        part=Part(64_000),
        note="x",
    )
    door, multicast = config.streams
    assert (door.name, door.source) == ("live/door", "")
    assert multicast.on_demand and multicast.on_demand_close_us == 60_000_000
    assert multicast.video.width == 640 and multicast.video.bitrate_bps == 1_500_000
    assert multicast.video.keyframe_us == 500_000
    assert multicast.audio.bitrate_bps == 32_000


def test_config_tells_all_faults_at_once_in_order_with_lines(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        """\
[http]
lisen = [":80"]
listen = ":80"

[hls]
segment = "0s"
window = "soon"
format = "mkv"
enabled = "yes"

[htp]
x = 1

[[stream]]
name = "live/a"
source = "exec:id"

[[stream]]
name = "live/a"
source = "gopher:x"
[stream.video]
fps = 0
""",
    ) == [
        "porthole.toml:2: http.lisen is not a known key; did you mean listen?",
        'porthole.toml:3: http.listen = ":80": must be an array; write [":80"]',
        'porthole.toml:6: hls.segment = "0s": must be from 500ms to 30s',
        'porthole.toml:7: hls.window = "soon": not a duration; write 200ms, 2s, 1m or 1h',
        'porthole.toml:8: hls.format = "mkv": must be fmp4 or ts',
        'porthole.toml:9: hls.enabled = "yes": must be true or false',
        "porthole.toml:11: htp is not a known table; did you mean http?",
        'porthole.toml:16: stream.0.source = "exec:id": must not contain "exec:"; '
        "nothing here runs commands",
        "porthole.toml:19: live/a is already configured on line 15",
        'porthole.toml:20: stream.1.source = "gopher:x": "gopher:" is no kind of source; '
        "there are av, file, http, https, pattern, rtmp, rtmps, rtsp",
        "porthole.toml:22: stream.1.video.fps = 0: must be from 1 to 120",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("http = 1", "1: http is a table, not 1"),
        ('[[stream]]\nname = "live/a"\nsource = "cam"', 'or "rtsp://camera/x"'),
        ("[http]\ntls = []", "2: http.tls is a table, not an array"),
        ("stream = 1", "1: stream is an array of tables; write [[stream]]"),
        ('[stream]\nname = "a"', "1: stream is an array of tables; write [[stream]]"),
        ("stream = [1]", "1: stream.0 is a table, not 1"),
        ("[[http]]", "1: http is a table, not an array"),
        ("[http]\nlisten = [1]", "2: http.listen.0 = 1: must be a string in quotes"),
        ('[http]\nlisten = [["a"]]', "2: http.listen.0 = an array: must be a string in quotes"),
        ("[device]\nmax_sessions = 15", "2: device.max_sessions = 15: must be from 16"),
        ("[device]\nmax_streams = 0", "2: device.max_streams = 0: must be from 1"),
        ("[http]\nmax_connections = true", "2: http.max_connections = true: must be a number"),
        ("[http]\nmax_connections = 1.5", "2: http.max_connections = 1.5: must be a whole number"),
        ("[http]\nmax_connections = -1", "must be from 0 to 2147483647"),
        ("[http]\nmax_connections = 99999999999999999999", "must be from 0 to 2147483647"),
        ("[hls]\nratio = nan", "2: hls.ratio = NaN: must be a number"),
        ("[hls]\nratio = inf", "must be a number"),
        ("[hls]\nsegment = true", "not a duration"),
        ("[hls]\nsegment = nan", "not a duration"),
        ("[hls]\nsegment = 1e300", "not a duration"),
        ("[hls]\nsegment = -2", "not a duration"),
        ('[hls]\nsegment = "２s"', "not a duration"),
        ('[hls]\nsegment = "2 parsecs"', '"parsecs" is no unit of a duration'),
        ('[hls]\npart.size = "2MiB"', "hls.part.size = \"2MiB\": must be from 0B to 1MiB"),
        ("[hls]\nsegment = 1979-05-27", 'hls.segment = "1979-05-27": not a duration'),
        ('[hls]\nsegment = "10s"', "1: hls: window is shorter than three segments"),
        ("[log]\nlevel = \"loud\"", "must be debug, info, warning or error"),
        ("[[stream]]", "1: stream.0 has no name"),
        ('[[stream]]\nname = "../x"', "2: stream.0.name = \"../x\": no part of a stream name"),
        ('[[stream]]\nname = ""', "a stream name is missing"),
        ('[[stream]]\nname = "a\\u001b[2J"', "must not contain"),
        ('[[stream]]\nname = "a"\nsource = "rtsp://u:p;w@h/"', "in an address write %3B"),
        ('[device]\nname = "a b"', "device.name"),
        ('[device]\nname = "-a"', "device.name"),
        ('[device]\nstate = "relative"', "device.state is a whole path"),
        ('[http]\nlisten = ["8080"]', "is not an address"),
        ('[http]\nlisten = ["::1:8080"]', "in brackets"),
        ('[http]\nlisten = [":70000"]', "is not an address"),
        ('[http.tls]\ncert = "/c.pem"', "1: http.tls needs both"),
        ('[http]\ntrusted_proxies = ["x"]', "no address or network"),
        ('"" = 1', 'is not a known table'),
        ('"\\u001b[2J" = 1', '\\u001b[2J is not a known table'),
        ('[hls]\n"a b" = 1', 'hls."a b" is not a known key'),
        (f'[hls]\nnote = "{"x" * 1025}"', "at most 1024"),
        (f'[hls]\nnames = [{"1," * 300}]', "has 300 elements"),
    ],
)  # fmt: skip
def test_config_fault_is_one_sentence_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = faults(tmp_path, text)
    assert fault in found
    assert found.startswith("porthole.toml:")
    assert "\n" not in found and found.isprintable()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"[http\n", "porthole.toml:1:6: "),
        (b"a = 1\nb = \n", "porthole.toml:2:5: Invalid value"),
        (b"a = 1\na = 2\n", "porthole.toml:2:6: "),
        (b"[http]\n[http]\n", "porthole.toml:2:"),
        (b'a = "\xff"', "porthole.toml:1: is not UTF-8"),
        (b"\n\n\xff", "porthole.toml:3: is not UTF-8"),
        (b"a = " + b"[" * 100_000, "porthole.toml"),
        (b"a = 1\x00", "porthole.toml:1:"),
        (b"#" * (1 << 21), "porthole.toml: is larger than 1048576 bytes"),
        (b"a = '''", "porthole.toml:1: "),
    ],
)
def test_config_that_is_no_toml_is_told_with_its_place(
    tmp_path: Path, data: bytes, fault: str
) -> None:
    (found,) = faults(tmp_path, data)
    assert found.startswith(fault)


def test_config_with_windows_line_ends_and_mark_is_read(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf[http]\r\nlisten = [":1"]\r\n[hls]\r\nx = 1\r\n'
    assert faults(tmp_path, data)[0].startswith("porthole.toml:4: hls.x is not")


def test_config_override_wins_over_environment_over_file(tmp_path: Path) -> None:
    text = '[hls]\nsegment = "1s"\nwindow = "10s"\nratio = 1.0'
    environ = {"PORTHOLE_HLS_SEGMENT": "2s", "PORTHOLE_HLS_WINDOW": "12s", "HOME": "/"}
    config = load(tmp_path, text, "hls.segment=3s", environ=environ)
    assert config.services["hls"].segment_us == 3_000_000
    assert config.services["hls"].window_us == 12_000_000


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("hls.enabled=off", False),
        ("hls.enabled=True", True),
        ("hls.ratio=0.5", 0.5),
        ("hls.names=a, b", ("a", "b")),
        ("hls.names=", ()),
        ('hls.names=["a", "b, c"]', ("a", "b, c")),
        ("hls.note='x, y'", "x, y"),
        ("hls.names=one", ("one",)),
        ("hls.part.size=4KiB", Part(4096)),
        ("hls.note=a=b", "a=b"),
        ("hls.format=ts", Form.TS),
    ],
)
def test_config_override_is_read_as_its_key_wants(
    tmp_path: Path, override: str, value: object
) -> None:
    settings = load(tmp_path, "", override).services["hls"]
    name = override.removeprefix("hls.").partition("=")[0].partition(".")[0]
    assert getattr(settings, name) == value


def test_config_override_names_streams_by_number_or_name(tmp_path: Path) -> None:
    text = '[[stream]]\nname = "live/a"\n[[stream]]\nname = "239.1.1.1:1234"'
    config = load(
        tmp_path,
        text,
        "stream.0.source=pattern:",
        "stream.239.1.1.1:1234.video.width=320",
        "stream.live/a.on_demand=yes",
        "stream.2.name=live/new",
    )
    assert config.streams[0].source == "pattern:" and config.streams[0].on_demand
    assert config.streams[1].video.width == 320
    assert config.streams[2].name == "live/new"


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("hls.segment", '--set: "hls.segment": write --set table.name=value'),
        ("=x", "write --set table.name=value"),
        ("hls=x", "--set: hls is a table; name a key in it"),
        ("hls.segmnt=x", '--set: hls has no key "segmnt"; did you mean segment?'),
        ("hsl.x=1", '"hsl.x" is not a known key; did you mean hls?'),
        ("hls.segment.x=1", "hls.segment is no table"),
        ("hls.segment=x", '--set hls.segment: hls.segment = "x": not a duration'),
        ("hls.ratio=x", '--set hls.ratio: hls.ratio = "x": must be a number'),
        ("hls.enabled=maybe", "must be true or false"),
        ('hls.names=["a"', "neither plain text nor a TOML value"),
        ("hls.names=[" + "[" * 9000, "neither plain text nor a TOML value"),
        ('hls.note="a"\nb = 1', "more than one value"),
        ("hls.names=[1]", "must be a string in quotes"),
        ("stream.live/b.source=pattern:", 'there is no stream "live/b"; there are live/a'),
        ("stream.7.source=pattern:", "stream.7 does not exist; the next is stream.1"),
        ("stream.0=pattern:", "--set: stream.0 is a table; name a key in it"),
        ("stream.0.source=$(id)", 'must not contain "$("'),
        ("stream.１.source=pattern:", "there is no stream"),
    ],
)
def test_config_wrong_override_is_told_by_its_name(
    tmp_path: Path, override: str, fault: str
) -> None:
    (found,) = faults(tmp_path, '[[stream]]\nname = "live/a"', override)
    assert fault in found and found.startswith("--set")


def test_config_environment_reaches_every_depth(tmp_path: Path) -> None:
    environ = {
        "PORTHOLE_HTTP_LISTEN": ":1,:2",
        "PORTHOLE_HTTP_TLS_LISTEN": ":3",
        "PORTHOLE_HLS_PART_SIZE": "10",
        "PORTHOLE_STREAM_0_SOURCE": "pattern:",
        "PORTHOLE_STREAM_0_ON_DEMAND_CLOSE": "5s",
        "PORTHOLE_STREAM_1_NAME": "live/b",
        "PORTHOLE_STREAM_1_VIDEO_KEYFRAME": "1s",
    }
    config = load(tmp_path, '[[stream]]\nname = "live/a"', environ=environ)
    assert config.http.listen == (":1", ":2")
    assert config.http.tls.listen == (":3",)
    assert config.services["hls"].part.size_bytes == 10
    assert config.streams[0].on_demand_close_us == 5_000_000
    assert config.streams[1].video.keyframe_us == 1_000_000


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("PORTHOLE_HTTP_LISTN", "x", "is not a known setting; did you mean PORTHOLE_HTTP_LISTEN?"),
        ("PORTHOLE_X", "x", "the rule is PORTHOLE_TABLE_KEY"),
        ("PORTHOLE_HLS_SEGMENT", "x", "not a duration"),
        ("PORTHOLE_STREAM_5_NAME", "x", "stream.5 does not exist; the next is stream.0"),
    ],
)
def test_config_wrong_variable_is_told_by_its_name(
    tmp_path: Path, variable: str, value: str, fault: str
) -> None:
    (found,) = faults(tmp_path, environ={variable: value})
    assert found.startswith(f"{variable}: ") and fault in found


def test_config_leaves_the_key_of_commands_alone(tmp_path: Path) -> None:
    assert load(tmp_path, environ={"PORTHOLE_KEY": "x;y"}) == load(tmp_path)


def test_config_source_argument_becomes_the_camera(tmp_path: Path) -> None:
    clip = tmp_path / "my clip;1.mp4"
    plain = tmp_path / "clip.mp4"
    for path in (clip, plain):
        path.write_bytes(b"")
    for text in (str(plain), f"file:{plain}"):
        config = load(tmp_path, "", source=text)
        assert [(s.name, s.source) for s in config.streams] == [("live/camera", f"file:{plain}")]
    assert load(tmp_path, "", source="file:///a%20b").streams[0].source == "file:///a%20b"
    config = load(
        tmp_path, '[[stream]]\nname = "x"\n[[stream]]\nname="live/camera"', source="pattern:"
    )
    assert [(s.name, s.source) for s in config.streams] == [("x", ""), ("live/camera", "pattern:")]
    assert "SOURCE: " in faults(tmp_path, source=str(clip))[0]
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path, source=f"file:{tmp_path}/none.mp4")
    with pytest.raises(FileNotFoundError, match="is a directory"):
        load(tmp_path, source=f"file:{tmp_path}")


@pytest.mark.parametrize(
    "source",
    [
        "exec:id", " exec:id", "EXEC:rm", "exec:ffmpeg -i x", "pattern:;id", "pattern:$(id)",
        "pattern:`id`", "pattern:|id", "file:/x>y", "file:/x<y", "rtsp://h/${IFS}", "rtsp://h/\nx",
        "file:relative.mp4", "file://host/x", "pattern:x", "av:file:/clip.mp4", "av:http:/h",
        "http://h/x.m3u8", "http://h/.flvx", "http://h", "http:/h/x.flv", "https://h:0/x.flv",
        "rtmp://h/", "rtmp://h/app", "rtmp:h/a/b", "rtmp://u:p@h/a/b", "rtmps://h:0/a/b",
        "av:", "av:exec:id", "av:pipe:0", "av:concat:a|b",
        "av:subfile,,start,0,,:/etc/passwd", "av:data:text/plain,x", "av:av:http://h/", "rtsp://",
        "rtsp://h:99999/", "rtsp://[::1", "rtsp://h:x/", "rtsp://h:0/", "rtsp://a b/", "camera",
        "/dev/video0", "javascript:alert(1)", "x" * 1025,
    ],
)  # fmt: skip
def test_config_hostile_source_is_refused(tmp_path: Path, source: str) -> None:
    assert load(tmp_path).streams == ()
    found = faults(tmp_path, "[[stream]]\nname='a'", f"stream.0.source={source}")
    assert len(found) == 1


@pytest.mark.parametrize(
    "source",
    [
        "pattern:", "file:/a b/clip (1).mp4", "file:///clip.mp4",
        "rtsp://admin:p%40ss@192.168.1.9:554/cam/realmonitor?channel=1&subtype=0",
        "rtsp://[fe80::1]:8554/x", "av:https://h/x.m3u8", "file://localhost/x", "av:udp://@239.1.1.1:1",
        "rtmp://h/live/cam", "rtmps://[fe80::1]:443/a/b/c?key=k&x=1", "http://u:p@h:8080/live/cam.flv",
        "https://h/live/cam.flv?key=k", "",
    ],
)  # fmt: skip
def test_config_real_source_is_taken(tmp_path: Path, source: str) -> None:
    config = load(tmp_path, "[[stream]]\nname='a'", f"stream.0.source={source}")
    assert config.streams[0].source == source


@pytest.mark.parametrize(
    "text", ["exec:id", ";id", "$(id)", "`id`", "a|b", "a\nb", "a\x1b[2J", "x\x00"]
)
def test_config_no_string_anywhere_takes_a_command(tmp_path: Path, text: str) -> None:
    def strings(settings: object, path: str) -> list[str]:
        found = []
        for item in dataclasses.fields(settings):  # type: ignore[arg-type]
            value = getattr(settings, item.name)
            key = f"{path}.{item.metadata.get('key', item.name)}"
            if dataclasses.is_dataclass(value):
                found += strings(value, key)
            elif isinstance(value, str | tuple) or value is None:
                found += [] if item.metadata.get("verbatim") else [key]
                verbatim.update({key} if item.metadata.get("verbatim") else ())
        return found

    verbatim: set[str] = set()

    config = load(tmp_path, "[[stream]]\nname='a'")
    keys = [
        *strings(config.device, "device"),
        *strings(config.http, "http"),
        *strings(config.auth, "auth"),
        *strings(config.log, "log"),
        *strings(config.streams[0], "stream.0"),
        *strings(config.services["hls"], "hls"),
    ]
    assert len(keys) > 12
    assert verbatim == {"stream.0.rtsp.password"}  # shown to a camera, and to nothing else
    for key in keys:
        assert faults(tmp_path, "[[stream]]\nname='a'", f"{key}={text}"), key


def test_config_faults_never_show_a_password(tmp_path: Path) -> None:
    url = f"rtsp://admin:s3cret@{'h' * 100}:99999/x?token=t0ken"
    text = f"[[stream]]\nname = 'a'\nsource = '{url}'\non_demand = '{url}'\n['{url}']"
    shown = "\n".join(faults(tmp_path, text, f"stream.0.takeover={url}", f"x{url}"))
    assert "stream.0.on_demand" in shown
    assert "s3cret" not in shown and "t0ken" not in shown


def test_state_directory_is_systemd_s_or_configured_or_the_user_s_own(tmp_path: Path) -> None:
    device = DeviceSettings()
    assert state_directory(device, {"STATE_DIRECTORY": "/a:/b"}) == Path("/a")
    configured = DeviceSettings(state=str(tmp_path / "new"))
    assert state_directory(configured, {}) == tmp_path / "new"


def test_state_directory_default_yields_to_the_user_s_where_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.config.DEFAULT_STATE", "/proc/none/porthole")
    device = DeviceSettings(state="/proc/none/porthole")
    assert state_directory(device, {"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "porthole"
    assert state_directory(device, {}) == Path.home() / ".local/state/porthole"


def test_find_file_is_the_checkout_s() -> None:
    root = Path(__file__).parent.parent
    assert find_file({}) == root / "conf" / "porthole.toml"
