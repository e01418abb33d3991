"""JAX's persistent compilation cache for adapter hosts, so that a repeated run does not compile its programs again.

Most of the CPU time of a first run of JAX is XLA's compiler. `with_cache` sets the environment variables by which JAX
keeps compiled programs in a folder, `~/.cache/kterm/jax/kterm-0.1.0-jax-0.10.2-jaxlib-0.10.2-1f0c2a9b` on Linux. JAX
itself is not imported here.

A program is looked up by what it is, not by who asks for it: JAX's key is a hash of the whole program as StableHLO
without debug locations, all compile options, XLA_FLAGS, the backend and jaxlib's version (`get` in
jax/_src/cache_key.py). An adapter that computes something else is therefore another program, with another key. The key
also holds a fingerprint of the CPU's features: with `--xla_cpu_max_isa=AVX2` the fingerprint that
`_hash_accelerator_config` hashes is another one. Older versions of JAX fall back on the device's kind, which is "cpu"
on every machine, so the folder's name has the CPU's features too: a home directory may be shared between machines.
"""

import os
import platform
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path

from ...adapters.registry import registered

VARIABLE = "KTERM_CACHE_DIR"
"""The user's variable: a folder to keep the cache in, or the empty string for no compilation cache."""

MOST_BYTES = 2**30
"""What the entries of all versions may take on disk; a run starts by deleting the least recently used above it."""

_DIRECTORY, _ENABLE = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"
_SETTINGS = {
    # By default JAX keeps programs that took a second or more to compile; ours take 0.3 s, and there are hundreds.
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    # Whole programs only. XLA's own caches on a GPU carry what was tuned for one program over to another, so that
    # numbers could depend on what was compiled before.
    "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
}
_FALSE = ("0", "n", "no", "f", "false", "off")


@dataclass(frozen=True)
class CompilationCache:
    """Where compiled programs are kept: in `folder`, or nowhere (None) because of `reason`. `own` says that the folder
    is the suite's, and not one that the user's JAX_COMPILATION_CACHE_DIR names.
    """

    folder: Path | None
    reason: str = ""
    own: bool = True

    def __str__(self) -> str:
        return f"off ({self.reason})" if self.folder is None else _shortened(self.folder)


def compilation_cache(environment: Mapping[str, str]) -> CompilationCache | None:
    """The cache that hosts started with `environment` use; None where JAX is not installed. Its folder is created.

    An empty KTERM_CACHE_DIR and a false JAX_ENABLE_COMPILATION_CACHE turn the cache off. A folder of the user's own in
    JAX_COMPILATION_CACHE_DIR comes before any other. A folder that cannot be written turns the cache off as well.
    """
    name = _folder_name()
    if name is None:
        return None
    if environment.get(VARIABLE) == "":
        return CompilationCache(None, f"--no-cache, or {VARIABLE} is empty")
    if environment.get(_ENABLE, "1").lower() in _FALSE:
        return CompilationCache(None, f"{_ENABLE} is false")
    if chosen := environment.get(_DIRECTORY):
        return CompilationCache(Path(chosen), own=False)
    folder = _root(environment) / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return CompilationCache(None, f"{_shortened(folder)} cannot be written: {error.strerror}")
    return CompilationCache(folder)


def with_cache(environment: Mapping[str, str]) -> dict[str, str]:
    """A copy of `environment` in which JAX uses the compilation cache, or none where it is off."""
    found = compilation_cache(environment)
    if found is None or not found.own:
        return dict(environment)
    if found.folder is None:
        kept = {name: value for name, value in environment.items() if name != _DIRECTORY}
        return kept | {_ENABLE: "false"}
    _bound_once(found.folder.parent)
    return _SETTINGS | dict(environment) | {_DIRECTORY: str(found.folder)}


def use_cache_here() -> None:
    """Have this process use the cache, which has not imported JAX so far."""
    environment = with_cache(os.environ)
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)


def turn_off_here() -> None:
    """Turn the cache off for every process that this one starts."""
    os.environ[VARIABLE] = ""


def cache_line(specs: Iterable[str]) -> str | None:
    """One line for a run's header on the terminal; None where no adapter can use JAX."""
    own = {name: entry.value for name, entry in registered().items() if entry.value.startswith("kterm.")}
    if all("jax" not in own.get(spec, "jax") for spec in specs):
        return None
    found = compilation_cache(os.environ)
    return found and f"compilation cache: {found}"


def bound(root: Path, most: int = MOST_BYTES) -> None:
    """Delete the least recently used entries below `root` until the rest takes `most` bytes at most.

    JAX_COMPILATION_CACHE_MAX_SIZE is not used: JAX then reads the time stamp of every entry whenever it writes one, and
    needs the package `filelock`; and a process that is killed between an entry and its time stamp leaves a folder to
    which JAX never writes again. Here an entry's age is its file's. Entries may vanish under a running host, which
    then compiles.
    """
    entries = []
    for path in root.glob("kterm-*/*-cache"):
        try:
            found = path.stat()
        except OSError:
            continue
        entries.append((max(found.st_atime, found.st_mtime), found.st_size, path))
    size = sum(one[1] for one in entries)
    for _, taken, path in sorted(entries):
        if size <= most:
            return
        try:
            path.unlink()
        except OSError:
            continue
        size -= taken


@cache
def _bound_once(root: Path) -> None:
    bound(root)


def _root(environment: Mapping[str, str]) -> Path:
    chosen = environment.get(VARIABLE)
    return (Path(chosen).expanduser().absolute() if chosen else user_cache_path("kterm", appauthor=False)) / "jax"


@cache
def _folder_name() -> str | None:
    try:
        versions = [f"{name}-{metadata.version(name)}" for name in ("kterm", "jax", "jaxlib")]
    except metadata.PackageNotFoundError:
        return None
    return "-".join([*versions, sha256(_cpu().encode()).hexdigest()[:8]])


def _cpu() -> str:
    """What is known of the CPU's instruction set."""
    try:
        listing = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        listing = ""
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", listing, re.MULTILINE)
    known = (platform.machine(), platform.processor(), " ".join(sorted(flags[1].split())) if flags else "")
    return "\n".join(known)


def _shortened(folder: Path) -> str:
    """A path as it is printed, with ~ for the home directory."""
    try:
        return f"~{os.sep}{folder.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(folder)
