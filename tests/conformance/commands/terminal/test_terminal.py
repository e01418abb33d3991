"""`kterm check` on a real terminal, and where the output is none: widths, colours, Ctrl-C, encodings."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kterm.conformance.records.form.console import TextConsole
from kterm.conformance.records.record import Record, read
from kterm.conformance.records.report import CheckTable

from ....support.here import kterm_here

pytest.importorskip("pty")

from ....support.terminal import on_terminal

SMALL = ("--profile", "smoke", "--dtype", "f32", "-n", "0")
FAILING = ("check", "numpy", *SMALL, "--mutant", "sign")
COLOUR = "\x1b[1;31mFAIL"


def test_in_60_columns_no_word_is_broken(tmp_path: Path) -> None:
    shown = on_terminal(*FAILING, folder=tmp_path, columns=60)
    assert shown.code == 1
    assert shown.lines[0] == "loading numpy ..."
    assert any(line.startswith("FAIL numpy ") for line in shown.lines)
    assert COLOUR in shown.raw
    longer = [line for line in shown.lines if len(line) > 60]
    assert all(len(line.removesuffix(" \\").split()) <= 3 for line in longer), longer  # a case id is one long word
    command = re.search(r"  kterm reproduce .*?bug\.py", "\n".join(shown.lines), re.DOTALL)
    assert command is not None
    assert " \\\n" in command[0]


_VIEW = """
from kterm.conformance.records.form.console import TextConsole
from rich.table import Table
console = TextConsole()
console.print("FAIL torch: " + "so many words " * 8, style="bold red")
table = Table("check", "torch", "jax")
table.add_row("forward", "1,234 passed, 3 inconclusive", "1,234 passed, 3 inconclusive")
console.print(table)
"""


@pytest.mark.parametrize(
    ("environment", "is_coloured", "width"),
    [({}, True, 200), ({"NO_COLOR": "1"}, False, 200), ({"TERM": "dumb"}, False, 200), ({"COLUMNS": "60"}, True, 60)],
    ids=["plain", "NO_COLOR", "TERM=dumb", "COLUMNS"],
)
def test_variables_are_heeded(tmp_path: Path, environment: dict[str, str], is_coloured: bool, width: int) -> None:
    shown = on_terminal(folder=tmp_path, columns=200, environment=environment, script=_VIEW)
    assert (COLOUR in shown.raw) == is_coloured
    assert "\x1b[31m" not in shown.raw
    assert all(len(line) <= width for line in shown.lines)
    text = "\n".join(shown.lines)
    if width == 60:
        row = "forward: torch 1,234 passed, 3 inconclusive; jax 1,234\n  passed, 3 inconclusive"
        assert row in text
        assert "  many words" in text
    else:
        assert "so many words " * 7 in text
    if environment.get("TERM") == "dumb":
        assert "\x1b" not in shown.raw


def test_ctrl_c_at_a_terminal_says_that_it_interrupted_and_shows_the_cursor_again(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nfrom kterm.adapters.numpy_adapter import Numpy\nclass Slow(Numpy):\n    name = 'slow'\n"
        "    def build(self, structure):\n        time.sleep(0.3)\n        return super().build(structure)\n",
        encoding="utf-8",
    )
    shown = on_terminal("check", "slow.py:Slow", *SMALL, folder=tmp_path, columns=80, interrupt_at="of 12 cases, ")
    assert shown.code == 130, shown.raw
    assert any("interrupted" in line for line in shown.lines)
    assert "Traceback" not in shown.raw
    assert shown.raw.rfind("\x1b[?25h") >= shown.raw.rfind("\x1b[?25l")


def test_what_an_encoding_lacks_is_escaped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kterm", *FAILING]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"FAIL numpy" in done.stdout
    assert rb"\u03c3" in done.stdout


def test_quiet_prints_the_verdict_alone(tmp_path: Path) -> None:
    done = kterm_here(*FAILING, "--quiet", "-o", "run.jsonl", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.fullmatch(r"FAIL numpy \S+ with mutant sign: 12 cases, \d+ failures, \d+ undecided\n", done.stdout)
    same = kterm_here("compare", "run.jsonl", "run.jsonl", "--quiet", folder=tmp_path)
    assert (same.stdout.count("\n"), same.stderr) == (1, "")
    assert same.stdout.startswith("NO REGRESSION: ")
    again = kterm_here("recheck", "run.jsonl", "--quiet", folder=tmp_path)
    assert (again.stdout, again.stderr) == ("all as recorded\n", "")


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Record]:
    """What a failing run with --verbose printed, and its record."""
    folder = tmp_path_factory.mktemp("failing")
    said = kterm_here(*FAILING, "--verbose", "-o", "run.jsonl", folder=folder).stdout
    return said, read(folder / "run.jsonl")


def test_verbose_prints_every_finding_the_environment_and_the_time(failing: tuple[str, Record]) -> None:
    said, record = failing
    findings = [v for some in record.verdicts.values() for v in some if v.is_finding]
    assert len(findings) > 5
    for verdict in findings:
        assert f"numpy: {verdict.case}: {verdict.check} {verdict.grade}\n" in said
        assert f"{verdict.observed!r}" in said
    assert f"cpu: {record.header['environment']['cpu']}\n" in said
    assert re.search(r"^numpy \S+ with mutant sign: \d+\.\d s in 11 groups$", said, re.MULTILINE)


def test_causes_come_before_details(failing: tuple[str, Record]) -> None:
    lines = failing[0].splitlines()
    begins = ("FAIL", "numpy: ", "check ", "planned")
    places = [next(i for i, line in enumerate(lines) if line.startswith(one)) for one in begins]
    assert places == sorted(places)


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_tables_that_do_not_fit_stand_below_each_other(
    failing: tuple[str, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = CheckTable(failing[1])
    monkeypatch.setenv("NO_COLOR", "1")
    for columns, first in ((60, ["check             numpy"]), (30, ["numpy", "contract: cases 10 passed"])):
        monkeypatch.setenv("COLUMNS", str(columns))
        screen = _Screen()
        TextConsole(screen).print(table)
        lines = [re.sub("\x1b.*?m", "", line).rstrip() for line in screen.getvalue().splitlines()]
        assert lines[: len(first)] == first
        assert all(len(line) <= columns for line in lines)


@pytest.mark.parametrize("arguments", [("-h",), ("check", "-h"), ("--version",)], ids=" ".join)
def test_help_and_version_import_nothing_heavy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom kterm.__main__ import main\n"
        f"sys.argv = ['kterm', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('heavy:', sorted({'numpy', 'scipy', 'torch', 'jax', 'pytest'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout


def test_what_is_loaded_is_said_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom kterm.conformance.records.form import text\nsaid = []\n"
        "def show(line):\n    said.append((line, {'numpy', 'pytest'} & set(sys.modules)))\n"
        "text.print_aside = show\nfrom kterm.conformance.commands.cli import main\n"
        "sys.argv = ['kterm', 'check', 'numpi']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint(said[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "('loading numpi ...', set())\n"
