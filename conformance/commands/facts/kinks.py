"""`kterm kinks`: print which derivative each adapter gives where an activation has a kink."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from rich.table import Column, Table

from ....reference import ACTIVATIONS, DTYPES
from ...cases.case import parse_case
from ...cases.description import Description
from ...cases.plan import make_options
from ...cases.regimes import REGIMES, aimed_layer
from ...checks.examine import examine
from ...checks.kink_choices import convention, points
from ...checks.verdict import Verdict
from ...diagnosis.diagnose import diagnose
from ...records import run as runs
from ...records.form.console import TextConsole
from ...records.record import read
from ...records.report import failure_lines
from ...records.run import RunRequest
from ...runners.threads import pin_here

_Slopes = dict[tuple[str, str, float], dict[str, list[float]]]
"""(adapter, activation, point) to the values of f' that the adapter gave there, by dtype."""


def run_kinks(
    specs: Sequence[str],
    seed: int,
    dtypes: Sequence[str],
    device: str | None,
    record: Path | None,
    python: str | None = None,
) -> int:
    """Print the table, of adapters or of a record, and what failed in their kink cases. The exit code is 0 if nothing
    failed, else 1.

    Raises AdapterError, OptionError and RecordError.
    """
    pin_here()
    console = TextConsole()
    slopes: _Slopes = defaultdict(lambda: defaultdict(list))
    failures: list[str] = []
    if record is not None:
        content = read(record)
        for (adapter, case), one in content.cases.items():
            for chosen in one.line.chosen.values():
                _collect_slopes(adapter, case, [(point, float(slope)) for point, slope in chosen], slopes)
        versions = {a["name"]: a["version"] for a in content.header["adapters"]}
    else:
        options = make_options("quick", seed, dtypes)
        run = runs.prepare(RunRequest(tuple(specs), options, device=device, python=python))
        versions = {adapter.name: adapter.version for adapter in run.adapters}
        for adapter in run.adapters:
            failures += _examine_kinks(run, adapter, slopes)
    console.print(_make_table(versions, slopes))
    for line in failures:
        console.print(line)
    return 1 if failures else 0


def _examine_kinks(run: runs.Run, adapter: Description, slopes: _Slopes) -> list[str]:
    """Run the adapter's kink cases, add the slopes that it gave to `slopes`, and return the lines on what failed."""
    groups = [group for a, group in run.groups if a == adapter and REGIMES[group.regime].records_choices]
    expectation_for = run.expectation_for(adapter.name)
    by_case: list[list[Verdict]] = []
    with closing(run.start(adapter)) as runner:
        for group in groups:
            by_case += diagnose(group, examine(group, runner, expectation_for), expectation_for)
    for verdict in (verdict for verdicts in by_case for verdict in verdicts if verdict.chosen):
        _collect_slopes(adapter.name, verdict.case, verdict.chosen, slopes)
    return failure_lines(adapter, by_case, run.device)


def _collect_slopes(adapter: str, case: str, chosen: Iterable[tuple[float, float]], slopes: _Slopes) -> None:
    """Add what an adapter chose in a case, (point, slope), to `slopes`."""
    structure = parse_case(case, tuple(REGIMES)).structure
    activation = structure.network.activations[aimed_layer(structure) - 1]
    for point, slope in chosen:
        slopes[adapter, activation, point][structure.dtype].append(slope)


def _make_table(versions: Mapping[str, str], slopes: _Slopes) -> Table:
    adapters = [Column(f"{name} {version}") for name, version in versions.items()]
    table = Table("activation", "point", "from the left", "from the right", *adapters, box=None, pad_edge=False)
    others = sorted({name for _, name, _ in slopes} - {*ACTIVATIONS})
    for name in (*ACTIVATIONS, *others):
        for point, (left, right) in points(ACTIVATIONS[name]).items():
            cells = [_format_slopes(slopes.get((adapter, name, point), {}), left, right) for adapter in versions]
            table.add_row(name, f"{point:g}", f"{left:.5g}", f"{right:.5g}", *cells)
    return table


def _format_slopes(by_dtype: Mapping[str, Sequence[float]], left: float, right: float) -> str:
    """One value if all dtypes agree, else the value of each dtype; "-" if the adapter gave none."""
    values = {dtype: convention(slopes, left, right, DTYPES[dtype].u) for dtype, slopes in by_dtype.items()}
    if len(set(values.values())) <= 1:
        return next(iter(values.values()), "-")
    return ", ".join(f"{value} ({dtype})" for dtype, value in values.items())
