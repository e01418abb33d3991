"""What `kterm report` does: write records as pages of HTML."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from .....adapters.registry import AdapterError, registered
from ....cases.case import CaseError
from ....cases.plan import OptionError
from ....failures.shrinking.budget import DEFAULT_BUDGET
from ....interfaces.pages.charts import Chart, load_altair, load_scripts
from ....interfaces.pages.failures import Replays
from ....interfaces.pages.inputs import read_accuracy, read_kills
from ....interfaces.pages.write import write_report
from ....records.form.console import TextConsole
from ....records.record import Record, read
from ....runners.runner import NoAnswer
from ...exit_codes import CONFORMS
from ...replay import run_replay
from ...reproduce import run_reproduce
from ...shrink import run_shrink

_MOST_REPLAYED = 8
"""So many causes are replayed: a report shows the most frequent first."""


def run_report(
    sources: Sequence[Path], folder: Path, ulp: Path | None, kills: Path | None, replays: bool, trusts: bool
) -> int:
    """Write the pages. The exit code is 0: a page of a run that failed is as good as any other.

    Raises RecordError, and OptionError for files that cannot be read or written, for an extra that is not installed,
    and where an adapter is to run that is no registered name and the user does not trust it.
    """
    load_altair()
    load_scripts()
    records = [(_name(source, sources), read(source)) for source in sources]
    charts = [chart for chart in _read_charts(ulp, kills) if chart is not None]
    texts = [replay_failures(record, trusts) if replays else {} for _, record in records]
    written = write_report(records, folder, charts, texts)
    console = TextConsole()
    for path in written:
        console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return CONFORMS


def _name(source: Path, sources: Sequence[Path]) -> str:
    """The name of a file, or its path where several have one name."""
    return source.name if [one.name for one in sources].count(source.name) == 1 else str(source)


def _read_charts(ulp: Path | None, kills: Path | None) -> Iterator[Chart | None]:
    if ulp is not None:
        yield read_accuracy(ulp)
    if kills is not None:
        yield read_kills(kills)


def replay_failures(record: Record, trusts: bool) -> Replays:
    """What `kterm replay` and `kterm shrink` print of the smallest case of each cause, by adapter and case.

    Raises OptionError for an adapter that is no registered name, unless the user trusts it: who wrote the record chose
    what is to run.
    """
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    device = record.header.get("device")
    for cause in record.causes[:_MOST_REPLAYED]:
        adapter = record.adapters[cause.adapter]
        if not adapter.spec:
            continue
        if not trusts and (adapter.spec not in registered() or adapter.python):
            raise OptionError(f"the record names {adapter.spec!r}, which is to be run; if you trust it, add --trust")
        case, known = cause.worst.case, (adapter.spec, device, adapter.mutant)
        texts = [
            ("The pass beside the rule's", _capture(run_replay, case, *known, adapter.python)),
            ("The smallest case", _capture(run_shrink, case, *known, DEFAULT_BUDGET, adapter.python)),
        ]
        if adapter.has_script:
            script = _capture(run_reproduce, case, adapter.spec, None, device, adapter.mutant, True, adapter.python)
            texts.append(("A script of the framework's own calls", script))
        found[cause.adapter, case] = texts
    return found


def _capture(command: Callable[..., int], *arguments: object) -> str:
    """What a command prints, or why it could not."""
    out = io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(out):
            command(*arguments)
    except (AdapterError, CaseError, NoAnswer, OptionError) as error:
        print(f"not available here: {error}", file=out)
    return out.getvalue()
