"""What `kterm shrink` does: the smallest case that fails as a failing case does, with its numbers."""

import sys
import time
from contextlib import closing

from ..cases.case import parse_case, structure_id
from ..cases.draw import REGIMES
from ..cases.plan import Description
from ..cases.regimes import Draw
from ..diagnosis.causes import causes
from ..failures.known_causes import describe_cause, shipped_expectation_for
from ..failures.shrinking.shrink import Shrunk, shrink
from ..failures.shrinking.trials import Budget
from ..records.report import diagnosis_lines, entries, finding_lines, versioned, words
from ..runners.process import ProcessRunner
from ..runners.threads import pin_here


def run_shrink(text: str, spec: str, device: str | None, mutant: str | None, budget: Budget) -> int:
    """Print the smallest case; 0 where there is one, 1 where the case does not fail.

    Raises CaseError, ChoiceError, AdapterError and NoAnswer.
    """
    started = time.monotonic()
    pin_here()
    case = parse_case(text, tuple(REGIMES))
    with closing(ProcessRunner(spec, device, mutant=mutant)) as runner:
        described = runner.describe()
        progress = _on_terminal if sys.stderr.isatty() else None
        shrunk = shrink(
            case, runner, budget=budget, expectation_for=shipped_expectation_for(described), progress=progress
        )
    if shrunk is None:
        print(f"{text} does not fail on {versioned(described.to_json())}: there is nothing to shrink")
        return 1
    lines = _told(shrunk, described, text)
    lines.append(
        f"{shrunk.tries} tries with {shrunk.builds} programs and {shrunk.calls} calls in "
        f"{time.monotonic() - started:.1f} s; {shrunk.stopped}"
    )
    print("\n".join(lines))
    return 0


def _told(shrunk: Shrunk, adapter: Description, text: str) -> list[str]:
    original, found, named = shrunk.original, shrunk.verdict, words(adapter.to_json())
    lines = [f"{text} on {adapter.name}: {original.check} {original.grade}, {original.quantity}"]
    lines += finding_lines(original)
    if original.expectation is not None:
        lines.append(f"  {describe_cause(original, adapter)}")
    lines += [line for cause in causes([(adapter.name, [original])]) for line in diagnosis_lines(cause)]
    calls = "" if shrunk.is_lone else f", in call {shrunk.at + 1} of {len(shrunk.stack.x)}"
    lines += [f"it fails in the same way in {structure_id(shrunk.structure)}{calls}, {shrunk.regime}:"]
    lines += finding_lines(found)
    lines += _numbers(shrunk.draw)
    if shrunk.case is not None:
        lines.append(f"and, with numbers as drawn: kterm replay {shrunk.case.id} {named}")
    lines.append(f"as a script: kterm reproduce {text} {named} -o bug.py")
    return lines


def _numbers(one: Draw) -> list[str]:
    named = {f"W_{i}": a for i, a in enumerate(one.parameters.weights, 1)}
    named |= {f"b_{i}": a for i, a in enumerate(one.parameters.biases, 1)}
    named |= {"x": one.x, "y": one.y}
    return [f"  {name} = {' '.join(entries(array, 10**6).split(chr(10)))}" for name, array in named.items()]


def _on_terminal(line: str) -> None:
    print(line, file=sys.stderr)
