"""Functions that the benchmarks share: one thread, interleaved timing, the machine and versions, and the page."""

import argparse
import gc
import os
import platform
import re
import statistics
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from kterm.conformance.runners.threads import pin

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"

Function = Callable[[], object]


def one_thread() -> None:
    """Make BLAS, OpenMP and XLA use one thread. If the environment does not say so yet, this process starts again.

    They read the environment when they are imported, which is before `main` runs.
    """
    pinned = pin(dict(os.environ))
    if pinned != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], pinned)


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--write", action="store_true", help="replace this benchmark's section in docs/benchmarks.md")
    return made


def interleaved(functions: Mapping[str, Function], rounds: int, least: float = 2e-3) -> dict[str, list[float]]:
    """Time each function in `rounds` rounds. Returns seconds per call, by name, one number for each round.

    Every round times each function, so that a slow period of the machine affects all of them. Each round starts with
    another function, so that none always follows the same one. A timing repeats the call until it takes `least`
    seconds.
    """
    calls = {name: _calls(function, least) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            start = turn % len(names)
            for name in (*names[start:], *names[:start]):
                times[name].append(_timed(functions[name], calls[name]))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return times


def _timed(function: Function, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def _calls(function: Function, least: float) -> int:
    function()  # the first call compiles and fills caches
    calls = 1
    while (taken := _timed(function, calls) * calls) < least:
        calls = max(2 * calls, int(calls * least / max(taken, 1e-9)))
    return calls


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(times: Mapping[str, Sequence[float]], over: str, under: str) -> tuple[float, float, float]:
    """Quartiles of the ratios of two functions' times in each round."""
    return quartiles(a / b for a, b in zip(times[over], times[under], strict=True))


def ratio_text(values: tuple[float, float, float]) -> str:
    """Format a median with its quartiles for a table: 3.10 (2.90..3.40)."""
    low, middle, high = values
    return f"{middle:.2f} ({low:.2f}..{high:.2f})"


def seconds_text(seconds: float) -> str:
    """Format a time in seconds with three digits, in s, ms or µs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with the first column left-aligned and the others right-aligned."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def circumstances(*distributions: str) -> str:
    """Processor, cores and versions of these distributions, for the line below a table."""
    versions = [f"{name} {metadata.version(name)}" for name in distributions]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    line = f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; {', '.join([python, *versions])}."
    return textwrap.fill(line, 120)


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", listing.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def publish(name: str, title: str, body: str, write: bool) -> None:
    """Print a section; with `write`, replace the section of that name in docs/benchmarks.md or append it."""
    section = f"## {title}\n\n{body.strip()}\n"
    print(section)
    if not write:
        return
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    marked = f"{begin}\n{section}{end}\n"
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else "# Benchmarks\n"
    if begin in page:
        before, rest = page.split(begin, 1)
        page = before + marked + rest.split(end, 1)[1].removeprefix("\n")
    else:
        page = f"{page.rstrip()}\n\n{marked}"
    PAGE.write_text(page, encoding="utf-8")
    print(f"(written to {PAGE.relative_to(ROOT)})")
