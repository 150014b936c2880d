"""The configuration: a TOML file, the environment and the command line, as frozen dataclasses.

Every fault of all three is found at once and told with its place. What a service's table may
hold is that service's `Settings`; nothing here knows any service.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from appliance.config_cameras import check_cameras
from appliance.config_lines import Lines, locate
from appliance.config_lines import Path as KeyPath
from appliance.config_overrides import (
    Schema,
    find_dotted,
    parse_assignment,
    put,
    read_environment,
)
from appliance.config_source import check_source, complete_source
from appliance.config_values import Builder, Text, dotted, item_of, nearest, show
from appliance.errors import ConfigError, NameInvalid
from appliance.hub.access import AuthSettings
from appliance.hub.addresses import parse_network
from appliance.hub.names import stream_name
from appliance.hub.sessions import MAX_SESSIONS
from appliance.hub.stream import MAX_STREAMS
from appliance.log import LogSettings, escape
from appliance.net.address import parse_address
from appliance.net.http import HttpSettings
from appliance.redact import redact
from appliance.services.contract import StreamSettings

MAX_FILE_BYTES = 1 << 20
DEFAULT_STREAM = "live/camera"
DEFAULT_SOURCE = "pattern:"
DEFAULT_STATE = "/var/lib/porthole"
_LABEL = re.compile(r"[0-9A-Za-z]([0-9A-Za-z\-]{0,61}[0-9A-Za-z])?\Z", re.ASCII)
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)\Z")


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """`[device]`. name: of mDNS and of pages; empty in the file means the host name.

    max_sessions: publishers and viewers of all protocols at once; max_streams: at once.
    """

    name: str = ""
    state: str = DEFAULT_STATE
    max_sessions: int = field(default=MAX_SESSIONS, metadata={"min": 16})
    max_streams: int = field(default=MAX_STREAMS, metadata={"min": 1})


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. services: every service's Settings by the name of its table."""

    device: DeviceSettings = field(default_factory=DeviceSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)
    log: LogSettings = field(default_factory=LogSettings)
    streams: tuple[StreamSettings, ...] = ()
    services: Mapping[str, Any] = field(default_factory=dict)


