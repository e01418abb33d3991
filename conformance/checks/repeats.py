"""What is asked once a structure, after its cases: the first again, a short descent, and the batch in two parts."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference import Parameters
from ...reference.rounding import Conventions, deviation, propagate
from ..cases.case import Case, Group
from ..cases.draw import stacked
from ..cases.regimes import REGIMES, Draw
from ..diagnosis.diagnose import Calls, tell
from ..runners.runner import Answer, NoAnswer, Runner, differing, same_bits
from .compare import CONCLUSIVE_POWER, compare, descended
from .findings import ExpectationFor, before_each, contracted, is_expected_in, verdict_on, with_expectation
from .twins import TwinPrograms
from .verdict import CHECKS, Check, Grade, Verdict

_DESCENT_STEPS = 3


class Repeats:
    """What is asked once a structure: the first case again, a short descent, and the batch in two parts; and what came
    of its twins.
    """

    def __init__(self, twins: TwinPrograms, first: Observation) -> None:
        self.twins, self.first = twins, first
        self.again: Answer | None = None
        """What the first call got when it was made again, where that differs."""
        self.overwritten = False
        self.trouble: tuple[Check, str] | None = None
        self.descent: tuple[Draw, list[Observation]] | None = None
        self.halves: tuple[Draw, list[Observation]] | None = None

    def contract(
        self, case: Case, expectation_for: ExpectationFor, explained: Callable[[Verdict, Observation], Verdict]
    ) -> list[Verdict]:
        """Whether the program gave the same bits twice and left its earlier answer alone. `explained` is the verdict
        with what explains the answer that the second call got.
        """
        found = []
        if self.again is not None:
            message, again = _difference(self.first, self.again), self.again.observation
            verdict = Verdict(case.id, "contract", "same call twice", "wrong", message=message)
            found.append(verdict if again is None else explained(verdict, again))
        if self.overwritten:
            message = "an earlier observation was changed by a later call; give arrays that nothing else writes to"
            found.append(Verdict(case.id, "contract", "earlier observation", "wrong", message=message))
        found += [Verdict(case.id, "contract", "twins", "wrong", message=what) for what in self.twins.findings]
        if self.trouble is not None and self.trouble[0] == "contract":
            found.append(Verdict(case.id, "contract", "same call twice", "errored", message=self.trouble[1]))
        return contracted(case, found, expectation_for)

    def verdicts(
        self,
        group: Group,
        case: Case,
        one: Draw,
        before: Sequence[Verdict],
        expectation_for: ExpectationFor,
        diagnose: bool,
    ) -> list[Verdict]:
        """The descent and batch checks, blocked where anything before them failed."""
        if any(v.fails or v.grade == "blocked" for v in before):
            return [
                Verdict(case.id, check, "all", "blocked", message="behind an earlier check") for check in CHECKS[-2:]
            ]
        found: list[Verdict] = []
        if self.trouble is not None:
            found.append(Verdict(case.id, self.trouble[0], "program", "errored", message=self.trouble[1]))
        if self.descent is not None:
            found += _descent_verdicts(group, case, one, *self.descent, expectation_for, diagnose)
        if self.halves is not None:
            verdict = with_expectation(_batch_verdict(group, case, *self.halves), expectation_for)
            if diagnose and verdict.is_unexpected:
                stack, observed = self.halves
                earlier = before_each(range(len(observed)))
                verdict = explained_by(group, verdict, stack, observed, stack, earlier, expectation_for)
            found.append(verdict)
        return found


def ask_repeats(group: Group, one: Draw, first: Observation, runner: Runner, twins: TwinPrograms) -> Repeats:
    """Ask for all of it, given the first case that was answered, and what was answered."""
    repeats = Repeats(twins, first)
    asked: Check = "contract"
    try:
        # Before the same numbers are put in again, which would write the same answer over it.
        repeats.overwritten = runner.changed_since()
        twins.recheck(runner)
        answer = runner.call(group.regime, one.parameters, one.x, one.y)
        if answer.observation is None or not same_bits(answer.observation, first):
            repeats.again = answer
            return repeats
        if not all(np.isfinite(array.astype(float)).all() for array in arrays(first).values()) or one.dead:
            return repeats
        regime = REGIMES[group.regime]
        if regime.selects or regime.rounding != "normal":
            return repeats  # whose numbers would not be what the regime is about after a step
        asked = "descent"
        repeats.descent = _descent(group, one, first, runner)
        asked = "batch"
        if group.structure.batch > 1:
            repeats.halves = _halves(group, one, first, runner)
    except NoAnswer as no:
        if no.kind in ("died", "hung"):
            # The call was answered before; the process that held the program is gone.
            runner.build(group.structure)
        repeats.trouble = (asked, no.message)
    return repeats


def _difference(first: Observation, answer: Answer) -> str:
    if answer.observation is None:
        return "the same call, made again, gave " + "; ".join(answer.problems)
    changed = ", ".join(differing(first, answer.observation)) or "what it shows"
    return f"the same call, made again after others, gave other bits in {changed}"


def _asked(group: Group, one: Draw, runner: Runner) -> Observation:
    answer = runner.call(group.regime, one.parameters, one.x, one.y)
    if answer.observation is None:
        raise NoAnswer("raised", "; ".join(answer.problems))
    return answer.observation


def _descent(group: Group, one: Draw, first: Observation, runner: Runner) -> tuple[Draw, list[Observation]] | None:
    draws, observed, current = [], [], first
    for _ in range(_DESCENT_STEPS):
        rate = _rate(one.parameters, current)
        if rate is None:
            break
        one = replace(one, parameters=descended(one.parameters, current, rate))
        current = _asked(group, one, runner)
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


def _halves(group: Group, one: Draw, first: Observation, runner: Runner) -> tuple[Draw, list[Observation]]:
    """The whole batch, then with the residual of its even rows made zero, then of its odd rows."""
    even = np.arange(group.structure.batch)[:, None] % 2 == 0
    parts = [replace(one, y=np.where(rows, first.outputs, one.y)) for rows in (even, ~even)]
    return stacked([one, *parts]), [first, *(_asked(group, part, runner) for part in parts)]


def _descent_verdicts(
    group: Group,
    case: Case,
    one: Draw,
    stack: Draw,
    observed: list[Observation],
    expectation_for: ExpectationFor,
    diagnose: bool,
) -> list[Verdict]:
    """Of each step, judged from its own weights, every finding, or else the quantity that is furthest out. `one` holds
    the numbers of the call before the first step.
    """
    compared = list(compare(group.structure, stack, observed))
    found: list[list[Verdict]] = []
    for step in range(len(observed)):
        verdicts = [
            replace(verdict, check="descent", quantity=f"step {step + 1}: {verdict.quantity}")
            for verdict in (verdict_on(group, case.id, one, step, False) for one in compared)
        ]
        findings = [with_expectation(verdict, expectation_for) for verdict in verdicts if verdict.is_finding]
        found.append(findings or [max(verdicts, key=lambda v: v.worst)])
    history = stacked([one, *(stack[step] for step in range(len(observed)))])
    calls = Calls(group.structure, group.regime, stack, observed, compared, history, list(range(len(observed))))
    told = tell(calls, found, is_expected_in(group, expectation_for)) if diagnose else found
    return [verdict for step in told for verdict in step]


def explained_by(
    group: Group,
    verdict: Verdict,
    stack: Draw,
    observed: list[Observation],
    history: Draw,
    before: Sequence[int | None],
    expectation_for: ExpectationFor,
    conventions: Conventions | None = None,
) -> Verdict:
    """The verdict on several calls, explained by the first after the first that departs by itself, where one does.
    `history` and `before` as of `Calls`.
    """
    compared = list(compare(group.structure, stack, observed, group.regime, conventions))
    is_known = is_expected_in(group, expectation_for)
    departing = (
        (i, one.quantity)
        for i in range(1, len(observed))
        for one in compared
        if not one.worst[i] <= 1 and not is_known(one, i)
    )
    at, name = next(departing, (None, ""))
    if at is None:
        return verdict
    calls = Calls(group.structure, group.regime, stack, observed, compared, history, before, conventions)
    findings = [[replace(verdict, quantity=name)] if i == at else [] for i in range(len(observed))]
    (told,) = tell(calls, findings, is_known)[at]
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
            float(whole[at]), float(total[at]), float(tolerance[at]), activation=activations[step.layer - 1],
        )  # fmt: skip
        if verdict.worst >= worst.worst:
            worst = verdict
    return worst
