"""`porthole check`: what a faultless configuration amounts to, in a few lines."""

from __future__ import annotations

import os

from appliance.config import Config, ConfigSource, state_directory
from appliance.redact import redact


def summarize(config: Config, source: ConfigSource) -> str:
    """A table for people."""
    auth = config.auth
    rows = [
        ("file", str(source.path) if source.path else "none (built-in defaults)"),
        ("device", config.device.name),
        ("state", str(state_directory(config.device, os.environ))),
        ("http", ", ".join(config.http.listen) or "-"),
    ]
    if config.http.tls.listen:
        rows.append(("https", ", ".join(config.http.tls.listen)))
    rows.append(("auth", f"play {auth.play}, publish {auth.publish}, api {auth.api}"))
    off = [name for name, settings in config.services.items() if not _is_enabled(settings)]
    rows.append(("services", ", ".join(n for n in config.services if n not in off) or "-"))
    if off:
        rows.append(("off", ", ".join(off)))
    for stream in config.streams:
        about = redact(stream.source) or "(published to)"
        if not stream.enabled:
            about += ", off"
        elif stream.on_demand:
            about += ", on demand"
        rows.append(("stream", f"{stream.name}  {about}"))
    return "\n".join(["ok", *(f"  {name:<9} {value}" for name, value in rows)])


def _is_enabled(settings: object) -> bool:
    if isinstance(settings, tuple):  # an array of tables
        return any(map(_is_enabled, settings))
    return bool(getattr(settings, "enabled", True))
