"""From what a file says to frozen dataclasses, by their field types, with every fault at once.

A field's metadata can hold `key` (its name in the file), `unit` (duration, bytes, bps), `min`,
`max`, `choices`, `check` (a function that raises ConfigError), `secret` (no message shows it) and
`verbatim` (may hold what looks like a command).
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from appliance.config_lines import Path
from appliance.errors import ConfigError
from appliance.media.quantity import NAMES, SUFFIXES, Unit, format_quantity, parse_quantity
from appliance.redact import HIDDEN, redact

MAX_INT = (1 << 31) - 1
MAX_STRING_CHARS = 1024
MAX_ITEMS = 256
WORDS = {"true": True, "yes": True, "on": True, "1": True} | {
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
# There is no command anywhere in the configuration, so nothing that looks like one is taken for
# anything else either. (`&` stays: cameras have it in their URLs.)
_COMMAND = re.compile(r"\A\s*exec:|[`|;<>\x00-\x1f\x7f]|\$[({]", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # of what may be anything else, as passwords may
_ABSENT: Any = object()


class Text(str):
    """A value from the environment or the command line: its type is what its field wants."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One known key of a table."""

    name: str
    field: dataclasses.Field[Any]
    hint: Any

    @property
    def unit(self) -> Unit | None:
        if "unit" in self.field.metadata:
            return NAMES.get(self.field.metadata["unit"])
        return next(
            (unit for suffix, unit in SUFFIXES.items() if self.field.name.endswith(suffix)), None
        )

    def show(self, value: Any) -> str:
        return show(HIDDEN if self.field.metadata.get("secret") else value)

    @property
    def default(self) -> Any:
        if self.field.default_factory is not dataclasses.MISSING:
            return self.field.default_factory()
        return _ABSENT if self.field.default is dataclasses.MISSING else self.field.default


_KEYS: dict[type[Any], Mapping[str, Key]] = {}  # as many entries as there are tables


def keys_of(table: type[Any]) -> Mapping[str, Key]:
    """The keys a table can have, by their names in the file."""
    if table in _KEYS:
        return _KEYS[table]
    hints = typing.get_type_hints(table)
    keys = {}
    for field in dataclasses.fields(table):
        name = field.metadata.get("key", field.name)
        keys[name] = Key(name, field, _without_none(hints[field.name]))
    _KEYS[table] = keys
    return keys


