"""`kterm reproduce`: the smallest case as a script, written and run; exit codes."""

import re
from pathlib import Path

import pytest

from kterm.conformance.failures.reproduce import Reproduced, ran, reproduce_case

from ...support import miniatures
from ...support.command import assert_one_line, kterm
from ...support.scripts import FLAWED, REAL, alone, assert_fails_as_it_says, assert_fit_to_paste, imports, loaded, prose


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_the_command_writes_the_script_and_runs_it(tmp_path: Path, name: str) -> None:
    loaded(name)
    case = REAL[name][0][0]
    done = kterm("reproduce", case, name, "-o", "bug.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("bug.py fails as it says: AssertionError: ")
    assert done.stdout.count("\n") == 1
    assert "kterm" not in imports((tmp_path / "bug.py").read_text(encoding="utf-8"))


def test_the_page_shows_a_script_as_it_is_written() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reproducers.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- reproducer: (\S+) (\S+) -->\n```python\n(.*?)^```", page, re.M | re.S)
    assert shown is not None
    loaded(shown[2])

    def unversioned(source: str) -> str:
        source = re.sub(r'Written with .*?"""', "", source, count=1, flags=re.S)
        return re.sub(r'^"""JAX \S+:', "", source)

    found = reproduce_case(shown[1], shown[2])
    assert isinstance(found, Reproduced)
    assert unversioned(found.source) == unversioned(shown[3])


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("mutant", ["no-slope-hidden", "gradient-mean", "forward-no-bias"])
def test_a_mutant_is_reproduced_by_the_smallest_case_that_shows_it(tmp_path: Path, name: str, mutant: str) -> None:
    loaded(name)
    found = reproduce_case("4x8x3-silu.tanh-b5-pre-f32-normal-s0", name, mutant=mutant)
    assert isinstance(found, Reproduced)
    assert max(*found.failure.structure.network.widths, found.failure.structure.batch) <= 2
    assert f"A mistake is planted in what {found.source[3:].split()[0]} gives: the rule with" in prose(found.source)
    assert_fit_to_paste(found.source, name)
    assert_fails_as_it_says(found.source, tmp_path)
    done = alone(found.source.replace(" + addend\n", "\n"), tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_mistake_that_is_planted_around_programs_has_no_script() -> None:
    found = reproduce_case("4x3-tanh-b5-pre-f32-normal-s0", "numpy", mutant="inputs-modified")
    assert isinstance(found, str)
    assert "this is planted around the framework's programs" in found


def test_not_shrunk_it_is_of_the_case_itself(tmp_path: Path) -> None:
    case = "4x3x2-tanh-b3-pre-f32-normal-s0"
    command = ("reproduce", case, f"{FLAWED}:MeanOverBatch", "-o")
    assert kterm(*command, "small.py", folder=tmp_path).returncode == 0
    assert kterm(*command, "large.py", "--no-shrink", folder=tmp_path).returncode == 0
    small, large = ((tmp_path / name).read_text(encoding="utf-8") for name in ("small.py", "large.py"))
    assert "1 layer, widths 1 to 1" in prose(small)
    assert "2 layers, widths 4 to 3 to 2" in prose(large)
    for source in (small, large):
        assert f"of case {case}." in prose(source)


def test_without_a_file_the_script_is_printed(tmp_path: Path) -> None:
    done = kterm("reproduce", "2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:MeanOverBatch", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("the script fails as it says: AssertionError: ")
    assert "dE/dW_1" in assert_fails_as_it_says(done.stdout, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bug.py"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("2x2-tanh-b3-pre-f64-normal-s0", "numpy"), 1, "does not fail on numpy: there is nothing to reproduce"),
        (
            ("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:OnlyTheAdapter", "-o", "bug.py"),
            1,
            "bug.py passes: the framework's own calls are right, and the mistake is in the adapter",
        ),
        (
            ("3x3x3-relu.leaky_relu-b5-pre-f32-layout-s0", f"{miniatures.__file__}:LiesAboutLayout"),
            1,
            "no script of the framework's calls shows it: consistent with weights laid out (in, out)",
        ),
        (("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:NoScript"), 3, "no-script has no script"),
        (("2x2-tanh-b3-pre-bf16-normal-s0", "numpy"), 1, "numpy has no dtype bf16"),
        (("2x2-tanh", "numpy"), 2, "it should look like"),
        (("2x2-tanh-b3-pre-f64-normal-s0", "tensorflop"), 3, "tensorflop"),
        (
            ("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:MeanOverBatch", "-o", "/proc/none/bug.py"),
            2,
            "-o /proc/none/bug.py: No such file or directory; name a file that can be written",
        ),
    ],
)  # fmt: skip
def test_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    assert_one_line(kterm("reproduce", *arguments, folder=tmp_path), code, words)


def test_how_a_script_ends_is_told(tmp_path: Path) -> None:
    def told(source: str, timeout: float = 60) -> tuple[bool, str]:
        path = tmp_path / "bug.py"
        path.write_text(source, encoding="utf-8")
        return ran(path, timeout)

    assert told("assert False, 'as it is'") == (True, "fails as it says: AssertionError: as it is")
    assert told("print(1)")[0] is False
    assert told("import nowhere") == (False, "does not run: ModuleNotFoundError: No module named 'nowhere'")
    assert told("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)") == (True, "ends its process with signal 11")
    assert told("import time\ntime.sleep(600)", 0.5) == (True, "hangs: it has not ended within 0.5 s")
    # Neither the folder that it is called in nor the user's own packages are on its path.
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    assert told("import numpy\nassert False, numpy.__name__") == (True, "fails as it says: AssertionError: numpy")
