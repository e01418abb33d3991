"""The commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ..runs.views.detail import Quiet


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command()
    def certify(
        record: Annotated[Path, typer.Argument(help="The record of a whole run, as --report writes it.")],
        output: Annotated[
            Path, typer.Option("-o", "--output", help="Folder for certificates and badges, or one file .json.")
        ] = Path(),
        badge: Annotated[
            Path | None, typer.Option(help="Write the badge to this file .svg.", show_default=False)
        ] = None,
        only: Annotated[
            list[str] | None, typer.Option("--adapter", help="Certify this adapter of the record; repeatable.")
        ] = None,
        kills: Annotated[
            Path | None, typer.Option(help="A file of kterm mutants --json: adds the kill score.", show_default=False)
        ] = None,
        calibration: Annotated[
            Path | None, typer.Option(help="A file of kterm calibrate --json: adds false alarms.", show_default=False)
        ] = None,
        recheck: Annotated[
            int | None, typer.Option(min=0, help="Repeat so many cases first, and the extremes.", show_default=False)
        ] = None,
        trust: Annotated[
            bool, typer.Option("--trust", help="Let --recheck run adapters that are no registered names.")
        ] = False,
        verify: Annotated[
            Path | None, typer.Option(help="Compare this certificate with the record, and write nothing.")
        ] = None,
        quiet: Quiet = False,
    ) -> None:
        """Certify a run: write what its record shows as JSON with a badge, or say why it earns no certificate."""
        with one_line_errors():
            from .certify import CertifyOptions, run_certify

            asked = CertifyOptions(
                record, output, badge, tuple(only or ()), kills, calibration, recheck, trust, verify, quiet
            )
            raise typer.Exit(run_certify(asked))
