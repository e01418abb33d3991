"""The command line, one module for each command."""

import sys

_VERSION = ("--version", "-V")


def main() -> None:
    """Run the command line. The version is printed before anything is imported that takes time."""
    if sys.argv[1:2] and sys.argv[1] in _VERSION:
        print_version()
        return
    from .cli import app

    app(prog_name="kterm")


def print_version() -> None:
    """Print the name and the version of the suite."""
    from importlib.metadata import version

    print(f"kterm {version('kterm')}")
