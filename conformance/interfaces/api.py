"""The suite from Python, in the caller's own process: `check_adapter`, and `parametrize_with_cases` for a port's own
tests.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ...adapters import Adapter
from ...adapters.registry import load
from ..cases.case import Case, Group
from ..cases.plan import Description, make_options, plan
from ..checks.examine import examine
from ..checks.layout_probe import find_layout_error
from ..checks.verdict import Status, Verdict, status
from ..diagnosis.diagnose import diagnose
from ..expectations import expectation as known
from ..expectations.audit import FAILING, AuditResult, ExpectationAudit, Key, count_matched
from ..records.report import failure_lines
from ..runners.runner import LocalRunner


@dataclass(frozen=True)
class Results:
    """What a check of one adapter came to: its description, the verdicts of every case, by id, in the order of the
    plan, and what its expectations came to.
    """

    adapter: Description
    unsupported: tuple[str, ...]
    verdicts: dict[str, list[Verdict]]
    audited: tuple[AuditResult, ...] = ()

    def statuses(self) -> dict[str, Status]:
        """The status of each case."""
        return {case: status(verdicts) for case, verdicts in self.verdicts.items()}

    @property
    def failures(self) -> list[Verdict]:
        """Every verdict that is wrong or inaccurate and not expected, and every error."""
        return [v for some in self.verdicts.values() for v in some if v.grade == "errored" or v.is_unexpected]

    @property
    def conforms(self) -> bool:
        """Whether something was checked, nothing failed, errored or was blocked, and no expectation is stale or
        unmatched.
        """
        found = set(self.statuses().values())
        held = all(one.state not in FAILING for one in self.audited)
        return held and not found & {"failed", "errored", "blocked"} and bool(found & {"passed", "expected"})

    def __str__(self) -> str:
        """The failures by cause, or one line that says that it conforms."""
        if self.conforms:
            return f"{self.adapter.name} {self.adapter.version} conforms in {len(self.verdicts):,} cases"
        lines = failure_lines(self.adapter, list(self.verdicts.values()))
        return "\n".join([*lines, *(one.message for one in self.audited if one.message)]) or "nothing was checked"


def check_adapter(
    adapter: Adapter | str,
    *,
    profile: str = "quick",
    seed: int = 0,
    dtypes: Sequence[str] = (),
    activations: Sequence[str] = (),
    expectations: Path | None = None,
) -> Results:
    """Check one adapter, an instance or a name, in this process and on its own; a name is loaded here too.

    Nothing protects the caller from an adapter that hangs or ends the process: `kterm check` does. Raises
    AdapterError for a name that does not load, ChoiceError for an unknown profile, dtype or activation, and
    ExpectationError for a file of expectations that cannot be read.
    """
    options = make_options(profile, seed, dtypes, activations)
    runner = LocalRunner(
        load(adapter) if isinstance(adapter, str) else adapter, adapter if isinstance(adapter, str) else None
    )
    described = runner.describe()
    planned = plan(described, options)
    audit = ExpectationAudit(known.read(expectations or known.SHIPPED), (described,), options, expectations is not None)
    entries = audit.of(described.name, described.version)
    premise = find_layout_error((group for group in planned.groups if group.regime == "layout"), runner)
    verdicts: dict[str, list[Verdict]] = {}

    def expectation_for(verdict: Verdict) -> str | None:
        return known.expectation_for(verdict, entries)

    for group in planned.groups:
        examination = examine(group, runner, expectation_for, layout_error=premise)
        answered = diagnose(group, examination, expectation_for)
        verdicts |= {case.id: some for case, some in zip(group.cases, answered, strict=True)}
    answers: dict[Key, Status] = {(described.name, case): status(some) for case, some in verdicts.items()}
    findings = count_matched(entries, (v for some in verdicts.values() for v in some))
    return Results(described, planned.unsupported, verdicts, audit.results(list(answers), answers, findings))


CaseCheck = Callable[[], None]


def parametrize_with_cases(
    adapter: Adapter, *, profile: str = "quick", seed: int = 0, draws: int = 1
) -> pytest.MarkDecorator:
    """A pytest decorator: one test a structure, its id the case's, its argument `check` a function that fails as the
    case does.

        @parametrize_with_cases(MyAdapter())
        def test_conformance(check):
            check()

    `draws` is how many draws of each structure one test takes. A test excuses what is expected, and holds no
    expectation to being met: `check_adapter` does.
    """
    runner = LocalRunner(adapter)
    described = runner.describe()
    planned = plan(described, make_options(profile, seed))
    entries = [e for e in known.read(known.SHIPPED) if e.concerns(described.name, described.version)]

    def expectation_for(verdict: Verdict) -> str | None:
        return known.expectation_for(verdict, entries)

    def checker(group: Group) -> CaseCheck:
        def check() -> None:
            __tracebackhide__ = True
            verdicts = diagnose(group, examine(group, runner, expectation_for), expectation_for)
            if {status(some) for some in verdicts} & {"failed", "errored"}:
                pytest.fail("\n".join(failure_lines(described, verdicts)), pytrace=False)

        return check

    groups = [Group(g.structure, g.regime, g.seed, g.draws[:draws]) for g in planned.groups]
    return pytest.mark.parametrize("check", [pytest.param(checker(g), id=g.cases[0].id) for g in groups])


__all__ = ["Case", "CaseCheck", "Results", "check_adapter", "parametrize_with_cases"]
