"""Every number on a page is that of the record: here it is derived from the lines of the record alone."""

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from kterm.conformance.checks.whole_run.moments import UNIT, Sums

from ....support.here import kterm_here
from ....support.mistakes.models.faults import FAULTS
from .made import Element, Rows, cases_in, lines_of, make_run, read_page, specs_in, write_page

pytest.importorskip("altair")
pytest.importorskip("vl_convert")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def record(folder: Path) -> Path:
    return make_run(folder)


@pytest.fixture(scope="module")
def rows(record: Path) -> Rows:
    return lines_of(record)


@pytest.fixture(scope="module")
def page(folder: Path, record: Path) -> Element:
    return read_page(write_page(folder, record))


def _cases(rows: Rows) -> list[tuple[str, dict[str, Any], dict[str, Any], list[dict[str, Any]]]]:
    """Each case with its id, its line, the line of its group and its verdicts in full."""
    found: list[tuple[str, dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = []
    group: dict[str, Any] = {}
    for row in rows:
        if row["kind"] == "group":
            group = row
        elif row["kind"] == "case":
            found.append((f"{group['group']}-s{row['draw']}", row, group, []))
        elif row["kind"] == "verdict":
            found[-1][3].append(row)
    return found


ORDER = ("errored", "failed", "blocked", "expected", "unsupported", "inconclusive")


def _status(case: dict[str, Any]) -> str:
    found = {*case.get("statuses", {}).values(), *(["blocked"] if case.get("blocked") else [])}
    return next((one for one in ORDER if one in found), "passed")


def _numbers(case: dict[str, Any], group: dict[str, Any]) -> dict[str, tuple[float, Any]]:
    """The margin and the power of each check that has them."""
    checks = case.get("checks", group["checks"])
    named = [name for name, tensors in checks.items() if tensors]
    found = dict(zip(named, zip(case["margins"], case["powers"], strict=True), strict=True))
    for name in ("descent", "batch"):
        if name in case:
            found[name] = tuple(case[name])
    return {name: (float(margin), power) for name, (margin, power) in found.items()}


def test_the_cases_are_those_of_the_record(page: Element, rows: Rows) -> None:
    shown = {(one[0], one[1]): one for one in cases_in(page)}
    cases = _cases(rows)
    assert len(shown) == len(cases) == rows[0]["planned"]
    for name, case, group, verdicts in cases:
        adapter, _, status, checks, blocked, weak, full = shown["numpy", name]
        assert (adapter, status) == ("numpy", _status(case))
        assert {one[0]: (float(one[2]), one[3]) for one in checks if one[2] is not None} == _numbers(case, group)
        assert blocked == case.get("blocked", {})
        assert weak == case.get("inconclusive", [])
        assert full == verdicts
        tensors = {one[0]: one[4] for one in checks if one[4]}
        assert tensors == {name: some for name, some in case.get("checks", group["checks"]).items() if some}


def test_the_overview_counts_the_cases_of_each_activation_and_dtype(page: Element, rows: Rows) -> None:
    counts: dict[tuple[str, str], Counter[str]] = {}
    worst: dict[tuple[str, str], float] = {}
    for name, case, group, verdicts in _cases(rows):
        fields, status = name.split("-"), _status(case)
        names = {re.sub(r"_\d[\dme]*(d\d+)?$", "", one) for one in fields[1].split(".")}
        failing = [one for one in verdicts if one["grade"] in ("wrong", "inaccurate") and "below_level" not in one]
        if status in ("failed", "expected") and failing and failing[0].get("activation") in fields[1].split("."):
            names = {re.sub(r"_\d[\dme]*(d\d+)?$", "", failing[0]["activation"])}
        for one in names:
            counts.setdefault((one, fields[4]), Counter())[status] += 1
            if status == "passed":
                margins = [margin for margin, _ in _numbers(case, group).values()]
                worst[one, fields[4]] = max([worst.get((one, fields[4]), 0.0), *margins])
    table = page.first("table", **{"class": "matrix"})
    seen = set()
    for link in table.every("a"):
        place = link.attributes["data-activation"], link.attributes["data-dtype"]
        seen.add(place)
        said = re.findall(r"(\d[\d,]*) (\w+)", link.attributes["title"].partition(";")[0])
        found = {what: int(number.replace(",", "")) for number, what in said}
        assert found == dict(counts[place])
        if place in worst:
            most = re.search(r"at most (\S+) σ", link.attributes["title"])
            assert most is not None
            assert float(most[1]) == pytest.approx(10 * worst[place], rel=0.051)
        failed, every = counts[place]["failed"], sum(counts[place].values())
        number = link.text.split()[-1].replace(",", "")
        assert number == (f"{failed}/{every}" if 0 < failed < every else str(every))
    assert seen == set(counts)


def test_the_distributions_count_the_largest_errors(page: Element, rows: Rows) -> None:
    due: dict[str, list[int]] = {}
    for name, case, group, _ in _cases(rows):
        margins = [margin for margin, _ in _numbers(case, group).values()]
        if margins:
            bins = due.setdefault(name.split("-")[5], [0] * 21)
            bins[20 if max(margins) > 1 else min(int(20 * max(margins)), 19)] += 1
    values = specs_in(page)["errors"]["data"]["values"]
    shown: dict[str, list[int]] = {}
    for row in values:
        if row["from"] <= 10:
            shown.setdefault(row["regime"], []).append(row["cases"])
            assert row["share"] == pytest.approx(row["cases"] / sum(due[row["regime"]]))
    assert shown == due


def test_bias_and_spread_are_means_of_the_moments(page: Element, rows: Rows) -> None:
    # The sums are integers, in the order of the fields of Sums.
    names = [one.name for one in fields(Sums)]
    sums: dict[tuple[str, str], Counter[str]] = {}
    for dtype, quantity, activation, _, *numbers in rows[-1]["moments"]["numpy"]:
        place = dtype, f"{quantity} {activation}".strip()
        sums.setdefault(place, Counter()).update(dict(zip(names, numbers, strict=True)))
    shown = page.first("section", id="bias").rows()
    assert {(row[1], row[2]) for row in shown} == set(sums)
    for _, dtype, quantity, entries, outward, plain, square, *_ in shown:
        of = sums[dtype, quantity]
        assert int(entries.replace(",", "")) == of["entries"]
        for text, name in ((outward, "outward"), (plain, "plain"), (square, "square")):
            if text != "-":
                assert float(text.split()[0]) == pytest.approx(of[name] * UNIT / of["entries"], rel=6e-3, abs=1e-9)
    found = Counter((row[7], row[8]) for row in shown)
    assert sum(found.values()) == len(sums)
    run = rows[-1]["run"]["numpy"]
    failed = sum(one["grade"] == "wrong" for one in run if one["check"] == "spread")
    assert Counter(row[8] for row in shown)["failed"] == failed


def test_a_failure_has_the_numbers_of_its_verdict(page: Element, rows: Rows) -> None:
    articles = page.every("article")
    causes = rows[-1]["causes"]
    assert len(articles) == len(causes)
    by_case = {name: verdicts for name, _, _, verdicts in _cases(rows)}
    for article, cause in zip(articles, causes, strict=True):
        assert f"in {cause['cases']:,} case" in article.first("h3").text
        assert article.first("a", **{"class": "case"}).text == cause["case"]
        assert all(mistake[1] in article.text for mistake in cause["mistakes"][:3])
        marked = [row for row in article.every("tr") if row.attributes.get("class") == "marked"]
        due = [one for one in by_case[cause["case"]] if one["grade"] in ("wrong", "inaccurate")]
        assert len(marked) == len(due)
        for row, verdict in zip(marked, due, strict=True):
            cells = [one.text for one in row.parts if isinstance(one, Element)]
            quantity, grade, at, observed, expected, sigmas = cells
            assert (quantity, grade) == (verdict["quantity"], verdict["grade"])
            assert at == f"[{', '.join(map(str, verdict['at']))}]"
            assert float(observed) == float(verdict["observed"])
            assert float(expected) == float(verdict["expected"])
            assert float(sigmas) == pytest.approx(10 * float(verdict["worst"]), rel=6e-3)
        assert f"kterm shrink {cause['case']} numpy --mutant" in article.text


def test_the_accounting_and_the_environment_are_the_records(page: Element, rows: Rows) -> None:
    counts = rows[-1]["accounting"]
    text = page.first("section", id="accounting").text
    assert f"planned {counts['planned']:,} = {counts['passed']:,} passed + {counts['failed']:,} failed" in text
    power, _, case, quantity = rows[-1]["weakest"]
    assert f"weakest pass: power {power:.3g}, {quantity} of {case} on numpy" in text
    environment = dict(row for row in page.first("section", id="environment").rows())
    assert environment["seed"] == str(rows[0]["seed"])
    assert environment["numpy: plan"] == rows[0]["adapters"][0]["plan"]
    for name, version in rows[0]["environment"]["libraries"].items():
        assert environment[name] == version


def test_conventions_at_kinks_are_those_that_cases_show(page: Element, rows: Rows) -> None:
    taken: dict[str, set[float]] = {}
    for name, case, _, _ in _cases(rows):
        for quantity, chosen in case.get("chosen", {}).items():
            names = name.split("-")[1].split(".")
            for point, slope in chosen:
                one = names[0] if len(names) == 1 else names[int(quantity.rpartition("_")[2]) - 1]
                taken.setdefault(f"{one} {point:g}", set()).add(float(slope))
    shown = {f"{row[0]} {row[1]}": row[4] for row in page.first("section", id="kinks").rows()}
    assert shown.keys() <= taken.keys()
    assert shown
    for place, said in shown.items():
        values = [float(one) for one in re.findall(r"-?[\d.]+(?:e-?\d+)?", said.partition("(")[0])]
        assert all(any(abs(value - one) < 1e-3 for one in values) for value in taken[place])


def test_measured_arithmetic_is_the_headers(page: Element, rows: Rows) -> None:
    measured = rows[0]["adapters"][0]["fingerprint"]["measured"]
    shown = [row for row in page.first("section", id="arithmetic").rows() if row[1].startswith("measured")]
    assert len(shown) == len(measured)
    for row, one in zip(shown, measured, strict=True):
        assert row[1:3] == [f"measured, {one['kind']} (batch {one['batch']})", one["dtype"]]
        assert f"accumulator {one['accumulator']}" in row[3] or one["accumulator"] is None
        assert f"operands {one['operands']}" in row[3]


def test_the_page_of_a_trace_has_its_layers(tmp_path: Path) -> None:
    next(fault for fault in FAULTS if fault.name == "lost-micro-batch").trace().save(tmp_path / "trace")
    assert kterm_here("judge", "trace", "--report", "trace.jsonl", "-n", "0", folder=tmp_path).returncode == 1
    page = read_page(write_page(tmp_path, tmp_path / "trace.jsonl"))
    rows = lines_of(tmp_path / "trace.jsonl")
    table = page.first("table", **{"class": "matrix"})
    assert [row.first("th").text for row in table.first("tbody").every("tr")] == ["layers.2", "layers.1", "layers.0"]
    failing = [one for one in table.every("td") if one.attributes["class"] == "fail"]
    assert [(one.first("a").attributes["data-regime"], one.first("a").attributes["data-check"]) for one in failing] == [
        ("layers.1", "weight_gradients")
    ]
    (article,) = page.every("article")
    assert "leaves out backward pass 3 of 4" in article.text
    assert "kterm reproduce TRACE layers.1 --step 0 -o bug.py" in article.text
    assert len(cases_in(page)) == rows[0]["planned"] == 3


def test_two_records_are_compared(tmp_path: Path, record: Path) -> None:
    plain = tmp_path / "plain.jsonl"
    run = ("--profile", "quick", "--activation", "tanh", "--activation", "relu", "--activation", "identity", "-n", "0")
    assert kterm_here("check", "numpy", *run, "-o", str(plain), folder=tmp_path).returncode == 0
    page = read_page(write_page(tmp_path, plain, record, name="compare.html"))
    said = kterm_here("compare", str(plain), str(record), "--verbose", folder=tmp_path).stdout
    assert page.first("ul", **{"class": "verdicts"}).text[2:] == said.splitlines()[0]
    assert "WORSE" in said
    for section in page.every("section"):
        for row in section.rows():
            assert all(cell in " ".join(said.split()) for cell in row)
    index = read_page((tmp_path / "report" / "index.html").read_text("utf-8"))
    links = {one.attributes["href"] for one in index.first("nav").every("a")}
    assert links == {"record-1.html", "record-2.html", "compare.html"}
    assert all((tmp_path / "report" / link).exists() for link in links)
