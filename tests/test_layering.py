"""Imports run tests, conformance, adapters, reference, and inside conformance from later rooms to earlier ones; never
back. No module, folder or chain of imports grows beyond what a reader can hold.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import kterm

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("reference", "adapters", "conformance")
ROOMS = (
    "cases",
    "mutants",
    "runners",
    "checks",
    "arithmetic",
    "diagnosis",
    "expectations",
    "records",
    "failures.histories",
    "failures.scripts",
    "failures.shrinking",
    "failures",
    "evaluation",
    "interfaces",
    "commands",
)
"""The rooms of conformance in the order of the pipeline: each imports only from itself and from those before it."""
ORACLE_NEEDS = {"ml_dtypes", "numpy", "scipy"}
MOST_LINES = 400
MOST_NAMES = 12
MOST_LEVELS = 14

MODULES = sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SOURCES = sorted(
    path.relative_to(ROOT)
    for folder in (*FOLDERS, "benchmarks", "docs", "examples", "src", "tests")
    for path in (ROOT / folder).rglob("*.py")
)
INNER_FOLDERS = sorted(
    path.relative_to(ROOT)
    for folder in (*FOLDERS, "benchmarks", "tests")
    for path in ((ROOT / folder), *(ROOT / folder).rglob("*"))
    if path.is_dir() and path.name != "__pycache__"
)


def _imported(module: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name) of all that a module imports, at its top or anywhere else."""
    package = ["kterm", *module.parts[:-1]]
    for node in ast.walk(ast.parse((ROOT / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else ())]
            # `from .. import adapters` imports a folder, not a name of one.
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_folder_imports_one_above_it(module: Path) -> None:
    above = FOLDERS[FOLDERS.index(module.parts[0]) + 1 :]
    for line, name in _imported(module):
        parts = name.split(".")
        where = f"{module}:{line} imports {name}"
        # From the root of a checkout these would import, as second copies whose classes are not those of `kterm`.
        assert parts[0] not in (*FOLDERS, "tests", "benchmarks", "src"), where
        if parts[0] == "kterm":
            assert parts[1] not in above, where
            # The public face imports everything below it.
            assert parts[1] in FOLDERS, where
        elif module.parts[0] == "reference":
            assert parts[0] in sys.stdlib_module_names | ORACLE_NEEDS, where


def _room(parts: tuple[str, ...]) -> str:
    """The room of a module of conformance, given the parts of its name below it."""
    inner = ".".join(parts[:2])
    return inner if inner in ROOMS else parts[0]


@pytest.mark.parametrize("module", [m for m in MODULES if len(m.parts) > 2 and m.parts[0] == "conformance"], ids=str)
def test_no_room_of_conformance_imports_a_later_one(module: Path) -> None:
    own = ROOMS.index(_room(module.with_suffix("").parts[1:]))
    for line, name in _imported(module):
        parts = tuple(name.split("."))
        if parts[:2] == ("kterm", "conformance"):
            assert ROOMS.index(_room(parts[2:])) <= own, f"{module}:{line} imports {name}"


def test_every_folder_of_conformance_is_a_room() -> None:
    folders = {path.name for path in (ROOT / "conformance").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == {room for room in ROOMS if "." not in room}


def _name(module: Path) -> str:
    """The dotted name of a module, without `kterm`."""
    parts = module.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


BY_NAME = {_name(module): module for module in MODULES}


@cache
def _needs(name: str) -> frozenset[str]:
    """The modules of conformance that one of them imports, by name; `from package import module` names the module."""
    found = set[str]()
    for _, imported in _imported(BY_NAME[name]):
        inner = imported.removeprefix("kterm.")
        while inner and inner not in BY_NAME:
            inner = inner.rpartition(".")[0]
        found.add(inner)
    return frozenset(one for one in found if one.startswith("conformance.") and one != name)


@cache
def _chain(name: str) -> tuple[str, ...]:
    """The longest chain of imports from a module of conformance down, itself first. Cycles are found before."""
    return (name, *max((_chain(one) for one in sorted(_needs(name))), key=len, default=()))


def _cycle(name: str, above: tuple[str, ...], sound: set[str]) -> tuple[str, ...]:
    if name in above:
        return (*above[above.index(name) :], name)
    if name not in sound:
        for one in sorted(_needs(name)):
            if found := _cycle(one, (*above, name), sound):
                return found
        sound.add(name)
    return ()


@pytest.fixture(scope="module")
def inside() -> list[str]:
    """The modules of conformance, by name, once it is known that no module imports itself through others."""
    names = [name for name in BY_NAME if name.startswith("conformance.")]
    sound = set[str]()
    for name in names:
        found = _cycle(name, (), sound)
        assert not found, " imports ".join(found)
    return names


def test_the_longest_chain_of_imports_has_few_levels(inside: list[str]) -> None:
    longest = max((_chain(name) for name in inside), key=len)
    assert len(longest) <= MOST_LEVELS, f"{len(longest)} levels: " + " imports ".join(longest)


def test_no_module_is_long() -> None:
    counts = {source: len((ROOT / source).read_text(encoding="utf-8").splitlines()) for source in SOURCES}
    long = [f"{source} has {lines} lines" for source, lines in counts.items() if lines > MOST_LINES]
    assert not long, f"more than {MOST_LINES} lines; make two modules of it: {', '.join(long)}"


def test_no_folder_holds_many_names() -> None:
    ignored = {"__init__.py", "__pycache__"}
    counts = {folder: len({path.name for path in (ROOT / folder).iterdir()} - ignored) for folder in INNER_FOLDERS}
    assert {str(folder): names for folder, names in counts.items() if names > MOST_NAMES} == {}


def test_every_public_name_can_be_imported() -> None:
    assert len(set(kterm.__all__)) == len(kterm.__all__)
    for name in kterm.__all__:
        assert getattr(kterm, name) is not None
        assert name in dir(kterm)
    unknown = "chekc_adapter"
    with pytest.raises(AttributeError, match="module 'kterm' has no attribute 'chekc_adapter'"):
        getattr(kterm, unknown)
