"""What `kterm replay` does: one case, every step of the pass beside the rule's, in units of tolerance, and the first
step that departs.
"""

from collections.abc import Sequence
from contextlib import closing

import numpy as np
from rich.console import Console
from rich.table import Table

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference.rounding import SIGMAS
from ..cases.case import Group, parse_case
from ..cases.draw import REGIMES, Draw, make_draws
from ..cases.plan import OptionError
from ..checks.compare import Comparison, compare
from ..checks.findings import verdict_on
from ..checks.twins import build_twins
from ..checks.verdict import Verdict
from ..records.report import entries, versioned
from ..runners.process import ProcessRunner
from ..runners.runner import NoAnswer
from ..runners.threads import pin_here

_WIDTH = 120
_COLUMNS = ("step", "largest entry", "worst at", "framework", "rule", "error / tolerance", "grade")


def run_replay(text: str, spec: str, device: str | None, mutant: str | None = None) -> int:
    """Print the replay; 0 where the contract is kept, every quantity is within its tolerance and no twin is amiss, 1
    otherwise. Raises CaseError for what is not a case id, OptionError where the adapter does not support the case, and
    NoAnswer where it does not answer.
    """
    pin_here()
    case = parse_case(text, tuple(REGIMES))
    group = Group(case.structure, case.regime, case.seed, (case.draw,))
    with closing(ProcessRunner(spec, device, mutant=mutant)) as runner:
        described = runner.describe()
        stack = make_draws([case])
        one = stack[0]
        try:
            twins = build_twins(group, one, runner)
            runner.build(case.structure, None, twins.is_built)
            answer = runner.call(case.regime, one.parameters, one.x, one.y)
            twins.recheck(runner)
        except NoAnswer as no:
            if no.kind != "unsupported":
                raise
            missing = no.message.removeprefix("NotImplementedError: ")
            raise OptionError(f"case {case.id} is not for {described.name}: {missing}") from None
    # Wide enough for every digit: Rich would cut the numbers to fit 80 columns.
    console = Console(highlight=False, soft_wrap=True, width=max(_WIDTH, Console().width))
    console.print(f"{case.id} on {versioned(described.to_json())}, weights {described.layout}", markup=False)
    problems = [*answer.problems, *twins.findings]
    for problem in problems:
        console.print(f"contract: {problem}", markup=False)
    if answer.observation is None:
        return 1
    arithmetic = described.arithmetic_in(case.structure.dtype)
    compared = list(
        compare(case.structure, stack, [answer.observation], case.regime, described.conventions, arithmetic)
    )
    judged = [verdict_on(group, case.id, one, 0, bool(stack.dead[0])) for one in compared]
    code = _print_side_by_side(console, stack, answer.observation, compared, judged)
    return 1 if problems else code


def _print_side_by_side(
    console: Console,
    stack: Draw,
    observation: Observation,
    compared: Sequence[Comparison],
    judged: Sequence[Verdict],
) -> int:
    shown = arrays(observation)
    console.print(f"x_0 {entries(stack.x[0])}", markup=False)
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for one, verdict in zip(compared, judged, strict=True):
        values = shown[one.quantity].astype(float)
        table.add_row(
            one.quantity,
            f"{np.abs(values).max(initial=0.0):.6g}",
            f"\\[{', '.join(map(str, verdict.at))}]" if verdict.at else "",
            f"{float(one.observed[0])!r}",
            f"{float(one.expected[0])!r}",
            f"{float(one.worst[0]):.3g}",
            verdict.grade,
            style="red" if verdict.is_finding else None,
        )
    console.print(table)
    console.print(f"The tolerance is {SIGMAS:g} standard deviations of the rounding error; where z, x and k are shown,")
    console.print("each step is judged from the framework's own previous value.")
    if stack.dead[0]:
        console.print("This draw can show little: a gradient is all zero, or its numbers overflow or are not exact.")
    first = next((one for one, verdict in zip(compared, judged, strict=True) if verdict.is_finding), None)
    if first is None:
        console.print("no step departs from the rule" if stack.dead[0] else "every step agrees with the rule")
        return 0
    where = f", at layer {first.layer}" if first.layer else ""
    console.print(f"first step that departs: {first.quantity}{where}", markup=False)
    name = first.quantity
    console.print(f"the framework's {name}: {entries(shown[name])}", markup=False)
    return 1
