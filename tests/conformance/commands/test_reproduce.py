"""`kterm reproduce`: a failing case is written as a script, and run; exit codes."""

import re
from pathlib import Path

import pytest

from kterm.adapters.registry import AdapterError
from kterm.conformance.failures import reproduce
from kterm.conformance.failures.reproduce import Reproducer, reproduce_case

from ...support.command import assert_one_line, kterm
from ...support.frameworks import miniatures, stateful
from ...support.here import kterm_here
from ...support.scripts import FLAWED, REAL, assert_fails_as_it_says, imports, loaded, prose

PAGE = Path(__file__).parents[3] / "docs" / "reproducers.md"


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
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"<!-- reproducer: (\S+) (\S+) -->\n```python\n(.*?)^```", page, re.M | re.S)
    assert shown is not None
    loaded(shown[2])

    def without_versions(source: str) -> str:
        source = re.sub(r'Written by.*?"""', "", " ".join(source.split(" ")), count=1, flags=re.S)
        return re.sub(r'^"""JAX \S+:', "", source)

    found = reproduce_case(shown[1], shown[2])
    assert isinstance(found, Reproducer)
    assert without_versions(found.source) == without_versions(shown[3])


def test_without_shrinking_the_script_shows_the_case_itself(tmp_path: Path) -> None:
    case = "4x3x2-tanh-b3-pre-f32-normal-s0"
    command = ("reproduce", case, f"{FLAWED}:MeanOverBatch", "-o")
    assert kterm_here(*command, "small.py", folder=tmp_path).returncode == 0
    assert kterm_here(*command, "large.py", "--no-shrink", folder=tmp_path).returncode == 0
    small, large = ((tmp_path / name).read_text(encoding="utf-8") for name in ("small.py", "large.py"))
    assert "1 layer, widths 1 to 1" in prose(small)
    assert "2 layers, widths 4 to 3 to 2" in prose(large)
    for source in (small, large):
        assert f"from case {case}," in prose(source)


def test_a_script_of_a_stateful_failure_makes_the_calls_that_it_needs(tmp_path: Path) -> None:
    case = "3x2-tanh-b3-pre-f64-normal-s5"
    done = kterm_here("reproduce", case, f"{stateful.__file__}:Momentum", "-o", "bug.py", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("bug.py fails as it says: AssertionError: 1 of 1 numbers are off: dE/dW_1[0, 0] is ")
    assert "is -1.5; it should be -1.0 within" in done.stdout
    assert "It takes 2 calls in one process" in prose((tmp_path / "bug.py").read_text(encoding="utf-8"))


def test_a_script_that_passes_acquits_nobody_of_a_stateful_failure(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(stateful.__file__).parent)!r})\n"
        "import stateful\nfrom kterm.adapters.scripts.numpy_script import numpy_script\n"
        "class Plain(stateful.Momentum):\n"
        "    def script(self, structure):\n        return numpy_script(structure)\n",
        encoding="utf-8",
    )
    case = "3x2-tanh-b3-pre-f64-normal-s0"
    done = kterm_here("reproduce", case, "plain.py:Plain", "--no-shrink", "-o", "bug.py", folder=tmp_path)
    assert_one_line(done, 1, "bug.py passes in a new process: the adapter fails with the same calls")
    assert "are right" not in done.stdout


def test_an_adapter_without_a_script_is_refused_before_anything_is_searched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def search(*_: object, **__: object) -> None:
        raise AssertionError("searched")

    monkeypatch.setattr(reproduce, "shrink", search)
    with pytest.raises(AdapterError, match="no-script has no script"):
        reproduce.reproduce_case("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:NoScript")


def test_without_a_file_the_script_is_printed(tmp_path: Path) -> None:
    done = kterm_here("reproduce", "2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:MeanOverBatch", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("the script fails as it says: AssertionError: ")
    assert not list(tmp_path.iterdir())
    assert "dE/dW_1" in assert_fails_as_it_says(done.stdout, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("2x2-tanh-b3-pre-f64-normal-s0", "numpy"), 1, "does not fail on numpy: there is nothing to reproduce"),
        (
            ("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:OnlyTheAdapter", "-o", "bug.py"),
            1,
            "bug.py passes: the framework's own calls are right, so the mistake is in the adapter",
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
        # The process of the adapter does not survive this failure; another gives the script.
        (
            ("2x2-tanh-b3-pre-f64-normal-s0", f"{FLAWED}:Dies", "--no-shrink", "-o", "bug.py"),
            0,
            "ends its process with signal 9",
        ),
    ],
)  # fmt: skip
def test_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    assert_one_line(kterm_here("reproduce", *arguments, folder=tmp_path), code, words)
