"""`kterm arithmetic`: print how each adapter computes its products, and where it gives the same bits."""

import json
from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict
from pathlib import Path

from rich.table import Column, Table

from ....adapters.registry import AdapterError
from ...arithmetic.bitwise import HEADER, BitwiseFacts, measure_bitwise, table_rows
from ...arithmetic.differences import explain_by_arithmetic, find_contradictions
from ...arithmetic.fingerprint import Fingerprint, ProductArithmetic, measure_arithmetic
from ...cases.description import Description
from ...cases.plan import make_options
from ...records.form.console import TextConsole
from ...runners.process import ProcessRunner
from ...runners.threads import pin_here
from ...runners.workers import choose_adapters
from ..output import open_output


def run_arithmetic(
    specs: Sequence[str],
    dtypes: Sequence[str],
    device: str | None,
    output: Path | None,
    bitwise: bool = False,
    python: str | None = None,
) -> int:
    """Measure adapters, print a table and what is not declared, and write the figures to `output` as JSON. With
    `bitwise`, print where they give the same bits as well. The exit code is 0, or 1 if what is measured contradicts
    what is declared, or if nothing could be measured.

    Raises AdapterError and OptionError.
    """
    pin_here()
    wanted = make_options("quick", 0, dtypes).dtypes
    console, code = TextConsole(), 0
    measured: list[Fingerprint] = []
    chosen = choose_adapters(tuple(specs))
    facts: list[BitwiseFacts] = []
    with nullcontext() if output is None else open_output(output) as file:
        for spec in chosen:
            with closing(ProcessRunner(spec, device, python=python)) as runner:
                described = runner.describe()
                found = measure_arithmetic(runner, wanted)
            if found.adapter in (one.adapter for one in measured):
                raise AdapterError(f"two adapters are called {found.adapter!r}; give each class a name of its own")
            measured.append(found)
            console.print(f"{found.adapter} {found.version} on {found.device}")
            console.print(make_table(found))
            for dtype, why in found.missing:
                console.print(f"{dtype}: not measured: {why}")
            contradictions = find_contradictions(found, described)
            undeclared = explain_by_arithmetic(found, dict(described.arithmetic))
            for line in dict.fromkeys((*contradictions, *undeclared)):
                what = "contradicts the declaration" if line in contradictions else "not declared"
                console.print(f"{what}: {line}")
            console.print()
            code = max(code, int(bool(contradictions) or not found.measured))
        if bitwise:
            facts = [one for spec in chosen for one in _measure_bits(spec, chosen, wanted, device, python)]
            console.print(_make_bitwise_table(facts))
        if file is not None:
            bits = [asdict(one) for one in facts]
            of = {one.adapter: [row for row in bits if row["adapter"] == one.adapter] for one in measured}
            rows = [one.to_json() | ({"bitwise": of[one.adapter]} if bitwise else {}) for one in measured]
            json.dump(rows, file, indent=1)
            file.write("\n")
    return code


def _measure_bits(
    spec: str, every: Sequence[str], dtypes: Sequence[str], device: str | None, python: str | None
) -> list[BitwiseFacts]:
    """The facts on an adapter in each dtype. It is compared with the next of the other adapters that runs the same
    framework in the same version, if there is one.
    """
    with ExitStack() as stack:

        def open_process(one: str) -> ProcessRunner:
            return stack.enter_context(closing(ProcessRunner(one, device, python=python)))

        runner, elsewhere = open_process(spec), open_process(spec)
        mine = runner.describe()
        at = every.index(spec)
        others = (open_process(one) for one in (*every[at + 1 :], *every[:at]))
        other = next((one for one in others if _is_same_framework(one.describe(), mine)), None)
        shared = set(mine.dtypes) if other is None else {*mine.dtypes} & {*other.describe().dtypes}
        return [
            measure_bitwise(runner, dtype, elsewhere, other if dtype in shared else None)
            for dtype in dtypes or mine.dtypes
            if dtype in mine.dtypes
        ]


def _is_same_framework(a: Description, b: Description) -> bool:
    return (a.framework, a.framework_version) == (b.framework, b.framework_version)


def _make_bitwise_table(facts: Sequence[BitwiseFacts]) -> Table:
    table = Table(*map(Column, HEADER), box=None, pad_edge=False)
    for row in table_rows(facts):
        table.add_row(*row)
    return table


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
        table.add_row(one.dtype, _format_products(some), *format_facts(one))
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
