"""Which mistakes are not applicable, and when a matrix holds."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from kterm.conformance.cases.plan import WIDE
from kterm.conformance.evaluation.kills.matrix import find_inapplicable, find_state, holds
from kterm.conformance.evaluation.kills.outcome import Outcome
from kterm.conformance.evaluation.kills.trial import TrialOptions, measure_outcomes

from ....support.here import kterm_here
from . import SMOKE, make_group


def _find_reasons(options: TrialOptions, outcomes: Sequence[Outcome]) -> dict[tuple[str, str], str]:
    found = {
        (options.adapter.name, dtype): {one.mutant: one for one in outcomes if one.dtype == dtype} for dtype in WIDE
    }
    with ThreadPoolExecutor(1) as executor:
        return find_inapplicable(options, {key: some for key, some in found.items() if some}, executor)


def test_a_mistake_that_changes_no_bit_is_not_applicable() -> None:
    group = make_group("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 2)
    wide = measure_outcomes(SMOKE, "f64", ["float32-inside", "factor-2"], groups=[group])
    group = replace(group, structure=replace(group.structure, dtype="f32"))
    narrow = measure_outcomes(SMOKE, "f32", ["float32-inside", "factor-2"], groups=[group])
    reasons = _find_reasons(SMOKE, [*wide, *narrow])
    assert list(reasons) == [("f32", "float32-inside")]
    assert find_state(narrow[1], reasons["f32", "float32-inside"]) == "not applicable"


def test_a_mistake_that_the_cases_hide_survives() -> None:
    group = make_group("4x8x3-relu.tanh-b5-pre-f64-normal-s0", 2)
    # One needs more calls than there are in f32; the other needs an empty batch, which is in neither dtype.
    names = ["one-in-fifty", "empty-mean"]
    wide = measure_outcomes(SMOKE, "f64", names, groups=[group] * 10)
    group = replace(group, structure=replace(group.structure, dtype="f32"))
    narrow = measure_outcomes(SMOKE, "f32", names, groups=[group])
    assert [outcome.is_found for outcome in wide[1:]] == [True, False]
    assert not any(outcome.differs for outcome in narrow)
    assert _find_reasons(SMOKE, [*wide, *narrow]) == {}
    assert {find_state(outcome, "") for outcome in narrow[1:]} == {"survived"}


def test_what_an_adapter_does_not_declare_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "small.py").write_text(
        "from kterm.adapters.numpy_adapter import Numpy\n"
        "class Small(Numpy):\n"
        "    name = 'small'\n"
        "    dtypes = ('f32',)\n"
        "    activations = {name: Numpy.activations[name] for name in ('tanh', 'sin', 'relu')}\n",
        encoding="utf-8",
    )
    names = ("gelu-variants-swapped", "float32-inside", "factor-2")
    arguments = [word for name in names for word in ("--mutant", name)]
    done = kterm_here("mutants", "small.py:Small", "--profile", "smoke", *arguments, "-n", "0", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "small, f32: 1 of 1 mistakes found" in done.stdout
    assert "does not declare): gelu-variants-swapped, float32-inside" in done.stdout


def test_what_holds() -> None:
    def record(*states: tuple[str, str]) -> dict[str, Any]:
        return {"fates": [{"dtype": dtype, "state": state} for dtype, state in states]}

    assert holds(record(("f64", "killed"), ("f32", "not applicable"), ("f32", "never found")))
    assert not holds(record(("f64", "killed"), ("f32", "survived")))
    assert not holds(record(("f64", "found")))
    # Narrow dtypes count only where no wide one was measured.
    assert holds(record(("f64", "killed"), ("bf16", "survived")))
    assert not holds(record(("bf16", "survived")))
