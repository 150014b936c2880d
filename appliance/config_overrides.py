"""Values that win over the file: the environment, ``--set a.b=c`` and the SOURCE argument.

The rule for the environment: ``PORTHOLE_`` and the key's path in capitals, with ``_`` for each dot;
streams by number. ``http.listen`` is PORTHOLE_HTTP_LISTEN, the first stream's source is
PORTHOLE_STREAM_0_SOURCE. On the command line a stream goes by number or by name:
``--set stream.live/camera.source=…``. Lists are written with commas, or as in TOML: ``["a", "b"]``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.config_lines import Path
from appliance.config_values import (
    Text,
    dotted,
    is_free,
    is_table,
    item_of,
    keys_of,
    nearest,
    show,
)
from appliance.errors import ConfigError

PREFIX = "PORTHOLE_"
NOT_OURS = frozenset({"PORTHOLE_KEY"})  # what commands show to a device, not a setting of one
MAX_INDEX = 64

Schema = Mapping[str, Any]
"""The type of each top-level table, ``tuple[X, ...]`` for arrays of tables."""


def parse_assignment(text: str) -> tuple[str, Any]:
    """(key, value) of ``a.b=c``. Raises: ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{show(text)}: write --set table.name=value")
    return key.strip(), parse_value(value)


def parse_value(text: str) -> Any:
    """Plain text, or what TOML means by a text in quotes or brackets. Raises: ConfigError."""
    text = text.strip()
    if text[:1] not in {"[", '"', "'"}:
        return Text(text)
    try:
        document = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{show(text)} is neither plain text nor a TOML value") from error
    if document.keys() != {"value"}:
        raise ConfigError(f"{show(text)} is more than one value")
    return document["value"]


def find_dotted(schema: Schema, tree: Mapping[str, Any], text: str) -> Path:
    """The path that ``a.b`` means, with streams by number or name. Raises: ConfigError."""
    name, _, rest = text.partition(".")
    if name not in schema:
        raise ConfigError(f"{show(text)} is not a known key{nearest(name, schema)}")
    hint = schema[name]
    path: Path = (name,)
    if is_table(item_of(hint)):
        index, rest = _find_index(name, tree.get(name, []), rest)
        path, hint = (name, index), item_of(hint)
    while is_table(hint):
        name, _, rest = rest.partition(".")
        keys = keys_of(hint)
        if not name:
            raise ConfigError(f"{dotted(path)} is a table; name a key in it: {', '.join(keys)}")
        if name not in keys:
            raise ConfigError(f"{dotted(path)} has no key {show(name)}{nearest(name, keys)}")
        path, hint = (*path, name), keys[name].hint
    if is_free(hint):
        if not rest:
            raise ConfigError(f"{dotted(path)} is a table; name a key in it")
        return (*path, rest)
    if rest:
        raise ConfigError(f"{dotted(path)} is no table; nothing can follow it")
    return path


def _find_index(array: str, elements: Any, rest: str) -> tuple[int, str]:
    """(index, what follows) of ``0.source`` or ``live/camera.source``."""
    head, _, tail = rest.partition(".")
    names = [
        element["name"]
        for element in elements
        if isinstance(element, Mapping) and isinstance(element.get("name"), str)
    ]
    found = [name for name in names if rest.startswith(f"{name}.")]
    if not found and head.isascii() and head.isdigit() and len(head) <= 3:
        return int(head), tail
    if not found:
        known = f"; there are {', '.join(names)}" if names else ""
        raise ConfigError(f"there is no {array} {show(head)}{known}")
    name = max(found, key=len)
    return names.index(name), rest[len(name) + 1 :]


def environment_names(schema: Schema, environ: Mapping[str, str]) -> dict[str, Path]:
    """Every name the environment could hold, with indices as far as it holds any."""
    names: dict[str, Path] = {}
    for top, hint in schema.items():
        item = item_of(hint)
        if is_table(item):
            for index in _indices(f"{PREFIX}{top.upper()}_", environ):
                _collect(names, item, (top, index))
        else:
            _collect(names, hint, (top,))
    return names


def _indices(prefix: str, environ: Mapping[str, str]) -> list[int]:
    found = {0}
    for name in environ:
        digits = name.removeprefix(prefix).partition("_")[0]
        if name.startswith(prefix) and digits.isascii() and digits.isdigit() and len(digits) <= 3:
            found.add(int(digits))
    return sorted(index for index in found if index < MAX_INDEX)


def _collect(names: dict[str, Path], table: type[Any], path: Path) -> None:
    for key in keys_of(table).values():
        place = (*path, key.name)
        if is_table(key.hint):
            _collect(names, key.hint, place)
        else:
            names[PREFIX + "_".join(map(str, place)).upper().replace("-", "_")] = place


def read_environment(
    schema: Schema, environ: Mapping[str, str]
) -> Iterator[tuple[str, Path | ConfigError, Any]]:
    """(variable, path or what is wrong with it, value) of every variable meant for us."""
    known = environment_names(schema, environ)
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in NOT_OURS:
            continue
        path = known.get(name)
        if path is None:
            yield name, ConfigError(f"is not a known setting{_near_variable(name, known)}"), None
            continue
        try:
            yield name, path, parse_value(value)
        except ConfigError as error:
            yield name, error, None


def _near_variable(name: str, known: Mapping[str, Path]) -> str:
    text = nearest(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known])
    if not text.startswith("; did"):
        return "; the rule is PORTHOLE_TABLE_KEY"
    return text.replace("mean ", f"mean {PREFIX}")


def put(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Sets a value, making tables on the way. Raises: ConfigError where the file has none."""
    node: Any = tree
    for position, part in enumerate(path[:-1]):
        here = path[: position + 1]
        if isinstance(part, int):
            if part > len(node):
                raise ConfigError(
                    f"{dotted(here)} does not exist; the next is {dotted((*here[:-1], len(node)))}"
                )
            if part == len(node):
                node.append({})
            node = node[part]
        else:
            empty: Any = [] if isinstance(path[position + 1], int) else {}
            node = node.setdefault(part, empty)
        wanted = list if isinstance(path[position + 1], int) else dict
        if not isinstance(node, wanted):
            raise ConfigError(f"{dotted(here)} is {show(node)} in the file")
    node[path[-1]] = value
