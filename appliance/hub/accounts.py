"""Who may do what: users with passwords and generated keys, kept as hashes in one small file.

The file is JSON, mode 0600, replaced as a whole (write, fsync, rename, fsync of the directory), so
that it is the old or the new one after a power cut. No secret can be read back from it; what it
keeps for Digest (`hub/digest.py`) lets its thief play and publish, not change the device.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import fnmatch
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from appliance.errors import ConfigError
from appliance.hub.addresses import Network, is_within, parse_network
from appliance.hub.digest import Ha1s, make_ha1s, record_to_ha1s

FILE_NAME = "accounts.json"
MAX_FILE_BYTES = 1 << 20
MAX_ACCOUNTS = 256
MAX_PASSWORD_BYTES = 256  # against a peer that makes us hash megabytes
KEY_BYTES = 16
OWNER = "owner"

_NAME = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.\-]{0,63}\Z", re.ASCII)
_PATTERN = re.compile(r"[0-9A-Za-z_\-./:*?]{1,128}\Z", re.ASCII)


class Action(StrEnum):
    """What somebody wants to do."""

    PUBLISH = "publish"
    PLAY = "play"
    API = "api"


@dataclass(frozen=True, slots=True)
class Scrypt:
    """A password's hash with the parameters it was made with (RFC 7914)."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    n: int = 1 << 14
    r: int = 8
    p: int = 1

    @classmethod
    def make(cls, password: str) -> Scrypt:
        """Blocks for tens of milliseconds on a PC, for hundreds on a small board."""
        blank = cls(secrets.token_bytes(16), b"")
        return cls(blank.salt, blank._hash(password))

    def matches(self, password: str) -> bool:
        """Blocks as long as `make` does; in a thread, please."""
        return hmac.compare_digest(self._hash(password), self.digest)

    def _hash(self, password: str) -> bytes:
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"),
            salt=self.salt,
            n=self.n,
            r=self.r,
            p=self.p,
            maxmem=128 * self.r * (self.n + self.p + 2) + (1 << 20),
            dklen=32,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """One user or key. Exactly one of `password` and `key_digest` is set.

    streams: patterns such as ``live/*``, where ``*`` also crosses slashes; ips: where it may be
    used from, empty for anywhere. ha1s: of every key, and of a password where that was asked for,
    since MD5 of it is guessed much faster than scrypt; empty of keys older than Digest.
    """

    name: str
    allow: frozenset[Action]
    streams: tuple[str, ...] = ("*",)
    ips: tuple[Network, ...] = ()
    password: Scrypt | None = None
    key_digest: str = field(default="", repr=False)
    ha1s: Ha1s = field(default_factory=dict, repr=False, hash=False)

    @property
    def secret_digest(self) -> str:
        """The hash that is stored of its key or password."""
        return self.key_digest or (self.password.digest.hex() if self.password else "")

    def permits(self, action: Action, stream: str, peer_ip: str) -> bool:
        """`stream` is empty where the action is about the whole device."""
        return (
            action in self.allow
            and (not stream or any(fnmatch.fnmatchcase(stream, p) for p in self.streams))
            and (not self.ips or is_within(peer_ip, self.ips))
        )


def make_key() -> str:
    """A new key: 128 random bits, base64url, 22 characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode().rstrip("=")


def digest_key(key: str) -> str:
    """SHA-256 is enough for a key: nobody guesses 128 random bits."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def check_account_name(name: str) -> str:
    """Raises: ConfigError if an account cannot be called so."""
    if not _NAME.match(name):
        raise ConfigError("a user's name has 1 to 64 letters, digits and _ . -")
    return name


def check_pattern(pattern: str) -> str:
    """Raises: ConfigError if this cannot match any stream name."""
    if not _PATTERN.match(pattern):
        raise ConfigError("a stream pattern has letters, digits and _ - . / : * ?, at most 128")
    return pattern


