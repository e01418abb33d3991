"""`kterm shrink`: print the smallest case that fails in the same way as a failing case, with its numbers."""

import sys
import time
from contextlib import closing

from ..cases.case import parse_case, structure_id
from ..cases.description import Description
from ..cases.draw import REGIMES
from ..cases.regimes import Draw
from ..diagnosis.causes import causes
from ..failures.histories.history import NOT_REPEATABLE, describe_steps, distinct_draws
from ..failures.known_causes import describe_cause, shipped_expectation_for
from ..failures.shrinking.budget import Budget
from ..failures.shrinking.shrink import TRIED, Shrunk, shrink
from ..records.form.console import TextConsole
from ..records.form.text import print_aside
from ..records.form.words import diagnosis_lines, finding_lines, versioned, words
from ..records.report import entries
from ..runners.process import ProcessRunner
from ..runners.threads import pin_here


def run_shrink(
    case_id: str, spec: str, device: str | None, mutant: str | None, budget: Budget, python: str | None = None
) -> int:
    """Print the smallest case. The exit code is 0, or 1 if the case does not fail.

    Raises CaseError, OptionError, AdapterError and NoAnswer.
    """
    started = time.monotonic()
    pin_here()
    console = TextConsole()
    case = parse_case(case_id, tuple(REGIMES))
    with closing(ProcessRunner(spec, device, mutant=mutant, python=python)) as runner:
        adapter = runner.describe()
        progress = _print_progress if sys.stderr.isatty() else None
        expectation_for = shipped_expectation_for(adapter)
        shrunk = shrink(
            case, runner, budget=budget, expectation_for=expectation_for, progress=progress, start=runner.close
        )
    if shrunk is None:
        console.print(f"{case_id} does not fail on {versioned(adapter.to_json())}: there is nothing to shrink; {TRIED}")
        return 1
    lines = _format_shrunk(shrunk, adapter, case_id, device)
    lines.append(
        f"{shrunk.trials} trials, {shrunk.builds} programs built, {shrunk.calls} calls, "
        f"{time.monotonic() - started:.1f} s; {shrunk.stopped}"
    )
    for line in lines:
        console.print(line)
    return 0


def _format_shrunk(shrunk: Shrunk, adapter: Description, case_id: str, device: str | None) -> list[str]:
    original, smallest, named = shrunk.original, shrunk.verdict, words(adapter.to_json(), device)
    lines = [f"{case_id} on {adapter.name}: {original.check} {original.grade}, {original.label}"]
    lines += finding_lines(original)
    if original.expectation is not None:
        lines.append(f"  {describe_cause(original, adapter)}")
    for cause in causes([(adapter.name, [original])]):
        lines += diagnosis_lines(cause)
        if cause.mistakes:
            # In a run, all failing cases speak for a mistake or against it, and all passing ones too.
            lines.append(f"  that is said of this case alone; kterm check {named} says what explains all failing cases")
    if shrunk.played is None:
        call = "" if shrunk.is_single_call else f", in call {shrunk.at + 1} of {len(shrunk.stack.x)}"
        lines.append(
            f"the smallest case that fails in the same way: {structure_id(shrunk.structure)}, {shrunk.regime}{call}"
        )
        lines += [*finding_lines(smallest), *_format_numbers(shrunk.draw)]
    else:
        history = shrunk.played.history
        lines.append("the fewest and smallest calls that fail in the same way, in one new process:")
        lines += [f"  {line}" for line in describe_steps(history)]
        lines += finding_lines(smallest)
        for i, (_, one) in enumerate(distinct_draws(history), 1):
            lines += [f"  numbers {i}:", *_format_numbers(one)]
    if not shrunk.is_repeatable:
        lines.append(f"{NOT_REPEATABLE}: the failure depends on chance, or on more than these calls")
    if shrunk.case is not None:
        lines.append(f"replay it with the numbers of its case id: kterm replay {shrunk.case.id} {named}")
    if adapter.has_script:
        lines.append(f"write it as a script: kterm reproduce {case_id} {named} -o bug.py")
    return lines


def _format_numbers(one: Draw) -> list[str]:
    named = {f"W_{i}": a for i, a in enumerate(one.parameters.weights, 1)}
    named |= {f"b_{i}": a for i, a in enumerate(one.parameters.biases, 1)}
    named |= {"x": one.x, "y": one.y}
    return [f"  {name} = {' '.join(entries(array, 10**6).splitlines())}" for name, array in named.items()]


def _print_progress(line: str) -> None:
    print_aside(line)
