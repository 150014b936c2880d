"""User and password of a camera, from wherever its owner keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from appliance.errors import ConfigError
from appliance.services.contract import RtspSettings
from appliance.wire.rtsp.target import RtspAddress

MAX_FILE_BYTES = 4096
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential=


def with_login(
    address: RtspAddress, settings: RtspSettings, environ: Mapping[str, str]
) -> RtspAddress:
    """The address with the user and password to show. Raises: ConfigError if there is no reading
    the file that has it."""
    password = settings.password or address.password
    if settings.password_file:
        password = read_password(settings.password_file, environ)
    return replace(address, user=settings.user or address.user, password=password)


def password_path(name: str, environ: Mapping[str, str]) -> Path:
    """A path, or the name of one of systemd's credentials. Raises: ConfigError."""
    if "/" in name:
        return Path(name)
    if directory := environ.get(CREDENTIALS):
        return Path(directory) / name
    raise ConfigError(
        f'password_file "{name}" is one of systemd\'s credentials, of which there are none here; '
        "write a whole path, or LoadCredential= in the unit"
    )


def read_password(name: str, environ: Mapping[str, str]) -> str:
    """The first line of the file. Raises: ConfigError, which tells nothing of what is in it."""
    path = password_path(name, environ)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES)
        line = data.decode("utf-8-sig").partition("\n")[0]
    except OSError as error:
        raise ConfigError(f'cannot read password_file "{name}": {error.strerror}') from None
    except UnicodeDecodeError:
        raise ConfigError(f'password_file "{name}" is not UTF-8') from None
    return line.removesuffix("\r")
