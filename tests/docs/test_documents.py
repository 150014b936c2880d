"""What the documents point at is there: links, anchors, make targets, configuration keys."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from appliance import cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def anchors(document: Path) -> set[str]:
    """The names that headings get where the documents are shown."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_names_only_make_targets_that_exist(document: Path) -> None:
    for target in re.findall(r"`?make ([a-z][a-z-]*)\b(?=[`\s]|$)", document.read_text()):
        if f"`make {target}" in document.read_text() or f"\nmake {target}" in document.read_text():
            assert target in TARGETS, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_toml_examples_pass_the_check(
    document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, example in enumerate(
        re.findall(r"```toml\n(.*?)```", document.read_text(), re.DOTALL)
    ):
        tomllib.loads(example)
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        assert cli.main(["check", "-c", str(file)]) == 0, (example, capsys.readouterr().err)


def test_benchmarks_lists_every_bench() -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    for script in ROOT.glob("bench/*.py"):
        if "__main__" in script.read_text():
            assert f"`bench/{script.name}`" in text
