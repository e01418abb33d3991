"""Write the tables of docs/accuracy.md from the measurements of `kterm ulp`.

kterm ulp numpy torch jax --samples 6 --json ulp.jsonl
python -m benchmarks.accuracy ulp.jsonl [--write]
"""

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from benchmarks._common import ROOT, circumstances, parser, table
from kterm.reference import ACTIVATIONS, DTYPES

PAGE = ROOT / "docs" / "accuracy.md"
FUNCTIONS = ("f", "f'")

EXPLAINED = (
    ("torch", "softplus", "f64", "*"),
    ("torch", "hard_sigmoid", "f64", "f'"),
    ("jax", "elu", "*", "f'"),
    ("jax", "[cs]elu", "*", "f'"),
    ("jax", "softsign", "*", "f'"),
)
"""Adapter, activation, dtype and function of known defects. docs/accuracy.md explains them, and the constants of the
activation table do not cover them.
"""

Row = dict[str, Any]


def is_explained(row: Row) -> bool:
    """Whether this measurement is of a known defect."""
    key = [row[field] for field in ("adapter", "activation", "dtype", "function")]
    return any(all(map(fnmatchcase, key, patterns)) for patterns in EXPLAINED)


def largest(rows: list[Row], activation: str, function: str) -> str:
    """The largest c, in units of u times the terms, without a known defect, with its adapter, dtype and z."""
    found = [row for row in rows if (row["activation"], row["function"]) == (activation, function)]
    worst = max((row for row in found if not is_explained(row)), key=lambda row: float(row["units"]))
    c = float(worst["units"])
    return f"{c:.3g}, {worst['adapter']} {worst['dtype']} at {worst['units_at']:.4g}" if c else "0"


def constants(rows: list[Row]) -> str:
    """A table of the activation table's constants and the largest measured values."""
    body = [
        (f"`{name}`", f"{row.f_ulps:g}", largest(rows, name, "f"), f"{row.slope_ulps:g}", largest(rows, name, "f'"))
        for name, row in ACTIVATIONS.items()
    ]
    return table(("activation", "`c_f` in the table", "measured", "`c_d` in the table", "measured"), body)


def cell(row: Row | None) -> str:
    """The cell of one measurement: c, the z where it occurs, and the least |z| with a NaN or an infinity."""
    if row is None:
        return ""
    c = float(row["units"])
    text = f"{c:.3g}"
    table_row = ACTIVATIONS[row["activation"]]
    text = f"**{text}**" if c > (table_row.f_ulps if row["function"] == "f" else table_row.slope_ulps) else text
    text += f" at {row['units_at']:.3g}" if c else ""
    for what, at in (("NaN", row["nan_at"]), ("inf", row["infinity_at"])):
        text += f"; **{what}** from {abs(at):.3g}" if at is not None else ""
    return text


def measurements(rows: list[Row], adapter: str) -> str:
    """A table of one adapter's c by activation, function and dtype."""
    by = {(row["activation"], row["dtype"], row["function"]): row for row in rows if row["adapter"] == adapter}
    dtypes = [dtype for dtype in DTYPES if any(key[1] == dtype for key in by)]
    columns = [(dtype, function) for function in FUNCTIONS for dtype in dtypes]
    body = [(f"`{name}`", *(cell(by.get((name, *column))) for column in columns)) for name in ACTIVATIONS]
    return table(("activation", *(f"`{function}` {dtype}" for dtype, function in columns)), body)


def main() -> None:
    """Print the tables; with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("measurements", type=Path)
    chosen = options.parse_args()
    rows = [json.loads(line) for line in chosen.measurements.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "units" in row]
    parts = {"constants": constants(rows)}
    parts |= {name: measurements(rows, name) for name in dict.fromkeys(row["adapter"] for row in rows)}
    parts["circumstances"] = circumstances("numpy", "torch", "jax", "mpmath")
    page = PAGE.read_text(encoding="utf-8")
    for name, text in parts.items():
        print(f"{name}\n\n{text}\n")
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda found, new=text: f"{found[1]}{new}\n{found[2]}",
            page,
            flags=re.S,
        )
    if chosen.write:
        PAGE.write_text(page, encoding="utf-8")
        print(f"(written to {PAGE.relative_to(ROOT)})")


if __name__ == "__main__":
    main()
