"""The files in conf/: the main one documents every key, and all of them are right."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from appliance.catalog import settings_types, source_schemes
from appliance.config import CORE, Config, ConfigSource, host_label
from appliance.config_values import is_table, item_of, keys_of
from appliance.services.contract import MaskSettings, PresetSettings, StreamSettings

CONF = Path(__file__).parent.parent / "conf"
FILE = CONF / "porthole.toml"
COMMENTED = {"forward"}  # arrays of tables that are empty as delivered


def load(path: Path) -> Config:
    return ConfigSource(path, (), None, {}).load(settings_types(), source_schemes())


def keys(hint: Any, path: str) -> set[str]:
    found: set[str] = set()
    for name, key in keys_of(hint).items():
        place = f"{path}.{name}"
        found |= keys(key.hint, place) if is_table(key.hint) else {place}
    return found


def written(tree: Any, path: str) -> set[str]:
    if isinstance(tree, dict) and tree:
        return {place for key, item in tree.items() for place in written(item, f"{path}.{key}")}
    return {path}


def test_main_file_has_every_key_there_is() -> None:
    schema = {**CORE, **settings_types()}
    schema = {name: hint for name, hint in schema.items() if name not in COMMENTED}
    wanted = {place for name, hint in schema.items() for place in keys(item_of(hint) or hint, name)}
    tree = tomllib.loads(FILE.read_text())
    tree["stream"] = tree["stream"][0]
    found = {place for name, item in tree.items() for place in written(item, name)}
    assert found == wanted
    assert len(wanted) > 35


def test_main_file_says_exactly_the_defaults() -> None:
    config = load(FILE)
    defaults = Config(
        device=dataclasses.replace(CORE["device"](), name=host_label()),
        streams=(StreamSettings("live/camera", "pattern:"),),
        services={name: settings() for name, settings in settings_types().items()},
    )
    assert config == defaults


def test_main_file_shows_every_key_of_the_arrays_it_leaves_empty(tmp_path: Path) -> None:
    """`mask = [{ … }]` and the like, in comments: all of them at once are right."""
    examples = re.findall(r"^#   (mask|preset|controls) = (.+)$", FILE.read_text(), re.MULTILINE)
    lines = [f"{name} = {value}" for name, value in examples]
    stream = tomllib.loads("\n".join(lines))
    assert stream["mask"][0].keys() == keys_of(MaskSettings).keys()
    assert stream["preset"][0].keys() == keys_of(PresetSettings).keys()
    assert stream["controls"]
    file = tmp_path / "p.toml"
    file.write_text('[[stream]]\nname = "a"\nsource = "pattern:"\n' + "\n".join(lines))
    assert len(load(file).streams[0].mask) == 1


@pytest.mark.parametrize("name", sorted(COMMENTED))
def test_main_file_shows_every_key_of_the_tables_it_has_none_of(name: str, tmp_path: Path) -> None:
    """In a comment that is right as soon as its marks are taken away."""
    block = re.search(rf"^#   \[\[{name}\]\]\n(?:#   .*\n)*", FILE.read_text(), re.MULTILINE)
    assert block is not None
    text = block[0].replace("#   ", "")
    (shown,) = tomllib.loads(text)[name]
    item = item_of(settings_types()[name])
    assert written(shown, name) == keys(item, name)
    file = tmp_path / "p.toml"
    file.write_text('[[stream]]\nname = "a"\nsource = "pattern:"\n' + text)
    (settings,) = load(file).services[name]
    required = {key.field.name: getattr(settings, key.field.name) for key in [keys_of(item)["to"]]}
    assert settings == item(**required), "the comment says the defaults"


def test_main_file_explains_every_key() -> None:
    """A comment stands above each key, or above the group of keys it is in."""
    text = FILE.read_text()
    for block in text.split("\n\n"):
        keyed = [line for line in block.splitlines() if line and not line.startswith(("#", "["))]
        assert not keyed or "#" in block, block
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("path", sorted(CONF.glob("*.toml")), ids=lambda path: path.name)
def test_every_file_is_right(path: Path) -> None:
    config = load(path)
    assert config.streams or config.services["edge"].origins
    if path != FILE:
        assert str(path.relative_to(CONF.parent)) in path.read_text(), "says how to use it"
