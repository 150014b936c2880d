"""The real picamera2's source as syntax trees, and signatures that can be compared."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def reference_folder() -> Path:
    """Where `make test` has unpacked it; another environment than .venv gets it here."""
    folder = Path(sys.prefix) / "picamera2-source"
    subprocess.run([ROOT / "make/picamera2.sh", sys.executable, folder], check=True, timeout=300)
    return folder / "picamera2"


@cache
def real_trees() -> dict[str, ast.Module]:
    """Module → tree, without the preview windows and the accelerators."""
    folder = reference_folder()
    paths = [p for p in folder.rglob("*.py") if not {"devices", "previews"} & set(p.parts)]
    return {_module(path, folder.parent): ast.parse(path.read_text()) for path in paths}


def _module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@dataclass
class Argument:
    """default: as it is written; None if there is none."""

    name: str
    default: str | None


@dataclass
class Signature:
    """positional: may be given by place; keyword: only by name. Without `self`."""

    positional: list[Argument]
    keyword: list[Argument]
    takes_any: bool

    @property
    def arguments(self) -> dict[str, Argument]:
        return {argument.name: argument for argument in self.positional + self.keyword}


@dataclass
class Klass:
    """methods: the last definition of each name, as overloads come first."""

    name: str
    bases: list[str]
    methods: dict[str, ast.FunctionDef] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)


def signature_of(function: ast.FunctionDef) -> Signature:
    given = function.args
    places = given.posonlyargs + given.args
    defaults = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    positional = [
        Argument(place.arg, None if default is None else ast.unparse(default))
        for place, default in zip(places, defaults, strict=True)
    ]
    if not _is_static(function):
        positional = positional[1:]
    keyword = [
        Argument(place.arg, None if default is None else ast.unparse(default))
        for place, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]
    return Signature(positional, keyword, given.kwarg is not None)


def _is_static(function: ast.FunctionDef) -> bool:
    return "staticmethod" in decorators(function)


def decorators(function: ast.FunctionDef) -> set[str]:
    return {ast.unparse(decorator) for decorator in function.decorator_list}


def classes_of(tree: ast.Module) -> Iterator[Klass]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield _klass(node)


def _klass(node: ast.ClassDef) -> Klass:
    bases = [ast.unparse(base).split("[")[0].rpartition(".")[2] for base in node.bases]
    klass = Klass(node.name, bases)
    for inner in _members(node.body):
        match inner:
            case ast.FunctionDef():
                klass.methods[inner.name] = inner
                klass.attributes |= _assigned(inner)
            case ast.AnnAssign(target=ast.Name(id=name)):
                klass.attributes.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]):
                klass.attributes.add(name)
    return klass


def _members(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for inner in body:
        if isinstance(inner, ast.If):
            yield from inner.body + inner.orelse
        else:
            yield inner


def _assigned(method: ast.FunctionDef) -> set[str]:
    """What it sets on `self`."""
    stores = (n for n in ast.walk(method) if isinstance(n, ast.Attribute))
    return {
        node.attr
        for node in stores
        if isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }


@cache
def real_classes() -> dict[str, Klass]:
    return {klass.name: klass for tree in real_trees().values() for klass in classes_of(tree)}


def find_method(classes: dict[str, Klass], name: str, method: str) -> ast.FunctionDef | None:
    """Also inherited."""
    for klass in lineage(classes, name):
        if method in klass.methods:
            return klass.methods[method]
    return None


def lineage(classes: dict[str, Klass], name: str) -> Iterator[Klass]:
    waiting = [name]
    while waiting:
        klass = classes.get(waiting.pop(0))
        if klass is not None:
            yield klass
            waiting += klass.bases


def chain_of(node: ast.expr) -> tuple[str, ...]:
    """`a.b.c` → (a, b, c); empty if it begins with anything but a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()
