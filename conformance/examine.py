"""Examining a group: every check of every case, in dependency order, from draws to verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..adapters import Observation
from ..reference import Parameters, backpropagate
from ..reference.rounding import deviation, propagate
from .case import Case, Group
from .draw import draw, stacked
from .judge import CONCLUSIVE_POWER, Comparison, compare, descended
from .kinks import with_choices
from .observe import Answer, NoAnswer, Runs, arrays, differing, same_bits
from .regimes import REGIMES, Draw
from .tell import Calls, tell
from .twins import Company, meet
from .verdict import CHECKS, Check, Grade, Verdict, quantity_of

DEATHS = 3
"""A structure in which the adapter died or hung this often is given up."""

_DESCENT_STEPS = 3

Excuse = Callable[[Verdict], str | None]


def examine(
    group: Group,
    runs: Runs,
    excuse: Excuse = lambda _: None,
    diagnose: bool = True,
    drawn: Draw | None = None,
) -> list[list[Verdict]]:
    """The verdicts of each case of a group, a list a case; with `diagnose`, failures are told (`tell`). `drawn` are the
    group's numbers, where they are known already.

    `excuse` gives the id of the expectation that excuses a finding, or None. An expected finding blocks nothing: what
    follows is judged from the framework's own values, where it left any. Nothing an adapter does raises here.
    """
    cases, stack = group.cases, drawn or draw(group.cases)
    company = meet(group, stack[0], runs)
    answers = _answers(group, stack, runs, company)
    good = [i for i, answer in enumerate(answers) if isinstance(answer, Answer) and answer.observation is not None]
    first = good[0] if good else None
    extras = None if first is None else _extras(group, stack[first], _observation(answers[first]), runs, company)
    verdicts: list[list[Verdict]] = [
        _contract(case, answer, excuse) for case, answer in zip(cases, answers, strict=True)
    ]
    if first is not None and extras is not None:
        verdicts[first] += extras.contract(cases[first], excuse)
    sound = [i for i in good if not any(verdict.is_unexpected for verdict in verdicts[i])]
    alike = _alike(group, stack, [(i, _observation(answers[i])) for i in sound])
    for i, verdict in alike.unsound:
        verdicts[i] += _contracted(cases[i], [verdict], excuse)
    for chosen in alike.stacks:
        observed = [_observation(answers[i]) for i in chosen]
        conventions = runs.describe().conventions
        picked = _pick(stack, chosen)
        compared = list(compare(group.structure, picked, observed, group.regime, conventions))
        judged = [_judged(group, cases[i], compared, at, bool(stack.dead[i]), excuse) for at, i in enumerate(chosen)]
        calls = Calls(group.structure, group.regime, picked, observed, compared, stack, _before(chosen), conventions)
        judged = tell(calls, judged, _covers(group, excuse)) if diagnose else judged
        for position, i in enumerate(chosen):
            if REGIMES[group.regime].records_choices:
                judged[position] = with_choices(group.structure, stack[i], arrays(observed[position]), judged[position])
            verdicts[i] += judged[position]
    if first is not None and extras is not None:
        told = extras.verdicts(group, cases[first], stack[first], verdicts[first], excuse, diagnose)
        verdicts[first] += told
    return [_with_passed_contract(case, some) for case, some in zip(cases, verdicts, strict=True)]


def _before(chosen: Sequence[int]) -> list[int | None]:
    """The number of the call before each draw's."""
    return [i - 1 if i else None for i in chosen]


def _covers(group: Group, excuse: Excuse) -> Callable[[Comparison, int], bool]:
    """Whether an expectation covers a departure."""
    return lambda one, i: _excused(_verdict(group, group.cases[0].id, one, i, False), excuse).expectation is not None


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


def _answers(group: Group, stack: Draw, runs: Runs, company: Company) -> list[Answer | NoAnswer]:
    answers: list[Answer | NoAnswer] = []
    deaths, built = 0, False
    for i in range(len(group.draws)):
        if deaths >= DEATHS:
            answers.append(NoAnswer("died", f"not tried: the adapter died or hung {deaths} times in this structure"))
            continue
        try:
            if not built:
                runs.build(group.structure, None, company.is_there)
                built = True
            one = stack[i]
            answers.append(runs.call(group.regime, one.parameters, one.x, one.y))
        except NoAnswer as no:
            if not built and no.kind in ("raised", "unsupported"):
                return [no] * len(group.draws)
            answers.append(no)
            if no.kind in ("died", "hung"):
                deaths, built = deaths + 1, False
                company.leave()
    return answers


