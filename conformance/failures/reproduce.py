"""Reproduce a failing case: write it as a script of the framework's own calls, and run the script."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ...adapters import Script
from ...adapters.registry import AdapterError
from ...reference import Structure, base_of
from ..cases.case import Case, parse_case
from ..cases.description import Description
from ..cases.draw import REGIMES
from ..checks.findings import ExpectationFor
from ..checks.verdict import Verdict
from ..mutants import Mutant
from ..mutants.loading import mutant as mutant_of
from ..runners.process import TIMEOUT, ProcessRunner
from ..runners.runner import NoAnswer, Runner, same_bits
from .find import failure_of_history, find_failure
from .histories.history import NOT_REPEATABLE, History, Step
from .histories.playing import Played, play
from .known_causes import describe_cause, shipped_expectation_for
from .scripts.failure import Failure, compute_addends
from .scripts.write import Unwritable, write_script
from .shrinking.shrink import Shrunk, shrink


@dataclass(frozen=True)
class Reproducer:
    """A script, the failure that it shows, and the Python interpreter that has the framework."""

    failure: Failure
    source: str
    interpreter: str


def reproduce_case(
    case_id: str,
    spec: str,
    device: str | None = None,
    mutant: str | None = None,
    shrinks: bool = True,
    python: str | None = None,
) -> Reproducer | str | None:
    """The script of a case that fails on an adapter; a string that says why there is none, if no script can show the
    failure; None if the case does not fail.

    With `shrinks` the script shows the smallest case that fails in the same way. An expected divergence counts as a
    failure. Raises CaseError for an invalid case id, OptionError for an unknown mutant, NoAnswer if the adapter does
    not support the case, and AdapterError if the adapter cannot be loaded or has no script.
    """
    case = parse_case(case_id, tuple(REGIMES))
    with closing(ProcessRunner(spec, device, mutant=mutant, python=python)) as runner:
        adapter = runner.describe()
        if _is_declared(case.structure, adapter):
            # Before the search, which may take minutes.
            _read_script(runner, case.structure, spec)
        found = find_failure_to_show(case, runner, shipped_expectation_for(adapter), shrinks, runner.close)
        if found is None:
            return None
        failure = found.failure
        try:
            if mutant is not None:
                with closing(ProcessRunner(spec, device, python=python)) as plain_runner:
                    failure = isolate_mistake(failure, mutant_of(mutant), plain_runner)
            if failure.kind == "raised":
                # The process may not have survived the failure.
                runner.close()
                with closing(ProcessRunner(spec, device, python=python)) as new_runner:
                    script, *scripts = _read_scripts(new_runner, failure, spec)
            else:
                script, *scripts = _read_scripts(runner, failure, spec)
            cause = describe_cause(found.verdict, adapter, found.original)
            source = write_script(failure, script, adapter.version, cause, scripts)
        except Unwritable as why:
            return str(why)
        return Reproducer(failure, source, runner.interpreter)


@dataclass(frozen=True)
class FoundFailure:
    """A failing call, the diagnosed verdict on it, and that on the case that it was found in."""

    failure: Failure
    verdict: Verdict
    original: Verdict


def find_failure_to_show(
    case: Case,
    runner: Runner,
    expectation_for: ExpectationFor,
    shrinks: bool = True,
    start: Callable[[], object] | None = None,
) -> FoundFailure | None:
    """The failing call of a case, with the calls before it that it needs; None if the case does not fail. With
    `shrinks`, those of the smallest case that fails in the same way. `start` is that of `shrink`. Raises NoAnswer.
    """
    shrunk = shrink(case, runner, expectation_for=expectation_for, start=start, shrinks=shrinks)
    if shrunk is None:
        return None
    found = _find_call(case, shrunk, runner, expectation_for)
    if start is not None and found.failure.history is not None:
        start()
        played = play(found.failure.history, runner, expectation_for)
        found = replace(found, failure=replace(found.failure, is_chance=_is_other(found.failure, played)))
    if REGIMES[found.failure.regime].odd_arrays:
        if start is not None:
            start()
        if (plain := _with_plain_arrays(found.failure)) and _fails(plain, found.verdict, runner, expectation_for):
            return replace(found, failure=plain)
    return found


def _is_other(failure: Failure, played: Played | None) -> bool:
    """Whether the calls of a failure gave other bits when they were played in another process, or did not fail."""
    if played is None:
        return True
    before, after = failure.observation, played.observation
    return before is not None and after is not None and not same_bits(before, after)


def _find_call(case: Case, shrunk: Shrunk, runner: Runner, expectation_for: ExpectationFor) -> FoundFailure:
    """The failing call of what a case was shrunk to."""
    if shrunk.played is not None:
        failure = failure_of_history(shrunk.played, runner.describe())
        return FoundFailure(replace(failure, case=case.id), shrunk.verdict, shrunk.original)
    small = replace(case, structure=shrunk.structure, regime=shrunk.regime, draw=0)
    found = find_failure(small, shrunk.stack, runner, shrunk.at, expectation_for)
    if found is None:
        # It fails no more. What is kept of it is how it failed.
        failure = replace(_failure_of_verdict(shrunk, runner), case=case.id, is_repeatable=False)
        return FoundFailure(failure, shrunk.verdict, shrunk.original)
    failure = replace(found[0], case=case.id, is_repeatable=shrunk.is_repeatable)
    return FoundFailure(failure, found[1], shrunk.original)


def _with_plain_arrays(failure: Failure) -> Failure:
    """The failure with arrays that are contiguous."""
    history = None if failure.history is None else replace(failure.history, regime="normal")
    return replace(failure, regime="normal", history=history)


def _fails(failure: Failure, verdict: Verdict, runner: Runner, expectation_for: ExpectationFor) -> bool:
    """Whether the calls of a failure fail in the same quantity, in the process as it is."""
    history = failure.history or History((failure.structure,), (Step(0, failure.draw),), failure.regime)
    played = play(history, runner, expectation_for)
    return played is not None and played.verdict.quantity == verdict.quantity


def _failure_of_verdict(shrunk: Shrunk, runner: Runner) -> Failure:
    verdict, conventions = shrunk.verdict, runner.describe().conventions
    kind = "repeat" if verdict.quantity in ("same call twice", "repeated calls") else "numbers"
    return Failure(kind, shrunk.structure, shrunk.regime, shrunk.draw, None, verdict.quantity, verdict.message,
                   verdict.case, conventions=conventions)  # fmt: skip


def isolate_mistake(failure: Failure, mutant: Mutant, runner: Runner) -> Failure:
    """The failure, with what the mutant adds to the framework's own results. `runner` runs the adapter without the
    mutant. Raises Unwritable if the mutant does not change the results of a single call. What the calls before add is
    in what is added, so that the script makes the failing call alone.
    """
    failure = replace(failure, history=None)
    if failure.kind in ("numbers", "sum", "repeat") and failure.observation is not None:
        runner.build(failure.structure)
        one = failure.draw
        right = runner.call(failure.regime, one.parameters, one.x, one.y).observation
        if right is not None:
            return replace(failure, planted=compute_addends(mutant.mistake, right, failure.observation))
    raise Unwritable(f"{mutant.mistake}: this mutant changes how programs are called, not their results")


def _read_scripts(runner: ProcessRunner, failure: Failure, spec: str) -> list[Script]:
    """The script of the failure's structure, and those of the programs of its history."""
    programs = () if failure.history is None else failure.history.programs
    return [_read_script(runner, structure, spec) for structure in (failure.structure, *programs)]


