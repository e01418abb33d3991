"""What `kterm compare` does: compare two records, and say what changed."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import get_args

from ...cases.plan import OptionError
from ...records.compare.comparison import Comparison, FailOn, compare_records
from ...records.compare.forms import Tables, to_json, to_markdown
from ...records.compare.pairs import ComparisonError
from ...records.compare.tables import MOST_ROWS, Section, first_view, second_view, verdict_line
from ...records.form.console import TextConsole
from ...records.record import RecordError, read
from ...records.views.annotations import Annotation, OnGitHub
from ...records.views.compared import replay_commands, what_is_recorded
from ...records.views.summary import join_parts
from ..exit_codes import CONFORMS, DOES_NOT
from ..output import open_output
from .views.detail import Detail

FORMS = ("text", "markdown", "json")
FAIL_ON: tuple[FailOn, ...] = get_args(FailOn)


def run_compare(
    old: Path,
    new: Path,
    form: str,
    fail_on: str,
    output: Path | None,
    detail: Detail = "normal",
    annotate: Callable[[OnGitHub], object] = lambda _: None,
) -> int:
    """Compare two records, print the comparison or write it to a file, and give `annotate` what GitHub may show of it.
    The exit code is 1 if anything is worse, or with `fail_on` any, if anything differs; else 0.

    `detail` says how much of it; files and Markdown are as long as it says, and JSON is always whole.

    Raises RecordError, and OptionError for an unknown form.
    """
    if form not in FORMS:
        raise OptionError(f"form {form!r} is unknown; known are {', '.join(FORMS)}")
    limit: FailOn | None = next((one for one in FAIL_ON if one == fail_on), None)
    if limit is None:
        raise OptionError(f"fail-on {fail_on!r} is unknown; known are {', '.join(FAIL_ON)}")
    before, after = read(old), read(new)
    try:
        comparison = compare_records(what_is_recorded(before), what_is_recorded(after))
    except ComparisonError as error:
        raise RecordError(f"records {old} and {new}: {error}") from None
    most = None if detail == "verbose" else MOST_ROWS
    sections = [*first_view(comparison, most), *second_view(comparison, replay_commands(after), most)]
    _print(comparison, [] if detail == "quiet" else sections, form, output)
    parts = "\n".join(to_markdown(comparison, sections)).split("\n\n")
    annotate(OnGitHub((_annotation(comparison, sections, limit),), lambda most: join_parts(parts, most)))
    return DOES_NOT if comparison.fails(limit) else CONFORMS


def _print(comparison: Comparison, sections: Sequence[Section], form: str, output: Path | None) -> None:
    with nullcontext(sys.stdout) if output is None else open_output(output, "-o") as out:
        if form == "text":
            console = TextConsole(out)
            style = "bold red" if comparison.regressions else "bold green"
            console.print(verdict_line(comparison), style=style)
            console.print(Tables(sections))
        elif form == "markdown":
            print("\n".join(to_markdown(comparison, sections)), file=out)
        else:
            print(json.dumps(to_json(comparison), indent=1), file=out)


def _annotation(comparison: Comparison, sections: Sequence[Section], limit: FailOn) -> Annotation:
    """The comparison for GitHub: its verdict, and where it fails the causes and commands that show more."""
    shown = [line for one in sections if one.title in ("causes", "to look at one") for line in map("  ".join, one.rows)]
    fails = comparison.fails(limit)
    return Annotation("error" if fails else "notice", verdict_line(comparison), tuple(shown if fails else ()))
