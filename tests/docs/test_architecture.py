"""The map of the code lists every module, and nothing that is not there."""

import re
from pathlib import Path

from kterm.conformance.commands.cli import app

from . import ROOT, page

MAP = "docs/architecture.md"
ROOMS = ("reference", "adapters", "conformance")


def _sections() -> dict[str, str]:
    """The text of each section of the map, by its heading."""
    _, *sections = re.split(r"^## ", page(MAP), flags=re.M)
    return dict(section.split("\n", 1) for section in sections)


def _listed(section: str) -> set[Path]:
    rows = [row.split(" | ")[0] for row in section.splitlines() if row.startswith("| [")]
    return {(ROOT / "docs" / target).resolve() for row in rows for target in re.findall(r"\]\(([^)]+)\)", row)}


def test_every_module_is_listed_in_the_section_of_its_room() -> None:
    for heading, section in _sections().items():
        folder = ROOT / heading if heading in ROOMS else ROOT / "conformance" / heading
        if folder.is_dir():
            modules = {path for path in folder.rglob("*.py") if path.name != "__init__.py"}
            data = {path for end in ("*.toml", "*.ini") for path in folder.rglob(end)}
            assert _listed(section) == modules | data, heading


def test_every_room_has_a_section_in_the_order_of_imports() -> None:
    rooms = [path.name for path in (ROOT / "conformance").iterdir() if (path / "__init__.py").exists()]
    assert set(rooms) <= set(_sections())
    order = re.search(r"cases → .* → commands", page(MAP))
    assert order is not None
    headings = [heading for heading in _sections() if heading in rooms]
    assert order[0].split(" → ") == headings


def test_every_command_is_in_the_table_of_commands() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name for group in app.registered_groups if group.name}
    table = page("README.md").split("## Commands")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `kterm ([\w-]+)", table, re.M)) == commands
