"""The kill matrix for people: tables, lines of text and a page of HTML. All are made from the record alone."""

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ...records.form.console import TextConsole
from ...records.form.text import printable


def format_title(record: dict[str, Any]) -> str:
    """One line: which mutants are planted in which adapters, and the options."""
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


def make_tables(record: dict[str, Any]) -> Iterator[RenderableType]:
    """A matrix for each adapter and dtype, and the equivalent mutants with their proofs."""
    for adapter, dtype in _find_columns(record):
        if any(not one["equivalent"] for one in record["mutants"]):
            yield f"{adapter}, {dtype}: by how many tolerances each mistake is found at most; · not at all"
            yield _make_matrix(record, adapter, dtype)
    if any(one["equivalent"] for one in record["mutants"]):
        yield _make_equivalents(record)


def _find_columns(record: dict[str, Any]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((fate["adapter"], fate["dtype"]) for fate in record["fates"]))


def _select(record: dict[str, Any], adapter: str, dtype: str) -> dict[str, dict[str, Any]]:
    return {f["mutant"]: f for f in record["fates"] if (f["adapter"], f["dtype"]) == (adapter, dtype)}


def _make_matrix(record: dict[str, Any], adapter: str, dtype: str) -> Table:
    fates = _select(record, adapter, dtype)
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
        remark = {"killed": Text(""), "survived": Text("survives", "bold red")}.get(state, Text(state, "dim"))
        if state == "killed" and float(fate["margin"]) < record["enough"]:
            remark = Text(f"only {_format_margin(fate['margin'])}", "yellow")
        table.add_row(one["name"], *(_format_cell(fate["regimes"].get(regime)) for regime in regimes), remark)
    return table


def _format_cell(cell: dict[str, Any] | None) -> Text:
    if cell is None or not cell["cases"]:
        return Text()
    return Text(_format_margin(cell["margin"]), "green") if cell["killed"] else Text("·", "dim")


def _format_margin(margin: float | str) -> str:
    margin = float(margin)
    if margin == float("inf"):
        return "∞"
    return f"{margin:.2g}" if margin < 1000 else f"{margin:.0e}".replace("e+0", "e").replace("e+", "e")


def _make_equivalents(record: dict[str, Any]) -> Table:
    table = Table("no mistake", "proof", "", box=None, pad_edge=False, header_style="bold")
    for one in record["mutants"]:
        if one["equivalent"]:
            found = [f for f in record["fates"] if f["mutant"] == one["name"] and f["state"] == "found"]
            where = ", ".join(f"{f['adapter']} {f['dtype']}" for f in found)
            table.add_row(
                one["name"], one["equivalent"], Text(printable(f"found: {where}") if found else "", "bold red")
            )
    return table


def format_summary(record: dict[str, Any]) -> list[str]:
    """Lines of text: the mutation score of each adapter in each dtype, and which mistakes are left, and why."""
    proofs = {one["name"]: one["equivalent"] for one in record["mutants"]}
    lines = []
    for adapter, dtype in _find_columns(record):
        fates = _select(record, adapter, dtype)
        if fates[""]["state"] == "found":
            lines.append(f"{adapter}, {dtype}: does not conform by itself; kterm check {adapter} says where")
        mistakes = [fate for name, fate in fates.items() if name and not proofs[name]]
        counts = Counter(fate["state"] for fate in mistakes)
        due = counts["killed"] + counts["survived"]
        killed = [fate for fate in mistakes if fate["state"] == "killed"]
        if due:
            lines.append(f"{adapter}, {dtype}: {counts['killed']} of {due} mistakes found{_format_least(killed)}")
        lines += _format_names("survives", [f["mutant"] for f in mistakes if f["state"] == "survived"])
        weak = [f for f in killed if float(f["margin"]) < record["enough"]]
        lines += _format_names(
            f"found by less than {record['enough']:g} tolerances",
            [f"{f['mutant']} ({_format_margin(f['margin'])})" for f in weak],
        )
        by_reason: dict[str, list[str]] = {}
        for fate in mistakes:
            if fate["state"] == "not applicable":
                by_reason.setdefault(fate["why"], []).append(fate["mutant"])
        for why, names in by_reason.items():
            lines += _format_names(f"not applicable ({why})", names)
        false_alarms = [f["mutant"] for f in fates.values() if _is_false_alarm(f, proofs)]
        lines += _format_names("found, and equivalent", false_alarms)
    return lines


def _is_false_alarm(fate: dict[str, Any], proofs: dict[str, str]) -> bool:
    return fate["state"] == "found" and bool(proofs.get(fate["mutant"]))


def _format_least(killed: Sequence[dict[str, Any]]) -> str:
    least = min(killed, key=lambda fate: float(fate["margin"]), default=None)
    return "" if least is None else f", by {_format_margin(least['margin'])} tolerances at least ({least['mutant']})"


def _format_names(what: str, names: Sequence[str]) -> list[str]:
    return [f"  {what}: {', '.join(names)}"] if names else []


def make_listing(mutants: Sequence[dict[str, Any]]) -> Table:
    """The table of mutants: the mistake that each makes, and what hides it."""
    table = Table("mutant", "the rule with", "hidden by", box=None, pad_edge=False, header_style="bold")
    for one in mutants:
        hidden = f"everything: {one['equivalent']}" if one["equivalent"] else one["hidden"]
        table.add_row(one["name"], one["mistake"], hidden)
    return table


def print_report(record: dict[str, Any], console: Console) -> None:
    """Print the tables, and under them the summary."""
    for table in make_tables(record):
        console.print()
        console.print(table)
    console.print()
    for line in format_summary(record):
        console.print(line)


def make_html(record: dict[str, Any], width: int) -> str:
    """The title and the report as a page of HTML, `width` characters wide."""
    console = TextConsole(io.StringIO(), record=True, width=width)
    console.print(format_title(record))
    print_report(record, console)
    return console.export_html()
