"""The commands of this folder, on the command line."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ...records.views.links import read_on
from ..runs.options import Expectations, LevelName, Workers
from ..runs.views.detail import Quiet, Verbose, choose_detail

TracePath = Annotated[Path, typer.Argument(help="The folder of a trace.", show_default=False)]

CaseOrTrace = Annotated[
    str, typer.Argument(metavar="CASE|TRACE", help="A case id, as reports print it, or the folder of a trace.")
]
AdapterOrLayer = Annotated[
    str, typer.Argument(metavar="ADAPTER|LAYER", help="The adapter that the case fails on, or a layer of the trace.")
]
OneStep = Annotated[int | None, typer.Option(help="Of a trace: the step of the finding; the first that has one.")]
OneQuantity = Annotated[str | None, typer.Option(help="Of a trace: the quantity, such as dL/dW; the first at fault.")]


def is_trace(path: str) -> bool:
    """Whether an argument names the folder of a trace, and not a case."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # a name that no file can have
        return False


def refuse(options: Mapping[str, object], why: str) -> None:
    """Raise OptionError for the first option that is given, where options are None if they are not."""
    from ...cases.plan import OptionError

    for name, value in options.items():
        if value is not None:
            raise OptionError(f"{name}: {why}; leave it out")


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command(epilog=read_on("judge-your-model"))
    def judge(
        trace: TracePath,
        steps: Annotated[str, typer.Option(help="Keep to these steps, counted from 0, such as 0,4-7.")] = "",
        layer: Annotated[
            list[str] | None, typer.Option(help="Keep to layers of this name, such as 'blocks.*.up'; repeatable.")
        ] = None,
        workers: Workers = "auto",
        level: LevelName = "componentwise",
        expectations: Expectations = None,
        report: Annotated[
            Path | None, typer.Option(help="Write the record of the judging to this file.", show_default=False)
        ] = None,
        quiet: Quiet = False,
        verbose: Verbose = False,
    ) -> None:
        """Judge every dense layer of a captured training step against the rule."""
        with one_line_errors():
            from .judge import JudgeOptions, run_judge

            detail = choose_detail(quiet, verbose)
            asked = JudgeOptions(steps, tuple(layer or ()), workers, level, expectations, report, detail)
            raise typer.Exit(run_judge(trace, asked))

    @app.command(epilog=read_on("judge-your-model"))
    def cases(trace: TracePath) -> None:
        """List what the dense layers of a trace compute as structures of cases, with calls, cost and layers."""
        with one_line_errors():
            from .cases import run_cases

            raise typer.Exit(run_cases(trace))
