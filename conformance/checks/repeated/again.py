"""The same call made again with another result: the verdict on that."""

from collections.abc import Sequence
from typing import Protocol

from ...cases.case import Case
from ...cases.regimes import Draw
from ...runners.form import Answer
from ..verdict import EARLIER, SAME_CALL, Grade, Verdict


class RepeatJudge(Protocol):
    """Says what an answer has wrong by itself; `RuleJudge` is one."""

    def find_departure(self, case: Case, one: Draw, answer: Answer) -> Verdict | None: ...
    def find_departures(
        self, cases: Sequence[Case], draws: Sequence[Draw], answers: Sequence[Answer]
    ) -> list[Verdict | None]: ...


def judge_other_bits(case: str, answer: Answer, names: Sequence[str], departure: Verdict | None) -> Verdict:
    """The verdict on a call that did not answer as it did first. `names` are the arrays that differ, and `departure` is
    what the later answer has wrong by itself, if anything.
    """
    if answer.observation is None:
        what = "; ".join(answer.problems)
    else:
        what = f"other bits in {', '.join(names) or 'what it shows'}{describe_departure(departure)}"
    return Verdict(
        case, "contract", SAME_CALL, grade_of(answer, departure), message=f"the same call, made again, gave {what}"
    )


def judge_overwritten(case: str) -> Verdict:
    """The verdict on an observation that a later call wrote over."""
    message = "an earlier observation was changed by a later call; give arrays that nothing else writes to"
    return Verdict(case, "contract", EARLIER, "wrong", message=message)


def grade_of(answer: Answer, departure: Verdict | None) -> Grade:
    """`inaccurate` if the answer differs from an earlier one and is right by itself, to within the tolerance; `wrong`
    otherwise.
    """
    return "wrong" if answer.observation is None or departure is not None else "inaccurate"


def describe_departure(departure: Verdict | None) -> str:
    """How a message goes on that says that an answer has other bits than before."""
    if departure is None:
        return ", all within the tolerance of the rule"
    return f"; {departure.quantity} departs from the rule"
