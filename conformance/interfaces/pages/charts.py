"""The charts of a page, as specifications of Vega-Lite. Altair makes them, and checks them against its schema.

Colours, fonts and the width of a page belong to its style, so a page sets them when it draws a chart.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ....reference.rounding import SIGMAS

_COLOURS = ("#3b6fb6", "#c2571a", "#2e8b57", "#8a4fae", "#a08000", "#b03a5b", "#3a8fa8", "#6b6b6b")
"""Hues that differ in lightness too, for adapters in their order."""


BIN = 0.5
"""The width of a bin of the distribution of errors, in σ."""


@dataclass(frozen=True)
class Distribution:
    """How many cases of an adapter in a regime have their largest error in each bin: `counts` of [0, 0.5) σ and so on,
    and last of all from 10 σ on, which are findings.
    """

    adapter: str
    regime: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class LayerErrors:
    """The largest error of some quantities of a layer of a trace, in σ; it may be NaN or infinite."""

    layer: str
    quantities: str
    sigmas: float


@dataclass(frozen=True)
class Chart:
    """A chart with its title, a sentence that says what it shows, and its specification. A reader chooses one
    of `choices` as the parameter `choice`; it is empty if there is nothing to choose.
    """

    id: str
    title: str
    text: str
    spec: Mapping[str, Any]
    choices: tuple[str, ...] = ()


def can_draw() -> bool:
    """Whether what draws charts is installed: the extra `report`. A page without charts says what it lacks."""
    return all(find_spec(name) is not None for name in ("altair", "vl_convert"))


def _altair() -> Any:
    return import_module("altair")


@cache
def load_scripts() -> str:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed, which vl-convert has."""
    return import_module("vl_convert").javascript_bundle("window.vegaEmbed = vegaEmbed")


def _colour(alt: Any, names: Sequence[str], field: str = "adapter") -> Any:
    scale = alt.Scale(domain=list(names), range=[_COLOURS[i % len(_COLOURS)] for i in range(len(names))])
    return alt.Color(f"{field}:N", title=None, scale=scale, legend=alt.Legend(orient="top"))


def chart_errors(found: Sequence[Distribution], adapters: Sequence[str]) -> Chart | None:
    """How large the errors are: for each regime, the share of cases by their largest error in σ. None
    without cases, or without the extra `report`, as for the others.
    """
    if not found or not can_draw():
        return None
    alt = _altair()
    rows = [
        {"adapter": one.adapter, "regime": one.regime, "from": i * BIN, "to": (i + 1) * BIN, "cases": number,
         "share": number / sum(one.counts)}
        for one in found
        for i, number in enumerate((*one.counts, one.counts[-1]))  # a step ends where the next begins
    ]  # fmt: skip
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(interpolate="step-after", strokeWidth=1.8)
        .encode(
            x=alt.X("from:Q", title=None, scale=alt.Scale(domain=[0, SIGMAS + BIN])),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=4)),
            color=_colour(alt, adapters),
            tooltip=["adapter:N", "regime:N", "from:Q", "to:Q", "cases:Q"],
        )
        .properties(width=220, height=110)
        .facet(
            facet=alt.Facet("regime:N", title=None, sort=list(dict.fromkeys(one.regime for one in found))), columns=3
        )
        .resolve_scale(y="independent")
        .resolve_axis(x="independent")
    )
    text = (
        "How large the errors are: for each regime, up the share of its cases, and to the right the largest error of "
        "any of their tensors, in standard deviations of what rounding does (σ). "
        f"From {SIGMAS:g} σ on, all in one, a case fails, or shows a known divergence, or is undecided."
    )
    return Chart("errors", "Errors in σ", text, chart.to_dict())


def chart_layers(found: Sequence[LayerErrors]) -> Chart | None:
    """The largest errors of each layer of a trace, by quantity."""
    if not found or not can_draw():
        return None
    alt = _altair()
    beyond, legend = SIGMAS + BIN, alt.Legend(orient="top")
    quantities = list(dict.fromkeys(one.quantities for one in found))
    rows = [
        {"layer": one.layer, "quantity": one.quantities, "sigmas": f"{one.sigmas:.3g}",
         "at": one.sigmas if one.sigmas < SIGMAS else beyond}
        for one in found
    ]  # fmt: skip
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_point(filled=True, opacity=0.8, size=45)
        .encode(
            x=alt.X("at:Q", title=f"largest error, σ; at the right {SIGMAS:g} and more",
                    scale=alt.Scale(domain=[0, beyond])),
            y=alt.Y("layer:N", title=None, sort=None, axis=alt.Axis(labelLimit=260, grid=True)),
            color=_colour(alt, quantities, "quantity"),
            shape=alt.Shape("quantity:N", title=None, scale=alt.Scale(domain=quantities), legend=legend),
            tooltip=["layer:N", "quantity:N", alt.Tooltip("sigmas:N", title="σ")],
        )
        .properties(width=520, height=alt.Step(16))
    )  # fmt: skip
    text = (
        "The largest error of each layer in all of its steps and calls, in standard deviations of what rounding does "
        f"(σ). From {SIGMAS:g} σ on, it is a finding."
    )
    return Chart("errors", "Errors in σ", text, chart.to_dict())


