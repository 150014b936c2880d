"""On which line of a TOML file a key stands, which tomllib does not tell.

Only for texts that tomllib has accepted, so nothing is validated here. What stands inside arrays
and inline tables has the line of its key.
"""

from __future__ import annotations

import bisect
import re
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""Keys from the root on; an index after the name of an array of tables."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[0-9A-Za-z_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\"'\[\]{}#\n]+")
_COMMENT = re.compile(r"#[^\n]*")


@dataclass(slots=True)
class Lines:
    """Lines by path, counted from 1."""

    by_path: dict[Path, int] = field(default_factory=dict)

    def add(self, path: Path, line: int) -> None:
        """This path, and the tables around it that have no header of their own so far."""
        while path and path not in self.by_path:
            self.by_path[path] = line
            path = path[:-1]

    def find(self, path: Path) -> int | None:
        """The line of this key, or of the nearest table around it."""
        while path:
            if (line := self.by_path.get(path)) is not None:
                return line
            path = path[:-1]
        return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [match.end() for match in re.finditer("\n", text)]

    def line(self) -> int:
        return bisect.bisect_right(self.starts, self.at) + 1

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()

    def skip_mark(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += len(mark)
        return True

    def key(self) -> list[str]:
        """A dotted key; quoted parts without their quotes."""
        parts = []
        while True:
            self.skip(_SPACE)
            part = self.skip(_BARE)
            if not part:
                part = self.skip(_STRING)[1:-1]
            parts.append(part)
            self.skip(_SPACE)
            if not self.skip_mark("."):
                return parts

    def skip_value(self) -> None:
        """To the end of the line on which the value ends."""
        depth = 0
        while self.at < len(self.text):
            if self.skip(_STRING) or self.skip(_PLAIN) or self.skip(_COMMENT):
                continue
            mark = self.text[self.at]
            if mark == "\n" and depth <= 0:
                return
            depth += (mark in "[{") - (mark in "]}")
            self.at += 1


def locate(text: str) -> Lines:
    """The lines of all keys and tables."""
    scanner = _Scanner(text)
    lines = Lines()
    sizes: dict[Path, int] = {}  # of the arrays of tables so far
    table: Path = ()
    while True:
        scanner.skip(_BLANK)
        if scanner.at >= len(text):
            return lines
        line = scanner.line()
        if scanner.skip_mark("[["):
            table = _enter(scanner.key(), sizes)
            index = sizes.get(table, 0)
            sizes[table] = index + 1
            lines.add(table, line)
            table = (*table, index)
            scanner.skip_value()
        elif scanner.skip_mark("["):
            table = _enter(scanner.key(), sizes)
            scanner.skip_value()
        else:
            path = table
            for part in scanner.key():
                path = (*path, part)
            lines.add(path, line)
            scanner.skip_value()
            continue
        lines.add(table, line)


def _enter(keys: list[str], sizes: dict[Path, int]) -> Path:
    """A header's path; within an array of tables it means the newest element."""
    path: Path = ()
    for key in keys[:-1]:
        path = (*path, key)
        if path in sizes:
            path = (*path, sizes[path] - 1)
    return (*path, keys[-1])
