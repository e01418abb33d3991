"""Finds adapters by name: a registered name, a class in an importable module, or a class in a file.

Importing this module imports no framework. An adapter's module is imported when the adapter is loaded.
"""

import ast
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from hashlib import sha256
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from .base import Adapter

GROUP = "kterm.adapters"

COMMAND = "command:"
"""How the spec of an adapter begins that is a program of its own."""


class AdapterError(Exception):
    """An adapter that cannot be loaded. The message is one line that says what to do."""


def registered() -> dict[str, EntryPoint]:
    """The registered adapters by name, sorted. If several packages register a name, kterm's own entry wins."""
    entries = sorted(entry_points(group=GROUP), key=lambda e: (e.name, not e.value.startswith("kterm."), e.value))
    # The first entry of a name wins. Later keys of a dict overwrite earlier ones, so the order is reversed first.
    return dict(sorted({entry.name: entry for entry in reversed(entries)}.items()))


def is_installed(name: str) -> bool:
    """Whether everything that the module of a registered adapter imports can be found.

    This imports neither that module nor a framework, only the package around the module. Raises AdapterError for a name
    that is not registered.
    """
    try:
        spec = find_spec(_find_entry(name).module)
    except ModuleNotFoundError:
        return False
    if spec is None or spec.origin is None:
        return False
    return all(map(_can_import, _list_imports(Path(spec.origin).read_bytes())))


def load(spec: str, device: str | None = None) -> Adapter:
    """Load the adapter that `spec` names. It runs on `device`, or on the adapter's default if that is None.

    `spec` is a registered name, `package.module:Class` (found as Python would find it from the current directory), or
    `path/to/file.py:Class`. The file can import modules from its own folder and from the current directory: both stay
    at the end of `sys.path`. Raises AdapterError, in one line, for every error on the way.
    """
    kind = _find_class(spec)
    try:
        return kind() if device is None else kind(device=device)
    except (Exception, SystemExit) as error:
        raise AdapterError(f"{spec}: constructing {kind.__name__} raised {_format_error(error)}") from error


def resolve(spec: str) -> str:
    """A spec that means the same where kterm's own metadata is not installed: `module:Class` for a registered name."""
    entry = None if ":" in spec else registered().get(spec)
    return spec if entry is None else entry.value


def _find_class(spec: str) -> type[Adapter]:
    if spec.startswith(COMMAND):
        raise AdapterError(
            f"{spec}: it is a program, which runs in a process of its own; kterm check, replay and shrink ask it there"
        )
    where, colon, name = spec.rpartition(":")
    if spec.endswith(".py"):
        raise AdapterError(
            f"{spec}: name the class too, as in {spec}:Class; {_list_adapters(_import_file(spec, spec))}"
        )
    if not colon:
        entry = _find_entry(spec)
        return _get_class(spec, _import_by_name(spec, entry.module, entry), entry.attr)
    if where.endswith(".py"):
        return _get_class(spec, _import_file(spec, where), name)
    if not re.fullmatch(r"\w+(\.\w+)*", where):
        raise AdapterError(f"{spec}: give a registered name, package.module:Class or path/to/file.py:Class")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    return _get_class(spec, _import_by_name(spec, where, None), name)