def chart_accuracy(rows: Sequence[Mapping[str, Any]], adapters: Sequence[str]) -> Chart | None:
    """The error of each activation in ulp against z. `rows` have adapter, choice, function, z and ulp."""
    if not rows or not can_draw():
        return None
    alt = _altair()
    choices = tuple(dict.fromkeys(row["choice"] for row in rows))
    choice = alt.param(name="choice", value=choices[0])
    chart = (
        alt.Chart(alt.Data(values=list(rows)))
        .add_params(choice)
        .transform_filter("datum.choice === choice")
        .mark_line(point=alt.OverlayMarkDef(size=12), strokeWidth=1)
        .encode(
            x=alt.X(
                "z:Q", title="z", scale=alt.Scale(type="symlog", constant=0.01), axis=_axis_of_powers(alt, rows, "z")
            ),
            y=alt.Y("ulp:Q", title="ulp", scale=alt.Scale(type="symlog"), axis=_axis_of_powers(alt, rows, "ulp")),
            color=_colour(alt, adapters),
            tooltip=["adapter:N", "function:N", "z:Q", "ulp:Q"],
        )
        .properties(width=520, height=150)
        .facet(row=alt.Row("function:N", title=None))
    )
    text = "The largest error of an activation and of its derivative near each z, in units in the last place."
    return Chart("accuracy", "Accuracy in ulp", text, chart.to_dict(), choices)


def _axis_of_powers(alt: Any, rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    """An axis with a tick at 0 and at powers of ten: Vega's own of a symmetric logarithm are few and uneven."""
    sizes = [abs(row[name]) for row in rows if math.isfinite(row[name])]
    most = math.ceil(math.log10(max(1.0, *sizes)))
    ticks = [0.0, *(10.0**power for power in range(-1 if name == "z" else 0, most + 1))]
    both = sorted({*ticks, *(-tick for tick in ticks)}) if name == "z" else ticks
    return alt.Axis(values=both, format="~g", labelOverlap="greedy")


def chart_kills(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> Chart | None:
    """The kill matrix as a heat map. `rows` have choice, mutant, mistake, regime and margin in tolerances, which is 0
    where the mistake is not found.
    """
    if not rows or not can_draw():
        return None
    alt = _altair()
    choices = tuple(dict.fromkeys(row["choice"] for row in rows))
    order, choice = list(columns), alt.param(name="choice", value=choices[0])
    base = alt.Chart(alt.Data(values=list(rows))).transform_filter("datum.choice === choice")
    cells = (
        base.add_params(choice)
        .transform_calculate(size="datum.margin > 0 ? max(0, log(datum.margin) / log(10)) : 0")
        .mark_rect(stroke=None)
        .encode(
            x=alt.X("regime:N", title=None, sort=order, axis=alt.Axis(orient="top", labelAngle=-45)),
            y=alt.Y("mutant:N", title=None, sort=None, axis=alt.Axis(labelLimit=240)),
            color=alt.condition(
                "datum.margin > 0",
                alt.Color(
                    "size:Q",
                    title="tolerances, as a power of 10",
                    legend=alt.Legend(orient="top"),
                    scale=alt.Scale(scheme="viridis", domain=[0, 16], clamp=True),
                ),
                alt.value("#9aa0a8"),
            ),
            tooltip=["mutant:N", "mistake:N", "regime:N", "shown:N"],
        )
    )
    # The names of regimes below the map too, which is taller than a screen: an axis needs marks of its own.
    below = base.mark_tick(opacity=0).encode(
        x=alt.X("regime:N", title=None, sort=order, axis=alt.Axis(orient="bottom", labelAngle=-45))
    )
    chart = (
        alt.layer(cells, below)
        .resolve_axis(x="independent")
        .properties(width=alt.Step(26), height=alt.Step(13))
    )  # fmt: skip
    text = (
        "By how many tolerances each planted mistake is found at most, in each regime. Grey: its cases do not show the "
        "mistake, which takes other cases. Empty: it has no case."
    )
    return Chart("mutants", "Planted mistakes", text, chart.to_dict(), choices)
