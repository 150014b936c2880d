"""What cameras in a configuration can be wrong about, each with the line it stands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.catalog import settings_types, source_schemes
from appliance.config import Config, ConfigFaults, ConfigSource


def load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "p.toml"
    path.write_text(text)
    return ConfigSource(path, overrides, None, {}).load(settings_types(), source_schemes())


def faults(tmp_path: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        load(tmp_path, text, *overrides)
    return [str(fault).replace(f"{tmp_path}/", "") for fault in caught.value.faults]


CAMERA = '[[stream]]\nname = "live/front"\nsource = "pattern:"\n'


def test_cameras_everything_a_camera_can_have_is_read(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        CAMERA
        + """
        hours = ["07:00-12:00", "22:00-06:00"]
        led = "gpio:17"
        slate = false
        [stream.video]
        rotation = 90
        rotate = "picture"
        threads = 2
        adapt = false
        [stream.audio]
        device = "hw:1,0"
        channels = 2
        [stream.overlay]
        enabled = true
        name = "Tür"
        size = 6.5
        [stream.controls]
        brightness = 10
        "White Balance" = "Auto"
        gains = [1.5, 2]
        [[stream.mask]]
        x = 0.5
        width = 0.5
        height = 1
        [[stream.preset]]
        name = "night"
        hours = ["21:00-06:00"]
        bitrate = "1M"
        controls = { exposure = 2000 }
        [[stream]]
        name = "live/small"
        source = "camera:front/sub"
        video = { width = 640, height = 360 }
        """,
    )
    front, small = config.streams
    assert front.hours == ("07:00-12:00", "22:00-06:00") and front.led == "gpio:17"
    assert (front.video.rotation, front.video.rotate, front.video.threads) == (90, "picture", 2)
    assert front.audio.channels == 2 and front.overlay.size_percent == 6.5
    assert dict(front.controls) == {
        "brightness": 10, "White Balance": "Auto", "gains": (1.5, 2),
    }  # fmt: skip
    assert front.mask[0].x == 0.5 and front.mask[0].y == 0.0
    assert front.preset[0].bitrate_bps == 1_000_000 and front.preset[0].fps == 0
    assert dict(front.preset[0].controls) == {"exposure": 2000}
    assert small.source == "camera:front/sub"


def test_cameras_all_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        """\
[[stream]]
name = "live/front"
source = "v4l2:video0"
hours = ["7-22"]
led = "../brightness"
[stream.video]
rotation = 45
rotate = "flip"
encoder = "nvenc"
[stream.overlay]
position = "middle"
size = 90
[stream.controls]
brightness = { value = 10 }
[[stream.mask]]
x = 0.5
y = 0.9
width = 0.5
height = 0.2
[[stream.mask]]
x = 0.5
[[stream.preset]]
name = "night"
hours = ["21:00-21:00"]
fps = 10
[[stream.preset]]
name = "night"
""",
    ) == [
        'p.toml:3: stream.0.source = "v4l2:video0": write "v4l2:auto", or the device\'s path as '
        '`porthole cameras` shows it, like "v4l2:/dev/v4l/by-id/…"',
        'p.toml:4: stream.0.hours: "7-22": write hours like "07:00-22:00" or "mon-fri 08:00-18:00"',
        'p.toml:5: stream.0.led = "../brightness": write a name under /sys/class/leds, '
        'or "gpio:17"',
        "p.toml:7: stream.0.video.rotation = 45: give 0, 90, 180 or 270",
        'p.toml:8: stream.0.video.rotate = "flip": must be flag or picture',
        'p.toml:9: stream.0.video.encoder = "nvenc": must be auto, camera, h264_v4l2m2m or libx264',
        'p.toml:11: stream.0.overlay.position = "middle": must be top-left, top, top-right, '
        "bottom-left, bottom or bottom-right",
        "p.toml:12: stream.0.overlay.size = 90: must be from 1 to 20",
        "p.toml:14: stream.0.controls.brightness: must be a number, true, false, a string or an "
        "array of numbers",
        "p.toml:19: stream.0.mask.0: y + height = 1.1 reaches beyond the picture, which ends at 1",
        "p.toml:20: stream.0.mask.1.width is missing or 0; give a part of the picture",
        "p.toml:20: stream.0.mask.1.height is missing or 0; give a part of the picture",
        'p.toml:24: stream.0.preset.0.hours: "21:00-21:00": begins when it ends; all day is '
        '"00:00-24:00"',
        "p.toml:26: stream.0.preset.1 changes nothing; give fps, bitrate or controls",
        "p.toml:27: stream.0 has two presets night",
    ]


@pytest.mark.parametrize(
    "source",
    ["v4l2:auto", "v4l2:/dev/video0", "v4l2:/dev/v4l/by-id/usb-046d_C920_A-video-index0",
     "v4l2:/dev/v4l/by-path/platform-fd500000.pcie-usb-0:1.3:1.0-video-index0", "picamera2:0",
     "picamera2:1", "picamera2:/base/soc/i2c0mux/i2c@1/imx708@1a"],
)  # fmt: skip
def test_cameras_source_that_is_one_is_taken(tmp_path: Path, source: str) -> None:
    assert load(tmp_path, CAMERA.replace("pattern:", source)).streams[0].source == source


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("v4l2:", 'write "v4l2:auto"'),
        ("v4l2:0", 'write "v4l2:auto"'),
        ("v4l2:/etc/passwd", 'write "v4l2:auto"'),
        ("v4l2:/dev/../etc/passwd", 'write "v4l2:auto"'),
        ("v4l2:/dev/", 'write "v4l2:auto"'),
        ("/dev/video0", 'write "v4l2:/dev/video0"'),
        ("/dev/v4l/by-id/x", 'write "v4l2:/dev/v4l/by-id/x"'),
        ("picamera2:", 'write "picamera2:0"'),
        ("picamera2:first", 'write "picamera2:0"'),
        ("picamera2:-1", 'write "picamera2:0"'),
        ("picamera2:０", 'write "picamera2:0"'),
        ("picamera:0", "did you mean picamera2?"),
        ("camera:", 'write "camera:NAME/sub"'),
        ("camera:front", 'write "camera:NAME/sub"'),
        ("camera:/sub", 'write "camera:NAME/sub"'),
        ("camera:front/main", 'write "camera:NAME/sub"'),
    ],
)
def test_cameras_source_that_is_none_is_told_how(tmp_path: Path, source: str, fault: str) -> None:
    (found,) = [
        one for one in faults(tmp_path, CAMERA.replace("pattern:", source)) if "write" in one
        or "mean" in one
    ]  # fmt: skip
    assert found.startswith("p.toml:3: stream.0.source") and fault in found


@pytest.mark.parametrize("path", ["/dev/video0", "/dev/v4l/by-id/usb-x-video-index0"])
def test_cameras_path_on_the_command_line_is_one(path: str) -> None:
    config = ConfigSource(None, (), path, {}).load(settings_types(), source_schemes())
    assert config.streams[0].source == f"v4l2:{path}"


SMALL = "video = { width = 640, height = 360 }\n"


@pytest.mark.parametrize(
    ("streams", "fault"),
    [
        ('name = "live/a"\nsource = "camera:x/sub"', 'there is no camera "x"; there are front'),
        ('name = "live/a"\nsource = "camera:a/sub"', 'there is no camera "a"; there are front'),
        (
            'name = "live/a"\nsource = "file:/x.mp4"\n[[stream]]\nname = "live/b"\n'
            f'source = "camera:a/sub"\n{SMALL}',
            "live/a is file:, which has no second stream",
        ),
        (
            'name = "door/front"\nsource = "pattern:"\n[[stream]]\nname = "live/b"\n'
            f'source = "camera:front/sub"\n{SMALL}',
            "that can be live/front or door/front; write it whole",
        ),
        (
            f'name = "live/a"\nsource = "camera:front/sub"\n{SMALL}[[stream]]\nname = "live/b"\n'
            f'source = "camera:live/front/sub"\n{SMALL}',
            "live/a is its second stream already",
        ),
        (
            'name = "live/a"\nsource = "camera:front/sub"\nvideo = { width = 1920 }',
            "1920×720 is larger than live/front with 1280×720",
        ),
    ],
)  # fmt: skip
def test_cameras_second_stream_is_of_a_camera_that_has_one(
    tmp_path: Path, streams: str, fault: str
) -> None:
    (found,) = faults(tmp_path, f"{CAMERA}[[stream]]\n{streams}")
    assert fault in found and found.startswith("p.toml:")


def test_cameras_second_stream_is_found_by_the_whole_name(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        CAMERA + '[[stream]]\nname = "door/front"\nsource = "pattern:"\n'
        f'[[stream]]\nname = "live/b"\nsource = "camera:door/front/sub"\n{SMALL}',
    )
    assert len(config.streams) == 3


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("brightness=10", 10),
        ("gain=1.5", 1.5),
        ("af=true", True),
        ("af=False", False),
        ("mode=Auto", "Auto"),
        ("mode='10'", "10"),
        ("gains=[1.5, 2]", (1.5, 2)),
        ("a.b=1", 1),
    ],
)
def test_cameras_controls_are_set_from_the_command_line(
    tmp_path: Path, override: str, value: object
) -> None:
    config = load(tmp_path, CAMERA, f"stream.live/front.controls.{override}")
    assert dict(config.streams[0].controls) == {override.partition("=")[0]: value}


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("stream.0.controls=1", "stream.0.controls is a table; name a key in it"),
        ("stream.0.controls.x=$(id)", 'must not contain "$("'),
        ("stream.0.mask=1", "stream.0.mask.0 is a table"),
        ("stream.0.mask.0.x=1", "stream.0.mask is no table"),
        ("stream.0.hours=07:00-22:00,x", '"x": write hours like'),
        ("stream.0.led=gpio:", "write a name under"),
        ("stream.0.led=a/b", "write a name under"),
        (f"stream.0.overlay.text={'x' * 201}", "has 201 characters"),
    ],
)
def test_cameras_wrong_override_is_told(tmp_path: Path, override: str, fault: str) -> None:
    found = faults(tmp_path, CAMERA, override)
    assert fault in found[0] and all(one.startswith("--set") for one in found)


def test_cameras_that_encode_by_themselves_cannot_be_masked(tmp_path: Path) -> None:
    (found,) = faults(
        tmp_path,
        '[[stream]]\nname = "live/front"\nsource = "v4l2:auto"\n[stream.video]\n'
        'encoder = "camera"\n[[stream.mask]]\nwidth = 0.5\nheight = 0.5\n',
    )
    assert "cannot hide what is masked" in found


def test_cameras_more_masks_or_presets_than_are_drawn_are_refused(tmp_path: Path) -> None:
    mask = "[[stream.mask]]\nwidth = 0.1\nheight = 0.1\n"
    presets = "".join(f'[[stream.preset]]\nname = "p{n}"\nfps = 5\n' for n in range(17))
    found = faults(tmp_path, CAMERA + mask * 17 + presets)
    assert [one.partition(": ")[2] for one in found] == [
        "stream.0 has 17 masks, at most 16", "stream.0 has 17 presets, at most 16",
    ]  # fmt: skip
    assert load(tmp_path, CAMERA + mask * 16).streams[0].mask[15].width == 0.1
