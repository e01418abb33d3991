"""Calls made once a structure, after its cases: the first call again, a descent, and the batch in two parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ....adapters import Observation
from ....adapters.quantities import arrays, stack_arrays
from ....reference import Parameters, descend
from ....reference.arithmetic import Arithmetic
from ....reference.propagation import propagate
from ....reference.rounding import Conventions, Estimate
from ...cases.case import Case, Group
from ...cases.draw import stacked
from ...cases.level import Level
from ...cases.regimes import REGIMES, Draw
from ...runners.runner import Answer, NoAnswer, Runner, differing, same_bits
from ..comparison.calls import Call, Calls, JudgedCalls, before_each
from ..comparison.compare import Comparison, readings, steps_of
from ..comparison.norms import Inputs, measure_norms
from ..findings import judge, with_contract
from ..verdict import CHECKS, SAME_CALL, SOAK, TWINS, Check, ExpectationFor, Formulas, Verdict
from .again import RepeatJudge, grade_of, judge_other_bits, judge_overwritten
from .soak import Soaked, soak
from .twins import TwinPrograms

_DESCENT_STEPS = 3


@dataclass(frozen=True)
class Lost:
    """A repeated call without an answer: the check that asked for it, the error, and the numbers of the call."""

    check: Check
    message: str
    draw: Draw


@dataclass
class Repeats:
    """What the repeated calls of a structure returned, and what its twin programs showed.

    `draw` and `first` are the numbers and the observation of the first answered case. `again` is what the same call
    returned later, if it differs, and `departure` what that has wrong by itself; `soaked` is a call of many that
    differs. `descent` and `halves` hold the numbers of their calls as a stack, and the observations. `arithmetic` is
    what the adapter declares about its products.
    """

    draw: Draw
    first: Observation
    twins: TwinPrograms
    again: Answer | None = None
    departure: Verdict | None = None
    overwritten: bool = False
    lost: Lost | None = None
    soaked: Soaked | None = None
    descent: tuple[Draw, list[Observation]] | None = None
    halves: tuple[Draw, list[Observation]] | None = None
    arithmetic: Arithmetic | None = None

    def check_contract(self, case: Case, expectation_for: ExpectationFor) -> list[Verdict]:
        """Whether the program gave the same bits twice, left its earlier answer alone, and its twins did too."""
        found = []
        if (same := self._judge_same_call(case)) is not None:
            found.append(same)
        if self.soaked is not None and not self.soaked.is_unsteady and not self._is_soak_known:
            found.append(self.soaked.judge(case.id))
        if self.overwritten:
            found.append(judge_overwritten(case.id))
        found += [Verdict(case.id, "contract", TWINS, one.grade, message=one.message) for one in self.twins.findings]
        if self.lost is not None and self.lost.check == "contract":
            found.append(Verdict(case.id, "contract", SAME_CALL, "errored", message=self.lost.message))
        return with_contract(case, found, expectation_for)

    def _judge_same_call(self, case: Case) -> Verdict | None:
        """The verdict on the same call made again, of the structure's program or of a twin's, if it gave other bits."""
        found = []
        if self.again is not None:
            again = self.again.observation
            names = () if again is None else differing(self.first, again)
            found.append(judge_other_bits(case.id, self.again, names, self.departure))
        if self.soaked is not None and self.soaked.is_unsteady:
            found.append(self.soaked.judge(case.id))
        if (twin := self.twins.unsteady) is not None:
            found.append(judge_other_bits(case.id, twin.answer, twin.names, twin.departure))
        return next((one for one in found if one.grade == "wrong"), found[0] if found else None)

    @property
    def _is_soak_known(self) -> bool:
        """Whether soaking shows only that the same call gives other bits, as the second call did already."""
        return self.again is not None and self.soaked is not None and self.soaked.grade != "wrong"

    def judged_repeat(
        self,
        found: Sequence[Verdict],
        draws: Draw,
        first: int,
        last: int,
        conventions: Conventions,
        formulas: Formulas,
    ) -> list[JudgedCalls]:
        """The same call made twice, if it gave other bits. `draws` are those of all cases; `first` is the index of the
        case that is repeated, and `last` that of the call just before the repetition.
        """
        soaked, answer, quantity = self.soaked, self.again, SAME_CALL
        if soaked is not None and not self._is_soak_known:
            first, last, answer = soaked.draw, soaked.before, soaked.answer
            quantity = SAME_CALL if soaked.is_unsteady else SOAK
        if answer is None or answer.observation is None or answer.judged_in is not None:
            return []
        verdict = next(v for v in found if v.quantity == quantity)
        group, twice = self.twins.group, draws[np.array([first, first])]
        expected = self.first if soaked is None or self._is_soak_known else soaked.expected
        both = expected, answer.observation
        known = conventions, self.arithmetic, formulas
        calls = Calls(group.structure, group.regime, twice, both, draws, (None, last), *known)
        return [JudgedCalls(calls, together=verdict)]

    def check_numbers(
        self,
        group: Group,
        case: Case,
        one: Draw,
        before: Sequence[Verdict],
        expectation_for: ExpectationFor,
        level: Level = "componentwise",
    ) -> tuple[list[Verdict], list[JudgedCalls]]:
        """The verdicts on descent and batch, blocked if anything before them failed, and the calls for diagnosis."""
        if any(v.fails or v.grade == "blocked" for v in before):
            last_checks = CHECKS[-2:]
            return [Verdict(case.id, c, "all", "blocked", message="behind an earlier check") for c in last_checks], []
        found: list[Verdict] = []
        judged: list[JudgedCalls] = []
        if self.lost is not None:
            found.append(Verdict(case.id, self.lost.check, "program", "errored", message=self.lost.message))
        if self.descent is not None:
            steps = _judge_descent(group, case, one, *self.descent, expectation_for, level, self.arithmetic)
            found += [verdict for step in steps.verdicts for verdict in step]
            judged.append(steps)
        if self.halves is not None:
            stack, observed = self.halves
            before_calls = tuple(before_each(range(len(observed))))
            known = None, self.arithmetic, expectation_for.formulas_for([case.id])
            calls = Calls(group.structure, group.regime, stack, tuple(observed), stack, before_calls, *known)
            verdict = _judge_halves(group, case, calls, expectation_for, level)
            found.append(verdict)
            if verdict.is_unexpected:
                judged.append(JudgedCalls(calls, together=verdict))
        return found, judged

    def calls_of(self, verdict: Verdict) -> tuple[Call, ...] | None:
        """The repeated calls that a verdict is about, the failing one first; None if it is about none of them."""
        is_repeat = verdict.check in ("descent", "batch") or verdict.quantity == SAME_CALL
        if is_repeat and verdict.grade == "errored" and self.lost is not None:
            return (Call(self.lost.draw, None),)
        is_soaked = verdict.quantity == SOAK or (self.soaked is not None and self.soaked.is_unsteady)
        if is_soaked and verdict.quantity in (SAME_CALL, SOAK) and self.soaked is not None:
            return (Call(self.soaked.numbers, self.soaked.answer.observation),)
        if verdict.quantity == SAME_CALL and self.again is not None:
            return (Call(self.draw, self.again.observation),)
        if verdict.step is not None and self.descent is not None:
            stack, observed = self.descent
            return (Call(stack[verdict.step - 1], observed[verdict.step - 1]),)
        if verdict.check == "batch" and self.halves is not None:
            stack, observed = self.halves
            return tuple(Call(stack[i], observation) for i, observation in enumerate(observed))
        return None


def ask_repeats(
    group: Group,
    draws: Draw,
    observed: Mapping[int, Observation],
    runner: Runner,
    twins: TwinPrograms,
    judge_repeats: RepeatJudge,
) -> Repeats:
    """Make the repeated calls, given the numbers of all cases and the observation of each answered one, at least one,
    by its index. A repeated answer with other bits ends it, unless it is right by itself: what follows could then still
    be wrong.
    """
    at, first = next(iter(observed.items()))
    one = draws[at]
    arithmetic = runner.describe().arithmetic_in(group.structure.dtype)
    repeats = Repeats(one, first, twins, arithmetic=arithmetic)
    asking = _Asking(group, runner, "contract", one)
    try:
        # Before the same numbers are put in again, which would write the same answer over it.
        repeats.overwritten = runner.changed_since()
        twins.recheck(runner, judge_repeats)
        answer = runner.call(group.regime, one.parameters, one.x, one.y)
        if answer.observation is None or not same_bits(answer.observation, first):
            repeats.again = answer
            repeats.departure = judge_repeats.find_departure(group.cases[at], one, answer)
            if grade_of(answer, repeats.departure) == "wrong":
                return repeats
        if REGIMES[group.regime].soak:
            repeats.soaked = soak(group, draws, observed, runner, judge_repeats)
            return repeats
        if not all(np.isfinite(array.astype(float)).all() for array in arrays(first).values()) or one.dead:
            return repeats
        regime = REGIMES[group.regime]
        if regime.selects or regime.rounding != "normal":
            return repeats  # after a step, the numbers would no longer be what the regime is about
        if 0 in group.structure.network.widths:
            return repeats  # there is little that a step could change, or that two parts could add up to
        asking.check = "descent"
        repeats.descent = _descend(asking, one, first)
        asking.check = "batch"
        if group.structure.batch > 1:
            repeats.halves = _halve(asking, one, first)
    except NoAnswer as no:
        if no.lost:
            # The call was answered before; the process that held the program is gone.
            runner.build(group.structure)
        repeats.lost = Lost(asking.check, no.message, asking.draw)
    return repeats


@dataclass
class _Asking:
    """Calls of the current program; keeps the check that asks and the numbers of the last call."""

    group: Group
    runner: Runner
    check: Check
    draw: Draw

    def call(self, one: Draw) -> Observation:
        """The observation of one call. Raises NoAnswer, also if its form is wrong."""
        self.draw = one
        answer = self.runner.call(self.group.regime, one.parameters, one.x, one.y)
        if answer.observation is None:
            raise NoAnswer("raised", "; ".join(answer.problems))
        return answer.observation


def _descend(asking: _Asking, one: Draw, first: Observation) -> tuple[Draw, list[Observation]] | None:
    draws, observed, current = [], [], first
    for _ in range(_DESCENT_STEPS):
        rate = _rate(one.parameters, current)
        if rate is None:
            break
        after = descend(one.parameters, current.weight_gradients, current.bias_gradients, rate)
        one = replace(one, parameters=after)
        current = asking.call(one)
        draws.append(one)
        observed.append(current)
    return (stacked(draws), observed) if draws else None


def _rate(parameters: Parameters, observed: Observation) -> float | None:
    """A power of two that moves weights by about 1/64 of their size: enough to matter, and to stay alive.

    It is chosen again for each step, since gradients near a minimum grow with the first. It takes the gradients of the
    biases into account, which outside a saturated layer are the only large ones. None if no finite step exists.
    """
    gradients = (*observed.weight_gradients, *observed.bias_gradients)
    slope = max(float(np.abs(g.astype(float)).max(initial=0.0)) for g in gradients)
    size = max(float(np.abs(w.astype(float)).max(initial=0.0)) for w in parameters.weights)
    if not (0 < slope < np.inf and size):
        return None
    return float(2.0 ** (np.floor(np.log2(size / slope)) - 6))


def _halve(asking: _Asking, one: Draw, first: Observation) -> tuple[Draw, list[Observation]]:
    """The whole batch, then with the residual of its even rows made zero, then of its odd rows."""
    even = np.arange(asking.group.structure.batch)[:, None] % 2 == 0
    parts = [replace(one, y=np.where(rows, first.outputs, one.y)) for rows in (even, ~even)]
    return stacked([one, *parts]), [first, *(asking.call(part) for part in parts)]


def _judge_descent(
    group: Group,
    case: Case,
    one: Draw,
    stack: Draw,
    observed: list[Observation],
    expectation_for: ExpectationFor,
    level: Level,
    arithmetic: Arithmetic | None,
) -> JudgedCalls:
    """For each step, judged from its own weights: every finding, or else the quantity with the largest error.

    `one` holds the numbers of the call before the first step.
    """
    history = stacked([one, *(stack[step] for step in range(len(observed)))])
    before = tuple(range(len(observed)))
    known = None, arithmetic, expectation_for.formulas_for([case.id])
    calls = Calls(group.structure, group.regime, stack, tuple(observed), history, before, *known)
    judged = []
    for step in range(len(observed)):
        verdicts = judge(
            group, case, calls.compared, step, expectation_for, check="descent", step=step + 1, level=level
        )
        findings = [verdict for verdict in verdicts if verdict.is_finding]
        judged.append(tuple(findings or [max(verdicts, key=lambda v: v.worst)]))
    return JudgedCalls(calls, tuple(judged))


def _judge_halves(group: Group, case: Case, calls: Calls, expectation_for: ExpectationFor, level: Level) -> Verdict:
    """Whether the gradients of the two parts of the batch add up to those of the whole: the quantity with the largest
    error, of those that fail if any does.
    """
    compared = _compare_halves(calls)
    verdicts = judge(group, case, compared, 0, expectation_for, check="batch", level=level)
    worst = max(reversed(range(len(verdicts))), key=lambda i: (verdicts[i].fails, verdicts[i].worst))
    one, verdict = compared[worst], verdicts[worst]
    if verdict.grade != "inconclusive":
        return verdict
    # With too little power the numbers are kept: they show how small the gradients are.
    return replace(
        verdict, observed=float(one.observed[0]), expected=float(one.expected[0]), tolerance=float(one.tolerance[0])
    )


def _compare_halves(calls: Calls) -> list[Comparison]:
    """The gradients of the whole batch compared with the sums of those of its parts.

    Rounding is in proportion to what is summed. That may be the rule's own numbers, those that the framework shows, or
    those of its formulas: the largest of these tolerances holds.
    """
    reading, _ = readings(calls.structure, calls.regime, calls.arithmetic)
    shown, tiny = [arrays(o) for o in calls.observed], np.finfo(float).tiny
    wide, network = calls.stack.astype(np.dtype(np.float64)), calls.structure.network
    given = network, wide.parameters, wide.x, wide.y, reading
    passes = [propagate(*given), steps_of(calls.structure, calls.stack, stack_arrays(calls.observed), reading)]
    if calls.formulas:
        passes.append(propagate(*given, changes=tuple(calls.formulas.values())))
    compared = []
    for step, *others in zip(*passes, strict=True):
        if step.symbol not in "Wb":
            continue
        whole, *parts = (each[step.name].astype(np.float64) for each in shown)
        # The errors of three calls: of the whole batch and of its two parts.
        estimates = [one.estimate for one in (step, *others)]
        tolerance = np.max([one.tolerance(reading).sum(0) for one in estimates], axis=0)
        total = np.sum(parts, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            distance = np.abs(whole - total)
            ratio = np.where(distance == 0, 0.0, distance / np.where(tolerance == 0, tiny, tolerance))
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        at = int(ratio.argmax())
        power = float(np.linalg.norm(whole) / max(float(np.linalg.norm(tolerance)), tiny))
        norms = None
        if ratio.flat[at] > 1:
            estimate = step.estimate
            error, jump = (None if part is None else part.sum(0)[None] for part in (estimate.error, estimate.jump))
            summed = replace(step, estimate=Estimate(total[None], error, jump))
            norms = measure_norms(summed, whole[None], ratio[None], reading, Inputs())
        compared.append(
            Comparison(
                check="batch",
                quantity=step.name,
                symbol=step.symbol,
                layer=step.layer,
                shape=whole.shape,
                worst=ratio.flat[at : at + 1],
                at=np.array([at]),
                power=np.array([power]),
                observed=whole.flat[at : at + 1],
                expected=total.flat[at : at + 1],
                tolerance=tolerance.flat[at : at + 1],
                within_bound=np.array([False]),
                slack=np.array([np.inf]),
                unbounded=np.isinf(tolerance).any(keepdims=True).reshape(1),
                norms=norms,
            )
        )
    return compared