def _excused(verdict: Verdict, excuse: Excuse) -> Verdict:
    return replace(verdict, expectation=excuse(verdict)) if verdict.is_finding else verdict


def _contract(case: Case, answer: Answer | NoAnswer, excuse: Excuse) -> list[Verdict]:
    if isinstance(answer, NoAnswer):
        grade: Grade = "unsupported" if answer.kind == "unsupported" else "errored"
        what = answer.message if answer.kind in ("raised", "unsupported") else f"{answer.kind}: {answer.message}"
        return [Verdict(case.id, "contract", "program", grade, message=what)]
    found = [Verdict(case.id, "contract", "observation", "wrong", message=problem) for problem in answer.problems]
    return _contracted(case, found, excuse)


def _contracted(case: Case, found: Sequence[Verdict], excuse: Excuse) -> list[Verdict]:
    """What was found of the contract, and the rest of the case blocked where that is not expected."""
    found = [_excused(verdict, excuse) for verdict in found]
    troubled = any(verdict.is_unexpected or verdict.grade == "errored" for verdict in found)
    return [*found, *(_blocked(case, "contract") if troubled else ())]


def _blocked(case: Case, behind: Check) -> list[Verdict]:
    """Every check of a case that comes after a failed one, but for those asked once a structure."""
    besides = {"layout", "descent", "batch"} | ({"bias_gradients"} if case.structure.network.bias == "none" else set())
    return [
        Verdict(case.id, check, "all", "blocked", message=f"behind {behind}")
        for check in CHECKS[CHECKS.index(behind) + 1 :]
        if check not in besides
    ]


class _Alike:
    """Observations sorted into stacks that show the same quantities, and the ones that are not finite where they
    should be.
    """

    def __init__(self) -> None:
        self.stacks: list[list[int]] = []
        self.unsound: list[tuple[int, Verdict]] = []


def _alike(group: Group, stack: Draw, observed: Sequence[tuple[int, Observation]]) -> _Alike:
    sorted_out, by_shown = _Alike(), {}
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
    group: Group, case: Case, compared: Sequence[Comparison], i: int, dead: bool, excuse: Excuse
) -> list[Verdict]:
    verdicts: list[Verdict] = []
    failed: Check | None = None
    for one in compared:
        if failed is not None and one.check != failed:
            break
        verdict = _excused(_verdict(group, case.id, one, i, dead), excuse)
        failed = one.check if verdict.is_unexpected else failed
        verdicts.append(verdict)
    return verdicts + (_blocked(case, failed) if failed else [])


def _verdict(group: Group, case: str, one: Comparison, i: int, dead: bool) -> Verdict:
    grade = one.grade(i)
    if dead and (grade == "pass" or REGIMES[group.regime].rounding == "exact"):
        grade = "inconclusive"  # numbers that are not exact say nothing of an exact match
    at = tuple(int(j) for j in np.unravel_index(int(one.at[i]), one.shape)) if one.shape and 0 not in one.shape else ()
    layer = one.layer or group.structure.network.depth
    passed = grade in ("pass", "inconclusive")
    return Verdict(
        case,
        one.check,
        one.quantity,
        grade,
        worst=float(one.worst[i]),
        at=at,
        power=float(one.power[i]),
        observed=None if passed else float(one.observed[i]),
        expected=None if passed else float(one.expected[i]),
        tolerance=None if passed else float(one.tolerance[i]),
        activation=group.structure.network.activations[layer - 1],
    )


