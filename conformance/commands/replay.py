"""What `kterm replay` does: one case, the whole pass side by side, in units of tolerance, with the first step that
departs.
"""

from contextlib import closing

import numpy as np
from rich.console import Console
from rich.table import Table

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference.rounding import SIGMAS
from ..cases.case import Group, parse_case
from ..cases.draw import REGIMES, Draw, make_draws
from ..checks.compare import Comparison, compare
from ..checks.twins import build_twins
from ..records.report import entries, versioned
from ..runners.process import ProcessRunner
from ..runners.threads import pin_here


def run_replay(text: str, spec: str, device: str | None, mutant: str | None = None) -> int:
    """Print the replay; 0 where every quantity is within its tolerance and no twin is amiss, 1 otherwise."""
    pin_here()
    case = parse_case(text, tuple(REGIMES))
    with closing(ProcessRunner(spec, device, mutant=mutant)) as runner:
        described = runner.describe()
        stack = make_draws([case])
        one = stack[0]
        twins = build_twins(Group(case.structure, case.regime, case.seed, (case.draw,)), one, runner)
        runner.build(case.structure, None, twins.is_built)
        answer = runner.call(case.regime, one.parameters, one.x, one.y)
        twins.recheck(runner)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{case.id} on {versioned(described.to_json())}, weights {described.layout}", markup=False)
    for problem in (*answer.problems, *twins.findings):
        console.print(f"contract: {problem}", markup=False)
    if answer.observation is None:
        return 1
    compared = list(compare(case.structure, stack, [answer.observation], case.regime, described.conventions))
    code = _side_by_side(console, stack, answer.observation, compared)
    return 1 if twins.findings else code


def _side_by_side(console: Console, stack: Draw, observation: Observation, compared: list[Comparison]) -> int:
    shown = arrays(observation)
    console.print(f"x_0 {entries(stack.x[0])}", markup=False)
    table = Table(
        "step", "largest entry", "worst at", "framework", "rule", "error / tolerance", "grade", box=None, pad_edge=False
    )
    first: Comparison | None = None
    for one in compared:
        departs = not one.worst[0] <= 1
        first = one if departs and first is None else first
        at = (
            "[" + ", ".join(str(int(i)) for i in np.unravel_index(int(one.at[0]), one.shape)) + "]" if one.shape else ""
        )
        values = shown[one.quantity].astype(float)
        style = "red" if departs else None
        table.add_row(
            one.quantity,
            f"{np.abs(values).max(initial=0.0):.6g}",
            at.replace("[", "\\["),
            f"{float(one.observed[0])!r}",
            f"{float(one.expected[0])!r}",
            f"{float(one.worst[0]):.3g}",
            one.grade(0),
            style=style,
        )
    console.print(table)
    console.print(f"The tolerance is {SIGMAS:g} standard deviations of the rounding error; where z, x and k are shown,")
    console.print("each step is judged from the framework's own previous value.")
    if first is None:
        console.print("every step agrees with the rule")
        return 0
    console.print(f"first step that departs: {first.quantity}, at layer {first.layer or 'n'}", markup=False)
    name = first.quantity
    console.print(f"the framework's {name}: {entries(shown[name])}", markup=False)
    return 1
