"""`kterm env`: create the environments of frameworks that have one of their own, and list them."""

from typing import Annotated

import typer

from ...records.views.links import read_on
from ..exit_codes import DOES_NOT, USAGE

app = typer.Typer(help="Environments of their own for frameworks.", no_args_is_help=True)


@app.command("create", epilog=read_on("frameworks", "environments"))
def create(name: Annotated[str, typer.Argument(help="The name of an adapter or of an environment.")]) -> None:
    """Make an environment with the pinned packages of a framework; `kterm check NAME` then uses it."""
    from ...records.form.text import print_aside
    from ...runners.environments import EnvironmentFailure, create_environment, find_environment, read_environments

    environment = find_environment(name)
    if environment is None:
        known = ", ".join(read_environments())
        print_aside(f"kterm: there is no environment for {name!r}; there are {known}")
        raise typer.Exit(USAGE)
    try:
        create_environment(environment)
    except EnvironmentFailure as error:
        print_aside(f"kterm: {error}")
        raise typer.Exit(DOES_NOT) from None
    print(f"{environment.name}: {environment.folder}")
    if environment.notes:
        print(environment.notes)


@app.command("list", epilog=read_on("frameworks", "environments"))
def list_all() -> None:
    """List the environments, the adapters of each, and whether they are made."""
    from ...runners.environments import environments_folder, read_environments

    print(environments_folder())
    for environment in read_environments().values():
        print(f"{environment.name:14} {environment.state:10} {', '.join(environment.adapters)}")
