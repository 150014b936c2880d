"""Text into lines of a fixed number of columns, broken at spaces where there are any."""

from __future__ import annotations


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most `columns` characters; a longer word is cut. Empty lines are left out."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            if line and len(line) + 1 + len(word) > columns:
                lines.append(line)
                line = ""
            line = f"{line} {word}" if line else word
            while len(line) > columns:
                lines.append(line[:columns])
                line = line[columns:]
        if line:
            lines.append(line)
    return lines
