"""An adapter in a process of its own gets the same verdicts as in the caller's process."""

from contextlib import closing

import pytest

from kterm.adapters.numpy_adapter import Numpy
from kterm.conformance.cases.description import describe
from kterm.conformance.cases.plan import make_options, plan
from kterm.conformance.checks.examine import examine
from kterm.conformance.checks.verdict import Verdict
from kterm.conformance.diagnosis.diagnose import diagnose
from kterm.conformance.mutants import MUTANTS, plant_mutant
from kterm.conformance.runners.process import ProcessRunner
from kterm.conformance.runners.runner import LocalRunner, Runner
from kterm.reference import Network, Structure


def _verdicts(runner: Runner) -> list[list[Verdict]]:
    groups = plan(describe(Numpy(), "numpy"), make_options("smoke", 0, ["f64"])).groups
    return [some for group in groups for some in diagnose(group, examine(group, runner))]


# One mutant of the rule, one that depends on the call before, and one of the machinery around programs.
@pytest.mark.parametrize("name", ["mean-over-batch", "momentum", "float32-inside"])
def test_a_planted_mutant_has_the_same_verdicts_through_a_process(name: str) -> None:
    local = _verdicts(LocalRunner(plant_mutant(Numpy(), MUTANTS[name])))
    with closing(ProcessRunner("numpy", mutant=name)) as process:
        assert _verdicts(process) == local
    assert any(verdict.fails for some in local for verdict in some)


def test_a_script_is_written_though_the_process_has_ended() -> None:
    """As behind a shrink that ended the process with its last trial."""
    structure = Structure(Network((2, 1), ("tanh",), "none"), 3, "f64")
    with closing(ProcessRunner("numpy")) as process:
        process.build(structure)
        process.close()
        assert process.script(structure) == Numpy().script(structure)
