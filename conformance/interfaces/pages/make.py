"""The pages of records: one for each, and with several an overview and a comparison."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...records.compare.comparison import compare_records
from ...records.compare.pairs import ComparisonError
from ...records.compare.tables import first_view, second_view, verdict_line
from ...records.form.words import words
from ...records.record import Record
from ...records.report import expected_lines, summary_lines, title, verdict_lines
from ...records.views.compared import replay_commands, what_is_recorded
from .cases import pack_cases
from .charts import Chart, chart_errors, chart_layers
from .failures import Replays, list_failures
from .overview import list_worst, make_distributions, make_matrices
from .page import Link, Page
from .tables import Table, make_arithmetic_table, make_bias_table, make_environment_table, make_kinks_table

INDEX = "index.html"


def make_pages(
    records: Sequence[tuple[str, Record]], charts: Sequence[Chart] = (), replays: Sequence[Replays] = ()
) -> dict[str, Page]:
    """The pages of some records, given with a name for each, by the name of their file, the first page first. One
    record is the first page itself; two are compared too.
    """
    replays = [*replays, *([{}] * (len(records) - len(replays)))]
    if len(records) == 1:
        return {INDEX: make_page(records[0][1], (), charts, replays[0])}
    return _make_several(records, charts, replays)


def make_page(
    record: Record, links: Sequence[Link] = (), charts: Sequence[Chart] = (), replays: Replays | None = None
) -> Page:
    """The page of a record. `charts` are made of other files; `replays` are texts of failures."""
    adapters = list(record.adapters)
    errors = chart_layers(list_worst(record)) if record.is_of_trace else None
    errors = errors or chart_errors(make_distributions(record), adapters)
    packed, shown = pack_cases(record)
    device = record.header.get("device")
    return Page(
        f"kterm: {'conforms' if record.conforms else 'does not conform'}",
        tuple(verdict_lines(record)),
        title(record.header),
        tuple(links),
        tuple(make_matrices(record)),
        tuple(list_failures(record, replays)),
        (*([errors] if errors else []), *charts),
        tuple(_list_tables(record)),
        tuple(summary_lines(record)),
        len(record.cases),
        shown,
        packed,
        {one["name"]: words(one, device) for one in record.header["adapters"] if one["spec"]},
    )  # fmt: skip


def _list_tables(record: Record) -> Iterator[Table]:
    yield make_bias_table(record)
    if not record.is_of_trace:
        yield make_kinks_table(record)
        yield make_arithmetic_table(record)
    yield make_known_table(record)
    yield make_environment_table(record)


def make_known_table(record: Record) -> Table:
    """The known divergences that the run met."""
    rows = tuple((line,) for line in expected_lines(record))
    return Table("known", "Known divergences", ("",), rows, note="" if rows else "The run met none.")


def _make_several(
    records: Sequence[tuple[str, Record]], charts: Sequence[Chart], replays: Sequence[Replays]
) -> dict[str, Page]:
    files = [f"record-{number}.html" for number in range(1, len(records) + 1)]
    home = Link("All records", INDEX)
    pages: dict[str, Page] = {}
    links = [Link(name, file) for (name, _), file in zip(records, files, strict=True)]
    compared = _compare(records)
    if compared is not None:
        links.append(Link("Comparison", "compare.html"))
    verdicts, targets = list[tuple[str, bool]](), dict[int, str]()
    for (name, record), file in zip(records, files, strict=True):
        for line, good in verdict_lines(record):
            targets[len(verdicts)] = file
            verdicts.append((f"{name}: {line}", good))
    if compared is not None:
        targets[len(verdicts)] = "compare.html"
        verdicts += [(f"comparison: {line}", good) for line, good in compared.verdicts]
    pages[INDEX] = Page("kterm: reports", tuple(verdicts), links=tuple(links), targets=targets)
    for (_, record), file, replay in zip(records, files, replays, strict=True):
        pages[file] = make_page(record, (home, *links), charts, replay)
    if compared is not None:
        pages["compare.html"] = compared
    return pages


def _compare(records: Sequence[tuple[str, Record]]) -> Page | None:
    """The page that compares two records; None for more of them, and for two that cannot be compared."""
    if len(records) != 2:
        return None
    (old_name, old), (new_name, new) = records
    try:
        comparison = compare_records(what_is_recorded(old), what_is_recorded(new))
    except ComparisonError:
        return None
    sections = [*first_view(comparison, None), *second_view(comparison, replay_commands(new), None)]
    tables = list[Table]()
    for number, one in enumerate(sections, 1):
        if one.rows or one.note or not tables:
            tables.append(Table(f"section-{number}", _begin(one.title), one.columns, one.rows, note=one.note))
        else:  # a title that says it all belongs to what stands before it
            tables[-1] = replace(tables[-1], note=f"{tables[-1].note} {_begin(one.title)}.".strip())
    good = not comparison.regressions
    links = (Link("All records", INDEX), Link(old_name, "record-1.html"), Link(new_name, "record-2.html"))
    return Page(
        "kterm: comparison", ((verdict_line(comparison), good),), f"old: {old_name}; new: {new_name}", links,
        tables=tuple(tables),
    )  # fmt: skip


def _begin(title: str) -> str:
    """A title of the terminal as one of a page."""
    return title[:1].upper() + title[1:]