def item_of(hint: Any) -> Any:
    """X of ``tuple[X, ...]``; None for anything else."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


def is_free(hint: Any) -> bool:
    """Whether it is a table with keys that are not ours."""
    return typing.get_origin(hint) is Mapping


def is_table(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint)


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean x?`` or, if nothing is near, what there is."""
    names = sorted(known)
    folded = {name.casefold().replace("_", ""): name for name in names}
    close = difflib.get_close_matches(word.casefold().replace("_", ""), folded, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {folded[close[0]]}?"
    return f"; there are {', '.join(names)}" if names else ""


def dotted(path: Path) -> str:
    """``stream.0.video.width``"""
    return ".".join(map(str, path))


def show(value: Any) -> str:
    """A value for a message: quoted, escaped, short."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an array"
    # Dates and times of TOML as they are written; secrets go before the text is cut.
    text = json.dumps(redact(value) if isinstance(value, str) else value, default=str)
    return text if len(text) <= 80 else text[:77] + "…"


class Builder:
    """report: called with the path of a fault and one sentence about it."""

    def __init__(self, report: Callable[[Path, str], None]) -> None:
        self._tell = report
        self._faults = 0  # told so far

    def _report(self, path: Path, text: str) -> None:
        self._faults += 1
        self._tell(path, text)

    def table(self, cls: type[Any], raw: Any, path: Path) -> Any:
        """An instance of `cls`, with defaults where `raw` has nothing or is wrong."""
        if not isinstance(raw, Mapping):
            self._report(path, f"{dotted(path)} is a table, not {show(raw)}")
            return _default_of(cls)
        keys = keys_of(cls)
        for name in raw:
            if name not in keys:
                self._report(
                    (*path, name),
                    f"{dotted((*path, _plain(name)))} is not a known key{nearest(name, keys)}",
                )
        values, faults = {}, self._faults
        for name, key in keys.items():
            value = self._field(key, raw.get(name, _ABSENT), (*path, name))
            if value is _ABSENT:
                return None
            values[key.field.name] = value
        try:
            return cls(**values)
        except ConfigError as error:
            if self._faults == faults:  # else it is wrong because something in it is, as told
                self._report(path, f"{dotted(path)}: {error}")
            return None

    def _field(self, key: Key, raw: Any, path: Path) -> Any:
        default = key.default
        if raw is _ABSENT:
            if default is _ABSENT:
                self._report(path[:-1], f"{dotted(path[:-1])} has no {key.name}")
            return default
        try:
            return self._value(key, key.hint, raw, path)
        except ConfigError as error:
            self._report(path, f"{dotted(path)} = {key.show(raw)}: {error}")
            return default

    def _value(self, key: Key, hint: Any, raw: Any, path: Path) -> Any:
        if is_table(hint):
            return self.table(hint, raw, path)
        if (item := item_of(hint)) is not None:
            return self._items(key, item, _split(raw), path)
        if is_free(hint):
            return self._free(raw, path)
        value = _scalar(key, hint, raw)
        if "check" in key.field.metadata:
            key.field.metadata["check"](value)
        return value

    def _free(self, raw: Any, path: Path) -> Mapping[str, Any]:
        """A table whose keys are not ours: a camera's controls, by the camera's own names."""
        if not isinstance(raw, Mapping):
            raise ConfigError("must be a table of names and values")
        if len(raw) > MAX_ITEMS:
            raise ConfigError(f"has {len(raw)} keys, at most {MAX_ITEMS} are possible")
        values = {}
        for name, value in raw.items():
            try:
                values[_string(name)] = _plain_value(value)
            except ConfigError as error:
                self._report((*path, name), f"{dotted((*path, _plain(name)))}: {error}")
        return types.MappingProxyType(values)

    def _items(self, key: Key, item: Any, raw: Any, path: Path) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            bracket = f"[[{dotted(path)}]]" if is_table(item) else f"[{key.show(raw)}]"
            raise ConfigError(f"must be an array; write {bracket}")
        if len(raw) > MAX_ITEMS:
            raise ConfigError(f"has {len(raw)} elements, at most {MAX_ITEMS} are possible")
        built = []
        for index, element in enumerate(raw):
            try:
                built.append(self._value(key, item, element, (*path, index)))
            except ConfigError as error:
                place = (*path, index)
                self._report(place, f"{dotted(place)} = {key.show(element)}: {error}")
        return tuple(value for value in built if value is not None)


def _default_of(cls: type[Any]) -> Any:
    """None for a table that cannot be empty."""
    if any(key.default is _ABSENT for key in keys_of(cls).values()):
        return None
    try:
        return cls()
    except ConfigError:
        return None


def _scalar(key: Key, hint: Any, raw: Any) -> Any:
    if key.unit is not None and hint in {int, float}:
        return _quantity(key, key.unit, raw)
    if hint is bool:
        value = WORDS.get(raw.lower()) if isinstance(raw, Text) else raw
        return _typed(value, bool, "true or false")
    if hint in {int, float}:
        return _number(key, hint, raw)
    text = _string(raw, is_verbatim=bool(key.field.metadata.get("verbatim")))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(_chosen(text, [member.value for member in hint]))
    if "choices" in key.field.metadata:
        return _chosen(text, key.field.metadata["choices"])
    return hint(text) if hint is not str else text


def _plain_value(raw: Any) -> Any:
    """A number, a boolean, a string, or an array of numbers."""
    if isinstance(raw, Text):
        return _guess(raw)
    if isinstance(raw, str):
        return _string(raw)
    if isinstance(raw, list) and 0 < len(raw) <= MAX_ITEMS:
        return tuple(_plain_value(item) for item in raw if not isinstance(item, list))
    if isinstance(raw, bool | int) or (isinstance(raw, float) and math.isfinite(raw)):
        return raw
    raise ConfigError("must be a number, true, false, a string or an array of numbers")


def _guess(text: Text) -> Any:
    """What an unquoted text is most likely to mean where no type is known."""
    if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", text, re.ASCII):
        return float(text) if "." in text else int(text)
    return {"true": True, "false": False}.get(text.lower(), _string(text))


def _quantity(key: Key, unit: Unit, raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise ConfigError(f"not {unit.value.noun}; write {unit.value.examples}")
    value = parse_quantity(raw, unit)
    low = key.field.metadata.get("min", 0)
    high = key.field.metadata.get("max", unit.value.max)
    if not low <= value <= high:
        raise ConfigError(_range(format_quantity(low, unit), format_quantity(high, unit)))
    return value


def _number(key: Key, hint: type[int] | type[float], raw: Any) -> float:
    if isinstance(raw, Text):
        if not re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]+)?", raw, re.ASCII):
            raise ConfigError("must be a number")
        raw = float(raw) if "." in raw else int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise ConfigError("must be a number")
    if hint is int and not isinstance(raw, int):
        raise ConfigError("must be a whole number")
    low, high = key.field.metadata.get("min", 0), key.field.metadata.get("max", MAX_INT)
    if not low <= raw <= high:
        raise ConfigError(_range(low, high))
    return hint(raw)


def _string(raw: Any, *, is_verbatim: bool = False) -> str:
    text: str = _typed(raw, str, "a string in quotes")
    if len(text) > MAX_STRING_CHARS:
        raise ConfigError(f"has {len(text)} characters, at most {MAX_STRING_CHARS} are possible")
    if match := (_CONTROL if is_verbatim else _COMMAND).search(text):
        sign = match.group()
        hint = f"; in an address write %{ord(sign):02X}" if len(sign) == 1 and "://" in text else ""
        raise ConfigError(f"must not contain {show(sign)}; nothing here runs commands{hint}")
    return str(text)


def _typed(value: Any, kind: type[Any], wanted: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"must be {wanted}")
    return value


def _chosen(text: str, choices: Iterable[str]) -> str:
    names = list(choices)
    if text not in names:
        raise ConfigError(f"must be {', '.join(names[:-1])} or {names[-1]}")
    return text


def _range(low: object, high: object) -> str:
    return f"must be from {low} to {high}"


def _split(raw: Any) -> Any:
    """``a,b`` of the environment or the command line as a list."""
    if not isinstance(raw, Text):
        return raw
    return [Text(part.strip()) for part in raw.split(",") if part.strip()]


def _plain(name: str) -> str:
    """A key that somebody wrote, fit for a message."""
    return name if re.fullmatch(r"[0-9A-Za-z_\-]{1,64}", name, re.ASCII) else show(name)


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        kept = [item for item in typing.get_args(hint) if item is not types.NoneType]
        return kept[0] if len(kept) == 1 else hint
    return hint
