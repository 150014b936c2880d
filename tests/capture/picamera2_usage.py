"""What our source uses of picamera2 and libcamera, read from its syntax trees.

A small inference of types: names get theirs from annotations with classes of `picamera/api.py`,
from `System`, whose fields are those classes themselves, and from what is assigned to them. It
follows no branches; `Any` does not hide a value from it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from picamera2_reference import chain_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "appliance/capture/picamera"
API = PACKAGE / "api.py"
Type = str  # "api.X", "type api.X", the name of a class of ours, or empty


@dataclass(frozen=True)
class Use:
    """of: a class of picamera2. arguments: -1 if it is not called here."""

    of: str
    member: str
    arguments: int = -1
    keywords: tuple[str, ...] = ()
    where: str = field(default="", compare=False)


@dataclass
class Override:
    of: str
    method: ast.FunctionDef


@cache
def our_trees() -> dict[str, ast.Module]:
    paths = [*PACKAGE.glob("*.py"), ROOT / "appliance/capture/sources/picamera2.py"]
    return {path.name: ast.parse(path.read_text()) for path in paths if path != API}


class Reader:
    def __init__(self) -> None:
        self.uses: set[Use] = set()
        self.overrides: list[Override] = []
        self.libcamera: set[tuple[str, ...]] = set()
        self._returns: dict[str, Type] = {}
        self._fields: dict[str, dict[str, Type]] = {}
        self._where = ""
        for _ in range(2):  # what one class learns of another is used the second time
            for name, tree in our_trees().items():
                self._where = name
                self._declare(tree)
                self._body(tree.body, {}, "")

    def _declare(self, tree: ast.Module) -> None:
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                self._returns[node.name] = _annotated(node.returns)
            elif isinstance(node, ast.ClassDef):
                fields = self._fields.setdefault(node.name, {})
                for inner in node.body:
                    if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                        fields[inner.target.id] = _annotated(inner.annotation)

    def _body(self, body: list[ast.stmt], env: dict[str, Type], owner: str) -> None:
        for statement in body:
            match statement:
                case ast.ClassDef():
                    self._class(statement, env)
                case ast.FunctionDef():
                    inner = env | {"self": owner} if owner else dict(env)
                    given = statement.args
                    for place in given.args + given.kwonlyargs:
                        if place.annotation is not None:
                            inner[place.arg] = _annotated(place.annotation)
                    self._body(statement.body, inner, "")
                case _:
                    self._statement(statement, env)

    def _class(self, node: ast.ClassDef, env: dict[str, Type]) -> None:
        for base in node.bases:
            kind = self._type(base, env)
            if kind.startswith("type api."):
                of = kind.removeprefix("type api.")
                methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
                self.overrides += [Override(of, method) for method in methods]
                self._returns[node.name] = f"api.{of}"
                self.uses.add(Use(of, "__init__", 0, where=self._where))
        self._body(node.body, env, node.name)

    def _statement(self, statement: ast.stmt, env: dict[str, Type]) -> None:
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=True):
                    self._bind(target, self._type(value, env), env)
                return
            case ast.Assign(targets=[target], value=value):
                self._bind(target, self._type(value, env), env)
                return
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                kind = self._type(value, env) if value is not None else ""
                self._bind(target, kind or _annotated(annotation), env)
                return
            case ast.With(items=items):
                for item in items:
                    kind = self._type(item.context_expr, env)
                    if item.optional_vars is not None:
                        self._bind(item.optional_vars, kind, env)
                    for method in ("__enter__", "__exit__"):
                        self._use(kind, method)
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.expr):
                self._type(child, env)
        for name in ("body", "orelse", "finalbody"):
            self._body(getattr(statement, name, []), env, "")
        for part in getattr(statement, "handlers", []) + getattr(statement, "cases", []):
            self._body(part.body, env, "")

    def _bind(self, target: ast.expr, kind: Type, env: dict[str, Type]) -> None:
        if isinstance(target, ast.Name):
            env[target.id] = kind
        elif isinstance(target, ast.Attribute):
            owner = self._type(target.value, env)
            if owner in self._fields and kind:
                self._fields[owner][target.attr] = kind
            self._use(owner, target.attr)

    def _type(self, node: ast.expr, env: dict[str, Type]) -> Type:
        match node:
            case ast.Name(id=name):
                return env.get(name, "")
            case ast.Attribute(value=value, attr=attr):
                self._note_libcamera(node)
                owner = self._type(value, env)
                self._use(owner, attr)
                return self._fields.get(owner, {}).get(attr, "")
            case ast.Call():
                return self._call(node, env)
            case ast.Lambda(body=body):
                return self._type(body, env)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._type(child, env)
            elif isinstance(child, ast.comprehension):
                self._type(child.iter, env)
        return ""

    def _call(self, node: ast.Call, env: dict[str, Type]) -> Type:
        kinds = [self._type(value, env) for value in node.args]
        for keyword in node.keywords:
            self._type(keyword.value, env)
        keywords = tuple(sorted(keyword.arg or "**" for keyword in node.keywords))
        match node.func:
            case ast.Name(id="getattr") if isinstance(node.args[1], ast.Constant):
                self._use(kinds[0], str(node.args[1].value))
                return ""
            case ast.Name(id="_within"):
                return kinds[-1]
            case ast.Name(id=name) if name in self._fields or name in self._returns:
                return self._returns.get(name) or name
            case ast.Attribute(value=value, attr=attr):
                owner = self._type(value, env).removeprefix("type ")
                if owner.startswith("api."):
                    self._use(owner, attr, len(node.args), keywords)
                    return ""
        kind = self._type(node.func, env)
        if kind.startswith("type api."):
            kind = kind.removeprefix("type ")
            self._use(kind, "__init__", len(node.args), keywords)
            return kind
        return ""

    def _use(
        self, owner: Type, member: str, arguments: int = -1, keywords: tuple[str, ...] = ()
    ) -> None:
        of = owner.removeprefix("type ")
        if of.startswith("api."):
            use = Use(of.removeprefix("api."), member, arguments, keywords, self._where)
            self.uses.add(use)

    def _note_libcamera(self, node: ast.expr) -> None:
        chain = chain_of(node)
        if "libcamera" in chain:
            self.libcamera.add(chain[chain.index("libcamera") + 1 :])


def _annotated(annotation: ast.expr | None) -> Type:
    """`api.X | None` → api.X, `type[api.X]` → type api.X, a class of ours → its name."""
    match annotation:
        case ast.Attribute(value=ast.Name(id="api"), attr=name):
            return f"api.{name}"
        case ast.Name(id=name):
            return name
        case ast.Subscript(value=ast.Name(id="type"), slice=inner):
            return f"type {_annotated(inner)}"
        case ast.BinOp(left=left):
            return _annotated(left)
    return ""


@cache
def our_use() -> Reader:
    return Reader()


def constants(tree: ast.Module) -> set[str]:
    """Every word in it, but for what documents it."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in documents
    }
