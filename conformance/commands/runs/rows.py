"""What `kterm rows` does: a record as a flat table, in CSV or Parquet."""

import csv
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from ...cases.plan import OptionError
from ...records.form.rows import COLUMNS, rows_of
from ...records.form.text import printable
from ...records.record import read
from ..exit_codes import CONFORMS

_BATCH = 100_000
"""So many rows are held at once while Parquet is written."""


def run_rows(source: Path, output: Path | None) -> int:
    """Print the table as CSV, or write it to a file as its name says. The exit code is 0.

    Raises RecordError, and OptionError for a file that cannot be written.
    """
    is_parquet = output is not None and output.suffix == ".parquet"
    if output is not None and output.suffix not in (".csv", ".parquet"):
        raise OptionError(f"output {output}: name a file that ends with .csv or .parquet")
    arrow = _arrow() if is_parquet else None
    record = read(source, against_plan=False)
    rows = rows_of(record.header["adapters"], record.cases)
    try:
        if output is None:
            write_csv(rows, sys.stdout)
        elif arrow is not None:
            _write_parquet(rows, output, arrow)
        else:
            with output.open("w", encoding="utf-8", newline="") as out:
                write_csv(rows, out)
    except BrokenPipeError:
        sys.stderr.close()  # whoever reads the table has seen enough
    except OSError as error:
        raise OptionError(f"output {output}: {error.strerror or error}; name a file that can be written") from None
    return CONFORMS


def write_csv(rows: Iterable[dict[str, Any]], out: TextIO) -> None:
    """The rows as CSV, below a line with the names of the columns. Text that controls a terminal is escaped."""
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: printable(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows)


def _arrow() -> Any:
    try:
        import_module("pyarrow.parquet")
        return import_module("pyarrow")
    except ModuleNotFoundError:
        raise OptionError("PyArrow is not installed; pip install 'kterm[parquet]', or name a file .csv") from None


def _write_parquet(rows: Iterable[dict[str, Any]], output: Path, arrow: Any) -> None:
    kinds = {"margin": arrow.float64(), "power": arrow.float64(), "batch": arrow.int64()}
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in COLUMNS])
    with arrow.parquet.ParquetWriter(output, schema, compression="zstd") as writer:
        some: list[dict[str, Any]] = []
        for row in rows:
            some.append(row)
            if len(some) == _BATCH:
                writer.write_table(arrow.Table.from_pylist(some, schema))
                some = []
        writer.write_table(arrow.Table.from_pylist(some, schema))
