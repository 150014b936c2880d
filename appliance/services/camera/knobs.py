"""What a camera is set to: its configuration, then a preset, then what somebody changed by hand.

The later wins. Values are those of the pipe's `Change`: bitrate in bit/s, keyframe in µs. What was
changed by hand lasts until the service starts anew or the stream's configuration changes; only
whether the camera is on is kept longer (switches.py), because that is about privacy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from appliance.errors import ConfigError
from appliance.services.contract import StreamSettings

MAX_CONTROLS = 128  # remembered, against a caller of ever new names
MAX_TEXT_CHARS = 200
RANGES = {"bitrate": (16_000, 200_000_000), "fps": (1, 120), "keyframe": (100_000, 60_000_000)}
UNITS = {"bitrate": "bits/s", "fps": "pictures/s", "keyframe": "µs"}


class Knobs:
    """One camera's values by layer. preset: the name of the one that holds now; empty for none."""

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._presets = {preset.name: preset for preset in settings.preset}
        self._manual: dict[str, Any] = {}
        self.preset = ""

    @property
    def presets(self) -> list[str]:
        return list(self._presets)

    def values(self) -> dict[str, Any]:
        """All of them as they are now."""
        return _merged(self._base(), self._of_preset(self.preset), self._manual)

    def check(self, values: Mapping[str, Any], device: Mapping[str, Any]) -> None:
        """Types and ranges. device: the controls that the worker told last, empty if unknown.

        Raises: ConfigError.
        """
        for name, value in values.items():
            if name in RANGES:
                _check_number(name, value, *RANGES[name], UNITS[name])
            elif name == "overlay":
                if not isinstance(value, bool):
                    raise ConfigError("overlay: give true or false")
            elif name == "text":
                if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
                    raise ConfigError(f"text: give at most {MAX_TEXT_CHARS} characters")
            elif name == "controls":
                self._check_controls(value, device)
            elif name == "preset":
                if value not in self._presets:
                    there = ", ".join(self._presets) or "none"
                    raise ConfigError(f"preset: there is no such preset; there are {there}")
            elif name != "enabled":
                known = ", ".join([*RANGES, "text", "overlay", "controls", "preset", "enabled"])
                raise ConfigError(f"{str(name)[:40]!r} cannot be changed; there are {known}")

    def _check_controls(self, value: Any, device: Mapping[str, Any]) -> None:
        if not isinstance(value, Mapping):
            raise ConfigError("controls: give an object of names and values")
        if len({*value, *self._manual.get("controls", ())}) > MAX_CONTROLS:
            raise ConfigError(f"controls: at most {MAX_CONTROLS} are possible")
        for name, setting in value.items():
            control = device.get(name)
            if isinstance(control, Mapping):
                _check_control(name, setting, control)
            elif device:
                raise ConfigError(f"controls: there is no {str(name)[:40]!r}")

    def change(self, values: Mapping[str, Any]) -> None:
        """Remember what was changed by hand; checked before."""
        if preset := values.get("preset"):
            self.preset = preset
            self._forget(self._of_preset(preset))
        by_hand = {name: each for name, each in values.items() if name not in {"preset", "enabled"}}
        self._manual = _merged(self._manual, by_hand)

    def switch(self, preset: str) -> None:
        """The hours of a preset begin, or (empty) those of the last one are over."""
        self.preset = preset
        self._forget(self._of_preset(preset))

    def preview(
        self, values: Mapping[str, Any], before: Mapping[str, Any], device: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What a worker would have to be told if `change` were called with these."""
        preset, manual = self.preset, self._manual
        self._manual = _merged(manual)
        try:
            self.change(values)
            return self.step(before, device)
        finally:
            self.preset, self._manual = preset, manual

    def step(self, before: Mapping[str, Any], device: Mapping[str, Any]) -> dict[str, Any]:
        """What must be told to a worker that still has the values of `before`.

        A control that nothing sets any more goes back to what the device calls its default.
        """
        now = self.values()
        told = {
            name: value
            for name, value in now.items()
            if name != "controls" and value != before.get(name)
        }
        old, new = before.get("controls", {}), now["controls"]
        controls = {name: value for name, value in new.items() if old.get(name, _NEVER) != value}
        for name in old.keys() - new.keys():
            control = device.get(name)
            if isinstance(control, Mapping) and control.get("default") is not None:
                controls[name] = control["default"]
        return told | ({"controls": controls} if controls else {})

    # -- layers --------------------------------------------------------------------------------

    def _base(self) -> dict[str, Any]:
        video, overlay = self._settings.video, self._settings.overlay
        return {
            "bitrate": video.bitrate_bps,
            "fps": video.fps,
            "keyframe": video.keyframe_us,
            "text": overlay.text,
            "overlay": overlay.enabled,
            "controls": dict(self._settings.controls),
        }

    def _of_preset(self, name: str) -> dict[str, Any]:
        preset = self._presets.get(name)
        if preset is None:
            return {}
        values: dict[str, Any] = {"controls": dict(preset.controls)}
        if preset.fps:
            values["fps"] = preset.fps
        if preset.bitrate_bps:
            values["bitrate"] = preset.bitrate_bps
        return values

    def _forget(self, values: Mapping[str, Any]) -> None:
        """What was set by hand before a preset does not hold against it."""
        for name in values.keys() - {"controls"}:
            self._manual.pop(name, None)
        kept = self._manual.get("controls")
        if kept:
            gone = values.get("controls", {})
            self._manual["controls"] = {k: v for k, v in kept.items() if k not in gone}


_NEVER = object()


def _merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name == "controls":
                value = {**merged.get("controls", {}), **value}
            merged[name] = value
    return merged


def _check_number(name: str, value: Any, low: float, high: float, unit: str) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(f"{name} = {str(value)[:40]}: give {low} to {high} {unit}")


def _check_control(name: str, value: Any, control: Mapping[str, Any]) -> None:
    """As far as the device has told what it takes; the device itself has the last word."""
    choices = control.get("choices")
    low, high = control.get("min"), control.get("max")
    if isinstance(choices, list) and choices and control.get("type") == "menu":
        if value not in choices and not isinstance(value, int):
            raise ConfigError(f"{name}: give one of {', '.join(map(str, choices))[:200]}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        below = isinstance(low, int | float) and value < low
        above = isinstance(high, int | float) and value > high
        if below or above:
            raise ConfigError(f"{name} = {value}: give {low} to {high}")


def worker_options(
    settings: StreamSettings,
    device_name: str,
    values: Mapping[str, Any],
    sub: StreamSettings | None,
) -> dict[str, Any]:
    """What `appliance.capture.options` reads. values: of `Knobs.values`."""
    video, audio, overlay = settings.video, settings.audio, settings.overlay
    options: dict[str, Any] = {
        "stream": settings.name,
        "device": device_name,
        "width": video.width,
        "height": video.height,
        # As fast as it may ever be told to be: a worker can take fewer pictures, not more.
        "fps": max(video.fps, values["fps"], *(preset.fps for preset in settings.preset)),
        "pace": values["fps"],
        "bitrate_bps": values["bitrate"],
        "keyframe_us": values["keyframe"],
        "encoder": video.encoder,
        "rotation": video.rotation,
        "rotate": video.rotate,
        "threads": video.threads,
        "adapt": video.adapt,
        "audio": audio.device,
        "audio_bitrate_bps": audio.bitrate_bps,
        "audio_channels": audio.channels,
        "controls": {name: _plain(value) for name, value in values["controls"].items()},
        "overlay": {
            "shown": values["overlay"],
            "name": overlay.name,
            "clock": overlay.clock,
            "text": values["text"],
            "position": overlay.position,
            "size_percent": float(overlay.size_percent),
        },
        "masks": [asdict(mask) for mask in settings.mask],
    }
    if sub is not None:
        options["sub"] = {
            "width": sub.video.width,
            "height": sub.video.height,
            "fps": sub.video.fps,
            "bitrate_bps": sub.video.bitrate_bps,
            "keyframe_us": sub.video.keyframe_us,
        }
    return options


def _plain(value: Any) -> Any:
    """Lists of the configuration are tuples."""
    return list(value) if isinstance(value, tuple) else value
