"""`python -m kterm`: the same as the `kterm` command."""

from .conformance.commands import main

if __name__ == "__main__":
    main()
