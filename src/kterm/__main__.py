"""The `kterm` command, also as `python -m kterm`."""

import sys


def main() -> None:
    """Run the command line. The version is printed before anything is imported that takes time."""
    if sys.argv[1:2] in (["--version"], ["-V"]):
        from importlib.metadata import version

        print(f"kterm {version('kterm')}")
        return
    from .conformance.commands.cli import main as run

    run()


if __name__ == "__main__":
    main()
