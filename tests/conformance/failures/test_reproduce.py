"""Reproducing: the smallest case as a script, and how a script ends."""

from dataclasses import replace
from pathlib import Path

import pytest

from kterm.conformance.cases.case import parse_case
from kterm.conformance.cases.draw import REGIMES
from kterm.conformance.checks.verdict import NOTHING_EXPECTED
from kterm.conformance.failures.known_causes import describe_cause, shipped_expectation_for
from kterm.conformance.failures.reproduce import (
    find_failure_to_show,
    isolate_mistake,
    reproduce_case,
    run_script,
)
from kterm.conformance.failures.scripts.write import write_script
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.runner import LocalRunner

from ...support.scripts import (
    assert_fails_as_it_says,
    assert_fit_to_paste,
    loaded,
    local_runner,
    prose,
    run_alone,
    without_mistake,
)


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("mutant", ["no-slope-hidden", "gradient-mean", "forward-no-bias"])
def test_a_mutant_is_reproduced_by_the_smallest_case_that_shows_it(tmp_path: Path, name: str, mutant: str) -> None:
    case = parse_case("4x8x3-silu.tanh-b5-pre-f32-normal-s0", tuple(REGIMES))
    runner = LocalRunner(plant_mutant(loaded(name), MUTANTS[mutant]))
    adapter = runner.describe()
    found = find_failure_to_show(case, runner, shipped_expectation_for(adapter))
    assert found is not None
    failure = isolate_mistake(replace(found.failure, case=case.id), MUTANTS[mutant], local_runner(name))
    assert max(*failure.structure.network.widths, failure.structure.batch) <= 2
    script = runner.script(failure.structure)
    source = write_script(failure, script, adapter.version, describe_cause(found.verdict, adapter, found.original))
    assert f"A mistake is planted in {script.framework}'s results: the rule with" in prose(source)
    assert_fit_to_paste(source, name)
    assert_fails_as_it_says(source, tmp_path)
    done = run_alone(without_mistake(source), tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_mutant_that_changes_how_programs_are_called_has_no_script() -> None:
    found = reproduce_case("4x3-tanh-b5-pre-f32-normal-s0", "numpy", mutant="inputs-modified")
    assert isinstance(found, str)
    assert "this mutant changes how programs are called" in found


def test_a_case_s_own_failure_has_its_own_structure() -> None:
    case = parse_case("4x3x2-tanh-b3-pre-f32-normal-s0", tuple(REGIMES))
    runner = LocalRunner(plant_mutant(loaded("numpy"), MUTANTS["mean-over-batch"]))
    own = find_failure_to_show(case, runner, NOTHING_EXPECTED, shrinks=False)
    smallest = find_failure_to_show(case, runner, NOTHING_EXPECTED)
    assert own is not None
    assert smallest is not None
    assert own.failure.structure == case.structure
    assert smallest.failure.structure.network.widths == (1, 1)
    assert own.original == smallest.original


def test_how_a_script_ends(tmp_path: Path) -> None:
    def ending(source: str, timeout: float = 60) -> tuple[bool, str]:
        path = tmp_path / "bug.py"
        path.write_text(source, encoding="utf-8")
        return run_script(path, "passes, as it should", timeout)

    assert ending("assert False, 'as it is'") == (True, "fails as it says: AssertionError: as it is")
    assert ending("print(1)") == (False, "passes, as it should")
    assert ending("import nowhere") == (False, "does not run: ModuleNotFoundError: No module named 'nowhere'")
    assert ending("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)") == (
        True,
        "ends its process with signal 11",
    )
    assert ending("import time\ntime.sleep(600)", 0.5) == (True, "hangs: it did not end within 0.5 s")
    # Neither the folder that it is called in nor the user's own packages are on its path.
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')", encoding="utf-8")
    assert ending("import numpy\nassert False, numpy.__name__") == (True, "fails as it says: AssertionError: numpy")
