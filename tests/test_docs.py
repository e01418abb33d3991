"""The documentation is true: links resolve, code runs, command lines parse, tables and examples equal their source."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import typer

import kterm as public
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import PROFILES, make_options, plan
from kterm.conformance.checks.verdict import CHECKS, RUN_CHECKS, STATUSES
from kterm.conformance.commands.cli import app
from kterm.conformance.expectations import expectation as expectations
from kterm.conformance.expectations.formulas import FORMULAS, KINDS
from kterm.conformance.interfaces import plugin
from kterm.conformance.mutants import EQUIVALENTS, MISTAKES
from kterm.conformance.records import record
from kterm.reference import ACTIVATIONS

from .docs.site import anchors
from .support.command import kterm, pytest_run

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md") if path.exists()]
PAGES += sorted((ROOT / "docs").glob("*.md"))
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_resolve(name: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _page(name)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        where, _, fragment = target.partition("#")
        path = (ROOT / name).parent / where if where else ROOT / name
        assert path.exists(), f"{name} links to {target}"
        if fragment and path.suffix == ".md":
            assert fragment in anchors(path.read_text(encoding="utf-8")), f"{name} links to {target}"


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_prose_have_at_most_120_columns(name: str) -> None:
    prose = re.sub(r"^```.*?^```", "", _page(name), flags=re.M | re.S)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))]
    # What cannot be broken, such as an address or a badge, may stand on a line of its own.
    assert [line for line in long if " " in re.sub(r"\[[^\]]*\]\([^)]*\)", "", line).strip()] == []


def _runnable() -> Iterator[tuple[str, str, str]]:
    for path in PAGES:
        found = re.finditer(
            r"<!-- runnable(?:: (\w+))? -->\n```python\n(.*?)^```", path.read_text("utf-8"), re.M | re.S
        )
        for number, match in enumerate(found, 1):
            yield f"{path.stem}-{number}", match[1] or "", match[2]


@pytest.mark.parametrize(("framework", "code"), [pytest.param(f, c, id=name) for name, f, c in _runnable()])
def test_code_runs(framework: str, code: str) -> None:
    if framework:
        pytest.importorskip(framework)
    exec(compile(code, "<docs>", "exec"), {"__name__": "docs"})


def test_there_is_code_to_run() -> None:
    assert [framework for _, framework, _ in _runnable()].count("torch") >= 2


@pytest.mark.parametrize("name", NAMES)
def test_included_examples_equal_their_files(name: str) -> None:
    for path, code in re.findall(r"<!-- include: (\S+) -->\n```python\n(.*?)^```", _page(name), re.M | re.S):
        assert code == _page(path), f"{name} differs from {path}"


def test_every_example_stands_in_a_page_as_it_is() -> None:
    pages = "".join(map(_page, NAMES))
    for path in (ROOT / "examples").glob("*.py"):
        shown = path.read_text(encoding="utf-8")
        assert f"```python\n{shown}```" in pages, f"no page shows examples/{path.name} as it is"


def _commands() -> Iterator[tuple[str, str]]:
    """Every command line in the pages: those that stand in a block, and those in running text."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        fenced = re.findall(r"^```(?:console|sh|bash|shell)?\n(.*?)^```", text, re.M | re.S)
        lines = [*re.findall(r"^ {4,}(.+)$", text, re.M), *(line for block in fenced for line in block.splitlines())]
        lines += re.findall(r"`(kterm [^`\n]+)`", text)
        for line in lines:
            line = line.strip().removeprefix("$ ").split("  #")[0]
            if re.match(r"kterm (check|replay|adapters|calibrate|expect|kinks|mutants|reproduce|shrink|ulp)\b", line):
                yield f"{path.stem}: {line}", line


