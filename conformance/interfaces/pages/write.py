"""The folder of a report: a page for each record, and with several an overview and a comparison."""

import os
from collections.abc import Sequence
from pathlib import Path

from ...cases.plan import OptionError
from ...records.compare.comparison import compare_records
from ...records.compare.pairs import ComparisonError
from ...records.compare.tables import first_view, second_view, verdict_line
from ...records.record import Record
from ...records.report import verdict_lines
from ...records.views.compared import replay_commands, what_is_recorded
from .charts import Chart
from .failures import Replays
from .page import Link, Page, make_page, render
from .tables import Table

INDEX = "index.html"


def write_report(
    records: Sequence[tuple[str, Record]], folder: Path, charts: Sequence[Chart] = (), replays: Sequence[Replays] = ()
) -> list[Path]:
    """Write the pages of some records, given with a name for each, and give their paths, the first page first. One
    record is the first page itself. Raises OptionError where they cannot be written, or the extra is not installed.
    """
    replays = [*replays, *([{}] * (len(records) - len(replays)))]
    if len(records) == 1:
        pages = {INDEX: make_page(records[0][1], (), charts, replays[0])}
    else:
        pages = _make_several(records, charts, replays)
    texts = {name: render(page) for name, page in pages.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            scratch = folder / f".{name}.{os.getpid()}"
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
            scratch.replace(folder / name)
    except OSError as error:
        raise OptionError(f"-o {folder}: {error.strerror or error}; name a folder that can be written") from None
    return [folder / name for name in texts]


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
    tables = [
        Table(f"section-{number}", _begin(one.title), one.columns, one.rows, note=one.note)
        for number, one in enumerate(sections, 1)
    ]
    good = not comparison.regressions
    links = (Link("All records", INDEX), Link(old_name, "record-1.html"), Link(new_name, "record-2.html"))
    return Page(
        "kterm: comparison", ((verdict_line(comparison), good),), f"old: {old_name}; new: {new_name}", links,
        tables=tuple(tables),
    )  # fmt: skip


def _begin(title: str) -> str:
    """A title of the terminal as one of a page."""
    return title[:1].upper() + title[1:]
