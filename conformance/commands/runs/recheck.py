"""What `kterm recheck` does: repeat a part of a record, and compare."""

import random
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ....adapters.registry import registered
from ...cases.description import Description
from ...cases.plan import OptionError
from ...checks.verdict import Verdict
from ...expectations.audit import Key
from ...records.consistency import options_of, planned_groups
from ...records.form.console import TextConsole
from ...records.form.environment import describe_environment
from ...records.form.verdicts import CaseResult, case_id, summarize_group
from ...records.form.words import versioned
from ...records.record import Record, read
from ...records.run import Run, Worker
from ...runners.threads import pin_here
from ..exit_codes import CONFORMS, DOES_NOT
from .views.detail import Detail

_EXTREMES = 10
"""So many of the largest margins of passes, and of the smallest powers, are repeated."""
_FINDINGS = 20
"""At most so many cases with findings are repeated."""
_SHOWN = 20
_ARITHMETIC = ("libraries", "cpu", "cpu_flags", "blas")


@dataclass(frozen=True)
class Repetition:
    """What repeating a part of a record showed: the cases that were chosen, how many were repeated with their groups by
    adapter, whether margins and powers were compared too (`exactly`), and a line on each case that differs.
    """

    chosen: tuple[Key, ...]
    cases: Mapping[str, int]
    exactly: bool
    differing: tuple[str, ...]


def run_recheck(source: Path, sample: int, seed: int, trusts: bool = False, detail: Detail = "normal") -> int:
    """Repeat cases of a record, and print where they differ. The exit code is 0 if nothing does, else 1.
    `detail` says how much is printed.

    Raises RecordError, AdapterError, and OptionError as `repeat_part`.
    """
    console = TextConsole(quiet=detail == "quiet")
    record = read(source)
    found = repeat_part(record, source, sample, seed, trusts)
    print_differences(found, console, detail)
    compared = "statuses, findings, margins and powers" if found.exactly else "statuses and findings"
    chosen, count = len(found.chosen), sum(found.cases.values())
    console.print(f"repeated {chosen:,} chosen cases of {len(record.cases):,}, with their groups {count:,}: {compared}")
    if not found.exactly:
        console.print("margins and powers depend on the processor and the versions, which are others here")
    verdict = f"{len(found.differing):,} cases differ" if found.differing else "all as recorded"
    TextConsole().print(verdict if len(found.differing) != 1 else "1 case differs")
    return DOES_NOT if found.differing else CONFORMS


def print_differences(found: Repetition, console: TextConsole, detail: Detail = "normal") -> None:
    """Print the cases that differ: the first of them, or all if `detail` is verbose."""
    shown = len(found.differing) if detail == "verbose" else _SHOWN
    for line in found.differing[:shown]:
        console.print(line)
    if len(found.differing) > shown:
        console.print(f"and {len(found.differing) - shown:,} more")


def repeat_part(
    record: Record, source: Path, sample: int, seed: int, trusts: bool = False, only: Collection[str] = ()
) -> Repetition:
    """Repeat a random part of a record that was read from `source`, and its extremes, and compare. `only` are the
    adapters to keep to; empty for all.

    Raises AdapterError, and OptionError for the record of a trace, or where an adapter is another than that of the
    record or declares other things here, or is a file, a module or a program and the user does not say `trusts`: who
    wrote the record chose it.
    """
    pin_here()
    if record.is_of_trace:
        raise OptionError(
            f"record {source}: is of a trace; judge the trace again with kterm judge TRACE --report FILE, and compare"
        )
    known = registered()
    names = [name for name in record.adapters if name in (only or record.adapters)]
    for adapter in (record.adapters[name] for name in names):
        if not trusts and (adapter.spec not in known or adapter.python):
            spec = f"{adapter.spec} under {adapter.python}" if adapter.python else adapter.spec
            raise OptionError(f"record {source}: names {spec!r}, which is to be run; if you trust it, add --trust")
    chosen = choose_cases(record, sample, seed, names)
    is_same_place = _arithmetic_of(record.header["environment"]) == _arithmetic_of(describe_environment())
    counts, differing = Counter[str](), list[str]()
    for name, cases, lines in _repeat(record, chosen, is_same_place):
        counts[name] += cases
        differing += lines
    return Repetition(tuple(chosen), counts, is_same_place, tuple(differing))


def _arithmetic_of(environment: dict[str, Any]) -> dict[str, Any]:
    return {name: environment.get(name) for name in _ARITHMETIC}