def _find_entry(name: str) -> EntryPoint:
    entries = registered()
    if name in entries:
        return entries[name]
    close = get_close_matches(name, entries, 1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise AdapterError(
        f"{name}: no such adapter; {hint}registered are {', '.join(entries) or 'none'}, "
        "and a class of your own is named package.module:Class or path/to/file.py:Class (an entry point counts "
        "once its package is installed again)"
    )


def _import_by_name(spec: str, module: str, entry: EntryPoint | None) -> ModuleType:
    return _import(spec, lambda: import_module(module), entry, module)


def _import_file(spec: str, where: str) -> ModuleType:
    path = Path(where).expanduser().resolve()
    try:
        path.read_bytes()
    except FileNotFoundError:
        raise AdapterError(f"{spec}: there is no file {path}") from None
    except OSError as error:
        raise AdapterError(f"{spec}: {path} cannot be read ({error.strerror})") from None
    # Unique in sys.modules: two files may have one name, and a file may have the name of a framework.
    name = f"_kterm_file_{re.sub(r'[^a-zA-Z0-9]', '_', path.stem)}_{sha256(str(path).encode()).hexdigest()[:12]}"
    found = spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module, execute = module_from_spec(found), found.loader.exec_module

    def executed() -> ModuleType:
        sys.modules[name] = module  # dataclasses and pickle look up the module of a class there
        try:
            execute(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module

    # The file can import modules from its own folder and from the current directory. Both stay on the path, since an
    # adapter may import a module only when it builds. They stand at its end: a file there, such as numpy.py, must not
    # hide a module of the standard library or an installed one, which kterm itself may need.
    for folder in (path.parent, Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return _import(spec, executed, beside=path.parent)


def _import(
    spec: str,
    importing: Callable[[], ModuleType],
    entry: EntryPoint | None = None,
    asked: str = "",
    beside: Path | None = None,
) -> ModuleType:
    try:
        return importing()
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and f"{asked}.".startswith(f"{missing}."):
            message = f"there is no module {missing} to import from {Path.cwd()} or from what is installed"
        elif missing and not _can_import(missing.split(".")[0]):
            message = f"{missing} is {_explain_absence(missing.split('.')[0], entry, beside)}"
        else:
            message = f"importing it raised {_format_error(error)}"
            if "no known parent package" in message:
                message += "; name a file that is part of a package as package.module:Class"
        raise AdapterError(f"{spec}: {message}") from error


def _explain_absence(module: str, entry: EntryPoint | None, beside: Path | None) -> str:
    """Say where a module was looked for, and how to install it if an extra of the adapter's own distribution brings it.

    For any other module no package is suggested: the one that has the module's name on PyPI may be a stranger's.
    """
    if entry is None:
        where = f"beside the adapter's file, in {beside}" if beside else f"in {Path.cwd()}"
        elsewhere = " nor in the current directory" if beside and beside != Path.cwd() else ""
        return f"neither installed nor {where}{elsewhere}"
    distribution = entry.dist
    if distribution and entry.name in (distribution.metadata.get_all("Provides-Extra") or ()):
        return f"not installed; pip install '{distribution.name}[{entry.name}]'"
    for requirement in distribution.requires or () if distribution else ():
        match = re.match(r"([\w.-]+).*\bextra\s*==\s*['\"]([\w.-]+)['\"]", requirement)
        if distribution and match and match[1].replace("-", "_").lower() == module.lower():
            return f"not installed; pip install '{distribution.name}[{match[2]}]'"
    return "not installed"


def _get_class(spec: str, module: ModuleType, name: str) -> type[Adapter]:
    kind = getattr(module, name, None)
    if isinstance(kind, type) and issubclass(kind, Adapter):
        return kind
    if kind is None:
        raise AdapterError(f"{spec}: there is no class {name!r}; {_list_adapters(module)}")
    raise AdapterError(f"{spec}: {name} is not a subclass of kterm.adapters.Adapter; {_list_adapters(module)}")


def _list_adapters(module: ModuleType) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Adapter) and value.__module__ == module.__name__
    ]
    return f"its adapters are {', '.join(names)}" if names else "it defines no subclass of kterm.adapters.Adapter"


def _list_imports(source: bytes) -> Iterable[str]:
    """The top-level packages that a module imports in its own statements, in their order."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.split(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            yield statement.module.split(".")[0]


def _can_import(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ValueError, ImportError):  # a module that was put into sys.modules by hand
        return package in sys.modules


def describe_error(error: BaseException) -> str:
    """The type of an error and the line of its message that says most, in one line of at most 400 characters.

    That is the first line, or the last one of a message that quotes a traceback. Where something is None, a question
    says what is None most often in an adapter.
    """
    try:
        lines = without_traceback(str(error)).strip().splitlines()
    except Exception:  # a message that cannot be made
        lines = []
    said = lines[0].strip() if lines else ""
    message = f"{type(error).__name__}: {said}".rstrip(": ")[:MOST_MESSAGE]
    if isinstance(error, AttributeError | TypeError) and "NoneType" in said:
        message = message[: MOST_MESSAGE - len(_ASKS_FOR_NONE)] + _ASKS_FOR_NONE
    return message


def describe_raised(error: BaseException) -> str:
    """`describe_error`, with the file and line where the error was raised: those of the innermost frame outside kterm,
    if there is one.
    """
    place = _place_of(error)
    return f"{describe_error(error)} ({place})" if place else describe_error(error)


def _place_of(error: BaseException) -> str:
    """Where an error was raised, as file:line. A file below the current folder, or below that of installed packages,
    has its path from there.
    """
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        # <string> and <frozen importlib> are no files.
        if not name.startswith("<") and not any(name.startswith(folder) for folder in _OWN):
            place = f"{_shorten(name)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return "".join(c if c.isprintable() else "?" for c in place)


def _shorten(name: str) -> str:
    _, found, inside = name.rpartition("site-packages" + os.sep)
    if found:
        return inside[-_MOST_PATH:]
    here = os.getcwd() + os.sep
    return name.removeprefix(here)[-_MOST_PATH:]


def without_traceback(message: str) -> str:
    """A message; where it quotes a traceback, the last line alone, which says what was raised."""
    return last_line(message.splitlines()) if _TRACEBACK in message else message


def last_line(lines: Sequence[str]) -> str:
    """The last line that is not blank and no part of a traceback; empty if there is none. Of an error of Node.js, which
    ends with the frames and the version, the line of the error.
    """
    last = next((line.strip() for line in reversed(lines) if not _FRAME.match(line)), "")
    if _NODE.match(last):
        return next((line.strip() for line in reversed(lines) if _NODE_ERROR.match(line)), last)
    return last


_OWN = tuple(
    str(folder / room) + os.sep
    for folder in {Path(__file__).parents[1], Path(__file__).resolve().parents[1]}
    for room in ("adapters", "conformance", "reference")
)
"""The folders of kterm itself, also where they are reached through a link."""
_MOST_PATH = 120

MOST_MESSAGE = 400
"""The characters of an exception's message that are kept."""

_ASKS_FOR_NONE = " (is a gradient None? Then none reached that parameter)"
_TRACEBACK = "Traceback (most recent call last)"
_NODE, _NODE_ERROR = re.compile(r"Node\.js v\d"), re.compile(r"(?:Uncaught )?\w*Error\b.*: ")
_FRAME = re.compile(r'\s*Traceback \(most recent call last\)|\s+File ".*", line \d+|[\s~^]*$')


def _format_error(error: BaseException) -> str:
    if _TRACEBACK in str(error):
        return describe_error(error)
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:300]}" if message else type(error).__name__
