"""Every command that takes an adapter takes a program, and an interpreter to run under, or says in one line why not."""

import sys
from pathlib import Path

import pytest

from kterm.conformance.failures.reproduce import reproduce_case
from kterm.conformance.interfaces.vectors.judge import conforms, judge_results, open_vectors

from ...support.here import kterm_here
from ...support.program import as_program

CASE = "2x3x1-tanh.identity-b2-pre-f32-normal-s0"
ADAPTER = """
from dataclasses import replace

from kterm.adapters.numpy_adapter import Numpy

class Right(Numpy):
    name = "right"
    activations = {name: Numpy.activations[name] for name in ("identity", "tanh", "relu")}

class Doubled(Right):
    name = "doubled"

    def build(self, structure):
        program = super().build(structure)
        def doubled(*given):
            observed = program(*given)
            return replace(observed, weight_gradients=tuple(2 * g for g in observed.weight_gradients))
        return doubled
"""


@pytest.fixture
def specs(tmp_path: Path) -> dict[str, str]:
    """Programs: one that is right, and one whose weight gradients are twice too large."""
    path = tmp_path / "mine.py"
    path.write_text(ADAPTER, encoding="utf-8")
    return {name: as_program(f"{path}:{name}", tmp_path) for name in ("Right", "Doubled")}


def test_replay_and_shrink_take_a_program(specs: dict[str, str], tmp_path: Path) -> None:
    done = kterm_here("replay", CASE, specs["Right"], folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every step agrees with the rule\n")
    done = kterm_here("replay", CASE, specs["Doubled"], folder=tmp_path)
    assert done.returncode == 1
    assert "first step that departs: dE/dW_2, at layer 2" in done.stdout
    done = kterm_here("shrink", CASE, specs["Doubled"], "--builds", "12", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the smallest case that fails in the same way: " in done.stdout
    assert "command:" in done.stdout  # in the commands that it prints


def test_facts_and_calibration_take_a_program(specs: dict[str, str], tmp_path: Path) -> None:
    done = kterm_here("kinks", specs["Right"], "--dtype", "f64", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "relu" in done.stdout
    done = kterm_here("arithmetic", specs["Right"], "--dtype", "f32", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    options = ("--draws", "40", "--networks", "0", "--activation", "tanh", "--dtype", "f32", "-n", "0")
    done = kterm_here("calibrate", specs["Right"], *options, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tanh" in done.stdout


def test_vectors_are_answered_by_a_program(specs: dict[str, str], tmp_path: Path) -> None:
    options = ("--profile", "smoke", "--activation", "tanh", "--dtype", "f64")
    assert kterm_here("vectors", "export", "vectors", *options, folder=tmp_path).returncode == 0
    for name, is_right in (("Right", True), ("Doubled", False)):
        done = kterm_here("vectors", "answer", "vectors", specs[name], name, folder=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        found = judge_results(open_vectors(tmp_path / "vectors"), tmp_path / name)
        assert conforms([verdict for some in found for verdict in some]) == is_right


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (
            ("mutants", "{}", "-n", "0"),
            2,
            "it is a program, and mistakes are planted in adapters in Python",
        ),
        (("mutants", "--smallest", "x.toml", "{}", "-n", "0"), 2, "it is a program"),
        (("check", "{}", "--mutant", "sign", "-n", "0"), 2, "only adapters in Python take mutants"),
        (("reproduce", CASE, "{}"), 3, "doubled has no script; it is a program"),
    ],
)
def test_what_takes_no_program_says_so_in_one_line(
    specs: dict[str, str], tmp_path: Path, command: tuple[str, ...], code: int, said: str
) -> None:
    done = kterm_here(*(word.format(specs["Doubled"]) for word in command), folder=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("check", "numpy", "--profile", "smoke", "-n", "0"),
        ("replay", CASE, "numpy"),
        ("shrink", CASE, "numpy"),
        ("reproduce", CASE, "numpy"),
        ("kinks", "numpy"),
        ("arithmetic", "numpy"),
        ("ulp", "numpy", "-n", "0"),
        ("calibrate", "numpy", "-n", "0"),
        ("vectors", "answer", "vectors", "numpy", "results"),
    ],
)
def test_the_interpreter_of_the_option_is_taken(tmp_path: Path, command: tuple[str, ...]) -> None:
    if command[0] == "vectors":
        kterm_here("vectors", "export", "vectors", "--profile", "smoke", "--activation", "tanh", folder=tmp_path)
    done = kterm_here(*command, "--python", "no/such/python", folder=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no/such/python cannot be started" in done.stderr


def test_printed_commands_and_scripts_keep_the_interpreter(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ADAPTER, encoding="utf-8")
    options = ("--profile", "smoke", "--dtype", "f64", "-n", "0")
    done = kterm_here("check", "mine.py:Doubled", "--python", sys.executable, *options, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    assert f"mine.py:Doubled --python {sys.executable}\n" in done.stdout
    case = "2x3-tanh-b2-none-f64-normal-s0"
    found = reproduce_case(case, "numpy", mutant="factor-half", python=sys.executable)
    assert found is not None
    assert not isinstance(found, str)
    assert found.interpreter == sys.executable
