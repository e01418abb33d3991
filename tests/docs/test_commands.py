"""Every command that a page prints is run as it stands, here or by `.ci/run` or `.ci/full`, and ends as the page says.

A command that takes minutes, or that has a placeholder in it, is listed with the smaller one that is run instead.
"""

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.command import kterm, pytest_run
from ..support.here import kterm_here
from . import PAGES, ROOT, page

MUTANT = "--mutant no-slope-last"
PORT = "examples/first_port/adapter.py:MyPort"
TAILS = f"kterm check {PORT} --profile quick --regime tails -n 0"
FAILS = {
    f"kterm check {PORT} --profile quick": f"{TAILS} --report port.jsonl",
    f"kterm check {PORT} --profile quick --report port.jsonl": f"{TAILS} --report port.jsonl",
}
"""What is run instead of commands that fail."""
_BEFORE, _AFTER = (f"kterm check numpy --profile smoke -n 0 -o {name}.jsonl" for name in ("before", "after"))
INSTEAD: dict[str, str] = {
    # placeholders
    "kterm kinks path/to/file.py:Class": "kterm kinks examples/shown_adapter.py:Shown --dtype f64",
    "kterm check my-port --profile quick --report run.jsonl": (
        "kterm check numpy --profile smoke -n 0 --report run.jsonl"
    ),
    "pytest --pyargs kterm.conformance --kterm-adapter my-port --kterm-profile quick -n auto": (
        "pytest --pyargs kterm.conformance --kterm-adapter numpy --kterm-profile smoke -n 0"
    ),
    "kterm replay CASE examples/first_port/adapter.py:MyPort": (
        "kterm replay 3x2-tanh-b5-pre-f64-normal-s0 examples/first_port/adapter.py:MyPort"
    ),
    "kterm shrink CASE examples/first_port/adapter.py:MyPort": (
        "kterm shrink 4x8x3-silu.tanh-b5-pre-f32-normal-s0 numpy --mutant no-slope-hidden"
    ),
    # minutes
    "kterm check torch --profile quick --seed 7": "kterm check numpy --profile smoke --seed 7 -n 0",
    "kterm check torch --profile quick --report run.jsonl": "kterm check numpy --profile smoke -n 0 --report run.jsonl",
    "kterm check torch --profile quick --expectations expectations.toml": (
        "kterm check numpy --profile smoke -n 0 --expectations expectations.toml"
    ),
    "kterm check numpy --profile quick --report run.jsonl": "kterm check numpy --profile smoke -n 0 --report run.jsonl",
    "kterm check torch --level normwise": "kterm check numpy --profile smoke --level normwise -n 0",
    "kterm check torch --report run.jsonl": "kterm check numpy --profile smoke -n 0 --report run.jsonl",
    "kterm ulp torch --json ulp.jsonl": (
        "kterm ulp numpy --dtype f32 --activation relu --samples 0 -n 0 --json ulp.jsonl"
    ),
    "kterm mutants torch --json kills.json": (
        "kterm mutants numpy --profile smoke --dtype f64 --mutant sign -n 0 --json kills.json"
    ),
    "kterm arithmetic torch jax numpy": "kterm arithmetic numpy --dtype f32",
    "kterm arithmetic jax jax-eager --bitwise": "kterm arithmetic numpy --dtype f32 --bitwise",
    "kterm ulp torch": "kterm ulp numpy --dtype f32 --activation relu --samples 0 -n 0",
    "kterm ulp numpy torch jax --samples 6 --json ulp.jsonl": (
        "kterm ulp numpy --dtype f32 --activation relu --samples 0 -n 0 --json ulp.jsonl"
    ),
    "kterm calibrate torch jax numpy --draws 300000 --networks 1": (
        "kterm calibrate numpy --draws 200 --networks 0 --activation tanh --dtype f32 -n 0"
    ),
    "kterm mutants": f"kterm mutants {MUTANT} --profile smoke -n 0",
    "kterm check numpy --profile standard --report run.jsonl": (
        "kterm check numpy --profile smoke -n 0 --report run.jsonl"
    ),
    "kterm check torch -o before.jsonl": _BEFORE,
    "kterm check torch -o after.jsonl": _AFTER,
}
"""What is run instead, with the same exit code."""

