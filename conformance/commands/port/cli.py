"""The commands of this folder, on the command line."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from ...records.views.links import read_on
from ..runs.options import Activations, Device, Dtypes, OneAdapter, PlantedMutant, Profile, Python, Seed

_VECTORS = "The folder that kterm vectors export wrote."

_OWN_ADAPTER = """
An adapter of your own goes by the module or the file that defines its class:
    kterm check package.module:MyFramework
    kterm check path/to/file.py:MyFramework
To give it a name here, register the class in your package as an entry point of the group "kterm.adapters".
The least that the class defines:

from kterm import IN_OUT, Adapter, Observation


class MyFramework(Adapter):
    name = "my-framework"
    version = "1.0"
    weight_layout = IN_OUT  # or OUT_IN: how a dense layer stores its matrix
    dtypes = ("f64", "f32")
    activations = {"tanh": my_framework.tanh}

    def build(self, structure):
        functions = self.functions(structure)  # one for each layer, with its parameters filled in

        def program(parameters, x, y):
            # parameters.weights and parameters.biases hold one array for each layer; everything here is NumPy.
            # The error is the sum of (outputs - y)**2, over 2.
            return Observation(outputs, error, weight_gradients, bias_gradients)

        return program"""


def add_commands(app: typer.Typer, one_line_errors: Callable[[], AbstractContextManager[None]]) -> None:
    """Add the commands to `app`. `one_line_errors` turns the suite's errors into one line and an exit code."""
    vectors = typer.Typer(
        help="Write inputs, right answers and tolerances as files, and judge results made anywhere.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @vectors.command(epilog=read_on("vectors"))
    def export(
        folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
        profile: Profile = "quick",
        seed: Seed = 0,
        dtype: Dtypes = None,
        activation: Activations = None,
        bias: Annotated[list[str] | None, typer.Option(help="Keep to this bias placement; repeatable.")] = None,
    ) -> None:
        """Write vectors: for each structure a safetensors file with inputs, right answers and tolerances."""
        with one_line_errors():
            from ...cases.plan import make_options
            from .vectors import run_export

            options = make_options(profile, seed, dtype or (), activation or ())
            raise typer.Exit(run_export(folder, options, bias or ()))

    @vectors.command(epilog=read_on("vectors"))
    def verify(
        folder: Annotated[Path, typer.Argument(help=_VECTORS, show_default=False)],
        results: Annotated[Path, typer.Argument(help="A folder of results, in files of the same names.")],
        json: Annotated[Path | None, typer.Option(help="Write every verdict here, as JSON.")] = None,
    ) -> None:
        """Judge results that were made anywhere, and run nothing."""
        with one_line_errors():
            from .vectors import run_verify

            raise typer.Exit(run_verify(folder, results, json))

    @vectors.command(epilog=read_on("vectors"))
    def answer(
        folder: Annotated[Path, typer.Argument(help=_VECTORS, show_default=False)],
        adapter: OneAdapter,
        results: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
        device: Device = None,
        mutant: PlantedMutant = None,
        python: Python = None,
    ) -> None:
        """Write an adapter's results: an example of a folder of results."""
        with one_line_errors():
            from .vectors import run_answer

            raise typer.Exit(run_answer(folder, adapter, device, mutant, results, python))

    app.add_typer(vectors, name="vectors")

    @app.command(epilog=read_on("validate-a-port"))
    def smoke(
        adapter: OneAdapter,
        device: Device = None,
        timeout: Annotated[float | None, typer.Option(help="Seconds after which a call counts as hung.")] = None,
        mutant: PlantedMutant = None,
        python: Python = None,
    ) -> None:
        """Look at an adapter with a few small cases, and print what is wrong in it, each with its fix."""
        with one_line_errors():
            from ...records.run import RunRequest
            from .smoke import PATIENCE, run_smoke

            patience = PATIENCE if timeout is None else timeout
            request = RunRequest((adapter,), device=device, timeout=patience, mutant=mutant, python=python)
            raise typer.Exit(run_smoke(request))

    @app.command(epilog=read_on("adapters"))
    def adapters() -> None:
        """List the registered adapters, whether their frameworks are installed, and how to name one of your own."""
        from ....adapters.registry import is_installed, registered
        from ...records.form.text import printable

        names = registered()
        wide = max(map(len, names), default=0)
        for name, entry in names.items():
            state = "installed" if is_installed(name) else "not installed"
            print(printable(f"{name:{wide}}  {state}  {entry.value}"))
        print(_OWN_ADAPTER)

    @app.command("new-adapter", epilog=read_on("validate-a-port"))
    def new_adapter(
        name: Annotated[str, typer.Argument(help="What to call it, as in my-port; also the new folder.")],
        style: Annotated[
            str, typer.Option(help="How it is called: functional, module, raw, per-sample or process.")
        ] = "functional",
    ) -> None:
        """Write an adapter with its holes marked, a test and a CI workflow into a new folder."""
        with one_line_errors():
            from ...interfaces.kit.write import smoke_command, write_new_adapter
            from ...records.form.text import printable

            for path in write_new_adapter(name, style, Path()):
                print(printable(str(path)))
            print(f"next: fill in what is marked with HOLE, then\n  {smoke_command(name, style)}")
