"""How much a command prints: `--quiet` and `--verbose`, with one meaning in every command that has them."""

from collections.abc import Sequence
from typing import Annotated, Literal

import typer

Detail = Literal["quiet", "normal", "verbose"]
"""The verdict alone; what a reader needs; everything that there is to say."""

Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the verdict alone, and errors alone on standard error.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print every finding and every row in full.")]


def choose_detail(quiet: bool, verbose: bool = False) -> Detail:
    """What the two options ask for. Raises OptionError for both at once."""
    if quiet and verbose:
        from ....cases.plan import OptionError

        raise OptionError("--quiet and --verbose contradict each other; give one of them")
    return "quiet" if quiet else "verbose" if verbose else "normal"


def announce_loading(adapters: Sequence[str], default: str = "the installed frameworks") -> None:
    """Say on standard error that adapters are loaded, which takes seconds where a framework is imported."""
    from ....records.form.text import print_aside

    print_aside(f"loading {', '.join(adapters) or default} ...")
