"""What `kterm kinks` does: the table of conventions at kinks, framework by activation by point."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ...reference import ACTIVATIONS, DTYPES
from ..cases.case import Group, parse_case
from ..cases.plan import Description, make_options
from ..cases.regimes import REGIMES, aimed_layer
from ..checks.examine import examine
from ..checks.kink_choices import convention, points
from ..checks.verdict import Verdict
from ..records import run as runs
from ..records.record import read
from ..records.report import failure_lines, printable
from ..records.run import RunRequest
from ..runners.process import ProcessRunner
from ..runners.threads import pin_here

Conventions = dict[tuple[str, str, float], dict[str, list[float]]]
"""By adapter, activation and point: the values chosen, by dtype."""


def collected(adapter: str, verdicts: Sequence[Verdict], into: Conventions) -> None:
    """Sort what an adapter's verdicts say that it chose."""
    for verdict in verdicts:
        if verdict.chosen:
            structure = parse_case(verdict.case, tuple(REGIMES)).structure
            name = structure.network.activations[aimed_layer(structure) - 1]
            for point, slope in verdict.chosen:
                into[adapter, name, point][structure.dtype].append(slope)


def run_kinks(specs: Sequence[str], seed: int, dtypes: Sequence[str], device: str | None, record: Path | None) -> int:
    """Print the table, of adapters or of a record, and what of it is not right; 0 where all is, 1 where not."""
    pin_here()
    console = Console(highlight=False, soft_wrap=True)
    found: Conventions = defaultdict(lambda: defaultdict(list))
    if record is not None:
        held = read(record)
        for (adapter, _), verdicts in held.verdicts.items():
            collected(adapter, verdicts, found)
        names = {a["name"]: a["version"] for a in held.header["adapters"]}
        troubles: list[str] = []
    else:
        run = runs.prepare(RunRequest(tuple(specs), make_options("quick", seed, dtypes), device=device))
        names = {adapter.name: adapter.version for adapter in run.adapters}
        troubles = [line for adapter in run.adapters for line in _examined(run, adapter, found)]
    console.print(_table(names, found))
    for line in troubles:
        console.print(line, markup=False)
    return 1 if troubles else 0


def _examined(run: runs.Run, adapter: Description, into: Conventions) -> list[str]:
    """Run the groups that show conventions, sort what they say, and give the lines of what is not right in them."""
    runner = ProcessRunner(adapter.spec, run.device, run.timeout)
    try:
        groups: list[Group] = [g for a, g in run.groups if a == adapter and REGIMES[g.regime].records_choices]
        answered = [
            some for group in groups for some in examine(group, runner, run.expectation_for(adapter.name)).verdicts
        ]
    finally:
        runner.close()
    collected(adapter.name, [v for some in answered for v in some], into)
    return failure_lines(adapter, answered, run.device)


def _table(versions: Mapping[str, str], found: Conventions) -> Table:
    adapters = [Column(Text(printable(f"{name} {version}"))) for name, version in versions.items()]
    table = Table("activation", "point", "from the left", "from the right", *adapters, box=None, pad_edge=False)
    for name, row in ACTIVATIONS.items():
        for point, (left, right) in points(row).items():
            cells = [_cell(found.get((adapter, name, point), {}), left, right) for adapter in versions]
            table.add_row(name, f"{point:g}", f"{left:.5g}", f"{right:.5g}", *cells)
    return table


def _cell(by_dtype: dict[str, list[float]], left: float, right: float) -> str:
    """One value where all dtypes agree; else each dtype's own."""
    told = {dtype: convention(values, left, right, DTYPES[dtype].u) for dtype, values in by_dtype.items()}
    if len(set(told.values())) <= 1:
        return next(iter(told.values()), "-")
    return ", ".join(f"{value} ({dtype})" for dtype, value in told.items())
