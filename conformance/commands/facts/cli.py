"""Commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Annotated

import typer


def add_commands(
    app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]], named: str, interpreter: str
) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code. `named` and
    `interpreter` are the help on how adapters are named and on --python.
    """

    @app.command()
    def nonfinite(
        adapters: Annotated[list[str] | None, typer.Argument(help=named, show_default=False)] = None,
        dtype: Annotated[list[str] | None, typer.Option(help="Keep to this dtype; repeatable.")] = None,
        activation: Annotated[list[str] | None, typer.Option(help="Keep to this activation; repeatable.")] = None,
        device: Annotated[str | None, typer.Option(help="Device the adapters run on.")] = None,
        python: Annotated[str | None, typer.Option(help=interpreter)] = None,
    ) -> None:
        """Print what becomes of infinities and NaN: whether they reach the outputs, the error and the gradients."""
        with one_line_errors():
            from .nonfinite import run_nonfinite

            raise typer.Exit(run_nonfinite(adapters or [], dtype or [], activation or [], device, python))
