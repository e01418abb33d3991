"""A small campaign of NumPy, which the tests of this folder share."""

from dataclasses import dataclass
from functools import cache

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.case import Group
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.checks.whole_run.moments import Moments
from kterm.conformance.diagnosis.diagnose import locate_failures
from kterm.conformance.diagnosis.question import Question
from kterm.conformance.evaluation.campaign.drive import due
from kterm.conformance.evaluation.campaign.line import examine_unit
from kterm.conformance.evaluation.campaign.units import Unit, make_units
from kterm.conformance.expectations import expectation as known
from kterm.conformance.mutants.loading import loaded
from kterm.conformance.records.run import Run
from kterm.conformance.runners.runner import LocalRunner

COST = 2_000.0
"""Units of this cost have one or a few groups each."""
MUTANT = "no-slope-hidden"
RUN = Run(
    (describe(Numpy(), "numpy"),),
    make_options("quick", 0, ["f32"], ["tanh", "relu"], regimes=["square", "kinks"]),
    known.read(known.SHIPPED),
)
CASES = 400
"""The first units, up to so many cases, are of two seeds."""


@dataclass(frozen=True)
class Done:
    """A unit that ended, as the workers of a cluster give it."""

    unit: Unit
    line: bytes
    seconds: float = 1.5
    worker: str = "here"
    refused: str = ""


def with_mutant() -> Run:
    """The campaign of NumPy with a mistake."""
    return Run((describe(loaded("numpy", mutant_name=MUTANT), "numpy"),), RUN.options, RUN.expectations)


def examine_here(run: Run, unit: Unit) -> bytes:
    """The line of a unit, run in this process."""
    runner = LocalRunner(loaded("numpy", mutant_name=run.adapters[0].mutant))
    expectation_for = run.expectation_for("numpy")

    def ask(group: Group) -> tuple[list[list[Verdict]], Moments, tuple[Question, ...]]:
        examination = examine(group, runner, expectation_for)
        located = locate_failures(group, examination, expectation_for)
        return located.verdicts, examination.moments, located.questions

    return examine_unit(unit, ask, run.concerning("numpy"))


@cache
def small_campaign() -> tuple[tuple[Unit, bytes], ...]:
    """The units of the campaign with their lines."""
    return tuple((unit, examine_here(RUN, unit)) for unit in due(make_units(RUN, COST), CASES))