def _account_to_record(account: Account) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": account.name,
        "allow": sorted(account.allow),
        "streams": list(account.streams),
        "ips": [str(network) for network in account.ips],
    }
    if account.ha1s:
        record["digest"] = dict(account.ha1s)
    if account.password is None:
        return record | {"key_sha256": account.key_digest}
    scrypt = account.password
    return record | {
        "scrypt": {
            "salt": scrypt.salt.hex(),
            "digest": scrypt.digest.hex(),
            "n": scrypt.n,
            "r": scrypt.r,
            "p": scrypt.p,
        }
    }


def _record_to_scrypt(record: dict[str, Any]) -> Scrypt:
    n, r, p = (int(record[key]) for key in "nrp")
    if not (2 <= n <= 1 << 17 and n & (n - 1) == 0 and 1 <= r <= 16 and 1 <= p <= 16):
        raise ValueError("scrypt parameters")
    digest = bytes.fromhex(record["digest"])
    if len(digest) != 32:
        raise ValueError("scrypt digest")
    return Scrypt(bytes.fromhex(record["salt"]), digest, n, r, p)


def _record_to_account(record: dict[str, Any]) -> Account:
    password = _record_to_scrypt(record["scrypt"]) if "scrypt" in record else None
    key_digest = "" if password else str(record["key_sha256"])
    if not password and not re.fullmatch(r"[0-9a-f]{64}", key_digest):
        raise ValueError("key digest")
    return Account(
        name=check_account_name(record["name"]),
        allow=frozenset(Action(word) for word in record["allow"]),
        streams=tuple(check_pattern(pattern) for pattern in record["streams"]),
        ips=tuple(parse_network(text) for text in record["ips"]),
        password=password,
        key_digest=key_digest,
        ha1s=record_to_ha1s(record["digest"]) if "digest" in record else {},
    )


class Accounts:
    """The file of accounts in a state directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME

    def stamp(self) -> tuple[int, int, int] | None:
        """Differs whenever the file has been replaced; None without a file."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def load(self) -> tuple[Account, ...]:
        """All accounts; none if there is no file yet.

        Raises: ConfigError if the file cannot be read or is not ours.
        """
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    with contextlib.suppress(OSError):  # only its owner can
                        os.fchmod(file.fileno(), 0o600)
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error
        try:
            document = json.loads(data)
            records = document["accounts"]
            if document["version"] != 1 or len(records) > MAX_ACCOUNTS:
                raise ValueError("version or size")
            accounts = tuple(_record_to_account(record) for record in records)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{self.path} is damaged; remove it to start anew") from error
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error}") from error
        if len({account.name for account in accounts}) != len(accounts):
            raise ConfigError(f"{self.path}: two accounts have one name")
        return accounts

    def save(self, accounts: tuple[Account, ...]) -> None:
        """Replaces the file. Raises: ConfigError if the directory cannot be written."""
        document = {"version": 1, "accounts": [_account_to_record(item) for item in accounts]}
        try:
            replace_file(self.path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}") from error

    def add(self, account: Account) -> None:
        """Raises: ConfigError if the name is taken or there are too many."""
        with self._locked():
            accounts = self.load()
            if any(item.name == account.name for item in accounts):
                raise ConfigError(f"there is already a user {account.name}; remove it first")
            if len(accounts) >= MAX_ACCOUNTS:
                raise ConfigError(f"there are already {len(accounts)} users")
            self.save((*accounts, account))

    def remove(self, name: str) -> None:
        """Raises: ConfigError if there is no such account."""
        with self._locked():
            accounts = self.load()
            left = tuple(item for item in accounts if item.name != name)
            if len(left) == len(accounts):
                raise ConfigError(f"there is no user {check_account_name(name)}")
            self.save(left)

    def make_owner(self) -> str | None:
        """On a device without accounts: makes the owner's key and returns it, this one time."""
        with self._locked():
            if self.path.exists():
                return None
            key = make_key()
            owner = Account(
                OWNER,
                frozenset(Action),
                key_digest=digest_key(key),
                ha1s=make_ha1s(OWNER, key),
            )
            self.save((owner,))
        return key

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, also among processes."""
        directory = self.path.parent
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ConfigError(f"{directory}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def replace_file(path: Path, data: bytes) -> None:
    """Atomic and durable; the new file is never readable by others, not even for a moment."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:  # root adds a user for the service, which must be able to read it
                owner = path.parent.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
