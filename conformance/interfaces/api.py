"""The suite from Python, in the caller's own process: `check_adapter`, and `parametrize_with_cases` for a port's own
tests.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from ...adapters import Adapter
from ...adapters.traces.trace import Trace
from ..arithmetic.differences import explain_by_arithmetic
from ..arithmetic.fingerprint import measure_arithmetic
from ..cases import case as ids
from ..cases.case import Case, Group
from ..cases.description import Description
from ..cases.draw import REGIMES
from ..cases.level import Level
from ..cases.limited import describe_cut
from ..cases.plan import OptionError, make_options, plan
from ..checks.examine import examine
from ..checks.layout_probe import find_layout_error
from ..checks.verdict import STATUSES, Status, Verdict, status
from ..checks.whole_run.moments import Moments, merge
from ..checks.whole_run.verdicts import Judged, judge_run, verdicts_of
from ..diagnosis.causes import Cause
from ..diagnosis.diagnose import diagnose, locate_failures
from ..diagnosis.summary import GroupResult, result_of, summarize_failures
from ..expectations import expectation as known
from ..expectations.audit import FAILING, AuditResult, ExpectationAudit, Key, count_matched
from ..records.coverage import Coverage, cover
from ..records.form.rows import rows_of
from ..records.form.verdicts import summarize_group
from ..records.report import failure_lines, printable
from ..records.severity import below_line
from ..records.whole_run import finding_lines
from ..runners.process import ProcessRunner, open_runner
from ..runners.runner import LocalRunner
from .models.structures import list_cases


class NonConformance(AssertionError):
    """A check that found failures, or that checked nothing. The text is that of the results."""


@dataclass(frozen=True, repr=False)
class Results:
    """What a check of one adapter found: its description, the verdicts of every case by case id, in the order of the
    plan, the audit of its expectations, what the run as a whole shows (`judged`), the level of the run, and the causes
    of its failures.

        results = check_adapter(MyAdapter())
        results.raise_if_failed()

    As a condition, results are true where the adapter conforms. `assert results.conforms` prints the first failure.
    """

    adapter: Description
    unsupported: tuple[str, ...]
    verdicts: dict[str, list[Verdict]]
    audited: tuple[AuditResult, ...] = ()
    judged: tuple[Judged, ...] = ()
    level: Level = "componentwise"
    undeclared: tuple[str, ...] = ()
    """Where it fails: what was measured of the adapter's arithmetic and is not declared, a sentence each."""
    causes: tuple[Cause, ...] = ()
    left_out: tuple[str, ...] = ()
    """What the adapter's limits left out of the plan or changed in it, a sentence each."""

    def statuses(self) -> dict[str, Status]:
        """The status of each case."""
        return {case: status(verdicts) for case, verdicts in self.verdicts.items()}

    @property
    def failures(self) -> list[Verdict]:
        """Every verdict that is wrong or inaccurate, not expected and not below the level, and every error. Those on
        cases come before those on the run as a whole.
        """
        return [verdict for some in (*self.verdicts.values(), self.of_run) for verdict in some if verdict.fails]

    @property
    def of_run(self) -> list[Verdict]:
        """The verdicts on the run as a whole: `bias` and `spread`."""
        return list(verdicts_of(self.judged))

    @property
    def coverage(self) -> Coverage:
        """How many cases were judged beside the layout probes, and in which dtypes and with which activations."""
        return cover(self.statuses().items())

    @property
    def conforms(self) -> bool:
        """Whether something was checked beside the layout, nothing failed, errored or was blocked, the run as a whole
        has no unexpected finding, and no expectation is stale or unmatched.
        """
        if any(verdict.fails for verdict in self.of_run):
            return False
        found = set(self.statuses().values())
        audit_is_clean = all(one.state not in FAILING for one in self.audited)
        return audit_is_clean and not found & {"failed", "errored", "blocked"} and self.coverage.cases > 0

    def raise_if_failed(self) -> None:
        """Raise NonConformance, with the failures by cause, where the adapter does not conform."""
        __tracebackhide__ = True
        if not self.conforms:
            raise NonConformance(str(self))

    def rows(self) -> list[dict[str, Any]]:
        """A table of the cases: one dict for each case and check, with the same keys in each, as `pandas.DataFrame`,
        `polars.DataFrame` and DuckDB take it. It is the table that `kterm rows` makes of the record of the same run:
        `margin` is the largest error of the check in units of its tolerance, and `power` the least of its passes.
        """
        name = self.adapter.name
        summarized = summarize_group(name, self.verdicts.values())
        return [*rows_of([self.adapter.to_json()], {(name, one.case): one for one, _ in summarized})]

    def verdict_rows(self) -> list[dict[str, Any]]:
        """A table of the verdicts: one dict a verdict, with the same keys in each.

        The keys are `adapter`, `version`, `status` (of the whole case), the `level` of a finding, and the fields of
        `Verdict`. `worst` is the largest error in units of its tolerance; `observed`, `expected` and `tolerance` are in
        the units of the tensor.
        """
        about = {"adapter": self.adapter.name, "version": self.adapter.version}
        return [
            {**about, "status": case_status, "level": verdict.level, **asdict(verdict)}
            for (case, case_status) in self.statuses().items()
            for verdict in self.verdicts[case]
        ] + [
            {**about, "status": status([verdict]), "level": verdict.level, **asdict(verdict)} for verdict in self.of_run
        ]

    def __bool__(self) -> bool:
        return self.conforms

    def __repr__(self) -> str:
        # pytest shows the middle of a long repr as "...": this one stays below the 240 characters that it shows.
        said = [f"{self.adapter.name} {self.adapter.version}"[:50], f"{self._verdict} ({self.level})"]
        counts = Counter(self.statuses().values())
        said.append(", ".join(f"{counts[name]:,} {name}" for name in STATUSES if counts[name]) or "nothing was checked")
        if first := next(iter(self.failures), None):
            said.append(f"first: {first.check} {first.grade}, {first.quantity} of {first.case}"[:90])
        elif audited := [one for one in self.audited if one.state in FAILING]:
            said.append(f"first: expectation {audited[0].id} is {audited[0].state}"[:90])
        return f"Results({'; '.join(said)})"

    @property
    def _verdict(self) -> str:
        return "conforms" if self.conforms else "does not conform"

    def __str__(self) -> str:
        """The failures by cause, or one line that says that it conforms."""
        if self.conforms:
            about = f"{self.adapter.name} {self.adapter.version} conforms ({self.level})"
            counts = [sum(v.below_level for v in some) for some in self.verdicts.values()]
            below = f"; {below_line(sum(counts), sum(map(bool, counts)))}" if any(counts) else ""
            return f"{about} in {len(self.verdicts):,} cases{below}"
        lines = failure_lines(self.adapter, list(self.verdicts.values()), level=self.level, found=self.causes)
        lines += map(printable, finding_lines(self.adapter.name, self.judged))
        lines += [f"{self.adapter.name}: measured, and not declared: {one}" for one in self.undeclared]
        lines += [one.message for one in self.audited if one.message]
        if not self.coverage.cases:
            lines.append(f"{self.adapter.name} {self.adapter.version}: nothing was checked beside the layout")
        return "\n".join(lines)