def _read_script(runner: ProcessRunner, structure: Structure, spec: str) -> Script:
    try:
        return runner.script(structure)
    except NoAnswer as no:
        raise AdapterError(f"{spec}: {no.message}") from None


def _is_declared(structure: Structure, adapter: Description) -> bool:
    """Whether an adapter declares what a structure needs, so that it should have a script of it."""
    network = structure.network
    names = {base_of(name) for name in network.activations}
    return structure.dtype in adapter.dtypes and network.bias in adapter.biases and names <= set(adapter.activations)


def explain_pass(failure: Failure) -> str:
    """What it means that the script of a failure passes, as a predicate."""
    if not failure.is_repeatable:
        return f"passes in a new process: the failure depends on chance, or on more than the calls; {NOT_REPEATABLE}"
    if failure.is_chance:
        return (
            "passes in a new process: the failure is nondeterministic: the same calls gave other bits in each of two "
            "new processes, so it depends on chance, such as random numbers or the order of threads"
        )
    if failure.history is not None:
        return (
            "passes in a new process: the adapter fails with the same calls, so the failure depends on what the "
            "adapter keeps between them, and the script does not"
        )
    return "passes: the framework's own calls are right, so the mistake is in the adapter"


def run_script(
    path: Path, passing: str = "passes", timeout: float = TIMEOUT, python: str = sys.executable
) -> tuple[bool, str]:
    """Run a script with a Python interpreter, in an empty folder. Returns whether it fails as it says, and a predicate
    that says how it ended; `passing` if it passes.

    Neither the current folder nor the user's own packages are on its path. A script that runs for longer than `timeout`
    seconds counts as failing.
    """
    command = [python, "-I", str(path.absolute())]
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                stdin=subprocess.DEVNULL,
                cwd=folder,
            )
    except subprocess.TimeoutExpired:
        return True, f"hangs: it did not end within {timeout:g} s"
    last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0:
        return False, passing
    if done.returncode < 0:
        return True, f"ends its process with signal {-done.returncode}"
    if last.startswith("AssertionError"):
        return True, f"fails as it says: {last}"
    return False, f"does not run: {last}"
