"""An adapter in Python as a program of its own, as a port in another language is one."""

import sys
from pathlib import Path

_PROGRAM = '''"""The suite's own host, without what it has beyond the protocol."""

import sys

from kterm.conformance.runners.link import host, wire

wire.OPTIONAL = ()
host.main(sys.argv[1], "")
'''


def as_program(spec: str, folder: Path) -> str:
    """The spec of a program, written to `folder`, that answers as the adapter that `spec` names. Its weights are
    (in, out).
    """
    path = folder / "program.py"
    path.write_text(_PROGRAM, encoding="utf-8")
    return f"command:'{sys.executable}' -P '{path}' '{spec}'"
