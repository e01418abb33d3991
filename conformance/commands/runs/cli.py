"""Commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ...records.views.links import read_on
from .options import (
    Activations,
    Adapters,
    Device,
    Dtypes,
    Expectations,
    GitHub,
    JUnit,
    LevelName,
    NoCache,
    PlantedMutant,
    Profile,
    Python,
    Regimes,
    Summary,
    Timeout,
    Workers,
)
from .views.detail import Quiet, Verbose, announce_loading, choose_detail

_RECORD = "A record, as --report writes it."


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command(epilog=read_on("expectations"))
    def expect(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Write them to this new file.")] = None,
    ) -> None:
        """Propose expectations for what a record says failed, for a person to add the reasons to."""
        with one_line_errors():
            from .expect import run_expect

            raise typer.Exit(run_expect(record, output))

    @app.command(epilog=read_on("record", "repeating-a-record"))
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

    @app.command(epilog=read_on("certificate"))
    def certify(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
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
            from .views.certify import CertifyOptions, run_certify

            asked = CertifyOptions(
                record, output, badge, tuple(only or ()), kills, calibration, recheck, trust, verify, quiet
            )
            raise typer.Exit(run_certify(asked))

    @app.command(epilog=read_on("record", "a-table"))
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

    @app.command(epilog=read_on("record", "a-run-on-several-machines"))
    def merge(
        records: Annotated[list[Path], typer.Argument(help="The records of all shards.", show_default=False)],
        output: Annotated[Path, typer.Option("-o", "--output", help="Write the record of the whole run here.")],
        summary: Summary = None,
        junit: JUnit = None,
        github: GitHub = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Make one record of the shards of a run."""
        with one_line_errors():
            from .merge import run_merge
            from .views.outputs import Outputs, collect_outputs

            with collect_outputs(Outputs(summary, junit, github)) as keep:
                code = run_merge(records, output, choose_detail(quiet, verbose), keep)
            raise typer.Exit(code)

    @app.command(epilog=read_on("ci", "other-services"))
    def view(
        record: Annotated[Path, typer.Argument(help=_RECORD, show_default=False)],
        summary: Summary = None,
        junit: JUnit = None,
        github: GitHub = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Print a record as kterm check prints a run, or write it in another form."""
        with one_line_errors():
            from .view import run_view
            from .views.outputs import Outputs, collect_outputs

            with collect_outputs(Outputs(summary, junit, github)) as keep:
                code = run_view(record, choose_detail(quiet, verbose), keep)
            raise typer.Exit(code)

    @app.command(epilog=read_on("report"))
    def report(
        records: Annotated[list[Path], typer.Argument(help="Records, as --report writes them.", show_default=False)],
        output: Annotated[Path, typer.Option("-o", "--output", help="The folder of the pages.")] = Path("report"),
        ulp: Annotated[Path | None, typer.Option(help="Show the accuracies that kterm ulp --json wrote.")] = None,
        kills: Annotated[Path | None, typer.Option(help="Show the kills that kterm mutants --json wrote.")] = None,
        replay: Annotated[
            bool, typer.Option("--replay", help="Run the adapters: show whole passes and smallest cases of failures.")
        ] = False,
        trust: Annotated[
            bool, typer.Option("--trust", help="With --replay, run adapters that are no registered names too.")
        ] = False,
    ) -> None:
        """Write records as pages of HTML, each one file; two records are compared too."""
        with one_line_errors():
            from .views.report import run_report

            raise typer.Exit(run_report(records, output, ulp, kills, replay, trust))

    @app.command(epilog=read_on("compare"))
    def compare(
        old: Annotated[Path, typer.Argument(help="The record of the run before.", show_default=False)],
        new: Annotated[Path, typer.Argument(help="The record of the run after.", show_default=False)],
        form: Annotated[str, typer.Option("--format", help="text, markdown or json.")] = "text",
        fail_on: Annotated[str, typer.Option(help="What ends with 1: regressions, or any difference.")] = "regressions",
        output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the comparison here.")] = None,
        github: GitHub = False,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Say what changed between two runs, from their records."""
        with one_line_errors():
            from .compare import run_compare
            from .views.outputs import annotate_at_end

            with annotate_at_end(github) as shown:
                code = run_compare(old, new, form, fail_on, output, choose_detail(quiet, verbose), shown.append)
            raise typer.Exit(code)

    @app.command(epilog=read_on("scale"))
    def campaign(
        adapters: Adapters = None,
        output: Annotated[
            Path, typer.Option("-o", "--output", help="Folder of the campaign; of an earlier one, to go on with it.")
        ] = Path("campaign"),
        cases: Annotated[int | None, typer.Option(help="End after so many cases of all adapters together.")] = None,
        hours: Annotated[float | None, typer.Option(help="End after so many hours.")] = None,
        scheduler: Annotated[
            str | None, typer.Option(help="Address of a dask scheduler; else workers are started on this machine.")
        ] = None,
        unit_seconds: Annotated[
            float, typer.Option(help="How long a unit of work takes, about: longer for more workers.")
        ] = 5.0,
        profile: Profile = "thorough",
        seed: Annotated[int, typer.Option(help="Seed of structures and draws, the first of several.")] = 0,
        workers: Workers = "auto",
        dtype: Dtypes = None,
        activation: Activations = None,
        regime: Regimes = None,
        level: LevelName = "componentwise",
        expectations: Expectations = None,
        device: Device = None,
        timeout: Timeout = None,
        mutant: PlantedMutant = None,
        no_cache: NoCache = False,
        python: Python = None,
        quiet: Quiet = False,
    ) -> None:
        """Run as many cases as wanted over seeds and workers, and sum up what they show."""
        if not quiet:
            announce_loading(adapters or ())
        with one_line_errors():
            from ...cases.plan import make_options
            from ...records.run import RunRequest
            from ...runners.process import TIMEOUT
            from ...runners.workers import parse_workers
            from .campaign import CampaignOptions, run_campaign

            request = RunRequest(
                adapters=tuple(adapters or ()),
                options=make_options(profile, seed, dtype or (), activation or (), level, regime or ()),
                expectations=expectations,
                device=device,
                timeout=TIMEOUT if timeout is None else timeout,
                mutant=mutant,
                workers=parse_workers(workers),
                uses_cache=not no_cache,
                python=python,
            )
            options = CampaignOptions(
                request, output.absolute(), cases, hours, scheduler, unit_seconds, choose_detail(quiet)
            )
            raise typer.Exit(run_campaign(options))