@pytest.mark.parametrize("line", [pytest.param(line, id=name) for name, line in sorted(set(_commands()))])
def test_command_lines_parse(line: str) -> None:
    name, *words = shlex.split(line)[1:]
    # A context is made of the words, and nothing is run.
    command = typer.main.get_command(app).commands[name]  # pyright: ignore[reportAttributeAccessIssue]  (a group)
    if words:  # else it may be the name of the command
        command.make_context(name, list(words))
    for option, spec in pairwise(("", *words)):
        if option != "-o" and (spec.endswith(".py") or ".py:" in spec):
            assert spec.startswith("path/to/") or (ROOT / spec.split(":")[0]).exists(), line


def test_pytest_options_exist() -> None:
    source = inspect.getsource(plugin)
    for name in NAMES:
        for option in re.findall(r"--kterm-[a-z]+", _page(name)):
            assert f'"{option}"' in source, f"{name}: {option}"


def test_the_adapters_command_shows_how_to_write_one(tmp_path: Path) -> None:
    shown = kterm("adapters", folder=tmp_path).stdout
    assert "numpy" in shown
    skeleton = ast.parse(shown[shown.index("from kterm import") :])
    declared = {target.id for node in ast.walk(skeleton) if isinstance(node, ast.Assign) for target in node.targets
                if isinstance(target, ast.Name)}  # fmt: skip
    assert {"name", "version", "weight_layout", "dtypes", "activations"} <= declared | {"functions"}
    imported = next(node for node in ast.walk(skeleton) if isinstance(node, ast.ImportFrom))
    assert {alias.name for alias in imported.names} <= set(public.__all__)


@pytest.mark.parametrize("room", ["reference", "adapters", "conformance"])
def test_no_message_names_a_page_of_the_repository(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                # Docstrings are for people who have the source.
                body[0].value = ast.Constant("")
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"\bdocs/|\w\.md\b", node.value), f"{path}:{node.lineno} {node.value}"


def test_port_example_passes() -> None:
    done = pytest_run("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "examples/test_port.py", folder=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def _table(name: str, mark: str) -> list[list[str]]:
    """The cells of a table between two marks, without its header."""
    found = re.search(rf"<!-- {mark} -->\n(.*?)<!-- end -->", _page(name), re.S)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()[2:]]


def test_table_of_profiles_equals_the_plan() -> None:
    due = [
        [f"`{profile}`", f"`{share.regime}`", ", ".join(share.dtypes), str(share.structures), str(share.draws)]
        for profile, shares in PROFILES.items()
        for share in shares
    ]
    assert _table("docs/checks.md", "profiles") == due


def test_counts_of_cases_equal_the_plan() -> None:
    described = replace(describe(Numpy(), "numpy"), dtypes=("f64", "f32", "bf16", "f16"))
    for profile in PROFILES:
        count = sum(len(group.draws) for group in plan(described, make_options(profile, 0)).groups)
        assert f"{count:,} " in _page("docs/checks.md"), profile


def test_table_of_activations_equals_the_table() -> None:
    rows = {row[0].strip("`"): row[-1] for row in _table("docs/adapters.md", "activations")}
    due = {
        name: ", ".join(f"`{key} = {value!r}`" for key, value in row.parameters.items())
        for name, row in ACTIVATIONS.items()
    }
    assert {name: cell.strip("| ") for name, cell in rows.items()} == due
    assert list(rows) == list(ACTIVATIONS)


def test_tables_of_checks_and_statuses_are_complete() -> None:
    page = _page("docs/checks.md")
    before, after = page.split("## Checks of the run as a whole")
    assert tuple(re.findall(r"^\| `(\w+)` \|", before, re.M)) == CHECKS
    assert tuple(re.findall(r"^\| `(\w+)` \|", after.split("## Blocking")[0], re.M)) == RUN_CHECKS
    assert set(re.findall(r"^\| `(\w+)` \|", page.split("## What becomes")[1].split("## ")[0], re.M)) == set(STATUSES)


def _unescaped(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.replace("\\|", "|") for cell in row] for row in rows]


def test_tables_of_mutants_equal_the_table() -> None:
    mistakes = [[f"`{m.name}`", m.mistake, m.effect, m.hidden] for m in MISTAKES]
    assert _unescaped(_table("docs/mutants.md", "mistakes")) == mistakes
    equivalents = [[f"`{m.name}`", m.mistake, m.equivalent] for m in EQUIVALENTS]
    assert _unescaped(_table("docs/mutants.md", "equivalents")) == equivalents


