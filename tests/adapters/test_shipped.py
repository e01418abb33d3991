"""The adapters of frameworks beside PyTorch and JAX: short, registered, described, and conforming where installed."""

import tomllib
from pathlib import Path

import pytest

from kterm.adapters.registry import AdapterError, is_installed, load, registered

from ..support.command import kterm

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRIES: dict[str, str] = PROJECT["entry-points"]["kterm.adapters"]
NAMES = tuple(name for name, value in ENTRIES.items() if ".frameworks." in value)
MOST_LINES = 80


def _source(name: str) -> str:
    module = ENTRIES[name].partition(":")[0].removeprefix("kterm.").replace(".", "/")
    return (ROOT / f"{module}.py").read_text(encoding="utf-8")


def test_every_adapter_of_the_folder_is_registered() -> None:
    files = {path.stem for path in (ROOT / "adapters" / "frameworks").rglob("*_adapter.py")}
    assert {ENTRIES[name].partition(":")[0].rpartition(".")[2] for name in NAMES} == files
    assert set(NAMES) <= set(registered())


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_is_short_and_has_an_extra_with_a_bound(name: str) -> None:
    assert len(_source(name).splitlines()) <= MOST_LINES
    assert all(">=" in requirement for requirement in PROJECT["optional-dependencies"][name])


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_framework_is_one_line_with_its_extra(name: str) -> None:
    if is_installed(name):
        pytest.skip(f"{name}'s framework is installed")
    with pytest.raises(AdapterError, match=rf"^{name}: \w+ is not installed; pip install 'kterm\[{name}\]'$"):
        load(name)


def test_half_of_the_adapters_have_at_most_70_lines() -> None:
    lengths = sorted(len(_source(name).splitlines()) for name in NAMES)
    assert lengths[len(lengths) // 2] <= 70


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_conforms_where_its_framework_is_installed(name: str, tmp_path: Path) -> None:
    if not is_installed(name):
        pytest.skip(f"{name}'s framework is not installed")
    done = kterm("check", name, "--profile", "smoke", "-n", "0", folder=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
