"""A microphone without a sound card: ALSA's `file` plugin, which reads samples from a file.

It stands on `null`, which keeps no time: it has samples as fast as they are taken.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from pathlib import Path

RATE_HZ = 48_000
CONFIG = """
pcm.{name} {{
    type file
    slave.pcm {{ type null }}
    file "/dev/null"
    infile "{infile}"
    format "raw"
}}
"""


def sine(hz: float, seconds: float, *, level: int = 8000, rate_hz: float = RATE_HZ) -> array[int]:
    """16-bit samples as a device of that rate takes them."""
    turn = 2 * math.pi * hz / rate_hz
    return array("h", [round(level * math.sin(turn * n)) for n in range(round(seconds * rate_hz))])


def write_alsa_config(folder: Path, name: str, samples: array[int]) -> Path:
    """A configuration with one device of this name, for $ALSA_CONFIG_PATH."""
    infile, config = folder / f"{name}.raw", folder / "asound.conf"
    infile.write_bytes(samples.tobytes())
    config.write_text(CONFIG.format(name=name, infile=infile))
    return config


def amplitude(samples: Iterable[float], hz: float, rate_hz: int = RATE_HZ) -> float:
    """Of the tone of this frequency, as a fraction of full scale."""
    turn, real, imaginary, count = 2 * math.pi * hz / rate_hz, 0.0, 0.0, 0
    for value in samples:
        real += value * math.cos(turn * count)
        imaginary += value * math.sin(turn * count)
        count += 1
    return 2 * math.hypot(real, imaginary) / count