def test_every_expectation_is_explained() -> None:
    headings = " ".join(re.findall(r"^## (.*)$", _page("docs/found.md"), re.M)).lower()
    for expectation in expectations.read(expectations.SHIPPED):
        if expectation.framework not in ("torch", "jax") or expectation.device != "*":
            assert expectation.framework in headings
            continue
        assert expectation.issue in _page("docs/divergences.md")
        if expectation.formula:
            assert f"The formula `{expectation.formula}`:" in _page("docs/divergences.md")


def test_table_of_formulas_equals_the_table() -> None:
    due = [
        [
            f"`{name}`",
            ", ".join(f"`{key}`: {KINDS[kind][0]}" for key, kind in row.parameters.items()) or "none",
            row.states,
        ]
        for name, row in FORMULAS.items()
    ]
    assert _table("docs/expectations.md", "formulas") == due


def test_records_schema_is_the_one_described() -> None:
    page = _page("docs/record.md")
    assert f"schema version {record.SCHEMA}." in page
    assert f'"schema": {record.SCHEMA},' in page


_KINKS = [pytest.param(*row, id=f"{row[0].split('`')[1]}({row[1]})") for row in _table("docs/divergences.md", "kinks")]


@pytest.mark.parametrize(("name", "point", "left", "right", "torch", "jax"), _KINKS)
def test_values_at_kinks(name: str, point: str, left: str, right: str, torch: str, jax: str) -> None:
    name, at = name.split("`")[1], float(point)
    (kink,) = (kink for kink in ACTIVATIONS[name].kinks if kink.point == at)
    assert (kink.left, kink.right) == pytest.approx((float(left), float(right)), abs=5e-5)
    given = ACTIVATIONS[name].parameters
    framework = pytest.importorskip("torch")
    functions = pytest.importorskip("kterm.adapters.frameworks.shared.torch_shared").ACTIVATIONS
    for dtype in (framework.float32, framework.float64):
        z = framework.tensor([at], dtype=dtype, requires_grad=True)
        functions[name](z, **given).sum().backward()
        assert z.grad.item() == pytest.approx(float(torch), abs=5e-5)
    framework = pytest.importorskip("jax")
    functions = pytest.importorskip("kterm.adapters.frameworks.shared.jax_shared").ACTIVATIONS
    slope = framework.grad(lambda z: functions[name](z, **given))(at)
    assert float(slope) == pytest.approx(float(jax), abs=5e-5)


@pytest.mark.parametrize(
    ("framework", "module", "column"),
    [("torch", "frameworks.shared.torch_shared", 4), ("jax", "frameworks.shared.jax_shared", 5)],
)
def test_adapters_declare_the_values_of_the_table(framework: str, module: str, column: int) -> None:
    pytest.importorskip(framework)
    declared = import_module(f"kterm.adapters.{module}").SLOPES_AT_KINKS
    rows = _table("docs/divergences.md", "kinks")
    listed = {(row[0].split("`")[1], float(row[1])): float(row[column]) for row in rows}
    found = {(name, float(point)): slope for name, slopes in declared.items() for point, slope in slopes.items()}
    assert found == pytest.approx(listed, abs=5e-5)


def test_the_reference_takes_the_slopes_of_the_column_of_torch() -> None:
    conventions = describe(Numpy(), "numpy").conventions
    for name, point, _, _, torch, _ in _table("docs/divergences.md", "kinks"):
        assert conventions[name.split("`")[1]][float(point)] == pytest.approx(float(torch), abs=5e-5)


def test_every_kink_is_in_the_table() -> None:
    listed = [(row[0].split("`")[1], float(row[1])) for row in _table("docs/divergences.md", "kinks")]
    assert listed == [(name, kink.point) for name, row in ACTIVATIONS.items() for kink in row.kinks]
