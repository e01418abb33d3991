"""Views of a kill matrix: tables, lines and a page. Made from its record alone."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

_MOST_NAMED = 12


def title(record: dict[str, Any]) -> str:
    """One line: which mutants on which adapters, and how much is put to them."""
    adapters = ", ".join(f"{a['name']} {a['version']}" for a in record["adapters"])
    equivalents = sum(bool(one["equivalent"]) for one in record["mutants"])
    mistakes = len(record["mutants"]) - equivalents
    kept = "".join(f", {name} only" for name in record["dtypes"])
    kept += "".join(f", without {name}" for name in record["without"])
    kept += ", gradients alone" if record["gradients_alone"] else ""
    return (
        f"kterm {record['suite']}: {mistakes} mistakes and {equivalents} equivalents on {adapters}; "
        f"profile {record['profile']}{kept}, seed {record['seed']}"
    )


def pages(record: dict[str, Any]) -> Iterator[RenderableType]:
    """A matrix for each adapter and dtype, and the equivalents with their proofs."""
    for adapter, dtype in _columns(record):
        if any(not one["equivalent"] for one in record["mutants"]):
            yield f"{adapter}, {dtype}: by how many tolerances each mistake is found at most; · not at all"
            yield _matrix(record, adapter, dtype)
    if any(one["equivalent"] for one in record["mutants"]):
        yield _equivalents(record)


def _columns(record: dict[str, Any]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((fate["adapter"], fate["dtype"]) for fate in record["fates"]))


def _of(record: dict[str, Any], adapter: str, dtype: str) -> dict[str, dict[str, Any]]:
    return {f["mutant"]: f for f in record["fates"] if (f["adapter"], f["dtype"]) == (adapter, dtype)}


def _matrix(record: dict[str, Any], adapter: str, dtype: str) -> Table:
    fates = _of(record, adapter, dtype)
    regimes = list(fates[""]["regimes"])
    table = Table("mutant", box=None, pad_edge=False, header_style="bold")
    for regime in regimes:
        table.add_column(regime, justify="right")
    table.add_column("")
    for one in record["mutants"]:
        if one["equivalent"]:
            continue
        fate = fates[one["name"]]
        state = fate["state"]
        told = {"killed": "", "survived": "[bold red]survives[/bold red]"}.get(state, f"[dim]{state}[/dim]")
        if state == "killed" and float(fate["margin"]) < record["enough"]:
            told = f"[yellow]only {_tolerances(fate['margin'])}[/yellow]"
        table.add_row(one["name"], *(_cell(fate["regimes"].get(regime)) for regime in regimes), told)
    return table


def _cell(cell: dict[str, Any] | None) -> str:
    if cell is None or not cell["cases"]:
        return ""
    return f"[green]{_tolerances(cell['margin'])}[/green]" if cell["killed"] else "[dim]·[/dim]"


def _tolerances(margin: float | str) -> str:
    margin = float(margin)
    if margin == float("inf"):
        return "∞"
    return f"{margin:.2g}" if margin < 1000 else f"{margin:.0e}".replace("e+0", "e").replace("e+", "e")


def _equivalents(record: dict[str, Any]) -> Table:
    table = Table("no mistake", "proof", "", box=None, pad_edge=False, header_style="bold")
    for one in record["mutants"]:
        if one["equivalent"]:
            found = [f for f in record["fates"] if f["mutant"] == one["name"] and f["state"] == "found"]
            where = ", ".join(f"{f['adapter']} {f['dtype']}" for f in found)
            table.add_row(one["name"], one["equivalent"], f"[bold red]found: {where}[/bold red]" if found else "")
    return table


def summary_lines(record: dict[str, Any]) -> list[str]:
    """The score of each adapter in each dtype, what is left, and why."""
    proofs = {one["name"]: one["equivalent"] for one in record["mutants"]}
    lines = []
    for adapter, dtype in _columns(record):
        fates = _of(record, adapter, dtype)
        if fates[""]["state"] == "found":
            lines.append(f"{adapter}, {dtype}: does not conform by itself; kterm check {adapter} says where")
        mistakes = [fate for name, fate in fates.items() if name and not proofs[name]]
        counts = Counter(fate["state"] for fate in mistakes)
        due = counts["killed"] + counts["survived"]
        killed = [fate for fate in mistakes if fate["state"] == "killed"]
        if due:
            lines.append(f"{adapter}, {dtype}: {counts['killed']} of {due} mistakes found{_least(killed)}")
        lines += _named("survives", [f["mutant"] for f in mistakes if f["state"] == "survived"])
        weak = [f for f in killed if float(f["margin"]) < record["enough"]]
        lines += _named(
            f"found by less than {record['enough']:g} tolerances",
            [f"{f['mutant']} ({_tolerances(f['margin'])})" for f in weak],
        )
        by_reason: dict[str, list[str]] = {}
        for fate in mistakes:
            if fate["state"] == "not applicable":
                by_reason.setdefault(fate["why"], []).append(fate["mutant"])
        for why, names in by_reason.items():
            lines += _named(f"not applicable ({why})", names)
        lines += _named("found, and equivalent", [f["mutant"] for f in fates.values() if _is_false_alarm(f, proofs)])
    return lines


def _is_false_alarm(fate: dict[str, Any], proofs: dict[str, str]) -> bool:
    return fate["state"] == "found" and bool(proofs.get(fate["mutant"]))


def _least(killed: Sequence[dict[str, Any]]) -> str:
    least = min(killed, key=lambda fate: float(fate["margin"]), default=None)
    return "" if least is None else f", by {_tolerances(least['margin'])} tolerances at least ({least['mutant']})"


def _named(what: str, names: Sequence[str]) -> list[str]:
    return [f"  {what}: {', '.join(names)}"] if names else []


def listing(mutants: Sequence[dict[str, Any]]) -> Table:
    """The table of mutants: the mistake that each makes, and what hides it."""
    table = Table("mutant", "the rule with", "hidden by", box=None, pad_edge=False, header_style="bold")
    for one in mutants:
        hidden = f"everything: {one['equivalent']}" if one["equivalent"] else one["hidden"]
        table.add_row(one["name"], one["mistake"], hidden)
    return table


def html(record: dict[str, Any], width: int) -> str:
    """The same as a page of HTML."""
    console = Console(record=True, file=io.StringIO(), highlight=False, width=width)
    console.print(title(record), markup=False)
    for page in pages(record):
        console.print()
        console.print(page, crop=False)
    console.print()
    for line in summary_lines(record):
        console.print(line, markup=False)
    return console.export_html()
