"""Examining a group: every check of every case, in dependency order, from draws to verdicts."""

from collections.abc import Sequence

import numpy as np

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference import backpropagate
from ..cases.case import Case, Group
from ..cases.draw import draw
from ..cases.regimes import REGIMES, Draw
from ..diagnosis.diagnose import Calls, tell
from ..runners.runner import Answer, NoAnswer, Runner
from .compare import Comparison, compare
from .findings import ExpectationFor, before_each, blocked, contracted, is_expected_in, verdict_on, with_expectation
from .kink_choices import with_choices
from .repeats import ask_repeats, explained_by
from .twins import TwinPrograms, build_twins
from .verdict import Check, Grade, Verdict, quantity_of

DEATHS = 3
"""A structure in which the adapter died or hung this often is given up."""


def examine(
    group: Group,
    runner: Runner,
    expectation_for: ExpectationFor = lambda _: None,
    diagnose: bool = True,
    drawn: Draw | None = None,
) -> list[list[Verdict]]:
    """The verdicts of each case of a group, a list a case; with `diagnose`, failures are told (`tell`). `drawn` are the
    group's numbers, where they are known already.

    `excuse` gives the id of the expectation that excuses a finding, or None. An expected finding blocks nothing: what
    follows is judged from the framework's own values, where it left any. Nothing an adapter does raises here.
    """
    cases, stack = group.cases, drawn or draw(group.cases)
    twins = build_twins(group, stack[0], runner)
    answers = _answers(group, stack, runner, twins)
    good = [i for i, answer in enumerate(answers) if isinstance(answer, Answer) and answer.observation is not None]
    first = good[0] if good else None
    extras = None if first is None else ask_repeats(group, stack[first], _observation(answers[first]), runner, twins)
    verdicts: list[list[Verdict]] = [
        _contract(case, answer, expectation_for) for case, answer in zip(cases, answers, strict=True)
    ]
    if first is not None and extras is not None:

        def explained(verdict: Verdict, again: Observation) -> Verdict:
            # The call before it was that of the last draw, where a program remembers it.
            twice, both = _pick(stack, [first, first]), [_observation(answers[first]), again]
            before = [None, good[-1]]
            if not diagnose:
                return verdict
            return explained_by(
                group, verdict, twice, both, stack, before, expectation_for, runner.describe().conventions
            )

        verdicts[first] += extras.contract(cases[first], expectation_for, explained)
    sound = [i for i in good if not any(verdict.is_unexpected for verdict in verdicts[i])]
    sorted_out = _stack_by_quantities(group, stack, [(i, _observation(answers[i])) for i in sound])
    for i, verdict in sorted_out.unsound:
        verdicts[i] += contracted(cases[i], [verdict], expectation_for)
    for chosen in sorted_out.stacks:
        observed = [_observation(answers[i]) for i in chosen]
        conventions = runner.describe().conventions
        picked = _pick(stack, chosen)
        compared = list(compare(group.structure, picked, observed, group.regime, conventions))
        judged = [
            _judged(group, cases[i], compared, at, bool(stack.dead[i]), expectation_for) for at, i in enumerate(chosen)
        ]
        calls = Calls(
            group.structure, group.regime, picked, observed, compared, stack, before_each(chosen), conventions
        )
        judged = tell(calls, judged, is_expected_in(group, expectation_for)) if diagnose else judged
        for position, i in enumerate(chosen):
            if REGIMES[group.regime].records_choices:
                judged[position] = with_choices(group.structure, stack[i], arrays(observed[position]), judged[position])
            verdicts[i] += judged[position]
    if first is not None and extras is not None:
        told = extras.verdicts(group, cases[first], stack[first], verdicts[first], expectation_for, diagnose)
        verdicts[first] += told
    return [_with_passed_contract(case, some) for case, some in zip(cases, verdicts, strict=True)]


def _with_passed_contract(case: Case, verdicts: list[Verdict]) -> list[Verdict]:
    if any(verdict.check == "contract" for verdict in verdicts):
        return verdicts
    return [Verdict(case.id, "contract", "observation", "pass"), *verdicts]


def _observation(answer: Answer | NoAnswer) -> Observation:
    assert isinstance(answer, Answer)
    assert answer.observation is not None
    return answer.observation


def _pick(stack: Draw, chosen: Sequence[int]) -> Draw:
    index = np.array(chosen)
    return stack[index]  # pyright: ignore[reportArgumentType]  (an index array picks a sub-stack)