CODES: dict[str, int] = {
    f"kterm check torch --profile smoke {MUTANT}": 1,
    "kterm check torch --profile smoke": 0,
    "kterm replay 4x8x3-relu.tanh-b5-pre-f32-normal-s17 torch": 0,
    "pytest --pyargs kterm.conformance --kterm-adapter torch --kterm-profile smoke -n 2": 0,
    "kterm check examples/minimal_adapter.py:MyFramework --profile smoke": 0,
    "kterm check examples/shown_adapter.py:Shown --profile quick": 0,
    "kterm reproduce 1x2-elu-b1-none-f32-tails-s1 jax -o bug.py": 0,
    "kterm shrink 4x8x3-silu.tanh-b5-pre-f32-normal-s0 numpy --mutant no-slope-hidden": 0,
    "kterm mutants --list": 0,
    "kterm vectors export vectors --profile smoke": 0,
    "kterm vectors answer vectors numpy results": 0,
    "kterm vectors verify vectors results": 0,
    "kterm vectors answer vectors numpy wrong --mutant no-slope-hidden": 0,
    "kterm vectors verify vectors wrong": 1,
    "kterm new-adapter my-port --style module": 0,
    "kterm expect run.jsonl -o expectations.toml": 0,
    "kterm smoke examples/first_port/draft.py:Draft": 1,
    f"kterm smoke {PORT}": 0,
    "kterm new-adapter my-program --style process": 0,
    "kterm expect port.jsonl -o port.toml": 0,
    "kterm rows run.jsonl -o run.csv": 0,
    "kterm compare before.jsonl after.jsonl": 0,
    "kterm recheck run.jsonl --sample 20": 0,
    "kterm compare before.jsonl after.jsonl --github": 0,
    "kterm view run.jsonl --summary run.md --junit junit.xml": 0,
    "kterm report run.jsonl -o report": 0,
    "kterm report run.jsonl --ulp ulp.jsonl --kills kills.json --replay -o report": 0,
    **dict.fromkeys(FAILS, 1),
    **dict.fromkeys(INSTEAD, 0),
}
"""The exit code of every command that is run here."""

STAGES = {"kterm check": ".ci/run", "kterm mutants --brief": ".ci/full", "pytest -n auto --dist worksteal": ".ci/run"}
"""What runs them as they stand."""

