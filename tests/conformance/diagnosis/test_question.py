"""Hypotheses are tried from the first step that they change; the numbers are those of a whole pass."""

from collections.abc import Mapping

import numpy as np
import pytest

from kterm.adapters.quantities import arrays
from kterm.conformance.cases.case import Group, parse_case
from kterm.conformance.cases.draw import REGIMES, make_draws
from kterm.conformance.mutants import MISTAKES
from kterm.reference import Array
from kterm.reference.rounding import deviation
from kterm.reference.steps import Work, afresh, run, showing, start

from ...support.frameworks.miniatures import right


def _bits(work: Work) -> dict[str, tuple[bytes | None, ...]]:
    """Values, errors and jumps of every quantity."""

    def of(array: Array | None) -> bytes | None:
        return None if array is None else array.tobytes()

    return {name: (of(v.estimate.value), of(v.estimate.error), of(v.estimate.jump)) for name, v in work.given.items()}


@pytest.mark.parametrize("is_shown", [True, False], ids=["shown", "silent"])
@pytest.mark.parametrize("errors", ["none", "normal", "selected"])
@pytest.mark.parametrize("bias", ["none", "pre", "post"])
def test_a_mistake_tried_from_the_rule_gives_the_bits_of_a_whole_pass(bias: str, errors: str, is_shown: bool) -> None:
    case = parse_case(f"4x3x5x2-tanh.relu.sigmoid-b6-{bias}-f64-normal-s0", tuple(REGIMES))
    stack = make_draws(Group(case.structure, case.regime, 0, (0, 1, 2)).cases).astype(np.dtype(np.float64))
    reading = None if errors == "none" else deviation(case.structure.format, selects=errors == "selected")
    observed = [arrays(right(case.structure, stack[i].parameters, stack[i].x, stack[i].y)) for i in range(3)]
    shown: Mapping[str, Array] = (
        {name: np.stack([one[name] for one in observed]) for name in observed[0]} if is_shown else {}
    )
    given = case.structure, stack.parameters, stack.x, stack.y, reading
    before, give = run(start(*given)), showing(shown)
    base = run(start(*given, before), (), give)
    for mutant in MISTAKES:
        if mutant.changes:
            made = [(mutant.changes, mutant.takes)]
            whole = run(start(*given, before), made, showing(shown))
            assert _bits(run(afresh(base, before), made, give, base)) == _bits(whole), mutant.name
