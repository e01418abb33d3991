"""The commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ..runs.options import Expectations, LevelName, Workers
from ..runs.views.detail import Quiet, Verbose, choose_detail

TracePath = Annotated[Path, typer.Argument(help="The folder of a trace.", show_default=False)]


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command()
    def judge(
        trace: TracePath,
        steps: Annotated[str, typer.Option(help="Keep to these steps, counted from 0, such as 0,4-7.")] = "",
        layer: Annotated[
            list[str] | None, typer.Option(help="Keep to layers of this name, such as 'blocks.*.up'; repeatable.")
        ] = None,
        workers: Workers = "auto",
        level: LevelName = "componentwise",
        expectations: Expectations = None,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Judge every dense layer of a captured training step against the rule."""
        with one_line_errors():
            from .judge import JudgeOptions, run_judge

            detail = choose_detail(quiet, verbose)
            raise typer.Exit(
                run_judge(trace, JudgeOptions(steps, tuple(layer or ()), workers, level, expectations, detail))
            )

    @app.command()
    def cases(trace: TracePath) -> None:
        """List what the dense layers of a trace compute as structures of cases, with calls, cost and layers."""
        with one_line_errors():
            from .cases import run_cases

            raise typer.Exit(run_cases(trace))