ELSEWHERE = {
    "kterm mutants --smallest smoke.toml": "tests/conformance/evaluation",
    "python -m venv .venv && . .venv/bin/activate": ".ci/run",
    "kterm reproduce trace blocks.7.mlp.up -o bug.py": "tests/conformance/interfaces",
    "kterm env create tensorflow": "tests/conformance/runners",
    "kterm env list": "tests/conformance/runners",
    "kterm check --resume run.jsonl": "tests/conformance/records",
    "kterm campaign numpy torch jax --cases 1000000 -o million": "tests/conformance/evaluation",
    "kterm campaign torch --hours 8 -o night -n 8": "tests/conformance/evaluation",
    "kterm campaign torch --cases 1000000000 -o campaign --scheduler tcp://head:8786": "tests/conformance/evaluation",
    "kterm check torch jax --shard 1/4 -o shard-1.jsonl": "tests/conformance/records",
    "kterm check torch --timings timings.json": "tests/conformance/records",
    "kterm merge shard-1.jsonl shard-2.jsonl shard-3.jsonl shard-4.jsonl -o run.jsonl": "tests/conformance/records",
    "kterm certify run.jsonl": "tests/conformance/evaluation/certificate",
    "kterm certify run.jsonl --recheck 100": "tests/conformance/evaluation/certificate",
    "kterm certify run.jsonl --verify kterm-numpy.json": "tests/conformance/evaluation/certificate",
    "kterm certify run.jsonl --kills kills.json --calibration calibration.json": (
        "tests/conformance/evaluation/certificate"
    ),
    "kterm mutants numpy --profile smoke --json kills.json": "tests/conformance/evaluation/certificate",
    "kterm calibrate numpy --draws 20000 --networks 0 --json calibration.json": (
        "tests/conformance/evaluation/certificate"
    ),
    "kterm judge trace": "tests/docs",
    "kterm judge port-trace": "tests/docs",
    "kterm judge trace --report model.jsonl": "tests/conformance/interfaces/models",
    "kterm cases trace": "tests/conformance/interfaces/models",
    "kterm check torch --like trace": "tests/conformance/interfaces/models",
    "kterm judge numpy-trace": "tests/docs",
    "kterm judge old-trace": "tests/docs",
    "kterm judge new-trace": "tests/docs",
    "kterm judge training-trace": "tests/docs",
    'kterm check "command:node adapter.mjs"': "tests/examples",
    "kterm smoke command:examples/c/adapter": "tests/examples",
    "kterm check command:examples/c/adapter --profile quick": "tests/examples",
}
"""Run with other arguments: certificates of runs in a larger profile than smoke; the solver on small sets of cases;
virtual environments in other folders, without pip.
"""

NEEDS = (
    ("autograd", "examples/minimal"),
    ("autograd", "examples/shown"),
    ("torch", " torch "),
    ("jax", " jax "),
    ("mpmath", "kterm ulp "),
    ("altair", "kterm report "),
)
"""Packages, and what is in a command that needs them."""

LIGHT = (
    "kterm expect ",
    "kterm rows ",
    "kterm compare ",
    "kterm recheck ",
    "kterm view ",
    "kterm report ",
    "kterm mutants --list",
    "kterm new-adapter ",
    "kterm vectors ",
)
"""Commands that start no workers. They run in the process of the tests, and so does what has `-n 0`."""

_EXPORT = "kterm vectors export vectors --profile smoke"
_WRITES = {
    "kterm vectors answer vectors numpy results": [_EXPORT],
    "kterm vectors verify vectors results": ["kterm vectors answer vectors numpy results"],
    "kterm vectors answer vectors numpy wrong --mutant no-slope-hidden": [_EXPORT],
    "kterm compare before.jsonl after.jsonl": [_BEFORE, _AFTER],
    "kterm compare before.jsonl after.jsonl --github": [_BEFORE, _AFTER],
    "kterm vectors verify vectors wrong": ["kterm vectors answer vectors numpy wrong --mutant no-slope-hidden"],
    "kterm expect run.jsonl -o expectations.toml": ["kterm check numpy --profile smoke -n 0 --report run.jsonl"],
    "kterm expect port.jsonl -o port.toml": [f"{TAILS} --report port.jsonl"],
    "kterm rows run.jsonl -o run.csv": ["kterm check numpy --profile smoke -n 0 --report run.jsonl"],
    "kterm recheck run.jsonl --sample 20": ["kterm check numpy --profile smoke -n 0 --report run.jsonl"],
    "kterm report run.jsonl -o report": ["kterm check numpy --profile smoke -n 0 --report run.jsonl"],
    "kterm report run.jsonl --ulp ulp.jsonl --kills kills.json --replay -o report": [
        "kterm check numpy --profile smoke -n 0 --report run.jsonl",
        "kterm ulp numpy --dtype f32 --activation relu --samples 0 -n 0 --json ulp.jsonl",
        "kterm mutants numpy --profile smoke --dtype f64 --mutant sign -n 0 --json kills.json",
    ],
    "kterm view run.jsonl --summary run.md --junit junit.xml": [
        "kterm check numpy --profile smoke -n 0 --report run.jsonl"
    ],
    "kterm check numpy --profile smoke -n 0 --expectations expectations.toml": [
        "kterm expect run.jsonl -o expectations.toml",
    ],
}
"""The commands that write what a command reads."""


