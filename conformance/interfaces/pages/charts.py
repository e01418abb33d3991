"""The charts of a page, as specifications of Vega-Lite. Altair makes them, and checks them against its schema.

Colours, fonts and the width of a page belong to its style, so a page sets them when it draws a chart.
"""

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


def _colour(alt: Any, adapters: Sequence[str]) -> Any:
    scale = alt.Scale(domain=list(adapters), range=[_COLOURS[i % len(_COLOURS)] for i in range(len(adapters))])
    return alt.Color("adapter:N", title=None, scale=scale, legend=alt.Legend(orient="top"))


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
            x=alt.X("from:Q", title="largest error of a case, σ", scale=alt.Scale(domain=[0, SIGMAS + BIN])),
            y=alt.Y("share:Q", title="share of cases", axis=alt.Axis(format="%")),
            color=_colour(alt, adapters),
            tooltip=["adapter:N", "regime:N", "from:Q", "to:Q", "cases:Q"],
        )
        .properties(width=220, height=110)
        .facet(
            facet=alt.Facet("regime:N", title=None, sort=list(dict.fromkeys(one.regime for one in found))), columns=3
        )
        .resolve_scale(y="independent")
    )
    text = (
        "How large the errors are: the share of cases of each regime by the largest error of any of their tensors, in "
        f"standard deviations of what rounding does. From {SIGMAS:g} σ on, an error is a finding."
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
            x=alt.X("z:Q", title="z", scale=alt.Scale(type="symlog", constant=0.01)),
            y=alt.Y("ulp:Q", title="largest error, ulp", scale=alt.Scale(type="symlog")),
            color=_colour(alt, adapters),
            tooltip=["adapter:N", "function:N", "z:Q", "ulp:Q"],
        )
        .properties(width=520, height=150)
        .facet(row=alt.Row("function:N", title=None))
    )
    text = "The largest error of an activation and of its derivative near each z, in units in the last place."
    return Chart("accuracy", "Accuracy in ulp", text, chart.to_dict(), choices)


def chart_kills(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> Chart | None:
    """The kill matrix as a heat map. `rows` have choice, mutant, mistake, regime and margin in tolerances, which is 0
    where the mistake is not found.
    """
    if not rows or not can_draw():
        return None
    alt = _altair()
    choices = tuple(dict.fromkeys(row["choice"] for row in rows))
    choice = alt.param(name="choice", value=choices[0])
    chart = (
        alt.Chart(alt.Data(values=list(rows)))
        .add_params(choice)
        .transform_filter("datum.choice === choice")
        .transform_calculate(size="datum.margin > 0 ? max(0, log(datum.margin) / log(10)) : 0")
        .mark_rect(stroke=None)
        .encode(
            x=alt.X("regime:N", title=None, sort=list(columns), axis=alt.Axis(orient="top", labelAngle=-45)),
            y=alt.Y("mutant:N", title=None, sort=None, axis=alt.Axis(labelLimit=240)),
            color=alt.condition(
                "datum.margin > 0",
                alt.Color(
                    "size:Q", title="tolerances, as a power of 10", legend=alt.Legend(orient="top"),
                    scale=alt.Scale(scheme="viridis", domain=[0, 16], clamp=True),
                ),
                alt.value("#9aa0a8"),
            ),
            tooltip=["mutant:N", "mistake:N", "regime:N", "shown:N"],
        )
        .properties(width=alt.Step(26), height=alt.Step(13))
    )  # fmt: skip
    text = (
        "By how many tolerances each planted mistake is found at most, in each regime. Grey: its cases do not show the "
        "mistake, which takes other cases. Empty: it has no case."
    )
    return Chart("mutants", "Planted mistakes", text, chart.to_dict(), choices)
