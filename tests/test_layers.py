"""The import rules of docs/architecture.md, held by reading every module's imports."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "appliance"
BELOW = {
    "media": set(),
    "containers": {"media"},
    "wire": {"media"},
    "hub": {"media"},
    "net": set(),
    "services": {"net", "hub", "wire", "containers", "media"},
    "capture": {"wire", "containers", "media"},
}
PURE = {"media", "wire", "containers"}
IMPURE = {"asyncio", "socket", "ssl", "threading", "time", "random", "logging", "os", "select"}
WORKER_ONLY = {"av", "numpy", "picamera2"}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{path}: relative import")
    return names


def service_of(parts: tuple[str, ...]) -> str:
    return parts[1].removesuffix(".py") if len(parts) > 1 else ""


def faults(path: Path, root: Path = ROOT) -> list[str]:
    parts = path.relative_to(root).parts
    layer = parts[0] if len(parts) > 1 else ""
    found = []
    for name in sorted(imports(path)):
        top, *rest = name.split(".")
        if layer in PURE and top in IMPURE:
            found.append(f"{path}: {layer} is pure, yet imports {name}")
        if layer != "capture" and top in WORKER_ONLY:
            found.append(f"{path}: only the capture worker imports {name}")
        if top != "appliance" or not layer or not rest or rest[0] in {"errors", "redact", layer}:
            if layer == "services" and top == "appliance" and rest[:1] == ["services"]:
                other = rest[1] if len(rest) > 1 else ""
                if other not in {"", "contract", service_of(parts)}:
                    found.append(f"{path}: a service imports the service {other}")
            continue
        if rest[0] not in BELOW.get(layer, set()) and rest[0] != "__version__":
            found.append(f"{path}: {layer} imports {name}")
    return found


def test_layers_import_only_downwards() -> None:
    assert [fault for path in sorted(ROOT.rglob("*.py")) for fault in faults(path)] == []


def test_layers_rules_find_a_forbidden_import(tmp_path: Path) -> None:
    for layer, line in {
        "media": "import asyncio",
        "hub": "from appliance.net import http",
        "services": "import av",
    }.items():
        probe = tmp_path / layer / "probe.py"
        probe.parent.mkdir()
        probe.write_text(line)
        assert faults(probe, tmp_path), (layer, line)