class _Extras:
    """What is asked once a structure: the first case again, a short descent, and the batch in two parts; and what came
    of its twins.
    """

    def __init__(self, company: Company) -> None:
        self.company = company
        self.again: str | None = None
        self.overwritten = False
        self.trouble: tuple[Check, str] | None = None
        self.descent: tuple[Draw, list[Observation]] | None = None
        self.halves: tuple[Draw, list[Observation]] | None = None

    def contract(self, case: Case, excuse: Excuse) -> list[Verdict]:
        """Whether the program gave the same bits twice and left its earlier answer alone."""
        found = []
        if self.again is not None:
            found.append(Verdict(case.id, "contract", "same call twice", "wrong", message=self.again))
        if self.overwritten:
            message = "an earlier observation was changed by a later call; give arrays that nothing else writes to"
            found.append(Verdict(case.id, "contract", "earlier observation", "wrong", message=message))
        found += [Verdict(case.id, "contract", "twins", "wrong", message=what) for what in self.company.findings]
        if self.trouble is not None and self.trouble[0] == "contract":
            found.append(Verdict(case.id, "contract", "same call twice", "errored", message=self.trouble[1]))
        return _contracted(case, found, excuse)

    def verdicts(
        self, group: Group, case: Case, one: Draw, before: Sequence[Verdict], excuse: Excuse, diagnose: bool
    ) -> list[Verdict]:
        """The descent and batch checks, blocked where anything before them failed."""
        if any(v.grade in ("blocked", "errored") or v.is_unexpected for v in before):
            return [
                Verdict(case.id, check, "all", "blocked", message="behind an earlier check") for check in CHECKS[-2:]
            ]
        late = self.company.departures(excuse)
        found = [_excused(Verdict(case.id, "contract", "twins", "wrong", message=what), excuse) for what in late]
        if self.trouble is not None:
            found.append(Verdict(case.id, self.trouble[0], "program", "errored", message=self.trouble[1]))
        if self.descent is not None:
            found += _descent_verdicts(group, case, one, *self.descent, excuse, diagnose)
        if self.halves is not None:
            verdict = _excused(_batch_verdict(group, case, *self.halves), excuse)
            tells = diagnose and verdict.is_unexpected
            found.append(_told_batch(group, verdict, *self.halves, excuse) if tells else verdict)
        return found


def _extras(group: Group, one: Draw, first: Observation, runs: Runs, company: Company) -> _Extras | None:
    extras = _Extras(company)
    asked: Check = "contract"
    try:
        # Before the same numbers are put in again, which would write the same answer over it.
        extras.overwritten = runs.changed_since()
        company.stay(runs)
        answer = runs.call(group.regime, one.parameters, one.x, one.y)
        if answer.observation is None or not same_bits(answer.observation, first):
            extras.again = _difference(first, answer)
            return extras
        if not all(np.isfinite(array.astype(float)).all() for array in arrays(first).values()) or one.dead:
            return extras
        regime = REGIMES[group.regime]
        if regime.selects or regime.rounding != "normal":
            return extras  # whose numbers would not be what the regime is about after a step
        asked = "descent"
        extras.descent = _descent(group, one, first, runs)
        asked = "batch"
        if group.structure.batch > 1:
            extras.halves = _halves(group, one, first, runs)
    except NoAnswer as no:
        if no.kind in ("died", "hung"):
            # The call was answered before; the process that held the program is gone.
            runs.build(group.structure)
        extras.trouble = (asked, no.message)
    return extras


def _difference(first: Observation, answer: Answer) -> str:
    if answer.observation is None:
        return "the same call, made again, gave " + "; ".join(answer.problems)
    changed = ", ".join(differing(first, answer.observation)) or "what it shows"
    return f"the same call, made again after others, gave other bits in {changed}"


def _asked(group: Group, one: Draw, runs: Runs) -> Observation:
    answer = runs.call(group.regime, one.parameters, one.x, one.y)
    if answer.observation is None:
        raise NoAnswer("raised", "; ".join(answer.problems))
    return answer.observation


def _descent(group: Group, one: Draw, first: Observation, runs: Runs) -> tuple[Draw, list[Observation]] | None:
    draws, observed, current = [], [], first
    for _ in range(_DESCENT_STEPS):
        rate = _rate(one.parameters, current)
        if rate is None:
            break
        one = replace(one, parameters=descended(one.parameters, current, rate))
        current = _asked(group, one, runs)
        draws.append(one)
        observed.append(current)
    return (stacked(draws), observed) if draws else None


def _rate(parameters: Parameters, observed: Observation) -> float | None:
    """A power of two that moves weights by about 1/64 of their size: enough to matter, and to stay alive.

    Anew for each step, since gradients near a minimum grow with the first; and from the biases' gradients too, which
    outside a saturated layer are the only large ones. None where there is no finite step to take.
    """
    gradients = (*observed.weight_gradients, *observed.bias_gradients)
    slope = max(float(np.abs(g.astype(float)).max()) for g in gradients)
    size = max(float(np.abs(w.astype(float)).max()) for w in parameters.weights)
    if not (0 < slope < np.inf and size):
        return None
    return float(2.0 ** (np.floor(np.log2(size / slope)) - 6))


