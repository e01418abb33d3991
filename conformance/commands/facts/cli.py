"""Commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import typer

from ...records.views.links import read_on
from ..runs.options import Activations, Adapters, Device, Dtypes, Python


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""

    @app.command(epilog=read_on("divergences", "infinities-and-nan"))
    def nonfinite(
        adapters: Adapters = None,
        dtype: Dtypes = None,
        activation: Activations = None,
        device: Device = None,
        python: Python = None,
    ) -> None:
        """Print what becomes of infinities and NaN: whether they reach the outputs, the error and the gradients."""
        with one_line_errors():
            from .nonfinite import run_nonfinite

            raise typer.Exit(run_nonfinite(adapters or [], dtype or [], activation or [], device, python))
