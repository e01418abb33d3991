"""`python -m kterm`: the same as the `kterm` command."""

from .conformance.commands.cli import main

if __name__ == "__main__":
    main()