CORE: Mapping[str, Any] = MappingProxyType(
    {
        "device": DeviceSettings,
        "http": HttpSettings,
        "auth": AuthSettings,
        "log": LogSettings,
        "stream": tuple[StreamSettings, ...],
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, where, and what to write instead."""

    place: str
    line: int
    text: str

    def __post_init__(self) -> None:
        """Both may quote what somebody wrote: nothing of it reaches a terminal unescaped."""
        object.__setattr__(self, "place", escape(redact(self.place)))
        object.__setattr__(self, "text", escape(redact(self.text)))

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ConfigFaults(ConfigError):
    """Everything that is wrong with a configuration, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where a configuration comes from, so that it can be read again.

    path: None for the built-in defaults with the test pattern as their stream.
    overrides: ``a.b=c`` each; source: of the stream live/camera. The later wins: file,
    environment, overrides, source.
    """

    path: Path | None
    overrides: Sequence[str] = ()
    source: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def load(self, services: Mapping[str, type[Any]], schemes: Collection[str]) -> Config:
        """services: each one's Settings class by the name of its table, ``tuple[Settings, ...]``
        for an array of tables; schemes: those that a source may have. Raises: ConfigFaults;
        OSError if the file cannot be read.
        """
        reading = _Reading({**CORE, **services})
        if self.path is None:
            reading.tree = {"stream": [{"name": DEFAULT_STREAM, "source": DEFAULT_SOURCE}]}
        else:
            reading.read_file(self.path)
        reading.read_environment(self.environ)
        for text in self.overrides:
            reading.read_assignment(text)
        if self.source is not None:
            reading.read_source(self.source)
        config = reading.build(services, schemes)
        if reading.faults:
            raise ConfigFaults(reading.faults)
        return config


class _Reading:
    """The tree of raw values, where each came from, and the faults so far."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.tree: dict[str, Any] = {}
        self.file = ""
        self.lines = Lines()
        self.origins: dict[KeyPath, str] = {}  # of what is not from the file
        self.faults: list[Fault] = []

    def report(self, path: KeyPath, text: str) -> None:
        line = self.lines.find(path) or 0
        origin = next((self.origins[path[:n]] for n in range(len(path), 0, -1)
                       if path[:n] in self.origins), None)  # fmt: skip
        if origin is not None:
            self.faults.append(Fault(origin, 1 << 30, text))
        else:
            place = f"{self.file}:{line}" if line else self.file or "built-in defaults"
            self.faults.append(Fault(place, line, text))

    # -- what is given -------------------------------------------------------------------------

    def read_file(self, path: Path) -> None:
        self.file = str(path)
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigFaults([Fault(self.file, 0, f"is larger than {MAX_FILE_BYTES} bytes")])
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise ConfigFaults([Fault(f"{self.file}:{line}", line, "is not UTF-8")]) from error
        text = text.replace("\r\n", "\n")
        try:
            self.tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigFaults([_toml_fault(self.file, text, error)]) from error
        except RecursionError as error:
            raise ConfigFaults([Fault(self.file, 0, "is nested too deeply")]) from error
        self.lines = locate(text)

    def read_environment(self, environ: Mapping[str, str]) -> None:
        for name, found, value in read_environment(self.schema, environ):
            if isinstance(found, ConfigError):
                self.faults.append(Fault(name, 1 << 29, str(found)))
            else:
                self._put(found, value, name)

    def read_assignment(self, text: str) -> None:
        try:
            key, value = parse_assignment(text)
            path = find_dotted(self.schema, self.tree, key)
        except ConfigError as error:
            self.faults.append(Fault("--set", 1 << 30, str(error)))
        else:
            self._put(path, value, f"--set {key}")

    def read_source(self, text: str) -> None:
        """SOURCE: the source of live/camera, which is added if the file has no such stream."""
        streams = self.tree.setdefault("stream", [])
        if not isinstance(streams, list):
            return  # told when it is built
        names = [item.get("name") if isinstance(item, dict) else None for item in streams]
        index = names.index(DEFAULT_STREAM) if DEFAULT_STREAM in names else len(names)
        if index == len(names):
            self._put(("stream", index, "name"), Text(DEFAULT_STREAM), "SOURCE")
        self._put(("stream", index, "source"), Text(complete_source(text)), "SOURCE")

    def _put(self, path: KeyPath, value: Any, origin: str) -> None:
        try:
            put(self.tree, path, value)
        except ConfigError as error:
            self.faults.append(Fault(origin, 1 << 30, str(error)))
        else:
            self.origins[path] = origin

    # -- what it means -------------------------------------------------------------------------

    def build(self, services: Mapping[str, type[Any]], schemes: Collection[str]) -> Config:
        builder = Builder(self.report)
        for name in self.tree.keys() - self.schema.keys():
            self.report((name,), f"{show(name)[1:-1]} is not a known table"
                        f"{nearest(name, self.schema)}")  # fmt: skip
        device = builder.table(DeviceSettings, self.tree.get("device", {}), ("device",))
        http = builder.table(HttpSettings, self.tree.get("http", {}), ("http",))
        config = Config(
            device=self._check_device(device or DeviceSettings()),
            http=http or HttpSettings(),
            auth=builder.table(AuthSettings, self.tree.get("auth", {}), ("auth",)),
            log=builder.table(LogSettings, self.tree.get("log", {}), ("log",)),
            streams=self._build_streams(builder, schemes),
            services={
                name: self._build_service(builder, name, cls) for name, cls in services.items()
            },
        )
        self._check_http(config.http)
        return config

    def _build_service(self, builder: Builder, name: str, cls: Any) -> Any:
        """Its Settings, or a tuple of them if it is configured by an array of tables."""
        item = item_of(cls)
        if item is None:
            return builder.table(cls, self.tree.get(name, {}), (name,))
        raw = self.tree.get(name, [])
        if not isinstance(raw, list):
            self.report((name,), f"{name} is an array of tables; write [[{name}]]")
            return ()
        built = [builder.table(item, table, (name, index)) for index, table in enumerate(raw)]
        return tuple(settings for settings in built if settings is not None)

    def _build_streams(
        self, builder: Builder, schemes: Collection[str]
    ) -> tuple[StreamSettings, ...]:
        raw = self.tree.get("stream", [])
        if not isinstance(raw, list):
            self.report(("stream",), "stream is an array of tables; write [[stream]]")
            return ()
        streams: list[tuple[KeyPath, StreamSettings]] = []
        first: dict[str, int] = {}
        for index, item in enumerate(raw):
            path: KeyPath = ("stream", index)
            stream = builder.table(StreamSettings, item, path)
            if stream is None:
                continue
            self._check_stream(stream, path, schemes)
            if stream.name in first:
                line = self.lines.find(("stream", first[stream.name], "name"))
                before = f" on line {line}" if line else ""
                self.report((*path, "name"), f"{stream.name} is already configured{before}")
            first.setdefault(stream.name, index)
            streams.append((path, stream))
        check_cameras(streams, self.report)
        return tuple(stream for _, stream in streams)

    def _check_stream(
        self, stream: StreamSettings, path: KeyPath, schemes: Collection[str]
    ) -> None:
        try:
            stream_name(stream.name)
        except NameInvalid as error:
            self.report((*path, "name"), f"{dotted(path)}.name = {show(stream.name)}: {error}")
        try:
            check_source(stream.source, schemes)
        except ConfigError as error:
            shown = show(stream.source)
            self.report((*path, "source"), f"{dotted(path)}.source = {shown}: {error}")

    def _check_device(self, device: DeviceSettings) -> DeviceSettings:
        if device.name and not _LABEL.match(device.name):
            self.report(
                ("device", "name"),
                f"device.name = {show(device.name)}: has 1 to 63 letters, digits and inner -",
            )
        if not device.state.startswith("/"):
            self.report(("device", "state"), "device.state is a whole path, beginning with /")
        return device if device.name else replace(device, name=host_label())

    def _check_http(self, http: HttpSettings) -> None:
        for path, addresses in (
            (("http", "listen"), http.listen),
            (("http", "tls", "listen"), http.tls.listen),
        ):
            for address in addresses:
                try:
                    parse_address(address)
                except ConfigError as error:
                    self.report(path, f"{dotted(path)}: {error}")
        if bool(http.tls.cert) != bool(http.tls.key):
            self.report(("http", "tls"), "http.tls needs both cert and key, or neither")
        for network in http.trusted_proxies:
            try:
                parse_network(network)
            except ValueError:
                self.report(
                    ("http", "trusted_proxies"),
                    f"http.trusted_proxies: {show(network)} is no address or network",
                )


def _toml_fault(file: str, text: str, error: tomllib.TOMLDecodeError) -> Fault:
    match = _PLACE.search(str(error))
    sentence = _PLACE.sub("", str(error))
    if match is None or match.group(1) is None:
        line = text.count("\n") + 1
        return Fault(f"{file}:{line}", line, f"{sentence} at the end of the file")
    line, column = int(match.group(1)), match.group(2)
    return Fault(f"{file}:{line}:{column}", line, sentence)


def host_label() -> str:
    """The host name's first part, if it is fit for mDNS."""
    label = socket.gethostname().partition(".")[0]
    return label if _LABEL.match(label) and label != "localhost" else "porthole"


def find_file(environ: Mapping[str, str]) -> Path | None:
    """The file used when none is named: this checkout's, else the installed service's."""
    checkout = Path(__file__).parent.parent / "conf" / "porthole.toml"
    for path in (checkout, Path("/etc/porthole/porthole.toml")):
        if path.is_file():
            return path
    return None


def state_directory(device: DeviceSettings, environ: Mapping[str, str]) -> Path:
    """Where accounts and certificates live; not made yet.

    systemd's choice ($STATE_DIRECTORY), else `[device] state`; its default only if it is writable
    or can be made, else the user's own state directory (XDG).
    """
    if given := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(given)
    state = Path(device.state)
    if device.state != DEFAULT_STATE or _is_writable(state):
        return state
    home = environ.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path.home() / ".local" / "state"
    return base / "porthole"


def _is_writable(directory: Path) -> bool:
    place = directory if directory.exists() else directory.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
