"""The collectable suite: one pytest item for each group of cases and each adapter named on the command line."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..checks.verdict import Status, Verdict, status
from ..expectations.expectation import Expectation
from ..records.form.words import reason_of
from ..records.record import RecordError
from ..records.report import failure_lines, printable
from ..records.run import Worker

SUITE = Path(__file__).resolve()
FOLDERS = (SUITE.parent, SUITE.parents[1])
"""The folders of the package that lead to this file, from the inside out."""

STOP = "kterm-stop"
"""The name of the item property that holds why the whole run has to stop."""

COUNTS = "kterm-counts"
"""The name of the item property that holds the adapter of a group, how many cases it has, how many failed, and whether
an earlier run recorded them."""


class Findings(Exception):
    """What a group's item fails with; its text is all that pytest prints."""


class SuiteFolder(pytest.Directory):
    """A folder of the installed package. Only the way to the suite is collected: nothing else in it is
    imported, and no folder below it is searched.
    """

    def collect(self) -> Iterator[pytest.Collector]:
        """The next folder on the way, or the suite."""
        if self.path.resolve() == FOLDERS[0]:
            yield Suite.at(self.path / SUITE.name, self)
        else:
            yield SuiteFolder.from_parent(self, path=self.path / FOLDERS[0].name)


class Suite(pytest.File):
    """Stands for this file in a pytest run; its items come from the plan and not from Python definitions."""

    @classmethod
    def at(cls, path: Path, parent: pytest.Collector) -> "Suite":
        """The suite as a child of `parent`. Its node id begins with a path that `pytest` finds again from any folder:
        by itself pytest would make one relative to the folder that was named, which is most often outside its root.
        """
        root = parent.config.rootpath
        where = path.relative_to(root) if path.is_relative_to(root) else path
        return cls.from_parent(parent, path=path, nodeid=where.as_posix())

    def collect(self) -> Iterator["GroupItem"]:
        """Every group of the run, in the order of the plan: the same list in every worker."""
        run = self.config.stash[WORKER].run
        for number in run.chosen:
            adapter, group = run.groups[number]
            # In a node id "::" and "[" have a meaning, and a shell gives others one.
            name = re.sub(r"[^\w.+-]", "_", adapter.name)
            yield GroupItem.from_parent(self, name=f"{name}-{group.id}", number=number)


WORKER: pytest.StashKey[Worker] = pytest.StashKey()


class GroupItem(pytest.Item):
    """All draws of one structure in one regime, run on one adapter."""

    def __init__(self, *, number: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.number = number
        # What can be pasted behind `pytest`, for who reads results in JUnit XML.
        path = os.path.relpath(self.path, self.config.invocation_params.dir)
        self.user_properties.append(("nodeid", f"{path}::{self.name}"))

    def runtest(self) -> None:
        """Run the group. Fails on any finding that is not expected; what is expected is an xfail with its reason."""
        worker = self.config.stash[WORKER]
        adapter, group = worker.run.groups[self.number]
        recorded = worker.recorded(self.number)
        if recorded is not None:  # by the run that this one goes on with
            self._count(adapter.name, Counter(recorded), is_kept=True)
            return
        try:
            verdicts = worker.examine(self.number)
        except RecordError as error:
            self.user_properties.append((STOP, str(error)))
            raise Findings(str(error)) from None
        found = Counter[Status](status(some) for some in verdicts)
        self._count(adapter.name, found)
        statuses = set(found)
        if statuses & {"failed", "errored"}:
            level = worker.run.options.level
            lines = failure_lines(adapter, verdicts, worker.run.device, level, is_searched=False)
            raise Findings("\n".join(lines))
        if statuses == {"blocked"}:
            pytest.skip(printable(f"blocked {_reason(verdicts)}; {len(group.draws)} cases"))
        if statuses == {"unsupported"}:
            pytest.skip(printable(f"unsupported: {_reason(verdicts)}"))
        if "expected" in statuses:
            pytest.xfail(printable(_expected(verdicts, worker.run.concerning(adapter.name))))

    def _count(self, adapter: str, found: Counter[Status], is_kept: bool = False) -> None:
        failed = found["failed"] + found["errored"]
        counts = {"adapter": printable(adapter), "cases": found.total(), "failed": failed, "is_kept": is_kept}
        self.user_properties.append((COUNTS, json.dumps(counts)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The findings as text, without a traceback of the suite's own code."""
        if isinstance(excinfo.value, Findings):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the item is, and its headline, which is not the end of the node id: there pytest would replace dots by
        "::".
        """
        adapter, group = self.config.stash[WORKER].run.groups[self.number]
        return self.path, None, printable(f"{adapter.name}: {group.id}")


def _reason(verdicts: Sequence[Sequence[Verdict]]) -> str:
    return next((v.message for some in verdicts for v in some if v.grade in ("blocked", "unsupported")), "")


def _expected(verdicts: Sequence[Sequence[Verdict]], entries: Sequence[Expectation]) -> str:
    """In how many of a group's cases which divergences were expected."""
    reasons = {entry.id: reason_of(entry) for entry in entries}
    counts = Counter(name for some in verdicts for name in {v.expectation for v in some if v.expectation})
    return "; ".join(
        f"expected in {count} of {len(verdicts)} cases: {reasons[name]}" for name, count in counts.most_common()
    )
