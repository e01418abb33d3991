"""Commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from .detail import Quiet, Verbose, choose_detail

_RECORD = "A record, as --report writes it."


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command()
    def expect(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Write them to this new file.")] = None,
    ) -> None:
        """Propose expectations for what a record says failed, for a person to add the reasons to."""
        with one_line_errors():
            from .expect import run_expect

            raise typer.Exit(run_expect(record, output))

    @app.command()
    def recheck(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        sample: Annotated[int, typer.Option(min=0, help="How many cases to repeat, beside the extremes.")] = 100,
        seed: Annotated[int, typer.Option(help="Seed of the choice of cases.")] = 0,
        trust: Annotated[
            bool, typer.Option("--trust", help="Run adapters that are no registered names: files and programs.")
        ] = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Repeat a random part of a record and its extremes, and compare."""
        with one_line_errors():
            from .recheck import run_recheck

            raise typer.Exit(run_recheck(record, sample, seed, trust, choose_detail(quiet, verbose)))

    @app.command()
    def rows(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        output: Annotated[
            Path | None, typer.Option("-o", "--output", help="Write the table here: .csv or .parquet.")
        ] = None,
    ) -> None:
        """Print a record as a table: one row for each case and check."""
        with one_line_errors():
            from .rows import run_rows

            raise typer.Exit(run_rows(record, output))

    @app.command()
    def merge(
        records: Annotated[list[Path], typer.Argument(help="The records of all shards.", show_default=False)],
        output: Annotated[Path, typer.Option("-o", "--output", help="Write the record of the whole run here.")],
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Make one record of the shards of a run."""
        with one_line_errors():
            from .merge import run_merge

            raise typer.Exit(run_merge(records, output, choose_detail(quiet, verbose)))

    @app.command()
    def compare(
        old: Annotated[Path, typer.Argument(help="The record of the run before.", show_default=False)],
        new: Annotated[Path, typer.Argument(help="The record of the run after.", show_default=False)],
        form: Annotated[str, typer.Option("--format", help="text, markdown or json.")] = "text",
        fail_on: Annotated[str, typer.Option(help="What ends with 1: regressions, or any difference.")] = "regressions",
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the comparison here.")] = None,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Say what changed between two runs, from their records."""
        with one_line_errors():
            from .compare import run_compare

            raise typer.Exit(run_compare(old, new, form, fail_on, output, choose_detail(quiet, verbose)))
