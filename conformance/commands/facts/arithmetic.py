"""`kterm arithmetic`: print how each adapter computes its products."""

import json
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from ....adapters.registry import AdapterError
from ...arithmetic.differences import explain_by_arithmetic, find_contradictions
from ...arithmetic.fingerprint import Fingerprint, ProductArithmetic, measure_arithmetic
from ...cases.plan import make_options
from ...records.report import printable
from ...runners.process import ProcessRunner
from ...runners.threads import pin_here
from ...runners.workers import choose_adapters
from ..output import make_console, open_output

_LEAST_WIDTH = 200


def run_arithmetic(specs: Sequence[str], dtypes: Sequence[str], device: str | None, output: Path | None) -> int:
    """Measure adapters, print a table and what is not declared, and write the figures to `output` as JSON. The exit
    code is 0, or 1 if what is measured contradicts what is declared, or if nothing could be measured.

    Raises AdapterError and OptionError.
    """
    pin_here()
    wanted = make_options("quick", 0, dtypes).dtypes
    console, code = make_console(_LEAST_WIDTH), 0
    measured: list[Fingerprint] = []
    with nullcontext() if output is None else open_output(output) as file:
        for spec in choose_adapters(tuple(specs)):
            with closing(ProcessRunner(spec, device)) as runner:
                described = runner.describe()
                found = measure_arithmetic(runner, wanted)
            if found.adapter in (one.adapter for one in measured):
                raise AdapterError(f"two adapters are called {found.adapter!r}; give each class a name of its own")
            measured.append(found)
            console.print(printable(f"{found.adapter} {found.version} on {found.device}"), markup=False)
            console.print(make_table(found))
            for dtype, why in found.missing:
                console.print(printable(f"{dtype}: not measured: {why}"), markup=False)
            contradictions = find_contradictions(found, described)
            undeclared = explain_by_arithmetic(found, dict(described.arithmetic))
            for line in dict.fromkeys((*contradictions, *undeclared)):
                what = "contradicts the declaration" if line in contradictions else "not declared"
                console.print(printable(f"{what}: {line}"), markup=False)
            console.print()
            code = max(code, int(bool(contradictions) or not found.measured))
        if file is not None:
            json.dump([one.to_json() for one in measured], file, indent=1)
            file.write("\n")
    return code


def make_table(fingerprint: Fingerprint) -> Table:
    """One row for each dtype and the products that are computed in one way in it."""
    columns = (
        "dtype",
        "products",
        "operands",
        "partial sums",
        "product",
        "result",
        "below normal",
        "order of 32 terms",
    )
    table = Table(*map(Column, columns), box=None, pad_edge=False)
    by_facts: dict[tuple[object, ...], list[ProductArithmetic]] = {}
    for one in fingerprint.measured:
        by_facts.setdefault(one.facts, []).append(one)
    for some in by_facts.values():
        one = some[0]
        table.add_row(*map(Text, (one.dtype, _format_products(some), *format_facts(one))))
    return table


def _format_products(some: Sequence[ProductArithmetic]) -> str:
    """The products in a few words, such as "z, dE/dx (batch 1), dE/dW"."""
    batches: dict[str, list[int]] = {}
    for one in some:
        batches.setdefault(one.kind, []).append(one.batch)
    both = {"z": 2, "dE/dx": 2, "dE/dW": 1}
    return ", ".join(
        kind if len(of) == both[kind] else f"{kind} (batch {of[0]})"
        for kind, of in sorted(batches.items(), reverse=True)
    )


def format_facts(one: ProductArithmetic) -> tuple[str, ...]:
    """What is measured of a product, as the cells of a row."""
    operands = one.operands if one.operand_rounding == "exact" else f"{one.operands}, {one.operand_rounding}"
    bits = "unknown" if one.accumulator is None else f"{one.accumulator} bits, {one.accumulation}"
    inside = "" if one.inside is None else f"; {one.inside} bits at once"
    return operands, bits + inside, one.products, one.store, one.flushing, one.order