def _printed() -> Iterator[str]:
    """Every command line in a block of a page."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        lines = [line for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S) for line in block.splitlines()]
        lines += re.findall(r"^ {4}(\S.*)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
        yield from (line for line in lines if re.match(r"(kterm|pytest|pip|python -m) [^=]", line))


PORT_PAGE = page("docs/validate-a-port.md")
PRINTED = list(dict.fromkeys(_printed()))
INSTALLS = [line for line in PRINTED if line.startswith("pip install ")]


def test_every_printed_command_is_accounted_for() -> None:
    assert set(PRINTED) - set(INSTALLS) == {*CODES, *STAGES, *ELSEWHERE}


@pytest.mark.parametrize("line", sorted(STAGES))
def test_a_stage_runs_the_command_as_it_stands(line: str) -> None:
    assert re.search(rf"^(stage \w+ )?{re.escape(line)}$", page(STAGES[line]), re.M)


@pytest.mark.parametrize("line", INSTALLS)
def test_an_installation_brings_in_what_ci_installs_or_what_exists(line: str) -> None:
    stage = re.search(r"^stage install (.*)$", page(".ci/run"), re.M)
    assert stage is not None
    project = tomllib.loads(page("pyproject.toml"))["project"]
    for word in shlex.split(line)[2:]:
        if extras := re.fullmatch(r"(?:\.|kterm)\[([\w,]+)\]", word):
            assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
        else:
            assert word in (*shlex.split(stage[1]), "autograd", "kterm")


class Reader:
    """Who reads the pages, with the examples in a folder, and types their commands there. No command is run twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("node_modules"))
        self._done: dict[str, subprocess.CompletedProcess[str]] = {}

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """What a command came to, after those that write the files that it reads."""
        if line not in self._done:
            for earlier in _WRITES.get(line, ()):
                self.run(earlier)
            program, *words = shlex.split(line)
            here = line.startswith(LIGHT) or " -n 0" in line
            run = pytest_run if program == "pytest" else kterm_here if here else kterm
            self._done[line] = run(*words, folder=self.folder)
        return self._done[line]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """One reader for all commands of this module."""
    return Reader(tmp_path_factory.mktemp("reader"))


@pytest.mark.parametrize("line", [line for line in PRINTED if line in CODES])
def test_a_printed_command_ends_as_it_should(line: str, reader: Reader) -> None:
    run = {**INSTEAD, **FAILS}.get(line, line)
    for package, word in NEEDS:
        if word in f"{run} ":
            pytest.importorskip(package)
    done = reader.run(run)
    assert done.returncode == CODES[line], done.stdout + done.stderr
    if line == f"kterm check torch --profile smoke {MUTANT}":
        _assert_shows(done.stdout)
    for block in re.findall(rf"^<!-- printed: {re.escape(line)} -->\n```\n(.*?)^```", PORT_PAGE, re.M | re.S):
        assert _rounded(block) == _rounded(done.stdout)
    if line == f"kterm check {PORT} --profile quick":
        cause = re.search(r"^<!-- cause -->\n```\n(.*?)^```", PORT_PAGE, re.M | re.S)
        assert cause is not None
        assert _rounded(cause[1]) in _rounded(done.stdout)
    if " replay " in line:
        assert "every step agrees with the rule" in done.stdout


def _assert_shows(printed: str) -> None:
    """That README shows this failure, with figures to three digits and without the residual, which is rounding."""
    shown = re.search(r"<!-- failure -->\n```\n(.*?)```", page("README.md"), re.S)
    assert shown is not None
    assert _rounded(shown[1]) in _rounded(printed)


def _rounded(text: str) -> str:
    text = re.sub(r"\(residual .*? σ\)", "(residual)", text)
    return re.sub(r"-?\d+\.\d+(e[+-]\d+)?", lambda found: f"{float(found[0]):.2g}", text)
