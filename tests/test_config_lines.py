from __future__ import annotations

import random
import tomllib
from typing import Any

from appliance.config_lines import Path, locate

TEXT = '''\
# a comment with [brackets] and "quotes
top = 1
"quoted.key" = """
[not.a.table]
not_a_key = 1 \\"""
""" # end
[a.b]   # [c]
x.y = [ # start
  "]", ']',
  { z = 1 },
]
"d e"='[f]'

[[list]]
name = 1
[list.sub]
k = {a = "}", b = [1, 2]}
  [[list.deep]]
  one = \'\'\'
x = 2\'\'\'
  [[list.deep]]
two = 2
[[list]]
name = 3
  [[list.deep]]
three = 1979-05-27T07:32:00Z
[ a . "c" ]
last = true'''


def test_lines_of_everything_toml_has() -> None:
    assert tomllib.loads(TEXT)["list"][0]["deep"][1] == {"two": 2}
    assert locate(TEXT).by_path == {
        ("top",): 2,
        ("quoted.key",): 3,
        ("a",): 7,
        ("a", "b"): 7,
        ("a", "b", "x"): 8,
        ("a", "b", "x", "y"): 8,
        ("a", "b", "d e"): 12,
        ("list",): 14,
        ("list", 0): 14,
        ("list", 0, "name"): 15,
        ("list", 0, "sub"): 16,
        ("list", 0, "sub", "k"): 17,
        ("list", 0, "deep"): 18,
        ("list", 0, "deep", 0): 18,
        ("list", 0, "deep", 0, "one"): 19,
        ("list", 0, "deep", 1): 21,
        ("list", 0, "deep", 1, "two"): 22,
        ("list", 1): 23,
        ("list", 1, "name"): 24,
        ("list", 1, "deep"): 25,
        ("list", 1, "deep", 0): 25,
        ("list", 1, "deep", 0, "three"): 26,
        ("a", "c"): 27,
        ("a", "c", "last"): 28,
    }


def test_lines_find_the_nearest_table_of_what_is_inline() -> None:
    lines = locate(TEXT)
    assert lines.find(("list", 0, "sub", "k", "a")) == 17
    assert lines.find(("list", 1, "missing")) == 23
    assert lines.find(("nowhere",)) is None


def _paths(tree: Any, path: Path = ()) -> list[Path]:
    found = [path] if path else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += _paths(value, (*path, key))
    return found


def test_lines_end_on_any_text_that_is_toml() -> None:
    """Seeded: lines of the sample shuffled, cut and joined; what parses is located to its end."""
    randomly = random.Random(7)
    pieces = TEXT.split("\n")
    parsed = 0
    for _ in range(3000):
        text = "\n".join(randomly.sample(pieces, randomly.randint(1, 6)))
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue
        parsed += 1
        lines = locate(text)
        for path in _paths(tree):
            assert lines.find(path) is not None, (path, text)
        assert all(1 <= line <= text.count("\n") + 1 for line in lines.by_path.values())
    assert parsed > 300
