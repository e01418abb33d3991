"""The activation behind a layer: a = f(z), and dL/dz = dL/da ∘ f'(z) of the activation alone.

Both are elementwise. So the entries are judged as the suite judges a network with layers of one unit each: by the same
comparison, with what is known of the framework's formulas.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from .....adapters import Observation
from .....adapters.traces.manifest import Activation
from .....reference import Array, Network, Parameters, Structure
from .....reference.steps import Made, Work
from .....reference.value import Value, exact
from ....cases.case import Case, Group
from ....cases.draw import stacked
from ....cases.level import Level
from ....cases.regimes import Draw
from ....checks.comparison.compare import compare
from ....checks.comparison.formulas import with_formulas
from ....checks.findings import judge
from ....checks.verdict import ExpectationFor, Verdict

_MOST_ENTRIES = 2**16
"""The entries that are judged at once, as a batch of a network of one unit."""
NAMES = {"x_1": "a", "k_1": "dL/dz"}


def judge_activation(
    activation: Activation,
    case: str,
    dtype: str,
    z: Array,
    arrays: Mapping[str, Array],
    expectation_for: ExpectationFor,
    level: Level,
) -> Iterator[Verdict]:
    """The verdicts on the output of an activation and on what it gives back, the worst piece of each. `z` (N, n) is its
    input, and `case` the id of the layer in its step. `at` is the flat index of the entry.
    """
    worst: dict[str, Verdict] = {}
    for start in range(0, z.size, _MOST_ENTRIES):
        piece = slice(start, start + _MOST_ENTRIES)
        column = {
            field: arrays[name].reshape(-1)[piece, None]
            for field in ("output", "output_gradient", "input_gradient")
            if (name := getattr(activation, field)) is not None
        }
        piece_of_z = z.reshape(-1)[piece, None]
        for verdict in _judge_piece(activation.name, case, dtype, piece_of_z, column, expectation_for, level):
            found = replace(verdict, at=(start + (verdict.at[0] if verdict.at else 0),))
            best = worst.get(found.quantity)
            if best is None or (found.fails, found.worst) > (best.fails, best.worst):
                worst[found.quantity] = found
    yield from worst.values()


def _judge_piece(
    name: str,
    case_id: str,
    dtype: str,
    z: Array,
    column: Mapping[str, Array],
    expectation_for: ExpectationFor,
    level: Level,
) -> Iterator[Verdict]:
    structure = Structure(Network((1, 1), (name,), "none"), len(z), dtype)
    asked = [quantity for quantity, field in (("x_1", "output"), ("k_1", "input_gradient")) if field in column]
    if "output_gradient" not in column:
        asked = [quantity for quantity in asked if quantity != "k_1"]
    one, unit = np.ones((1, 1), z.dtype), np.zeros((1, 1), z.dtype)
    # What is not captured is put in as right for the numbers of the network, and no verdict is given on it.
    output = column.get("output", np.zeros_like(z))
    back = column.get("output_gradient", np.zeros_like(z))
    own = column.get("input_gradient", np.zeros_like(z))
    case = Case(structure, "normal", 0, 0)
    draw = stacked([Draw(Parameters((one,), ()), z, np.zeros_like(z), np.array([False]))])
    seen = Observation(output, np.zeros((), z.dtype), (unit,), (), z=(z,), x=(output,), k=(own,))

    def given(w: Work, i: int, right: object) -> Value:
        return exact(back.astype(np.float64)[None], w.reading)

    residual: Made = ({"r": given}, lambda i, n: True)
    formulas = expectation_for.formulas_for([case_id])

    def compared(changes: tuple[Made, ...] | list[Made]) -> list:
        found = compare(structure, draw, (seen,), case.regime, changes=[residual, *changes])
        return [each for each in found if each.quantity in asked]

    found = with_formulas(compared(()), formulas, lambda changes: compared(list(changes)))
    group = Group(structure, case.regime, 0, (0,))

    def of_trace(verdict: Verdict) -> Verdict:
        return replace(verdict, case=case_id, quantity=NAMES[verdict.quantity])

    # A finding is matched as a record has it.
    known = replace(expectation_for, find=lambda finding: expectation_for(of_trace(finding)))
    yield from map(of_trace, judge(group, case, found, 0, known, level=level))
