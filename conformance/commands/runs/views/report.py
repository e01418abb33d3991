"""What `kterm report` does: write records as pages of HTML."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .....adapters.registry import registered
from ....cases.plan import OptionError
from ....interfaces.pages.charts import Chart, can_draw
from ....interfaces.pages.failures import Replays
from ....interfaces.pages.inputs import read_accuracy, read_kills
from ....interfaces.pages.make import make_pages
from ....interfaces.pages.write import write_pages
from ....records.form.console import TextConsole
from ....records.record import Record, read
from ...exit_codes import CONFORMS

_MOST_REPLAYED = 8
"""So many causes are replayed: a report shows the most frequent first."""
_SECONDS = 300.0
_MOST_BYTES = 100_000
"""The time of a command, and the bytes that are kept of what it prints."""


def run_report(
    sources: Sequence[Path], folder: Path, ulp: Path | None, kills: Path | None, replays: bool, trusts: bool
) -> int:
    """Write the pages. The exit code is 0: a page of a run that failed is as good as any other.

    Raises RecordError, and OptionError for files that cannot be read or written, for an extra that is not installed,
    and where an adapter is to run that is no registered name and the user does not trust it.
    """
    records = [(_name(source, sources), read(source)) for source in sources]
    charts = [chart for chart in _read_charts(ulp, kills) if chart is not None]
    texts = [replay_failures(record, trusts) if replays else {} for _, record in records]
    written = write_pages(make_pages(records, charts, texts), folder)
    console = TextConsole()
    for path in written:
        console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    if not can_draw():
        console.print("charts are left out; pip install 'kterm[report]'")
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
    for cause in record.causes[:_MOST_REPLAYED]:
        adapter = record.adapters[cause.adapter]
        if not adapter.spec:
            continue
        if not trusts and (adapter.spec not in registered() or adapter.python):
            raise OptionError(f"the record names {adapter.spec!r}, which is to be run; if you trust it, add --trust")
        case = cause.worst.case
        texts = [
            ("The pass beside the rule's", _run("replay", case, record, cause.adapter)),
            ("The smallest case", _run("shrink", case, record, cause.adapter)),
        ]
        if adapter.has_script:
            texts.append(("A script of the framework's own calls", _run("reproduce", case, record, cause.adapter)))
        found[cause.adapter, case] = texts
    return found


def _run(command: str, case: str, record: Record, name: str) -> str:
    """What a command of kterm prints of a case, in a process of its own: an adapter may end its process, or hang."""
    adapter, device = record.adapters[name], record.header.get("device")
    words = [sys.executable, "-m", "kterm", command, case, adapter.spec]
    for option, value in (("--mutant", adapter.mutant), ("--device", device), ("--python", adapter.python)):
        words += [option, value] if value else []
    try:
        done = subprocess.run(words, capture_output=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS:.0f} s"
    except (OSError, ValueError) as error:
        return f"not available here: {error}"
    return (done.stdout + done.stderr)[:_MOST_BYTES].decode("utf-8", "replace")
