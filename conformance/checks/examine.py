"""Examining a group: every check of every case, in dependency order, from draws to verdicts.

`examine` gives verdicts and keeps the calls that they are about. It looks for no causes: `diagnosis` does, from what is
kept here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...adapters import Observation
from ...adapters.quantities import arrays
from ...reference import Array, Structure
from ..cases.case import Case, Group
from ..cases.draw import make_draws
from ..cases.level import Level
from ..cases.regimes import REGIMES, Draw
from ..runners.runner import Answer, NoAnswer, Runner
from .comparison.calls import Call, Calls, JudgedCalls, before_each
from .contract import check_answer, check_dtypes, check_finite
from .findings import ExpectationFor, blocked, judge, with_contract, with_expectation
from .kink_choices import with_kink_slopes
from .layout_probe import probe
from .repeated.departures import RuleJudge
from .repeated.repeats import Repeats, ask_repeats
from .repeated.twins import TwinPrograms, build_twins
from .verdict import CHECKS, NOTHING_EXPECTED, Verdict
from .whole_run.moments import Key, Moments, collect, key_of, measure_tensor, merge

LOST_LIMIT = 3
"""After this many calls in which the adapter died or hung, the rest of a structure is not tried."""


@dataclass(frozen=True)
class Examination:
    """The verdicts on a group, a list for each case, and the calls that they are about.

    `draws` holds the numbers of all cases as a stack, and `answers` what each call returned. `repeats` is None if no
    case has an observation. `judged` holds the compared calls with their verdicts, for diagnosis. `moments` are the
    sums of errors for the checks of a run. Layout probes and blocked groups have verdicts alone. `level` is the level
    of the run.
    """

    verdicts: list[list[Verdict]]
    draws: Draw | None = None
    answers: tuple[Answer | NoAnswer, ...] = ()
    repeats: Repeats | None = None
    judged: tuple[JudgedCalls, ...] = ()
    moments: Moments = field(default_factory=dict)
    level: Level = "componentwise"

    def failing_calls(self, case: int, verdict: Verdict) -> tuple[Call, ...]:
        """The call that a verdict on a case is about, and after it the further calls that show it: the two parts of a
        batch. Raises ValueError if no call was made.
        """
        repeated = None if self.repeats is None else self.repeats.calls_of(verdict)
        if repeated is not None:
            return repeated
        if self.draws is None:
            raise ValueError(f"no call was made for {verdict.case}")
        answer = self.answers[case]
        return (Call(self.draws[case], answer.observation if isinstance(answer, Answer) else None),)


def examine(
    group: Group,
    runner: Runner,
    expectation_for: ExpectationFor = NOTHING_EXPECTED,
    *,
    layout_error: str | None = None,
    draws: Draw | None = None,
    level: Level = "componentwise",
    find_known: Callable[[], Examination | None] = lambda: None,
) -> Examination:
    """Run every check on every case of a group. Nothing that an adapter does raises here.

    `expectation_for` returns the id of the expectation that matches a finding, or None. An expected finding blocks
    nothing: what follows is judged from the framework's own values, as far as it shows any. The same holds for a
    finding below the `level` of the run. `layout_error` is what the
    layout probes found wrong; it blocks the group. `draws` are the group's numbers as a stack, if they are known
    already. `find_known` is called when all answers are there: it gives an examination of the same answers, or None.
    """
    if group.regime == "layout":
        return Examination(probe(group, runner))
    if layout_error is not None:
        return Examination(
            [[Verdict(case.id, "contract", "all", "blocked", message="behind layout")] for case in group.cases]
        )
    return _Examiner(group, runner, expectation_for, draws or make_draws(group.cases), level).examine(find_known)


class _Examiner:
    """One group, with what its checks share."""

    def __init__(
        self, group: Group, runner: Runner, expectation_for: ExpectationFor, draws: Draw, level: Level
    ) -> None:
        self._group, self._runner, self._expectation_for, self._draws = group, runner, expectation_for, draws
        self._level: Level = level
        described = runner.describe()
        self._conventions, self._arithmetic = described.conventions, described.arithmetic_in(group.structure.dtype)
        self._cases = group.cases  # a property that makes all of them
        self._formulas = expectation_for.formulas_for([case.id for case in self._cases])
        self._verdicts: list[list[Verdict]] = []
        self._judged: list[JudgedCalls] = []
        self._sums: list[tuple[Key, Array]] = []

    def examine(self, find_known: Callable[[], Examination | None]) -> Examination:
        """Ask for every answer first, then judge all of them."""
        group, cases = self._group, self._cases
        twins = build_twins(group, self._draws[0], self._runner)
        answers = _ask(group, self._draws, self._runner, twins)
        observed = {
            i: answer.observation
            for i, answer in enumerate(answers)
            if isinstance(answer, Answer) and answer.observation is not None
        }
        first = next(iter(observed), None)
        repeats = None
        if first is not None:
            judge_repeats = RuleJudge(self._runner.describe(), self._expectation_for, self._level)
            repeats = ask_repeats(group, self._draws, observed, self._runner, twins, judge_repeats)
        if (known := find_known()) is not None:
            return known
        self._verdicts = [
            check_answer(case, answer, self._expectation_for) for case, answer in zip(cases, answers, strict=True)
        ]
        if first is not None and repeats is not None:
            found = repeats.check_contract(cases[first], self._expectation_for)
            self._verdicts[first] += found
            self._judged += repeats.judged_repeat(
                found, self._draws, first, max(observed), self._conventions, self._formulas
            )
        sound = {i: observation for i, observation in observed.items() if not self._fails(i)}
        judged_in = {i: answer.judged_in for i, answer in enumerate(answers) if isinstance(answer, Answer)}
        for chosen in self._stack_by_quantities(sound, judged_in):
            self._judge_draws(chosen, [sound[i] for i in chosen], self._structure_in(judged_in[chosen[0]]))
        of_dtypes = check_dtypes(cases, answers)
        if first is not None and repeats is not None:
            # Steps and parts in a narrower dtype than the structure's are not judged.
            before = [*self._verdicts[first], *(of_dtypes.values() if any(judged_in.values()) else ())]
            found, judged = repeats.check_numbers(
                group, cases[first], self._draws[first], before, self._expectation_for, self._level
            )
            self._verdicts[first] += found
            self._judged += judged
        verdicts = [_with_passed_contract(case, some) for case, some in zip(cases, self._verdicts, strict=True)]
        for i, finding in of_dtypes.items():
            # The last of its case: a wrong number is the better answer to what is wrong.
            verdicts[i] = [*verdicts[i], with_expectation(finding, self._expectation_for)]
        moments = merge([collect(self._sums)])
        return Examination(verdicts, self._draws, tuple(answers), repeats, tuple(self._judged), moments, self._level)

    def _fails(self, i: int) -> bool:
        return any(verdict.is_unexpected for verdict in self._verdicts[i])

    def _structure_in(self, dtype: str | None) -> Structure:
        """The structure in the dtype that its answers are judged in, if that is another than its own."""
        structure = self._group.structure
        return structure if dtype is None else replace(structure, dtype=dtype)

    def _stack_by_quantities(
        self, observed: dict[int, Observation], judged_in: dict[int, str | None]
    ) -> list[list[int]]:
        """The cases whose observations show the same quantities in the same dtype, without those that are not finite
        where they should be: these fail the contract.
        """
        stacks: dict[tuple[str | None, ...], list[int]] = {}
        for i, observation in observed.items():
            group = replace(self._group, structure=self._structure_in(judged_in[i]))
            found = check_finite(group, self._cases[i], self._draws[i], observation)
            if found is None:
                stacks.setdefault((judged_in[i], *arrays(observation)), []).append(i)
            else:
                self._verdicts[i] += with_contract(self._cases[i], [found], self._expectation_for)
        return list(stacks.values())

    def _judge_draws(self, chosen: Sequence[int], observed: Sequence[Observation], structure: Structure) -> None:
        """Compare a stack of answers with the rule, and stop each case at the first check that fails."""
        group, is_own = self._group, structure == self._group.structure
        # In a narrower dtype the numbers are those that it has: a framework that computes in it rounds them so first.
        draws = self._draws if is_own else self._draws.astype(structure.format.numpy)
        calls = Calls(
            structure,
            group.regime,
            draws[np.array(chosen)],
            tuple(observed),
            draws,
            tuple(before_each(chosen)),
            self._conventions,
            self._arithmetic if is_own else None,
            self._formulas,
            measure_tensor if REGIMES[group.regime].enters_statistics and is_own else None,
        )
        judged: list[tuple[Verdict, ...]] = []
        for at, i in enumerate(chosen):
            case, dead = self._cases[i], bool(self._draws.dead[i])
            judged_all = judge(group, case, calls.compared, at, self._expectation_for, dead=dead, level=self._level)
            verdicts = _until_failure(case, judged_all)
            if REGIMES[group.regime].records_choices:
                verdicts = with_kink_slopes(group.structure, self._draws[i], arrays(observed[at]), verdicts)
            self._verdicts[i] += verdicts
            judged.append(tuple(verdicts))
        self._judged.append(JudgedCalls(calls, tuple(judged)))
        self._sums += self._conclusive_sums(chosen, calls)

    def _conclusive_sums(self, chosen: Sequence[int], calls: Calls) -> Iterator[tuple[Key, Array]]:
        """The sums of errors of the tensors that passed with power, in draws without any finding, expected or not."""
        fit = [
            not self._draws.dead[i] and not any(v.is_finding or v.grade == "errored" for v in self._verdicts[i])
            for i in chosen
        ]
        for one in calls.compared:
            if one.sums is not None:
                passed = [fit[at] and one.grade(at) == "pass" for at in range(len(chosen))]
                yield key_of(self._group.structure, one.symbol, one.layer), one.sums[passed]


def _until_failure(case: Case, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts up to the end of the first check that fails, and the checks after it as blocked."""
    first = next((verdict for verdict in verdicts if verdict.is_unexpected), None)
    if first is None:
        return list(verdicts)
    failed = first.check
    # Checks come in the order of the computation.
    before = [verdict for verdict in verdicts if CHECKS.index(verdict.check) <= CHECKS.index(failed)]
    return [*before, *blocked(case, failed)]


def _with_passed_contract(case: Case, verdicts: list[Verdict]) -> list[Verdict]:
    if any(verdict.check == "contract" for verdict in verdicts):
        return verdicts
    return [Verdict(case.id, "contract", "observation", "pass"), *verdicts]


def _ask(group: Group, draws: Draw, runner: Runner, twins: TwinPrograms) -> list[Answer | NoAnswer]:
    """The answer to each draw, from one program that is built again if its process is lost."""
    answers: list[Answer | NoAnswer] = []
    lost, built = 0, False
    for i in range(len(group.draws)):
        if lost >= LOST_LIMIT:
            answers.append(NoAnswer("died", f"not tried: the adapter died or hung {lost} times in this structure"))
            continue
        try:
            if not built:
                runner.build(group.structure, None, twins.is_built)
                built = True
            one = draws[i]
            answers.append(runner.call(group.regime, one.parameters, one.x, one.y))
        except NoAnswer as no:
            if not built and no.kind in ("raised", "unsupported"):
                return [no] * len(group.draws)
            answers.append(no)
            if no.lost:
                lost, built = lost + 1, False
                twins.discard()
    return answers
