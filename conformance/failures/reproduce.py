"""Reproduce a failing case: write it as a script of the framework's own calls, and run the script."""

import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ...adapters import Script
from ...adapters.registry import AdapterError
from ..cases.case import Case, parse_case
from ..cases.draw import REGIMES
from ..checks.findings import ExpectationFor
from ..checks.verdict import Verdict
from ..mutants import Mutant
from ..mutants.loading import mutant as mutant_of
from ..runners.process import TIMEOUT, ProcessRunner
from ..runners.runner import NoAnswer, Runner
from .find import draw_calls, find_failure
from .known_causes import describe_cause, shipped_expectation_for
from .scripts.failure import Failure, compute_addends
from .scripts.write import Unwritable, write_script
from .shrinking.shrink import shrink


@dataclass(frozen=True)
class Reproducer:
    """A script, and the failure that it shows."""

    failure: Failure
    source: str


def reproduce_case(
    case_id: str, spec: str, device: str | None = None, mutant: str | None = None, shrinks: bool = True
) -> Reproducer | str | None:
    """The script of a case that fails on an adapter; a string that says why there is none, if no script can show the
    failure; None if the case does not fail.

    With `shrinks` the script shows the smallest case that fails in the same way. An expected divergence counts as a
    failure. Raises CaseError for an invalid case id, OptionError for an unknown mutant, NoAnswer if the adapter does
    not support the case, and AdapterError if the adapter cannot be loaded or has no script.
    """
    case = parse_case(case_id, tuple(REGIMES))
    with closing(ProcessRunner(spec, device, mutant=mutant)) as runner:
        adapter = runner.describe()
        find = find_smallest_failure if shrinks else find_own_failure
        found = find(case, runner, shipped_expectation_for(adapter))
        if found is None:
            return None
        failure, verdict = replace(found[0], case=case.id), found[1]
        try:
            if mutant is not None:
                with closing(ProcessRunner(spec, device)) as plain_runner:
                    failure = isolate_mistake(failure, mutant_of(mutant), plain_runner)
            if failure.kind == "raised":
                # The process may not have survived the failure.
                runner.close()
                with closing(ProcessRunner(spec, device)) as new_runner:
                    script = _read_script(new_runner, failure, spec)
            else:
                script = _read_script(runner, failure, spec)
            source = write_script(failure, script, adapter.version, describe_cause(verdict, adapter))
        except Unwritable as why:
            return str(why)
    return Reproducer(failure, source)


def find_own_failure(case: Case, runner: Runner, expectation_for: ExpectationFor) -> tuple[Failure, Verdict] | None:
    """The failing call of a case and its verdict; None if the case does not fail. Raises NoAnswer."""
    return find_failure(case, draw_calls(case), runner, expectation_for=expectation_for)


def find_smallest_failure(
    case: Case, runner: Runner, expectation_for: ExpectationFor
) -> tuple[Failure, Verdict] | None:
    """The failing call of the smallest case that fails in the same way, and the verdict on the case itself; None if the
    case does not fail. Raises NoAnswer.
    """
    shrunk = shrink(case, runner, expectation_for=expectation_for)
    if shrunk is None:
        return None
    small = replace(case, structure=shrunk.structure, regime=shrunk.regime, draw=0)
    # If the failure depends on what the adapter remembers from earlier calls, the small case may not fail again.
    found = find_failure(small, shrunk.stack, runner, shrunk.at, expectation_for)
    found = found or find_own_failure(case, runner, expectation_for)
    # The explanations of the larger case are more specific: more mistakes give different numbers there.
    return None if found is None else (found[0], shrunk.original)


def isolate_mistake(failure: Failure, mutant: Mutant, runner: Runner) -> Failure:
    """The failure, with what the mutant adds to the framework's own results. `runner` runs the adapter without the
    mutant. Raises Unwritable if the mutant does not change the results of a single call.
    """
    if failure.kind in ("numbers", "sum", "repeat") and failure.observation is not None:
        runner.build(failure.structure)
        one = failure.draw
        right = runner.call(failure.regime, one.parameters, one.x, one.y).observation
        if right is not None:
            return replace(failure, planted=compute_addends(mutant.mistake, right, failure.observation))
    raise Unwritable(f"{mutant.mistake}: this mutant changes how programs are called, not their results")


def _read_script(runner: ProcessRunner, failure: Failure, spec: str) -> Script:
    try:
        return runner.script(failure.structure)
    except NoAnswer as no:
        raise AdapterError(f"{spec}: {no.message}") from None


def run_script(path: Path, timeout: float = TIMEOUT) -> tuple[bool, str]:
    """Run a script with this Python. Returns whether it fails as it says, and a predicate that says how it ended.

    Neither the current folder nor the user's own packages are on its path. A script that runs for longer than `timeout`
    seconds counts as failing.
    """
    command = [sys.executable, "-I", str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return True, f"hangs: it did not end within {timeout:g} s"
    last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0:
        return False, "passes: the framework's own calls are right, so the mistake is in the adapter"
    if done.returncode < 0:
        return True, f"ends its process with signal {-done.returncode}"
    if last.startswith("AssertionError"):
        return True, f"fails as it says: {last}"
    return False, f"does not run: {last}"
