"""What `kterm view` does: a record, printed as the run that wrote it, and written in other forms."""

from collections.abc import Callable
from pathlib import Path

from ...records.form.console import TextConsole
from ...records.record import Record, read
from ...records.report import title
from ..exit_codes import CONFORMS, DOES_NOT
from .views.detail import Detail
from .views.printing import print_record


def run_view(source: Path, detail: Detail, keep: Callable[[Record, Path | None], object]) -> int:
    """Print as much of a record as `detail` says, and give it to `keep`. The exit code is 0 if the run conforms, else
    1. No adapter is loaded.

    Raises RecordError.
    """
    record = read(source)
    TextConsole(quiet=detail == "quiet").print(title(record.header))
    print_record(record, detail, source)
    keep(record, source)
    return CONFORMS if record.conforms else DOES_NOT
