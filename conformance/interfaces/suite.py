"""The collectable suite: one pytest item a group of cases, for every adapter named on the command line."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..checks.verdict import Verdict, status
from ..records.report import failure_lines
from ..records.run import Worker


class Findings(Exception):
    """What a group's item fails with; its text is all that pytest prints."""


class Suite(pytest.File):
    """Stands for this file in a pytest run; its items come from the plan and not from Python definitions."""

    worker: Worker

    def collect(self) -> Iterator["GroupItem"]:
        """Every group of the run, in the order of the plan: the same list in every worker."""
        for number, (adapter, group) in enumerate(self.worker.run.groups):
            yield GroupItem.from_parent(self, name=f"{adapter.name}-{group.id}", number=number)


class GroupItem(pytest.Item):
    """All draws of one structure in one regime, put to one adapter."""

    def __init__(self, *, number: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.number = number

    def runtest(self) -> None:
        """Examine the group; fail on any finding that is not expected."""
        suite = self.parent
        assert isinstance(suite, Suite)
        adapter, group = suite.worker.run.groups[self.number]
        verdicts = suite.worker.examine(self.number)
        statuses = {status(some) for some in verdicts}
        if statuses & {"failed", "errored"}:
            raise Findings("\n".join(failure_lines(adapter, verdicts)))
        if statuses == {"blocked"}:
            pytest.skip(f"blocked {_reason(verdicts)}; {len(group.draws)} cases")
        if statuses == {"unsupported"}:
            pytest.skip(f"unsupported: {_reason(verdicts)}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The findings as text, without a traceback of the suite's own code."""
        if isinstance(excinfo.value, Findings):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where pytest says the item is."""
        return self.path, None, self.name


def _reason(verdicts: list[list[Verdict]]) -> str:
    return next((v.message for some in verdicts for v in some if v.grade in ("blocked", "unsupported")), "")
