"""What `kterm view` does: a record, printed as the run that wrote it, and written in other forms."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ...records.record import Record, read
from ...records.report import title
from ..exit_codes import CONFORMS, DOES_NOT
from .printing import print_record


def run_view(source: Path, keep: Callable[[Record, Path | None], object]) -> int:
    """Print a record and give it to `keep`. The exit code is 0 if the run conforms, else 1. No adapter is loaded.

    Raises RecordError.
    """
    record = read(source)
    console = Console(highlight=False, soft_wrap=True)
    console.print(title(record.header), markup=False)
    print_record(record, source, False, console)
    keep(record, source)
    return CONFORMS if record.conforms else DOES_NOT
