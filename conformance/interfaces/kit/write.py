"""`kterm new-adapter`: writes an adapter with its holes marked, a test and a CI workflow into a new folder."""

import re
from keyword import iskeyword, issoftkeyword
from pathlib import Path

from ...cases.plan import OptionError
from .process_style import PROCESS
from .styles import FUNCTIONAL, MODULE, PER_SAMPLE, RAW
from .surroundings import NOTE, PROCESS_TEST, REQUIREMENTS, TEST, WORKFLOW

STYLES: dict[str, str] = {
    "functional": FUNCTIONAL,
    "module": MODULE,
    "raw": RAW,
    "per-sample": PER_SAMPLE,
    "process": PROCESS,
}
"""The adapter's file by style, with @NAME@, @CLASS@ and @SPEC@ where the name, the class and the spec go."""

_LONGEST = 64


def smoke_command(name: str, style: str) -> str:
    """The command to go on with, in the new folder of an adapter, once its holes are filled in."""
    return f"cd {name} && kterm smoke {_spec(name, style)}"


def write_new_adapter(name: str, style: str, folder: Path) -> list[Path]:
    """Write the files into the new folder `folder / name`, and return their paths.

    Raises OptionError, in one line, for a name that is none, for an unknown style, and if the folder exists or cannot
    be written: nothing is overwritten.
    """
    if style not in STYLES:
        raise OptionError(f"style: unknown {style!r}; known are {', '.join(STYLES)}")
    if len(name) > _LONGEST or not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        raise OptionError(
            f"name: {name[:_LONGEST]!r} is no adapter's name; write small letters, digits and hyphens, as in my-port"
        )
    class_name, spec, is_process = _class_name(name), _spec(name, style), style == "process"
    files = {
        "adapter.py": STYLES[style],
        "test_adapter.py": PROCESS_TEST if is_process else TEST,
        "requirements.txt": REQUIREMENTS,
        "README.txt": NOTE,
        ".github/workflows/gradients.yml": WORKFLOW,
    }
    root = folder / name
    try:
        root.mkdir()
        for where, text in files.items():
            path = root / where
            path.parent.mkdir(parents=True, exist_ok=True)
            filled = text.replace("@NAME@", name).replace("@CLASS@", class_name).replace("@SPEC@", spec)
            path.write_text(filled, encoding="utf-8", newline="\n")
    except FileExistsError:
        raise OptionError(f"{root} exists; nothing is overwritten: remove it, or take another name") from None
    except OSError as error:
        raise OptionError(f"{root} cannot be written ({error.strerror})") from None
    return [root / where for where in files]


def _class_name(name: str) -> str:
    class_name = "".join(map(str.capitalize, re.split(r"[_-]", name)))
    return class_name + "Adapter" if iskeyword(class_name) or issoftkeyword(class_name) else class_name


def _spec(name: str, style: str) -> str:
    """The adapter's spec in its folder, quoted for a shell."""
    return '"command:python adapter.py"' if style == "process" else f"adapter.py:{_class_name(name)}"
