"""Commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

_RECORD = "A record, as --report writes it."
Summary = Annotated[Path | None, typer.Option(help="Write the run here as Markdown, for GitHub and GitLab.")]
JUnit = Annotated[Path | None, typer.Option(help="Write the run here as JUnit XML, a test for each case.")]
GitHub = Annotated[bool, typer.Option("--github", help="Annotate the run and its summary on GitHub Actions.")]


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command()
    def recheck(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        sample: Annotated[int, typer.Option(min=0, help="How many cases to repeat, beside the extremes.")] = 100,
        seed: Annotated[int, typer.Option(help="Seed of the choice of cases.")] = 0,
        trust: Annotated[
            bool, typer.Option("--trust", help="Run adapters that are no registered names: files and programs.")
        ] = False,
    ) -> None:
        """Repeat a random part of a record and its extremes, and compare."""
        with one_line_errors():
            from .recheck import run_recheck

            raise typer.Exit(run_recheck(record, sample, seed, trust))

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
        summary: Summary = None,
        junit: JUnit = None,
        github: GitHub = False,
    ) -> None:
        """Make one record of the shards of a run."""
        with one_line_errors():
            from .merge import run_merge
            from .outputs import Outputs, collect_outputs

            with collect_outputs(Outputs(summary, junit, github)) as keep:
                code = run_merge(records, output, keep)
            raise typer.Exit(code)

    @app.command()
    def view(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        summary: Summary = None,
        junit: JUnit = None,
        github: GitHub = False,
    ) -> None:
        """Print a record as kterm check prints a run, or write it in another form."""
        with one_line_errors():
            from .outputs import Outputs, collect_outputs
            from .view import run_view

            with collect_outputs(Outputs(summary, junit, github)) as keep:
                code = run_view(record, keep)
            raise typer.Exit(code)

    @app.command()
    def compare(
        old: Annotated[Path, typer.Argument(help="The record of the run before.", show_default=False)],
        new: Annotated[Path, typer.Argument(help="The record of the run after.", show_default=False)],
        form: Annotated[str, typer.Option("--format", help="text, markdown or json.")] = "text",
        fail_on: Annotated[str, typer.Option(help="What ends with 1: regressions, or any difference.")] = "regressions",
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the comparison here.")] = None,
        github: GitHub = False,
    ) -> None:
        """Say what changed between two runs, from their records."""
        with one_line_errors():
            from .compare import run_compare
            from .outputs import annotate_at_end

            with annotate_at_end(github) as shown:
                code = run_compare(old, new, form, fail_on, output, shown.append)
            raise typer.Exit(code)
