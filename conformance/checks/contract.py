"""The contract of a single answer: its form, unmodified inputs, and finite numbers where the rule has finite ones."""

from collections.abc import Sequence

import numpy as np

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference import Array, backpropagate
from ..cases.case import Case, Group
from ..cases.regimes import Draw
from ..runners.runner import Answer, NoAnswer
from .findings import ExpectationFor, with_contract
from .verdict import Grade, Verdict, quantity_of


def check_answer(case: Case, answer: Answer | NoAnswer, expectation_for: ExpectationFor) -> list[Verdict]:
    """The verdicts on the form of an answer, or on a missing one; empty if nothing is wrong."""
    if isinstance(answer, NoAnswer):
        grade: Grade = "unsupported" if answer.kind == "unsupported" else "errored"
        message = f"{answer.kind}: {answer.message}" if answer.lost else answer.message
        return [Verdict(case.id, "contract", "program", grade, message=message)]
    found = [Verdict(case.id, "contract", "observation", "wrong", message=problem) for problem in answer.problems]
    return with_contract(case, found, expectation_for)


def check_dtypes(cases: Sequence[Case], answers: Sequence[Answer | NoAnswer]) -> dict[int, Verdict]:
    """The finding that results came back in another dtype, on the first case in which they do, by its index. The
    numbers are judged all the same, so that it blocks nothing, and one in a structure is enough.
    """
    for i, answer in enumerate(answers):
        if isinstance(answer, Answer) and answer.dtype_problem:
            return {i: Verdict(cases[i].id, "contract", "dtype", "wrong", message=answer.dtype_problem)}
    return {}


def check_finite(group: Group, case: Case, one: Draw, observation: Observation) -> Verdict | None:
    """The finding if quantities are not finite where the rule gives finite numbers, else None.

    It names the quantity that comes first in the computation, so that an expectation can match its activation.
    """
    strays = [name for name, array in arrays(observation).items() if not np.isfinite(array.astype(float)).all()]
    names = _finite_in_rule(group, one, observation, strays) if strays else []
    if not names:
        return None
    activations = group.structure.network.activations

    def place(name: str) -> int:
        check, layer = quantity_of(name)
        forward, layer = check in ("forward", "error"), layer or len(activations)
        return layer if forward else 2 * len(activations) + 1 - layer

    first = min(names, key=place)
    layer = quantity_of(first)[1] or len(activations)
    message = f"{', '.join(names)} not finite where the rule gives a finite number"
    return Verdict(case.id, "contract", first, "wrong", message=message, activation=activations[layer - 1])


def _finite_in_rule(group: Group, one: Draw, observation: Observation, names: Sequence[str]) -> list[str]:
    shown, values, most = arrays(observation), _rule_by_name(group, one), group.structure.format.max
    # A value within a factor 2 of the largest number may overflow by rounding alone.
    return [
        name for name in names if (~np.isfinite(shown[name].astype(float)) & (np.abs(values[name]) < most / 2)).any()
    ]


def _rule_by_name(group: Group, one: Draw) -> dict[str, Array]:
    """Every quantity of the rule in float64, by its name in observations."""
    wide = one.astype(np.dtype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        rule = backpropagate(group.structure.network, wide.parameters, wide.x, wide.y)
    return arrays(
        Observation(rule.outputs, rule.error, rule.weight_gradients, rule.bias_gradients, rule.z, rule.x[1:], rule.k)
    )
