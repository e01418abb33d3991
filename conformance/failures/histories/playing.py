"""Playing a history: its programs are built and its calls are made, and the last call is judged."""

from dataclasses import dataclass

import numpy as np

from ....adapters import Observation
from ....reference import Structure
from ....reference.arithmetic import Arithmetic
from ....reference.rounding import Conventions
from ...cases.case import Case, Group
from ...cases.description import Description
from ...cases.draw import stacked
from ...cases.exact_numbers import exact
from ...cases.regimes import REGIMES, Draw
from ...checks.comparison.calls import Calls, JudgedCalls
from ...checks.contract import check_answer, check_finite
from ...checks.examine import Examination
from ...checks.findings import judge
from ...checks.repeated.again import judge_other_bits, judge_overwritten
from ...checks.repeated.departures import RuleJudge
from ...checks.verdict import ExpectationFor, Formulas, Verdict, failure_of
from ...diagnosis.diagnose import diagnose
from ...runners.runner import Answer, NoAnswer, Runner, differing
from .history import History, Step


@dataclass(frozen=True)
class Played:
    """A history as it was played: the verdict that its last call fails with, and what that call returned. For results
    that were overwritten, `observation` is what the earlier call returned.
    """

    history: History
    verdict: Verdict
    observation: Observation | None


def play(history: History, runner: Runner, expectation_for: ExpectationFor) -> Played | None:
    """Build the programs and make the calls of a history. None if its last call does not fail.

    The state of the adapter's process is as it is: start a new one for a history that begins with it. Raises what the
    runner raises, except NoAnswer.
    """
    number: dict[int, int] = {}
    answers: list[Answer | NoAnswer | None] = []
    current = -1
    for i, step in enumerate(history.steps):
        try:
            if step.program not in number:
                runner.build(history.programs[step.program], None, bool(number))
                number[step.program] = len(number)
            elif step.program != current:
                runner.recall(number[step.program])
            current = step.program
            if step.draw is None:
                answers.append(None)
                continue
            answers.append(runner.call(history.regime, step.draw.parameters, step.draw.x, step.draw.y))
        except NoAnswer as no:
            answers.append(no)
            if no.lost and i < len(history.steps) - 1:
                return None
    verdict = _judge_last(history, answers, number, runner, expectation_for)
    if verdict is None:
        return None
    shown = answers[-1] if history.aim != "overwritten" or history.reference is None else answers[history.reference]
    return Played(history, verdict, shown.observation if isinstance(shown, Answer) else None)


def _judge_last(
    history: History,
    answers: list[Answer | NoAnswer | None],
    number: dict[int, int],
    runner: Runner,
    expectation_for: ExpectationFor,
) -> Verdict | None:
    last = answers[-1]
    assert last is not None
    if history.aim == "answer" or history.reference is None:
        step, structure = history.steps[-1], history.structure
        return judge_answer(structure, history.regime, step, last, runner.describe(), expectation_for)
    case, first = Case(history.structure, history.regime, 0, 0).id, answers[history.reference]
    if not isinstance(first, Answer) or first.observation is None:
        return None
    if history.aim == "overwritten":
        if isinstance(last, NoAnswer):
            return None
        if (at := history.steps[history.reference].program) != history.steps[-1].program:
            runner.recall(number[at])
        return judge_overwritten(case) if runner.changed_since() else None
    if isinstance(last, NoAnswer):
        return None
    if last.observation is not None and not differing(first.observation, last.observation):
        return None
    framed, _, one = _framed(history.structure, history.regime, history.steps[-1])
    departure = RuleJudge(runner.describe(), expectation_for).find_departure(framed, one, last)
    names = () if last.observation is None else differing(first.observation, last.observation)
    return judge_other_bits(case, last, names, departure)


def judge_answer(
    structure: Structure,
    regime: str,
    step: Step,
    answer: Answer | NoAnswer,
    adapter: Description,
    expectation_for: ExpectationFor,
) -> Verdict | None:
    """The failure of one call by itself, from its form and its numbers; None if nothing is wrong."""
    case, group, one = _framed(structure, regime, step)
    verdicts = check_answer(case, answer, expectation_for)
    observation = answer.observation if isinstance(answer, Answer) else None
    if observation is not None:
        stray = check_finite(group, case, one, observation)
        known = _known(structure, case, adapter, expectation_for)
        calls = Calls(structure, regime, one[None], (observation,), one[None], (None,), *known)
        if stray is not None:
            verdicts.append(stray)
        else:
            verdicts += judge(group, case, calls.compared, 0, expectation_for, dead=bool(one.dead))
    return failure_of(verdicts)


def explain_played(played: Played, adapter: Description, expectation_for: ExpectationFor) -> Verdict:
    """The verdict on a played history, with its diagnosis: the calls before it are known to it."""
    history, observation = played.history, played.observation
    if history.aim != "answer" or observation is None or not played.verdict.is_unexpected:
        return played.verdict
    case, group, one = _framed(history.structure, history.regime, history.steps[-1])
    program = history.steps[-1].program
    before = [step.draw for step in history.steps[:-1] if step.program == program and step.draw is not None]
    past = stacked([*before, one]) if before else one[None]
    calls = Calls(
        history.structure,
        history.regime,
        one[None],
        (observation,),
        past,
        (len(before) - 1 if before else None,),
        *_known(history.structure, case, adapter, expectation_for),
    )
    verdicts = judge(group, case, calls.compared, 0, expectation_for, dead=bool(one.dead))
    judged = (JudgedCalls(calls, (tuple(verdicts),)),)
    found = failure_of(diagnose(group, Examination([verdicts], judged=judged), expectation_for)[0])
    return played.verdict if found is None else found


def _known(
    structure: Structure, case: Case, adapter: Description, expectation_for: ExpectationFor
) -> tuple[Conventions, Arithmetic | None, Formulas]:
    """What is known of an adapter: its slopes at kinks, its arithmetic, and its formulas."""
    return adapter.conventions, adapter.arithmetic_in(structure.dtype), expectation_for.formulas_for([case.id])


def _framed(structure: Structure, regime: str, step: Step) -> tuple[Case, Group, Draw]:
    """A case to name in verdicts, its group, and the numbers of a step, marked dead if they are not exact although the
    regime says so.
    """
    one = step.draw
    assert one is not None
    if REGIMES[regime].rounding == "exact":
        wide = one[None].astype(np.dtype(np.float64))
        good = exact(structure, wide.parameters, wide.x, wide.y)
        one = Draw(one.parameters, one.x, one.y, ~good[0])
    return Case(structure, regime, 0, 0), Group(structure, regime, 0, (0,)), one
