"""Every address of the project's own that is written or printed leads to a page of the site or a file of the
repository, and all of them are made from one.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kterm.conformance.interfaces.kit.write import STYLES, write_new_adapter
from kterm.conformance.records.views import links

from ...support.here import kterm_here
from .. import NAMES, ROOT, page
from . import addresses, command_names, trouble_with

MAKERS = {"page_link", "read_on"}
"""The functions that make an address of a page."""
SOURCES = [path for room in ("reference", "adapters", "conformance") for path in sorted((ROOT / room).rglob("*.py"))]


def _made(path: Path) -> Iterator[str]:
    """The addresses that a module makes, from the words in its source. Raises AssertionError for words that are not
    there to be read.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in MAKERS:
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            words = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            assert len(words) == len(given), f"{path}:{node.lineno}: write the page and the section as strings"
            yield links.page_link(*words) if words else links.DOCUMENTATION


@pytest.mark.parametrize("name", NAMES)
def test_an_address_on_a_page_leads_somewhere(name: str) -> None:
    assert [trouble for one in addresses(page(name)) if (trouble := trouble_with(one))] == []


def test_every_link_of_the_readme_is_whole() -> None:
    # The package index shows it, where no file lies beside it.
    prose = re.sub(r"^```.*?^```", "", page("README.md"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r"^\[[^\]]+\]: (\S+)$", prose, re.M)
    assert len(addresses(" ".join(targets))) > 20
    assert [one for one in targets if not one.startswith("https://")] == []
    labels = set(re.findall(r"^\[([^\]]+)\]: ", prose, re.M))
    assert set(re.findall(r"\]\[([^\]]+)\]", prose)) == labels


def test_the_addresses_of_the_project_lead_somewhere_and_are_the_ones_that_are_printed() -> None:
    urls = tomllib.loads(page("pyproject.toml"))["project"]["urls"]
    assert urls["Documentation"] == urls["Homepage"] == links.DOCUMENTATION
    assert urls["Repository"] == links.REPOSITORY
    assert {"Changelog", "Issues"} <= set(urls)
    assert [trouble for one in urls.values() if (trouble := trouble_with(one))] == []


def test_an_address_is_written_in_one_module_only() -> None:
    holders = {path for path in SOURCES if addresses(path.read_text(encoding="utf-8"))}
    assert holders == {Path(links.__file__).resolve()}


def test_every_address_that_is_made_leads_somewhere() -> None:
    made = {one for path in SOURCES if path != Path(links.__file__).resolve() for one in _made(path)}
    assert len(made) >= 20
    assert [trouble for one in sorted(made) if (trouble := trouble_with(one))] == []


@pytest.mark.parametrize("command", command_names(), ids=" ".join)
def test_the_help_of_a_command_says_where_to_read_on(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # where a line is broken most
    (address,) = addresses(kterm_here(*command, "--help", folder=tmp_path).stdout)
    assert address != links.DOCUMENTATION
    assert trouble_with(address) == ""


def test_the_help_of_all_says_where_the_pages_are(tmp_path: Path) -> None:
    assert addresses(kterm_here("--help", folder=tmp_path).stdout) == [links.DOCUMENTATION]


@pytest.mark.parametrize("style", STYLES)
def test_the_files_of_a_new_adapter_lead_somewhere(style: str, tmp_path: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in write_new_adapter("my-port", style, tmp_path)]
    found = addresses("\n".join(texts))
    assert found
    assert [trouble for one in found if (trouble := trouble_with(one))] == []


@pytest.mark.parametrize(
    "address",
    [
        f"{links.DOCUMENTATION}no-such-page.html",
        f"{links.DOCUMENTATION}checks.html#no-such-heading",
        f"{links.DOCUMENTATION}checks",
        f"{links.DOCUMENTATION}#no-such-heading",
        f"{links.REPOSITORY}/blob/main/no/such/file.py",
        f"{links.REPOSITORY}/blob/main/docs",
        f"{links.REPOSITORY}/stars",
    ],
)
def test_an_address_that_leads_nowhere_is_found(address: str) -> None:
    assert addresses(f"see {address}.") == [address]
    assert trouble_with(address)


def test_an_address_made_of_other_than_strings_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("page_link(name)\n")
    with pytest.raises(AssertionError, match="as strings"):
        list(_made(module))
