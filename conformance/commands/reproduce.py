"""What `kterm reproduce` does: a failing case as a script of the framework's own calls, written and run."""

import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ...adapters import Script
from ...adapters.registry import AdapterError
from ..cases.case import Case, parse_case
from ..cases.draw import REGIMES
from ..cases.plan import Description
from ..checks.findings import ExpectationFor
from ..checks.verdict import Verdict
from ..diagnosis.explanation import explanations_of
from ..expectations import expectation as known
from ..failures.scripts.failure import Failure, Planted, calls_of, find, planted
from ..failures.scripts.write import Unwritable, write
from ..failures.shrinking.shrink import shrink
from ..mutants import Mutant
from ..mutants.loading import mutant as mutant_of
from ..runners.process import TIMEOUT, ProcessRunner
from ..runners.runner import NoAnswer
from ..runners.threads import pin_here
from .output import open_output


@dataclass(frozen=True)
class Reproduced:
    """A script, and the failure that it shows."""

    failure: Failure
    source: str


def run_reproduce(
    text: str, spec: str, output: Path | None, device: str | None, mutant: str | None = None, shrinks: bool = True
) -> int:
    """Write the script of a case, or print it, and run it; 0 where it fails as it says, 1 where there is nothing to
    reproduce, or no script can show it.

    Raises CaseError, AdapterError and ChoiceError.
    """
    pin_here()
    found = reproduce_case(text, spec, device, mutant, shrinks)
    if found is None:
        print(f"{text} does not fail on {spec}: there is nothing to reproduce")
        return 1
    if isinstance(found, str):
        print(f"{text} fails on {spec}, but no script of the framework's calls shows it: {found}")
        return 1
    if output is not None:
        with open_output(output, "-o") as file:
            file.write(found.source)
        fails, told = ran(output)
        print(f"{output} {told}")
        return 0 if fails else 1
    print(found.source, end="")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bug.py"
        path.write_text(found.source, encoding="utf-8")
        fails, told = ran(path)
    print(f"the script {told}", file=sys.stderr)
    return 0 if fails else 1


def reproduce_case(
    text: str, spec: str, device: str | None = None, mutant: str | None = None, shrinks: bool = True
) -> Reproduced | str | None:
    """The script of a case that fails on an adapter, or in a line why there is none; None where it does not fail. With
    `shrinks` it is of the smallest case that fails in the same way.

    Expected divergences count as failing. Raises CaseError for an id that is none, ChoiceError for an unknown mutant,
    and AdapterError where the adapter does not load or has no script.
    """
    case = parse_case(text, tuple(REGIMES))
    runner = ProcessRunner(spec, device, mutant=mutant)
    try:
        described = runner.describe()
        expectation_for = excuse_of(described)
        found = (
            _smallest(case, runner, expectation_for)
            if shrinks
            else find(case, calls_of(case), runner, expectation_for=expectation_for)
        )
        if found is None:
            return None
        failure, verdict = found
        failure = replace(failure, case=case.id)
        if mutant is not None:
            failure = replace(failure, planted=_planted(failure, mutant_of(mutant), spec, device))
        script = _script(runner, failure, spec, device)
        return Reproduced(failure, write(failure, script, described.version, diagnosis(verdict, described)))
    except Unwritable as why:
        return str(why)
    finally:
        runner.close()


def _smallest(case: Case, runner: ProcessRunner, expectation_for: ExpectationFor) -> tuple[Failure, Verdict] | None:
    """The failure of the smallest case that fails as this one does."""
    shrunk = shrink(case, runner, expectation_for=expectation_for)
    if shrunk is None:
        return None
    small = replace(case, structure=shrunk.structure, regime=shrunk.regime, draw=0)
    # What an adapter remembers of earlier calls need not show again.
    found = find(small, shrunk.stack, runner, shrunk.at, expectation_for) or find(
        case, calls_of(case), runner, expectation_for=expectation_for
    )
    # The larger case tells more mistakes apart.
    return None if found is None else (found[0], shrunk.original)


def _planted(failure: Failure, mutant: Mutant, spec: str, device: str | None) -> Planted:
    """What a mutant adds to what the framework gives by itself."""
    with closing(ProcessRunner(spec, device)) as runner:
        runner.build(failure.structure)
        one = failure.draw
        right = runner.call(failure.regime, one.parameters, one.x, one.y).observation
    if failure.kind not in ("numbers", "sum", "again") or failure.observation is None or right is None:
        raise Unwritable(f"{mutant.mistake}: this is planted around the framework's programs, and not in their numbers")
    return planted(mutant.mistake, right, failure.observation)


def _script(runner: ProcessRunner, failure: Failure, spec: str, device: str | None) -> Script:
    try:
        if failure.kind == "raised":  # which its process may not have survived
            runner.close()
            runner = ProcessRunner(spec, device)
        return runner.script(failure.structure)
    except NoAnswer as no:
        raise AdapterError(f"{spec}: {no.message}") from None
    finally:
        runner.close()


def _entries(adapter: Description) -> list[known.Expectation]:
    return [e for e in known.read(known.SHIPPED) if e.concerns(adapter.name, adapter.version)]


def excuse_of(adapter: Description) -> ExpectationFor:
    """Gives the id of the shipped expectation that excuses a finding of an adapter, or None."""
    entries = _entries(adapter)
    return lambda verdict: known.expectation_for(verdict, entries)


def diagnosis(verdict: Verdict, adapter: Description) -> str:
    """What is known to be behind a finding, in a sentence: the reason of the shipped expectation that covers it, or the
    mistakes that explain it.
    """
    entries = _entries(adapter)
    number = known.expectation_for(verdict, entries)
    for entry in entries:
        if entry.id == number:
            where = f" ({entry.issue})" if entry.issue else ""
            return f"It is known: {entry.reason}{where}."
    fitting = [e.mistake for e in explanations_of(verdict) if e.fits]
    return f"What it gives is the rule with {', or '.join(fitting[:3])}." if fitting else ""


def ran(path: Path, timeout: float = TIMEOUT) -> tuple[bool, str]:
    """Whether a script fails as it says, run by this Python without this folder or the user's on its path; and a
    predicate that tells it.
    """
    command = [sys.executable, "-I", str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return True, f"hangs: it has not ended within {timeout:g} s"
    last = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode == 0:
        return False, "passes: the framework's own calls are right, and the mistake is in the adapter"
    if done.returncode < 0:
        return True, f"ends its process with signal {-done.returncode}"
    if last.startswith("AssertionError"):
        return True, f"fails as it says: {last}"
    return False, f"does not run: {last}"
