"""The `kterm` command, also as `python -m kterm`."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line. The version is printed before anything is imported that takes time."""
    if sys.argv[1:2] in (["--version"], ["-V"]):
        from importlib.metadata import version

        print(f"kterm {version('kterm')}")
        return
    try:
        from .conformance.commands.cli import main as run
    except ModuleNotFoundError as error:
        folder = Path(__file__).with_name("conformance")
        if error.name != "kterm.conformance" or not folder.is_file():
            raise
        # Git on Windows writes small files instead of symbolic links, unless it is asked for links.
        sys.exit(f"kterm: {folder} should be a link to a folder; clone again with git clone -c core.symlinks=true")
    run()


if __name__ == "__main__":
    main()
