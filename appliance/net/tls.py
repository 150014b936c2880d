"""TLS contexts: modern defaults, and certificates that are read again when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

from appliance.errors import ConfigError
from appliance.net.tls_pin import pinned_context


def server_context(cert: str, key: str) -> ssl.SSLContext:
    """For accepting connections; TLS 1.2 or newer. Raises: ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(cert, key or None)
    except FileNotFoundError:
        raise ConfigError(f'tls: cannot find "{cert}" or "{key}"') from None
    except PermissionError:
        raise ConfigError(f'tls: may not read "{cert}" or "{key}"') from None
    except ssl.SSLError as error:
        reason = error.reason or "not PEM"
        raise ConfigError(f'tls: "{cert}" and "{key}" do not fit ({reason})') from None
    return context


def client_context(ca: str = "", *, insecure: bool = False) -> ssl.SSLContext:
    """For connecting: the system's authorities, or those in the file `ca`. Raises: ConfigError.

    insecure: any certificate will do, as IP cameras with self-made ones need.
    """
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f'tls: cannot read authorities from "{ca}": {error}') from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class ClientTls:
    """A client context that is made when it is first used: it holds a megabyte of authorities.

    fingerprint: of the only certificate that will do; nothing else counts then.
    Raises: ConfigError if there is no reading `ca`.
    """

    def __init__(self, ca: str = "", *, insecure: bool = False, fingerprint: str = "") -> None:
        self._ca, self._insecure, self._fingerprint = ca, insecure, fingerprint
        self._context: ssl.SSLContext | None = None
        if ca:
            self.context()

    def context(self) -> ssl.SSLContext:
        """Raises: ConfigError."""
        if self._context is None and self._fingerprint:
            self._context = pinned_context(self._fingerprint)
        elif self._context is None:
            self._context = client_context(self._ca, insecure=self._insecure)
        return self._context


class ServerTls:
    """A server context that follows its files: ACME clients replace them every few weeks."""

    def __init__(self, cert: str, key: str) -> None:
        self._cert, self._key = cert, key
        self.context = server_context(cert, key)
        self._stamp = self._read_stamp()

    def _read_stamp(self) -> tuple[tuple[int, int, int], ...]:
        stats = [Path(name).stat() for name in (self._cert, self._key) if name]
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in stats)

    def refresh(self) -> bool:
        """Read the files again if they changed; True if a new certificate is in use.

        Raises: ConfigError, once per change, if the new files are bad; the old certificate stays.
        """
        try:
            stamp = self._read_stamp()
        except OSError:
            return False  # being replaced right now
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self.context = server_context(self._cert, self._key)
        return True
