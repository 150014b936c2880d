"""The device's certificate for WebRTC: made once, and kept where only the device reads it.

Loads OpenSSL.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from appliance.errors import ConfigError
from appliance.wire.dtls.certificate import DeviceCertificate, make_certificate, read_certificate

log = logging.getLogger(__name__)

FILE = "webrtc.pem"
MAX_BYTES = 16_384  # a file that is no certificate of ours


def load_certificate(state_dir: Path | None) -> DeviceCertificate:
    """The one that is kept; a new one if there is none, or nothing can be kept."""
    if state_dir is None:
        return make_certificate()
    path = state_dir / FILE
    try:
        with path.open("rb") as file:
            return read_certificate(file.read(MAX_BYTES))
    except FileNotFoundError:
        pass
    except (OSError, ConfigError) as error:
        log.warning("webrtc: %s cannot be used, a new certificate is made: %s", path, error)
    made = make_certificate()
    try:
        _keep(path, made.pem())
    except OSError as error:
        log.warning("webrtc: the certificate cannot be kept: %s", error)
    return made


def _keep(path: Path, pem: bytes) -> None:
    """Whole or not at all, whatever happens."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
    fresh.replace(path)
