"""The figures of docs/tolerances.md: the rounding model beside the errors of frameworks.

python -m benchmarks.rounding.figures [--draw] [--seed 0] [ADAPTER ...]

Measures (about a minute) and writes docs/images/rounding.json and the figures. With --draw the figures are drawn anew
from that file.
"""

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from benchmarks._common import circumstances, one_thread
from benchmarks.rounding.measure import BATCHES, EDGES, LENGTHS, Row, batches, histogram, sums

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
DATA = IMAGES / "rounding.json"
PAPER, INK, GRID = "#ffffff", "#222222", "#dddddd"
COLORS = ("#0b5fa5", "#c2410c", "#4d7c0f", "#7e22ce", "#666666")
"""Of at least 4.5 to 1 on the paper."""
DARK = {PAPER: "#1e2129", INK: "#e4e4e4", GRID: "#444a55"} | dict(
    zip(COLORS, ("#7cc0ff", "#ffa26b", "#a8d672", "#d6a8ff", "#aaaaaa"), strict=True)
)
"""What each color is where the reader's scheme is dark."""
_SHAPES = {"measured, root mean square": "rms", "measured, largest": "largest", "σ of the model": "sigma",
           "tolerance, 10 σ": "tolerance", "worst case": "bound"}  # fmt: skip


def _histogram(rows: Sequence[Row]) -> alt.TopLevelMixin:
    """Densities of errors in σ, one panel for each quantity, with that of a normal distribution."""
    step = EDGES[1] - EDGES[0]
    names = list(dict.fromkeys(row["adapter"] for row in rows))
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    least = 1e-6
    data = [
        {"quantity": row["quantity"], "σ": row["sigma"] + step / 2, "density": row["density"], "of": row["adapter"]}
        for row in rows
        if row["density"] > least
    ]
    model = "normal distribution with deviation σ"
    data += [
        {"quantity": quantity, "σ": x / 10, "density": math.exp(-x * x / 200) / math.sqrt(2 * math.pi), "of": model}
        for quantity in quantities
        for x in range(-50, 51)
    ]
    color = alt.Color(
        "of:N", title=None, scale=alt.Scale(domain=[*names, model], range=[*COLORS[: len(names)], COLORS[-1]])
    )
    dash = alt.StrokeDash(
        "of:N", title=None, scale=alt.Scale(domain=[*names, model], range=[[1, 0]] * len(names) + [[4, 3]])
    )
    panel = (
        alt.Chart(alt.Data(values=data))
        .mark_line(clip=True, strokeWidth=1.5)
        .encode(
            x=alt.X("σ:Q", title="error in σ", scale=alt.Scale(domain=[-6, 6])),
            y=alt.Y(
                "density:Q", scale=alt.Scale(type="log", domain=[least, 10]), axis=alt.Axis(format="~e", tickCount=4)
            ),
            color=color,
            strokeDash=dash,
        )
        .properties(width=200, height=150)
    )
    return panel.facet(facet=alt.Facet("quantity:N", title=None, sort=quantities), columns=3)


def _growth(rows: Sequence[Row], axis: str) -> alt.TopLevelMixin:
    """Errors and tolerances against the length of a sum, one panel for each kind of terms."""
    kinds = list(dict.fromkeys(row["terms"] for row in rows))
    first = rows[0]["adapter"]
    names = list(dict.fromkeys(row["adapter"] for row in rows))
    model = [
        {"terms": row["terms"], "n": row["length"], "error": row[key], "of": label}
        for row in rows
        for label, key in _SHAPES.items()
        if row["adapter"] == first and key in ("sigma", "tolerance", "bound")
    ]
    measured = [
        {
            "terms": row["terms"],
            "n": row["length"],
            "error": max(row[key], 1e-3),
            "of": label,
            "adapter": row["adapter"],
        }
        for row in rows
        for label, key in _SHAPES.items()
        if key in ("rms", "largest") and row[key] > 0
    ]
    strokes = alt.Legend(symbolType="stroke", symbolStrokeWidth=3)
    color = alt.Color("of:N", title=None, legend=strokes, scale=alt.Scale(domain=list(_SHAPES), range=list(COLORS)))
    x = alt.X("n:Q", title=axis, scale=alt.Scale(type="log", base=2), axis=alt.Axis(format="~d", tickCount=7))
    y = alt.Y(
        "error:Q",
        title="in units of u times the value",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~e", tickCount=6),
    )
    both = alt.Data(values=model + measured)
    base = alt.Chart(both)
    lines = base.transform_filter("!isValid(datum.adapter)").mark_line(strokeWidth=1.5).encode(x=x, y=y, color=color)
    points = (
        base.transform_filter("isValid(datum.adapter)")
        .mark_point(size=28, filled=False, strokeWidth=1.2)
        .encode(x=x, y=y, color=color, shape=alt.Shape("adapter:N", title=None, scale=alt.Scale(domain=names)))
    )
    panel = (lines + points).properties(width=290 if len(kinds) > 1 else 480, height=240)
    return panel.facet(facet=alt.Facet("terms:N", title=None, sort=kinds), columns=2)


def _svg(chart: alt.TopLevelMixin, title: str) -> str:
    """A chart as SVG, for light and dark: a style in it exchanges the colors where the reader's scheme is dark."""
    styled = chart.configure(background=PAPER, font="DejaVu Sans, Verdana, sans-serif", aria=False).configure_view(
        stroke=GRID
    )
    styled = styled.configure_axis(gridColor=GRID, domainColor=INK, tickColor=INK, labelColor=INK, titleColor=INK)
    styled = styled.configure_legend(labelColor=INK, titleColor=INK, orient="bottom", labelLimit=0, columns=3)
    styled = styled.configure_header(labelColor=INK, titleColor=INK, labelFontSize=12)
    text = vl_convert.vegalite_to_svg(styled.to_dict())
    changes = "".join(f'[fill="{old}"]{{fill:{new}}}[stroke="{old}"]{{stroke:{new}}}' for old, new in DARK.items())
    style = f"<title>{title}</title><style>@media (prefers-color-scheme:dark){{{changes}}}</style>"
    return re.sub(r"(<svg[^>]*>)", rf"\1{style}", text, count=1) + "\n"


def draw(measured: Mapping[str, Any]) -> dict[str, str]:
    """The figures, by the names of their files."""
    return {
        "errors-in-sigma.svg": _svg(_histogram(measured["histogram"]), "Errors of frameworks in σ"),
        "sums.svg": _svg(_growth(measured["sums"], "products in the sum"), "Errors of sums against their length"),
        "batches.svg": _svg(_growth(measured["batches"], "examples in the batch"), "Errors of ∂E/∂W against the batch"),
    }


def main() -> None:
    """Measure, and write the data and the figures."""
    one_thread()
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("adapters", nargs="*", default=["torch", "jax", "numpy"])
    options.add_argument("--draw", action="store_true", help="draw from the data that are there")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if not chosen.draw:
        measured = {
            "machine": circumstances(*dict.fromkeys(("numpy", *chosen.adapters))),
            "seed": chosen.seed,
            "histogram": histogram(chosen.adapters, chosen.seed),
            "sums": sums(chosen.adapters, LENGTHS, chosen.seed),
            "batches": batches(chosen.adapters, BATCHES, chosen.seed),
        }
        DATA.write_text(json.dumps(measured, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    for name, text in draw(json.loads(DATA.read_text(encoding="utf-8"))).items():
        (IMAGES / name).write_text(text, encoding="utf-8")
        print(IMAGES / name)


if __name__ == "__main__":
    main()
