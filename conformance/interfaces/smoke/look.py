"""Looking at an adapter: the few small cases asked for, judged by the checks and diagnosed as in a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...cases.case import Case, Group, parse_case
from ...cases.description import Description
from ...cases.regimes import REGIMES
from ...checks.examine import Examination, examine
from ...checks.findings import ExpectationFor
from ...checks.layout_probe import OUTPUTS_AGREE
from ...checks.verdict import Status, Verdict, status
from ...diagnosis.causes import Cause
from ...diagnosis.diagnose import locate_failures
from ...diagnosis.summary import GroupResult, result_of, summarize_failures
from ...failures.known_causes import shipped_expectation_for
from ...runners.runner import Answer, Runner
from .cases import plan_smoke
from .shown import Misshown, find_misshown


@dataclass(frozen=True)
class Look:
    """What was seen of an adapter: the causes of all failures, the arrays that are shown for what they are not, how
    many cases have which status, why cases are unsupported, and the results that the causes were found in.

    `is_ended` says that its process was lost, so that the cases after that were not asked for. `is_layout_seen` says
    that the outputs of the square layout probe agree with the layout that is declared, and its weight gradients do not.
    """

    adapter: Description
    causes: tuple[Cause, ...]
    misshown: tuple[Misshown, ...]
    statuses: Counter[Status]
    unsupported: tuple[str, ...]
    results: tuple[GroupResult, ...]
    is_ended: bool = False
    is_layout_seen: bool = False

    @property
    def passed(self) -> list[Case]:
        """The cases that passed, without layout probes."""
        return [
            parse_case(case, tuple(REGIMES))
            for result in self.results
            if result.group.regime != "layout"
            for case in result.passed
        ]

    @property
    def is_layout_wrong(self) -> bool:
        """Whether all layout probes, square and not, find another layout than the one that is declared."""
        probes = [result.failing for result in self.results if result.group.regime == "layout"]
        return all(any(verdict.is_finding for verdict in failing) for failing in probes)

    def verdicts_of(self, cause: Cause) -> list[Verdict]:
        """The failing verdicts that a cause without a known mistake is about: those with its message."""
        failing = [verdict for result in self.results for verdict in result.failing]
        return [v for v in failing if v.check == cause.worst.check and v.gist == cause.worst.gist]


def look_at(runner: Runner) -> Look:
    """Ask an adapter for the cases of `plan_smoke`, and say what is seen, known divergences of its framework left out.

    Raises OptionError if no case is within the adapter's limits.
    """
    adapter = runner.describe()
    groups, expectation_for = plan_smoke(adapter), shipped_expectation_for(adapter)
    results: list[GroupResult] = []
    misshown: list[Misshown] = []
    statuses: Counter[Status] = Counter()
    unsupported: dict[str, None] = {}
    is_ended = False
    layout_error: str | None = None
    is_layout_seen = False
    for group in groups:
        examination = examine(group, runner, expectation_for, layout_error=layout_error)
        result, own = _result(group, examination, adapter, expectation_for)
        results.append(result)
        misshown += own
        statuses.update(status(some) for some in examination.verdicts)
        every = [verdict for some in examination.verdicts for verdict in some]
        if group.regime == "layout":
            layout_error = layout_error or next((v.message for v in every if v.is_finding), None)
            is_layout_seen |= any(v.message.startswith(OUTPUTS_AGREE) for v in every)
        unsupported |= dict.fromkeys(v.message for v in every if v.grade == "unsupported")
        if _is_lost(every):
            is_ended = True
            break
    causes = tuple(summarize_failures(adapter, results))
    return Look(
        adapter, causes, tuple(misshown), statuses, tuple(unsupported), tuple(results), is_ended, is_layout_seen
    )


_LOST = ("died", "hung", "broke the protocol")


def _is_lost(verdicts: Sequence[Verdict]) -> bool:
    """Whether the adapter's process died or hung: each further case might take the whole timeout."""
    return any(verdict.grade == "errored" and verdict.message.startswith(_LOST) for verdict in verdicts)


def _result(
    group: Group, examination: Examination, adapter: Description, expectation_for: ExpectationFor
) -> tuple[GroupResult, list[Misshown]]:
    """What is kept of a group. Cases in which nothing is wrong but what is shown are not among the failing ones."""
    located = locate_failures(group, examination, expectation_for)
    result = result_of(group, located.verdicts, located.questions)
    if not result.failing or examination.draws is None:
        return result, []
    failing = {verdict.case: verdict for verdict in result.failing}
    found: dict[str, list[Misshown]] = {}
    for i, case in enumerate(group.cases):
        answer = examination.answers[i]
        verdict = failing.get(case.id)
        is_about_numbers = verdict is not None and verdict.check in ("forward", "k_terms", "error", "weight_gradients")
        if is_about_numbers and isinstance(answer, Answer) and answer.observation is not None:
            own = find_misshown(group, case, examination.draws[i], answer.observation, adapter)
            if own:
                found[case.id] = own
    if not found:
        return result, []
    rest = tuple(verdict for verdict in result.failing if verdict.case not in found)
    return replace(result, failing=rest, questions=result.questions if rest else ()), [
        one for some in found.values() for one in some
    ]
