"""Mistakes planted in the reference for tests of the diagnosis, and what a report of a small run says of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from kterm.adapters import Adapter, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.regimes import REGIMES
from kterm.conformance.checks.examine import examine
from kterm.conformance.diagnosis.causes import Cause
from kterm.conformance.diagnosis.diagnose import locate_failures
from kterm.conformance.diagnosis.summary import result_of, summarize_failures
from kterm.conformance.mutants import Mutant, plant_mutant
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import Structure
from kterm.reference.steps import Change, Changes, Work
from kterm.reference.value import Value


class Silent(Numpy):
    """The reference, showing gradients alone."""

    def build(self, structure: Structure) -> Program:
        program = super().build(structure)
        return lambda parameters, x, y: replace(program(parameters, x, y), z=None, x=None, k=None)


def with_changes(changes: Changes, adapter: Adapter | None = None) -> Adapter:
    """The reference, or another adapter, with steps of the rule changed in every layer."""
    return plant_mutant(adapter or Numpy(), Mutant("planted", "something changed", "", "", changes))


def nearly(changes: Changes, part: float = 0.97) -> Changes:
    """A near miss: only a part of the difference that some changes make."""

    def weakened(change: Change) -> Change:
        def made(w: Work, i: int, right: Callable[[], Value]) -> Value:
            due = right()
            return due + (change(w, i, right) - due) * part

        return made

    return {step: weakened(change) for step, change in changes.items()}


def causes_of(adapter: Adapter, groups: Sequence[str], draws: int = 3) -> list[Cause]:
    """What a run of these groups, ids without a draw, says of an adapter's failures."""
    results = []
    runner = LocalRunner(adapter)
    for text in groups:
        case = parse_case(f"{text}-s0", tuple(REGIMES))
        group = Group(case.structure, case.regime, 0, tuple(range(draws)))
        located = locate_failures(group, examine(group, runner))
        results.append(result_of(group, located.verdicts, located.questions))
    return summarize_failures(runner.describe(), results)