def choose_cases(record: Record, sample: int, seed: int, names: Collection[str]) -> list[Key]:
    """A random sample of the cases of some adapters of a record, and the extremes, in the order of the record."""
    rng, keys = random.Random(seed), [key for key in record.cases if key[0] in names]
    chosen = set(rng.sample(keys, min(sample, len(keys))))
    passes = [(key, check) for key in keys for check in record.cases[key].checks.values() if check.status == "passed"]
    margins = sorted(((check.margin, key) for key, check in passes if check.margin), reverse=True)
    powers = sorted((check.power, key) for key, check in passes if check.power is not None)
    chosen |= {key for _, key in (*margins[:_EXTREMES], *powers[:_EXTREMES])}
    found = [
        key
        for key, verdicts in record.verdicts.items()
        if key[0] in names and any(v.is_finding or v.fails for v in verdicts)
    ]
    chosen |= set(rng.sample(found, min(_FINDINGS, len(found))))
    return [key for key in keys if key in chosen]


def _repeat(record: Record, chosen: Iterable[Key], exactly: bool) -> Iterator[tuple[str, int, list[str]]]:
    """For each group of the chosen cases, its adapter, how many cases it has, and lines on those that differ."""
    header, wanted = record.header, set(chosen)
    options, adapters = options_of(header), tuple(record.adapters.values())
    run = Run(adapters, options, tuple(record.expectations.values()), header.get("device"))
    for adapter in adapters:
        if any(name == adapter.name for name, _ in wanted):
            _require_same(run, adapter)
    numbers = {(adapter.name, group): number for number, (adapter, group) in enumerate(run.groups)}
    with tempfile.TemporaryDirectory(prefix="kterm-") as folder:
        worker = Worker(run, Path(folder), "recheck")
        with closing(worker):
            for name, group in planned_groups(header, record.adapters):
                keys = [(name, case_id(group.id, group.seed, draw)) for draw in group.draws]
                if wanted.intersection(keys):
                    verdicts = worker.examine(numbers[name, group])
                    yield name, len(keys), list(_differences(record, name, verdicts, exactly))


def _require_same(run: Run, adapter: Description) -> None:
    """Raise OptionError if an adapter is or declares something else here, and AdapterError if it does not load."""
    with closing(run.start(adapter)) as process:
        here = process.describe()
    for what in (one.name for one in fields(Description) if one.name not in ("spec", "python")):
        if getattr(here, what) != getattr(adapter, what):
            raise OptionError(
                f"{versioned(adapter.to_json())}: its {what} is {getattr(here, what)!r:.80} here, and "
                f"{getattr(adapter, what)!r:.80} in the record; repeat it where it was written"
            )


def _differences(record: Record, adapter: str, verdicts: Sequence[Sequence[Verdict]], exactly: bool) -> Iterator[str]:
    """A line on each case of a group that is not as it is recorded."""
    for now, in_full in summarize_group(adapter, verdicts):
        key = adapter, now.case
        if (before := record.cases.get(key)) is None:
            continue  # it had no result in the run
        what = _difference(before, now, exactly)
        if what is None:
            what = _difference_in_full(record.verdicts.get(key, ()), in_full, exactly)
        if what is not None:
            yield f"{now.case} on {adapter}: {what}"


def _difference(before: CaseResult, now: CaseResult, exactly: bool) -> str | None:
    then, found = before.checks, now.checks
    if before.status != now.status:
        return f"{before.status} in the record, {now.status} now"
    for check in dict.fromkeys((*then, *found)):
        old, new = (some[check].status if check in some else "absent" for some in (then, found))
        if old != new:
            return f"{check} is {old} in the record, {new} now"
        if exactly and (then[check].margin, then[check].power) != (found[check].margin, found[check].power):
            a, b = then[check], found[check]
            return f"{check} has margin {a.margin} and power {a.power} in the record, {b.margin} and {b.power} now"
    if before.blocked != now.blocked or dict(before.tensors) != dict(now.tensors):
        return "other checks were made, or other tensors compared"
    return None


def _difference_in_full(before: Sequence[Verdict], now: Sequence[Verdict], exactly: bool) -> str | None:
    if exactly:
        differing = [(a, b) for a, b in zip(before, now, strict=False) if repr(a) != repr(b)]
        if differing:
            return f"the verdict on {differing[0][0].label} has other numbers or words now"
    old, new = ([(v.check, v.quantity, v.grade, v.step, v.expectation) for v in some] for some in (before, now))
    return None if old == new else "other verdicts are in full now"
