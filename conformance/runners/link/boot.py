"""Starts the host under an interpreter in which kterm is not installed.

    PYTHON -P boot.py PACKAGE SPEC MUTANT

PACKAGE is the folder of this installation's package `kterm`. The package is imported from there, and nothing else that
is installed beside it: the adapter finds the packages of its own interpreter alone. This file is run by its path.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def _import_package(folder: Path) -> None:
    spec = spec_from_file_location("kterm", folder / "__init__.py", submodule_search_locations=[str(folder)])
    if spec is None or spec.loader is None:
        raise SystemExit(f"{folder} holds no package")
    module = module_from_spec(spec)
    sys.modules["kterm"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _import_package(Path(sys.argv[1]))
    from kterm.conformance.runners.link.host import main

    main(*sys.argv[2:4])