def _answers(group: Group, stack: Draw, runner: Runner, twins: TwinPrograms) -> list[Answer | NoAnswer]:
    answers: list[Answer | NoAnswer] = []
    deaths, built = 0, False
    for i in range(len(group.draws)):
        if deaths >= DEATHS:
            answers.append(NoAnswer("died", f"not tried: the adapter died or hung {deaths} times in this structure"))
            continue
        try:
            if not built:
                runner.build(group.structure, None, twins.is_built)
                built = True
            one = stack[i]
            answers.append(runner.call(group.regime, one.parameters, one.x, one.y))
        except NoAnswer as no:
            if not built and no.kind in ("raised", "unsupported"):
                return [no] * len(group.draws)
            answers.append(no)
            if no.kind in ("died", "hung"):
                deaths, built = deaths + 1, False
                twins.discard()
    return answers


def _contract(case: Case, answer: Answer | NoAnswer, expectation_for: ExpectationFor) -> list[Verdict]:
    if isinstance(answer, NoAnswer):
        grade: Grade = "unsupported" if answer.kind == "unsupported" else "errored"
        what = answer.message if answer.kind in ("raised", "unsupported") else f"{answer.kind}: {answer.message}"
        return [Verdict(case.id, "contract", "program", grade, message=what)]
    found = [Verdict(case.id, "contract", "observation", "wrong", message=problem) for problem in answer.problems]
    return contracted(case, found, expectation_for)


class _Stacks:
    """Observations sorted into stacks that show the same quantities, and the ones that are not finite where they
    should be.
    """

    def __init__(self) -> None:
        self.stacks: list[list[int]] = []
        self.unsound: list[tuple[int, Verdict]] = []


def _stack_by_quantities(group: Group, stack: Draw, observed: Sequence[tuple[int, Observation]]) -> _Stacks:
    sorted_out, by_shown = _Stacks(), {}
    for i, observation in observed:
        strays = [name for name, array in arrays(observation).items() if not np.isfinite(array.astype(float)).all()]
        if strays and (finite := _finite_where_not(group, stack[i], observation, strays)):
            sorted_out.unsound.append((i, _not_finite(group, group.cases[i], finite)))
            continue
        by_shown.setdefault(tuple(arrays(observation)), []).append(i)
    sorted_out.stacks = list(by_shown.values())
    return sorted_out


def _not_finite(group: Group, case: Case, names: Sequence[str]) -> Verdict:
    """The finding, told of the quantity where it began, so that it can be expected of an activation."""
    activations = group.structure.network.activations

    def place(name: str) -> int:
        check, layer = quantity_of(name)
        forward, layer = check in ("forward", "error"), layer or len(activations)
        return layer if forward else 2 * len(activations) + 1 - layer

    first = min(names, key=place)
    message = f"{', '.join(names)} not finite where the rule gives a finite number"
    layer = quantity_of(first)[1] or len(activations)
    return Verdict(case.id, "contract", first, "wrong", message=message, activation=activations[layer - 1])


def _finite_where_not(group: Group, one: Draw, observation: Observation, names: Sequence[str]) -> list[str]:
    wide = one.astype(np.dtype(np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        rule = backpropagate(group.structure.network, wide.parameters, wide.x, wide.y)
    values = {"outputs": rule.outputs, "E": rule.error}
    for symbol, some in (("z", rule.z), ("x", rule.x[1:]), ("k", rule.k)):
        values |= {f"{symbol}_{i}": value for i, value in enumerate(some, 1)}
    values |= {f"dE/dW_{i}": value for i, value in enumerate(rule.weight_gradients, 1)}
    values |= {f"dE/db_{i}": value for i, value in enumerate(rule.bias_gradients, 1)}
    shown, most = arrays(observation), group.structure.format.max
    # A value within a factor 2 of the largest number may overflow by rounding alone.
    return [
        name for name in names if (~np.isfinite(shown[name].astype(float)) & (np.abs(values[name]) < most / 2)).any()
    ]


def _judged(
    group: Group, case: Case, compared: Sequence[Comparison], i: int, dead: bool, expectation_for: ExpectationFor
) -> list[Verdict]:
    verdicts: list[Verdict] = []
    failed: Check | None = None
    for one in compared:
        if failed is not None and one.check != failed:
            break
        verdict = with_expectation(verdict_on(group, case.id, one, i, dead), expectation_for)
        failed = one.check if verdict.is_unexpected else failed
        verdicts.append(verdict)
    return verdicts + (blocked(case, failed) if failed else [])
