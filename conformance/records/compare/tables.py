"""A comparison as titled tables, from which each form of output is made."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ...diagnosis.causes import Cause
from ..form.text import count
from .changes import Change, RunChange
from .comparison import Comparison
from .pairs import Fact

MOST_ROWS = 12
_MOST_CASES = 3
_MOST_NAMED = 3


@dataclass(frozen=True)
class Section:
    """A titled table: column names and rows of text. `note` stands below it. Without rows the note stands alone."""

    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""


def verdict_line(comparison: Comparison) -> str:
    """The comparison in one line."""
    parts = []
    if comparison.regressions:
        parts.append(count(comparison.regressions, "regression"))
    if comparison.improvements:
        parts.append(count(comparison.improvements, "improvement"))
    before, after = ("conforms" if one else "does not conform" for one in comparison.conforms)
    state = f"the new run {after}, as the old one" if before == after else f"the old run {before}, the new one {after}"
    word = "WORSE" if comparison.regressions else "NO REGRESSION"
    return f"{word}: {', '.join([*parts, state])}"


def first_view(comparison: Comparison, most: int | None = MOST_ROWS) -> Iterator[Section]:
    """What a reader needs first: environments, whether the cases are the same, and what moved in number; at most `most`
    rows a table.
    """
    facts = comparison.environments
    rows = tuple((one.what, one.old, one.new, "differs" if one.differs else "") for one in facts)
    yield Section("environments", ("", "old", "new", ""), rows)
    rows = []
    for one in comparison.cases:
        same = "yes" if one.is_same else f"no: {one.only_old:,} only in the old run, {one.only_new:,} only in the new"
        failing = f"{one.failing[0]:,} → {one.failing[1]:,}"
        rows.append((one.pair.name, same, f"{one.common:,}", failing))
    yield Section("same cases", ("adapter", "same cases", "in both", "failing"), tuple(rows))
    if comparison.left_out:
        yield Section(f"not compared: {', '.join(comparison.left_out)}")
    rows = [(one.pair.name, a, b, f"{n:,}") for one in comparison.cases for a, b, n in one.transitions]
    rows += [
        (one.pair.name, f"failed, {a}", f"failed, {b}", f"{n:,}") for one in comparison.cases for a, b, n in one.grades
    ]
    rows += _of_whole_run(comparison.run_changes)
    yield _or_none("changed status", ("adapter", "from", "to", "cases"), rows)
    rows = [
        (one.pair.name, word, _cause_words(cause), f"{cause.cases:,}")
        for one in comparison.cases
        for word, some in (("new", one.new_causes), ("gone", one.gone_causes))
        for cause in some
    ]
    if rows:
        yield Section("causes", ("adapter", "", "cause", "cases"), tuple(rows))
    yield from _facts("expectations", comparison.expectations, most)
    yield from _facts("slopes at kinks", comparison.kinks, most)
    yield from _facts("measured arithmetic", comparison.arithmetic, most)
    moved = [one for one in comparison.margins if one.is_beyond_noise]
    shown = sum(one.cases for one in comparison.margins)
    share = sum(one.cases for one in moved) / shown if shown else 0.0
    rows = [
        (one.pair, one.check, one.dtype, one.regime, f"{one.old:.3g} → {one.new:.3g}", f"{one.cases:,}")
        for one in sorted(moved, key=lambda one: -abs(one.new - one.old))
    ]
    note = (
        f"{share:.0%} of the margins that differ moved beyond noise ({len(moved)} of {len(comparison.margins)} places)"
        if comparison.margins
        else "no margin differs"
    )
    yield Section("margins", ("adapter", "check", "dtype", "regime", "mean margin", "cases"), tuple(rows[:most]), note)


def second_view(
    comparison: Comparison, command_for: Callable[[str, str], str], most: int | None = MOST_ROWS
) -> Iterator[Section]:
    """The changed cases, by activation, dtype and regime, with the commands that show them: `command_for` gives one
    for a case and the name of an adapter of the new run, empty if there is none.
    """
    grouped: dict[tuple[str, ...], list[Change]] = defaultdict(list)
    for one in comparison.changes:
        _, _, _, _, dtype, regime, _ = one.case.split("-")
        status = f"{one.check}: {one.old} → {one.new}"
        grouped[one.kind, one.pair, one.activation, dtype, regime, status].append(one)
    rows = [(*place, f"{len(some):,}", _worst(some)) for place, some in grouped.items()]
    if rows:
        columns = ("", "adapter", "activation", "dtype", "regime", "check", "cases", "worst margin")
        more = len(rows) - len(rows[:most])
        yield Section("changed cases", columns, tuple(rows[:most]), f"and {more} more" if more > 0 else "")
    names = {one.pair.name: one.pair.new for one in comparison.cases}
    first = [some[0] for some in grouped.values() if some[0].kind != "improvement"][:_MOST_CASES]
    shown = [(one.case, names[one.pair]) for one in first]
    causes = [cause for one in comparison.cases if not one.is_same for cause in one.new_causes]
    shown += [(cause.worst.case, cause.adapter) for cause in causes[:_MOST_CASES]]
    commands = [line for line in (command_for(*one) for one in dict.fromkeys(shown)) if line]
    if commands:
        yield Section("to look at one", ("",), tuple((line,) for line in commands))


def _of_whole_run(changes: Sequence[RunChange]) -> Iterator[tuple[str, str, str, str]]:
    """A row for each change of the checks of the run as a whole. Of quantities that neither fail now nor did before,
    more than a few become one row: which of many of them has enough cases is chance.
    """
    grouped: dict[tuple[str, str, str, str], list[RunChange]] = defaultdict(list)
    for one in changes:
        if one.kind == "other":
            grouped[one.pair, one.what.partition(" ")[0], one.old, one.new].append(one)
        else:
            yield one.pair, f"{one.what}: {one.old}", one.new, "whole run"
    for (pair, check, old, new), some in grouped.items():
        few = len(some) <= _MOST_NAMED
        for name in [one.what for one in some] if few else [f"{check} of {len(some)} quantities"]:
            yield pair, f"{name}: {old}", new, "whole run"


def _worst(some: Sequence[Change]) -> str:
    one = max(some, key=lambda c: c.new_margin or 0.0)
    before, after = ("-" if value is None else f"{value:.3g}" for value in (one.old_margin, one.new_margin))
    return f"{before} → {after}"


def _cause_words(cause: Cause) -> str:
    if cause.mistakes:
        return cause.mistakes[0].mistake
    if cause.text:
        return f"{cause.worst.quantity}: {cause.text}"
    return cause.worst.message or f"{' and '.join(cause.checks)} {cause.worst.grade} in {cause.worst.quantity}"


def _facts(title: str, facts: Sequence[Fact], most: int | None) -> Iterator[Section]:
    if facts:
        rows = tuple((one.what, one.old, one.new) for one in facts[:most])
        more = len(facts) - len(rows)
        yield Section(title, ("", "old", "new"), rows, f"and {more} more" if more > 0 else "")


def _or_none(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Section:
    return Section(title, columns, tuple(rows)) if rows else Section(title, note="none")
