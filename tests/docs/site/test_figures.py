"""The figures show what was measured, can be read in light and dark, and say in words what they show."""

import json
import re
from itertools import pairwise

import pytest

from .. import PAGES, ROOT, page

alt = pytest.importorskip("altair", reason="the extra docs is not installed")
pytest.importorskip("vl_convert", reason="the extra docs is not installed")

from benchmarks.rounding import figures, measure  # noqa: E402  (after what they need)

DATA = json.loads(figures.DATA.read_text(encoding="utf-8"))
FIGURES = figures.draw(DATA)
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_drawn_from_the_data_that_are_there(name: str) -> None:
    assert (figures.IMAGES / name).read_text(encoding="utf-8") == FIGURES[name]


def test_a_change_of_the_data_changes_the_figure() -> None:
    first, *others = DATA["sums"]
    changed = {**DATA, "sums": [{**first, "rms": first["rms"] * 2}, *others]}
    assert figures.draw(changed)["sums.svg"] != FIGURES["sums.svg"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_needs_nothing_else_and_has_a_color_for_dark_for_each_of_light(name: str) -> None:
    text = FIGURES[name]
    assert set(re.findall(r"https?://[^\"']+", text)) == {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    drawn = text.partition("</style>")[2]
    colors = set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]{3,6})"', drawn)) - {"#000", "#888"}
    assert colors <= set(figures.DARK)
    assert len(colors) > 5
    assert re.search(r"<title>[A-Z]", text)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [figures.INK, *figures.COLORS])
def test_a_color_stands_out_in_light_and_dark(color: str) -> None:
    assert _contrast(color, figures.PAPER) >= 4.5
    assert _contrast(figures.DARK[color], figures.DARK[figures.PAPER]) >= 4.5


def test_every_figure_of_a_page_is_there_and_is_described() -> None:
    shown: set[str] = set()
    for path in PAGES:
        for words, target in IMAGE.findall(path.read_text(encoding="utf-8")):
            if "://" in target:
                continue  # an example of a badge elsewhere
            assert (path.parent / target).is_file(), target
            assert len(words) > 40, f"{path.name}: say what {target} shows"
            shown.add(target)
    assert {f"images/{name}" for name in FIGURES} <= shown


def test_the_page_says_what_the_data_say() -> None:
    text = " ".join(page("docs/tolerances.md").split())
    last = [row for row in DATA["histogram"] if "largest" in row]
    assert "The largest error is 2.45 σ." in text
    assert f"{max(row['largest'] for row in last if (row['adapter'], row['quantity']) != ('jax', 'k')):.2f}" == "2.45"
    (jax_k,) = (row for row in last if (row["adapter"], row["quantity"]) == ("jax", "k"))
    assert f"errors up to {jax_k['largest']:,.0f} σ" in text
    spread: dict[tuple[str, str], float] = {}
    for row in DATA["histogram"]:
        middle = row["sigma"] + (measure.EDGES[1] - measure.EDGES[0]) / 2
        key = row["adapter"], row["quantity"]
        spread[key] = spread.get(key, 0.0) + middle**2 * row["density"] * (measure.EDGES[1] - measure.EDGES[0])
    assert "by a factor of 3 to 5 in these cases" in text
    assert all(3 <= round(one**-0.5, 1) <= 5 for one in spread.values())
    counts = sorted(row["entries"] for row in last)
    assert f"{counts[0]:,} to {counts[-1]:,} entries" in text
    assert "No error reaches a quarter of the tolerance" in text
    assert max(row["largest"] / row["tolerance"] for row in DATA["sums"]) < 1 / 4
    assert "largest errors stay below half of the tolerance" in text
    assert max(row["largest"] / row["tolerance"] for row in DATA["batches"]) < 1 / 2
    for terms, least, most in (("terms of both signs", 8, 16), ("terms of one sign", 32, 64)):
        rows = [row for row in DATA["sums"] if row["terms"] == terms and row["adapter"] == "torch"]
        over = [row["bound"] > row["tolerance"] for row in rows]
        crossed = [(rows[i]["length"], rows[i + 1]["length"]) for i, (a, b) in enumerate(pairwise(over)) if a != b]
        assert crossed == [(least, most)]


def test_what_is_measured_lies_within_the_model() -> None:
    rows = [*measure.sums(["numpy"], [1, 64], seed=1), *measure.batches(["numpy"], [1, 64], seed=1)]
    assert len(rows) == 6
    for row in rows:
        assert 0 < row["rms"] < row["sigma"]
        assert row["rms"] < row["largest"] < row["tolerance"]


def test_the_root_of_the_repository_is_where_the_figures_are_written() -> None:
    assert figures.IMAGES == ROOT / "docs" / "images"
