"""The pages of documentation, for the tests that hold them to the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def page(name: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def linked_names(name: str) -> Iterator[tuple[str, Path]]:
    """Every name in backticks on a page that links to a Python file: the name, without its module, and the file."""
    for found in re.finditer(r"\[`(?:kterm\.(?:[a-z_]+\.)*)?([\w.]+)`\]\(([^)#\s]+\.py)\)", page(name)):
        yield found[1], (ROOT / name).parent / found[2]


@cache
def defined_names(path: Path) -> frozenset[str]:
    """The names that a module defines or imports at its top level, and the members of its classes as Class.member."""
    return frozenset(_defined(ast.parse(path.read_text(encoding="utf-8")).body))


def _defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name, body=inner):
                yield prefix + name
                yield from _defined(inner, f"{prefix}{name}.")
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield prefix + name
            case _:
                pass
