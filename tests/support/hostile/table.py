"""All kinds of hostile programs, by name, and how each is started."""

import shlex
import sys
from pathlib import Path

from .answers import ANSWERS
from .declarations import DECLARATIONS
from .kind import Kind
from .processes import PROCESSES
from .raw import RAW

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*DECLARATIONS, *RAW, *ANSWERS, *PROCESSES)}


def spec_of(name: str, calls: int = 0, flag: Path | None = None) -> str:
    """The spec of a hostile program.

    It is honest for so many calls of `backprop` first. With `flag`, it is hostile only while there is no such file,
    and makes it: the program that is started after it is honest.
    """
    program = [sys.executable, "-S", "-E", "-B", str(Path(__file__).with_name("run.py")), name, str(calls)]
    return "command:" + shlex.join(program + ([str(flag)] if flag else []))
