"""The causes of a run's failures, from what its workers left in its folder: the parts of the record, and questions."""

from collections.abc import Sequence
from pathlib import Path

from threadpoolctl import threadpool_limits

from ..cases.case import Group
from ..cases.description import Description
from ..diagnosis.causes import Cause, order
from ..diagnosis.question import load
from ..diagnosis.summary import GroupResult, summarize_failures
from .record import read_part


def find_causes(folder: Path, groups: Sequence[tuple[Description, Group]]) -> list[Cause]:
    """The causes of all failures of a run, given its groups in the order of the plan. The order in which workers
    finished does not matter, nor does their number.
    """
    results: dict[str, list[GroupResult]] = {}
    conventions = {adapter.name: adapter.conventions for adapter, _ in groups}
    for number, (adapter, group) in enumerate(groups):
        part = folder / f"{number:06}.jsonl"
        if part.exists():
            passed, failing = read_part(part)
            kept = part.with_suffix(".npz")
            questions = load(kept, adapter.conventions) if failing and kept.exists() else []
            results.setdefault(adapter.name, []).append(GroupResult(group, failing, passed, tuple(questions)))
    with threadpool_limits(1):
        return order(
            cause for name, some in results.items() for cause in summarize_failures(name, some, conventions[name])
        )
