"""`kterm nonfinite`: print what becomes of infinities and NaN in each adapter."""

from collections.abc import Sequence
from contextlib import closing

from rich.table import Column, Table

from ....reference import ACTIVATIONS
from ...arithmetic.nonfinite import (
    GIVEN,
    Fact,
    describe_swallowed,
    due_values,
    format_value,
    measure_nonfinite,
    without_dtypes,
)
from ...cases.description import Description
from ...cases.plan import make_options
from ...records.form.console import TextConsole
from ...runners.process import ProcessRunner
from ...runners.threads import pin_here
from ...runners.workers import choose_adapters

_ByPlace = dict[tuple[str, str], list[Fact]]


def run_nonfinite(
    specs: Sequence[str],
    dtypes: Sequence[str],
    activations: Sequence[str],
    device: str | None,
    python: str | None = None,
) -> int:
    """Measure adapters, and print the table and what contradicts their declarations. The exit code is 1 if something
    does, or if an adapter answers nothing.

    Raises AdapterError and OptionError.
    """
    pin_here()
    options = make_options("quick", 0, dtypes, activations)
    console, code = TextConsole(), 0
    measured: list[tuple[Description, _ByPlace]] = []
    lines: list[str] = []
    for spec in choose_adapters(tuple(specs)):
        with closing(ProcessRunner(spec, device, python=python)) as runner:
            described = runner.describe()
            facts = list(measure_nonfinite(runner, options.dtypes, options.activations))
        measured.append((described, without_dtypes(facts)))
        found = list(find_contradictions(described, facts))
        lines += [f"{described.name} contradicts its declaration: {line}" for line in found]
        if all(fact.missing for fact in facts):
            lines.append(f"{described.name}: {facts[0].missing if facts else 'it has nothing of what is asked for'}")
            code = 1
        code = max(code, int(bool(found)))
    console.print(make_table(measured))
    for line in lines:
        console.print(line)
    return code


def find_contradictions(described: Description, facts: Sequence[Fact]) -> list[str]:
    """What is swallowed, or spread to other rows, of what the adapter declares to propagate, a line for each."""
    declared = [fact for fact in facts if fact.given.lstrip("-") in described.propagates]
    return [line for line in map(describe_swallowed, declared) if line]


def make_table(measured: Sequence[tuple[Description, _ByPlace]]) -> Table:
    """A row for each activation and input, and a column for each adapter, with what differs from the limits."""
    names = [Column(f"{one.name} {one.version}") for one, _ in measured]
    table = Table("activation", "input", "x", "k", *names, box=None, pad_edge=False)
    others = sorted({name for _, by_place in measured for name, _ in by_place} - {*ACTIVATIONS})
    for name in (*ACTIVATIONS, *others):
        for given, value in GIVEN.items():
            found = [by_place.get((name, given)) or by_place.get((name, ""), []) for _, by_place in measured]
            cells = list(map(format_cell, found))
            if any(cells):
                due = due_values(ACTIVATIONS[name], value)
                table.add_row(name, given, *(format_value(due[q]) for q in ("x", "k")), *cells)
    return table


def format_cell(facts: Sequence[Fact]) -> str:
    """What an adapter gives for one activation and input, in a few words, by dtype where dtypes differ."""
    return "; ".join(_format_fact(fact, len(facts) > 1) for fact in facts)


def _format_fact(fact: Fact, names_dtype: bool) -> str:
    """What an adapter gives otherwise than the limits: "as due", "k nan", or "k 0 (swallowed)"."""
    if fact.missing:
        return fact.missing
    said = [f"{q} {format_value(fact.found[q])}{' (swallowed)' if q in fact.swallowed else ''}" for q in fact.differs]
    said += [f"{q} of other rows changed" for q in fact.spread]
    return (", ".join(said) or "as due") + (f" in {fact.dtype}" if names_dtype else "")