def check_adapter(
    adapter: Adapter | str,
    *,
    profile: str = "quick",
    seed: int = 0,
    dtypes: Sequence[str] = (),
    activations: Sequence[str] = (),
    expectations: Path | str | None = None,
    level: Level = "componentwise",
    regimes: Sequence[str] = (),
    like: Trace | Path | str | None = None,
    python: str | None = None,
) -> Results:
    """Check one adapter: an instance, or a name as `kterm check` takes it. It runs in this process, and in one of its
    own if it is a program (`command:PROGRAM`), has an environment of its own, or runs under the interpreter `python`.

    `dtypes`, `activations` and `regimes` keep the check to those named; `expectations` is a file of known divergences
    in place of the shipped one. `like` is a trace, or the folder of one: its structures are tested in place of those of
    the profile. At the `level` "normwise", a finding that is only componentwise passes. BLAS and OpenMP
    run on one thread meanwhile, and on as many as before afterwards. Nothing protects the caller from an adapter that
    hangs or ends the process: `kterm check` does.

    Raises AdapterError for a name that does not load, OptionError for an unknown profile, dtype, activation, regime or
    level, and ExpectationError for a file of expectations that cannot be read.
    """
    options = make_options(profile, seed, dtypes, activations, level, regimes, list_cases(like)[0] if like else ())
    with ExitStack() as restored_after:
        restored_after.enter_context(threadpool_limits(1))
        runner = restored_after.enter_context(closing(_runner(adapter, python)))
        # Once more, for the libraries that loading the adapter brought in.
        restored_after.enter_context(threadpool_limits(1))
        described = runner.describe()
        planned = plan(described, options)
        entries = known.read(Path(expectations or known.SHIPPED))
        audit = ExpectationAudit(entries, (described,), options, expectations is not None)
        entries = audit.of(described)
        expectation_for = known.matcher(entries)
        premise = find_layout_error((group for group in planned.groups if group.regime == "layout"), runner)
        verdicts: dict[str, list[Verdict]] = {}
        moments: list[Moments] = []
        groups: list[GroupResult] = []
        for group in planned.groups:
            examination = examine(group, runner, expectation_for, layout_error=premise, level=level)
            moments.append(examination.moments)
            located = locate_failures(group, examination, expectation_for)
            verdicts |= {case.id: some for case, some in zip(group.cases, located.verdicts, strict=True)}
            groups.append(result_of(group, located.verdicts, located.questions))
        causes = tuple(summarize_failures(described, groups))
        answers: dict[Key, Status] = {(described.name, case): status(some) for case, some in verdicts.items()}
        judged = tuple(judge_run(merge(moments), expectation_for, described.one_sided))
        of_run = list(verdicts_of(judged))
        findings = count_matched(entries, [*(v for some in verdicts.values() for v in some), *of_run])
        undeclared: list[str] = []
        if any(verdict.fails for some in (*verdicts.values(), of_run) for verdict in some):
            undeclared = explain_by_arithmetic(measure_arithmetic(runner, dtypes), dict(described.arithmetic))
    audited = audit.results(list(answers), answers, findings, {described.name: of_run})
    cut = () if planned.cut is None else tuple(describe_cut(described.name, planned.cut.to_json()))
    return Results(described, planned.unsupported, verdicts, audited, judged, level, tuple(undeclared), causes, cut)


