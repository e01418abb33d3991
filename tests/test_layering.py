"""Imports run tests, conformance, adapters, reference, and never back."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("reference", "adapters", "conformance")
ORACLE_NEEDS = {"ml_dtypes", "numpy", "scipy"}

MODULES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def _imported(module: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of all that a module imports, at its top or anywhere else."""
    package = ["kterm", *module.parts[:-1]]
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else ())]
            # `from .. import adapters` imports a room, not a name of one.
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_room_imports_one_above_it(module: Path) -> None:
    above = ROOMS[ROOMS.index(module.parts[0]) + 1 :]
    for line, name in _imported(module):
        parts = name.split(".")
        where = f"{module}:{line} imports {name}"
        # From the root of a checkout these would import, as second copies whose classes are not those of `kterm`.
        assert parts[0] not in (*ROOMS, "tests", "benchmarks"), where
        if parts[0] == "kterm":
            assert parts[1] not in above, where
        elif module.parts[0] == "reference":
            assert parts[0] in sys.stdlib_module_names | ORACLE_NEEDS, where