def _halves(group: Group, one: Draw, first: Observation, runs: Runs) -> tuple[Draw, list[Observation]]:
    """The whole batch, then with the residual of its even rows made zero, then of its odd rows."""
    even = np.arange(group.structure.batch)[:, None] % 2 == 0
    parts = [replace(one, y=np.where(rows, first.outputs, one.y)) for rows in (even, ~even)]
    return stacked([one, *parts]), [first, *(_asked(group, part, runs) for part in parts)]


def _descent_verdicts(
    group: Group, case: Case, one: Draw, stack: Draw, observed: list[Observation], excuse: Excuse, diagnose: bool
) -> list[Verdict]:
    """Of each step, judged from its own weights, every finding, or else the quantity that is furthest out. `one` holds
    the numbers of the call before the first step.
    """
    compared = list(compare(group.structure, stack, observed))
    found: list[list[Verdict]] = []
    for step in range(len(observed)):
        verdicts = [
            replace(verdict, check="descent", quantity=f"step {step + 1}: {verdict.quantity}")
            for verdict in (_verdict(group, case.id, one, step, False) for one in compared)
        ]
        findings = [_excused(verdict, excuse) for verdict in verdicts if verdict.is_finding]
        found.append(findings or [max(verdicts, key=lambda v: v.worst)])
    history = stacked([one, *(stack[step] for step in range(len(observed)))])
    calls = Calls(group.structure, group.regime, stack, observed, compared, history, list(range(len(observed))))
    told = tell(calls, found, _covers(group, excuse)) if diagnose else found
    return [verdict for step in told for verdict in step]


def _told_batch(group: Group, verdict: Verdict, stack: Draw, observed: list[Observation], excuse: Excuse) -> Verdict:
    """The verdict, explained by the first of the two parts that departs by itself, where one does."""
    compared = list(compare(group.structure, stack, observed))
    at = next((i for i in range(1, len(observed)) if any(not one.worst[i] <= 1 for one in compared)), None)
    if at is None:
        return verdict
    first = next(one.quantity for one in compared if not one.worst[at] <= 1)
    calls = Calls(group.structure, group.regime, stack, observed, compared, stack, _before(range(len(observed))))
    findings = [[replace(verdict, quantity=first)] if i == at else [] for i in range(len(observed))]
    (told,) = tell(calls, findings, _covers(group, excuse))[at]
    return replace(verdict, origin=told.origin, explanations=told.explanations)


def _batch_verdict(group: Group, case: Case, stack: Draw, observed: list[Observation]) -> Verdict:
    """Whether the gradients of the two parts of the batch add up to that of the whole."""
    wide, reading = stack.astype(np.dtype(np.float64)), deviation(group.structure.format)
    shown = [arrays(o) for o in observed]
    worst = Verdict(case.id, "batch", "all", "pass", power=np.inf)
    activations = group.structure.network.activations
    for step in propagate(group.structure.network, wide.parameters, wide.x, wide.y, reading):
        if step.symbol not in "Wb":
            continue
        whole, *parts = (each[step.name].astype(np.float64) for each in shown)
        tolerance = step.estimate.tolerance(reading).sum(0)
        total = np.sum(parts, axis=0)
        error = np.abs(whole - total)
        ratio = np.where(error == 0, 0.0, error / np.where(tolerance == 0, np.finfo(float).tiny, tolerance))
        at = np.unravel_index(int(ratio.argmax()), ratio.shape)
        power = float(np.linalg.norm(whole) / max(float(np.linalg.norm(tolerance)), np.finfo(float).tiny))
        low = power < CONCLUSIVE_POWER
        grade: Grade = "wrong" if ratio[at] > 1 else "inconclusive" if low else "pass"
        verdict = Verdict(
            case.id, "batch", step.name, grade, float(ratio[at]), tuple(int(j) for j in at), power,
            float(whole[at]), float(total[at]), float(tolerance[at]), activations[step.layer - 1],
        )  # fmt: skip
        if verdict.worst >= worst.worst:
            worst = verdict
    return worst