CaseCheck = Callable[[], None]
"""The argument `check` of a test under `parametrize_with_cases`: judges the cases of one structure when it is called.
It fails the test, by `pytest.fail`, where a case fails, and skips it where nothing was judged.
"""


def parametrize_with_cases(
    adapter: Adapter | str,
    *,
    profile: str = "quick",
    seed: int = 0,
    draws: int = 1,
    dtypes: Sequence[str] = (),
    activations: Sequence[str] = (),
    level: Level = "componentwise",
    regimes: Sequence[str] = (),
    python: str | None = None,
    expectations: Path | str | None = None,
) -> pytest.MarkDecorator:
    """A pytest decorator that makes one test of each structure. The adapter and the options are those of
    `check_adapter`.

        @parametrize_with_cases(MyAdapter())
        def test_conformance(check):
            check()

    The id of a test is that of its first case. Its argument `check` is a function that fails as the case does, and
    skips a case that the adapter does not support. `draws` is how many draws of each structure one test takes. Where
    the declared weight layout is wrong, the test of the layout fails, and the others are skipped.

    Known divergences do not fail a test, and at the `level` "normwise" nor does a finding that is only componentwise.
    Whether each known divergence still occurs is checked by `check_adapter` only, and so is the run as a whole (`bias`
    and `spread`).

    Raises OptionError for an unknown profile, dtype, activation, regime or level, for `draws` below 1, and where no
    case is left beside the layout probes; ExpectationError for a file of expectations that cannot be read.
    """
    if draws < 1:
        raise OptionError(f"draws {draws} should be at least 1")
    options = make_options(profile, seed, dtypes, activations, level, regimes)
    runner = _runner(adapter, python)
    described = runner.describe()
    planned = plan(described, options)
    entries = known.read(Path(expectations or known.SHIPPED))
    expectation_for = known.matcher(e for e in entries if e.concerns(described))
    premises: list[str | None] = []

    def premise() -> str | None:
        """What the layout probes found: asked once, by the first test that runs."""
        if not premises:
            premises.append(find_layout_error((g for g in planned.groups if g.regime == "layout"), runner))
        return premises[0]

    def checker(group: Group) -> CaseCheck:
        def check() -> None:
            __tracebackhide__ = True
            with threadpool_limits(1):
                examination = examine(group, runner, expectation_for, layout_error=premise(), level=level)
                verdicts = diagnose(group, examination, expectation_for)
            statuses = {status(some) for some in verdicts}
            if statuses & {"failed", "errored"}:
                pytest.fail("\n".join(failure_lines(described, verdicts, level=level)), pytrace=False)
            if statuses <= {"blocked", "unsupported"}:
                pytest.skip(next(f"{v.grade}: {v.message}" for some in verdicts for v in some if v.message))

        return check

    groups = [Group(g.structure, g.regime, g.seed, g.draws[:draws]) for g in planned.groups]
    if not groups:
        missing = _listed(planned.unsupported)
        raise OptionError(f"no case is left to check: {described.name} does not declare {missing}")
    if all(group.regime == "layout" for group in groups):
        raise OptionError(f"no case of {described.name} is left to check beside the layout probes")
    return pytest.mark.parametrize("check", [pytest.param(checker(g), id=g.cases[0].id) for g in groups])


def parse_case(text: str) -> Case:
    """The case that an id names, such as 4x8x3-relu.tanh-b5-pre-f32-normal-s17. Raises CaseError, in one line, for
    anything else.
    """
    return ids.parse_case(text, tuple(REGIMES))


def _runner(adapter: Adapter | str, python: str | None = None) -> LocalRunner | ProcessRunner:
    if isinstance(adapter, str):
        return open_runner(adapter, python=python)
    if isinstance(adapter, type):
        raise TypeError(f"adapter: {adapter.__name__} is a class; give an instance, {adapter.__name__}()")
    if python is not None:
        raise OptionError(f"python: {adapter.name} is an instance in this process; give its name")
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
