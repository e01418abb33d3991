"""The suite from Python, in the caller's own process: `check_adapter`, and `parametrize_with_cases` for a port's own
tests.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from ...adapters import Adapter
from ...adapters.registry import load
from ..cases import case as ids
from ..cases.case import Case, Group
from ..cases.description import Description
from ..cases.draw import REGIMES
from ..cases.plan import OptionError, make_options, plan
from ..checks.examine import examine
from ..checks.layout_probe import find_layout_error
from ..checks.verdict import STATUSES, Status, Verdict, status
from ..diagnosis.causes import Cause
from ..diagnosis.diagnose import diagnose, locate_failures
from ..diagnosis.summary import GroupResult, result_of, summarize_failures
from ..expectations import expectation as known
from ..expectations.audit import FAILING, AuditResult, ExpectationAudit, Key, count_matched
from ..records.report import failure_lines
from ..runners.runner import LocalRunner


class NonConformance(AssertionError):
    """A check that found failures, or that checked nothing. The text is that of the results."""


@dataclass(frozen=True, repr=False)
class Results:
    """What a check of one adapter found: its description, the verdicts of every case by case id, in the order of the
    plan, the audit of its expectations, and the causes of its failures.

        results = check_adapter(MyAdapter())
        results.raise_if_failed()

    As a condition, results are true where the adapter conforms. `assert results.conforms` prints the first failure.
    """

    adapter: Description
    unsupported: tuple[str, ...]
    verdicts: dict[str, list[Verdict]]
    audited: tuple[AuditResult, ...] = ()
    causes: tuple[Cause, ...] = ()

    def statuses(self) -> dict[str, Status]:
        """The status of each case."""
        return {case: status(verdicts) for case, verdicts in self.verdicts.items()}

    @property
    def failures(self) -> list[Verdict]:
        """Every verdict that is wrong or inaccurate and not expected, and every error."""
        return [verdict for some in self.verdicts.values() for verdict in some if verdict.fails]

    @property
    def conforms(self) -> bool:
        """Whether something was checked, nothing failed, errored or was blocked, and no expectation is stale or
        unmatched.
        """
        found = set(self.statuses().values())
        audit_is_clean = all(one.state not in FAILING for one in self.audited)
        return audit_is_clean and not found & {"failed", "errored", "blocked"} and bool(found & {"passed", "expected"})

    def raise_if_failed(self) -> None:
        """Raise NonConformance, with the failures by cause, where the adapter does not conform."""
        __tracebackhide__ = True
        if not self.conforms:
            raise NonConformance(str(self))

    def rows(self) -> list[dict[str, Any]]:
        """A table of the verdicts: one dict a verdict, with the same keys in each, as `pandas.DataFrame` takes it.

        The keys are `adapter`, `version`, `status` (of the whole case) and the fields of `Verdict`. `worst` is the
        largest error in units of its tolerance; `observed`, `expected` and `tolerance` are in the units of the tensor.
        """
        about = {"adapter": self.adapter.name, "version": self.adapter.version}
        return [
            {**about, "status": case_status, **asdict(verdict)}
            for (case, case_status) in self.statuses().items()
            for verdict in self.verdicts[case]
        ]

    def __bool__(self) -> bool:
        return self.conforms

    def __repr__(self) -> str:
        # pytest shows the middle of a long repr as "...": this one stays below the 240 characters that it shows.
        said = [f"{self.adapter.name} {self.adapter.version}"[:50], "conforms" if self.conforms else "does not conform"]
        counts = Counter(self.statuses().values())
        said.append(", ".join(f"{counts[name]:,} {name}" for name in STATUSES if counts[name]) or "nothing was checked")
        if first := next(iter(self.failures), None):
            said.append(f"first: {first.check} {first.grade}, {first.quantity} of {first.case}"[:90])
        elif audited := [one for one in self.audited if one.state in FAILING]:
            said.append(f"first: expectation {audited[0].id} is {audited[0].state}"[:90])
        return f"Results({'; '.join(said)})"

    def __str__(self) -> str:
        """The failures by cause, or one line that says that it conforms."""
        if self.conforms:
            return f"{self.adapter.name} {self.adapter.version} conforms in {len(self.verdicts):,} cases"
        lines = failure_lines(self.adapter, list(self.verdicts.values()), found=self.causes)
        lines += [one.message for one in self.audited if one.message]
        return "\n".join(lines) or f"{self.adapter.name} {self.adapter.version}: nothing was checked"


def check_adapter(
    adapter: Adapter | str,
    *,
    profile: str = "quick",
    seed: int = 0,
    dtypes: Sequence[str] = (),
    activations: Sequence[str] = (),
    expectations: Path | str | None = None,
) -> Results:
    """Check one adapter in this process: an instance, or a name as `kterm check` takes it.

    `dtypes` and `activations` keep the check to those named; `expectations` is a file of known divergences in place of
    the shipped one. BLAS and OpenMP run on one thread meanwhile, and on as many as before afterwards. Nothing protects
    the caller from an adapter that hangs or ends the process: `kterm check` does.

    Raises AdapterError for a name that does not load, OptionError for an unknown profile, dtype or activation, and
    ExpectationError for a file of expectations that cannot be read.
    """
    options = make_options(profile, seed, dtypes, activations)
    with ExitStack() as restored_after:
        restored_after.enter_context(threadpool_limits(1))
        runner = _runner(adapter)
        # Once more, for the libraries that loading the adapter brought in.
        restored_after.enter_context(threadpool_limits(1))
        described = runner.describe()
        planned = plan(described, options)
        entries = known.read(Path(expectations or known.SHIPPED))
        audit = ExpectationAudit(entries, (described,), options, expectations is not None)
        entries = audit.of(described.name, described.version)
        premise = find_layout_error((group for group in planned.groups if group.regime == "layout"), runner)
        verdicts: dict[str, list[Verdict]] = {}
        groups: list[GroupResult] = []

        def expectation_for(verdict: Verdict) -> str | None:
            return known.expectation_for(verdict, entries)

        for group in planned.groups:
            examination = examine(group, runner, expectation_for, layout_error=premise)
            located = locate_failures(group, examination, expectation_for)
            verdicts |= {case.id: some for case, some in zip(group.cases, located.verdicts, strict=True)}
            groups.append(result_of(group, located.verdicts, located.questions))
        causes = tuple(summarize_failures(described.name, groups, described.conventions))
    answers: dict[Key, Status] = {(described.name, case): status(some) for case, some in verdicts.items()}
    findings = count_matched(entries, (v for some in verdicts.values() for v in some))
    return Results(described, planned.unsupported, verdicts, audit.results(list(answers), answers, findings), causes)


CaseCheck = Callable[[], None]


def parametrize_with_cases(
    adapter: Adapter | str,
    *,
    profile: str = "quick",
    seed: int = 0,
    draws: int = 1,
    dtypes: Sequence[str] = (),
    activations: Sequence[str] = (),
) -> pytest.MarkDecorator:
    """A pytest decorator that makes one test of each structure.

        @parametrize_with_cases(MyAdapter())
        def test_conformance(check):
            check()

    The id of a test is that of its first case. Its argument `check` is a function that fails as the case does, and
    skips a case that the adapter does not support. `draws` is how many draws of each structure one test takes. Where
    the declared weight layout is wrong, the test of the layout fails, and the others are skipped.

    Known divergences do not fail a test. Whether each known divergence still occurs is checked by `check_adapter` only.

    Raises OptionError for an unknown profile, dtype or activation, for `draws` below 1, and where no case is left.
    """
    if draws < 1:
        raise OptionError(f"draws {draws} should be at least 1")
    options = make_options(profile, seed, dtypes, activations)
    runner = _runner(adapter)
    described = runner.describe()
    planned = plan(described, options)
    entries = [e for e in known.read(known.SHIPPED) if e.concerns(described.name, described.version)]
    premises: list[str | None] = []

    def premise() -> str | None:
        """What the layout probes found: asked once, by the first test that runs."""
        if not premises:
            premises.append(find_layout_error((g for g in planned.groups if g.regime == "layout"), runner))
        return premises[0]

    def expectation_for(verdict: Verdict) -> str | None:
        return known.expectation_for(verdict, entries)

    def checker(group: Group) -> CaseCheck:
        def check() -> None:
            __tracebackhide__ = True
            with threadpool_limits(1):
                examination = examine(group, runner, expectation_for, layout_error=premise())
                verdicts = diagnose(group, examination, expectation_for)
            statuses = {status(some) for some in verdicts}
            if statuses & {"failed", "errored"}:
                pytest.fail("\n".join(failure_lines(described, verdicts)), pytrace=False)
            if statuses <= {"blocked", "unsupported"}:
                pytest.skip(next(f"{v.grade}: {v.message}" for some in verdicts for v in some if v.message))

        return check

    groups = [Group(g.structure, g.regime, g.seed, g.draws[:draws]) for g in planned.groups]
    if not groups:
        missing = _listed(planned.unsupported)
        raise OptionError(f"no case is left to check: {described.name} does not declare {missing}")
    return pytest.mark.parametrize("check", [pytest.param(checker(g), id=g.cases[0].id) for g in groups])


def parse_case(text: str) -> Case:
    """The case that an id names, such as 4x8x3-relu.tanh-b5-pre-f32-normal-s17. Raises CaseError, in one line, for
    anything else.
    """
    return ids.parse_case(text, tuple(REGIMES))


def _runner(adapter: Adapter | str) -> LocalRunner:
    if isinstance(adapter, str):
        return LocalRunner(load(adapter), adapter)
    if isinstance(adapter, type):
        raise TypeError(f"adapter: {adapter.__name__} is a class; give an instance, {adapter.__name__}()")
    return LocalRunner(adapter)


def _listed(unsupported: Sequence[str]) -> str:
    return ", ".join(unsupported[:6]) + (f" and {len(unsupported) - 6} more" if len(unsupported) > 6 else "")


__all__ = [
    "CaseCheck",
    "NonConformance",
    "Results",
    "check_adapter",
    "parametrize_with_cases",
    "parse_case",
]
