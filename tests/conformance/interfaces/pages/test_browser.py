"""Pages in headless Chromium: what a reader sees and does, by mouse and by keyboard alone, and that nothing else is
asked for. Without Chromium or Playwright these are skipped.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ....support.here import kterm_here
from ....support.mistakes.models.faults import FAULTS
from .made import MUTANT, make_run, write_page

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("KTERM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

_OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
MOST_BYTES = 4_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that fails, with its failures replayed and mistakes planted, and the page of a trace."""
    folder = tmp_path_factory.mktemp("browser")
    make_run(folder)
    some = ("--mutant", "sign", "--mutant", "factor-2", "--profile", "smoke", "--dtype", "f64", "-n", "0")
    assert kterm_here("mutants", *some, "--json", "kills.json", folder=folder).returncode == 0
    ulp = ("ulp", "numpy", "--dtype", "bf16", "--activation", "relu", "--activation", "identity", "-n", "0")
    kterm_here(*ulp, "--json", "ulp.jsonl", folder=folder)
    given = ("run.jsonl", "--kills", "kills.json", "--replay")
    done = kterm_here("report", *given, "-o", "report", folder=folder)
    assert done.returncode == 0, done.stderr
    next(fault for fault in FAULTS if fault.name == "lost-micro-batch").trace().save(folder / "trace")
    assert kterm_here("judge", "trace", "--report", "trace.jsonl", "-n", "0", folder=folder).returncode == 1
    write_page(folder, folder / "run.jsonl", folder / "trace.jsonl", name="record-2.html")
    kterm_here("report", *given, "-o", "report", folder=folder)
    _write_comparison(folder)
    return folder / "report"


def _write_comparison(folder: Path) -> None:
    """The pages of a run of two adapters, and of another one of one of them that fails."""
    for name, given in (("old", ("numpy", "torch")), ("new", ("numpy", "--mutant", MUTANT))):
        some = ("--profile", "smoke", "--dtype", "f64", "--activation", "tanh", "-n", "0", "--report", f"{name}.jsonl")
        assert kterm_here("check", *given, *some, folder=folder).returncode in (0, 1)
    done = kterm_here("report", "old.jsonl", "new.jsonl", "-o", "report/compared", folder=folder)
    assert done.returncode == 0, done.stderr


class Opened:
    """A page that is open, with what it complained of and asked for."""

    def __init__(self, browser: Any, path: Path, width: int = 1000, theme: str = "light", anchor: str = "") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        self.page = self.context.new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: self.troubles.append(dialog.message))
        self.page.on("request", self._note)
        self.address = path.as_uri()
        self.page.goto(self.address + anchor)
        self.page.wait_for_selector("html[data-ready], body:not(:has(#cases))")

    def _note(self, request: Any) -> None:
        if request.url.partition("#")[0] != self.address and not request.url.startswith(("data:", "blob:")):
            self.troubles.append(f"asked for {request.url}")

    def draw_all(self) -> None:
        """Have every chart drawn."""
        for plot in self.page.query_selector_all(".plot"):
            plot.scroll_into_view_if_needed()
            self.page.wait_for_selector(f".plot[data-chart={plot.get_attribute('data-chart')}] svg")

    def __enter__(self) -> Any:
        return self.page

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("width", [400, 1000, 1800])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "record-2.html", "compared/index.html", "compared/compare.html"])
def test_a_page_is_quiet_fits_and_is_accessible(browser: Any, report: Path, name: str, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    opened = Opened(browser, report / name, width, theme)
    with opened as page:
        opened.draw_all()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.get_attribute("html", "data-theme") == theme
        if page.query_selector("#cases") is not None:
            page.evaluate("location.hash = document.querySelector('#list a').getAttribute('href')")
            page.wait_for_selector("#case:visible")
        for one in page.query_selector_all("details"):
            one.evaluate("one => { one.open = true; }")
        found = axe.run(page).response["violations"]
        assert [(one["id"], [node["html"][:200] for node in one["nodes"]][:3]) for one in found] == []
    assert opened.troubles == []
    assert (report / name).stat().st_size <= MOST_BYTES


def test_the_first_page_of_two_records_leads_to_their_comparison(browser: Any, report: Path) -> None:
    with Opened(browser, report / "compared" / "index.html") as page:
        verdicts = [one.inner_text() for one in page.query_selector_all(".verdicts li")]
        assert [said.partition(":")[0].split()[-1] for said in verdicts][:3] == ["old.jsonl", "old.jsonl", "new.jsonl"]
        assert "comparison: WORSE" in verdicts[3]
        page.click(".verdicts li:last-child a")
        page.wait_for_url("**/compare.html")
        assert "WORSE" in page.inner_text(".verdicts")
        assert "Not compared: torch (old run only)." in page.inner_text("main")
        assert "regression" in page.inner_text("main")
        page.click("nav a:has-text('new.jsonl')")
        page.wait_for_selector("html[data-ready]")
        assert MUTANT in page.inner_text(".verdicts")


def test_a_trace_is_shown_by_its_layers_and_quantities(browser: Any, report: Path) -> None:
    with Opened(browser, report / "record-2.html") as page:
        heads = [one.inner_text() for one in page.query_selector_all(".matrix thead th")]
        assert heads[0] == "layer"
        assert {"dL/dW", "dL/db"} <= set(heads)
        assert "A case is a layer in a step" in page.inner_text("#overview")
        assert "dL/dW of" in page.inner_text(".failure h3")
        assert "dE/d" not in page.inner_text("#bias")
        marks = page.locator("#errors .plot svg .mark-symbol path")
        page.query_selector("#errors .plot").scroll_into_view_if_needed()
        page.wait_for_selector("#errors .plot svg")
        layers = len(page.query_selector_all(".matrix tbody tr"))
        assert marks.count() >= layers * (len(heads) - 1)


def test_a_table_that_is_too_wide_scrolls_in_its_box(browser: Any, report: Path) -> None:
    """Labels for screen readers too: a cell's is placed absolutely, and widened the page where its box did not hold
    it.
    """
    with Opened(browser, report / "index.html", width=320) as page:
        box = page.query_selector(".matrices .wide")
        # As of a run with more dtypes.
        box.evaluate("box => { box.querySelector('table').style.width = '600px'; }")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_first_view_is_there_before_the_cases_are_read(browser: Any, report: Path) -> None:
    with Opened(browser, report / "index.html") as page:
        paints = page.evaluate("performance.getEntriesByName('first-contentful-paint').map((one) => one.startTime)")
        ready = page.evaluate("performance.now()")
        assert len(paints) == 1
        assert 0 < paints[0] < ready
        assert "FAIL numpy" in page.inner_text(".verdicts")
        assert MUTANT in page.inner_text(".verdicts")


def test_search_and_filters_find_cases(browser: Any, report: Path) -> None:
    with Opened(browser, report / "index.html") as page:
        every = int(page.inner_text("#found").split(" of ")[1].split()[0].replace(",", ""))
        assert page.inner_text("#found").startswith(f"{every:,} of")
        page.select_option("select[name=status]", "failed")
        failed = int(page.inner_text("#found").split()[0].replace(",", ""))
        assert 0 < failed < every
        assert f"{failed:,} failed" in page.inner_text("#accounting")
        assert {one.inner_text() for one in page.query_selector_all("#list tbody td:nth-child(3)")} == {"failed"}
        page.fill("#search", "tanh kinks")
        ids = [one.inner_text() for one in page.query_selector_all("#list tbody td:nth-child(1)")]
        assert ids
        assert all("tanh" in one and "kinks" in one for one in ids)
        page.fill("#search", "no such case")
        assert page.inner_text("#found").startswith("0 of")
        page.click("button[type=reset]")
        page.wait_for_timeout(100)
        page.wait_for_selector("#list tbody tr")
        assert page.inner_text("#found").startswith(f"{every:,} of")
        page.select_option("select[name=order]", "worst")
        shown = [one.inner_text() for one in page.query_selector_all("#list tbody td:nth-child(5)")]
        numbers = [float("inf") if one == "∞" else float(one or -1) for one in shown]
        assert numbers == sorted(numbers, reverse=True)


def test_a_cell_leads_to_its_cases(browser: Any, report: Path) -> None:
    with Opened(browser, report / "index.html") as page:
        cell = page.query_selector(".matrix td.fail a[data-activation=tanh]")
        dtype = cell.get_attribute("data-dtype")
        cell.click()
        ids = [one.inner_text() for one in page.query_selector_all("#list tbody td:nth-child(1)")]
        assert ids
        assert all("tanh" in one.split("-")[1] and one.split("-")[4] == dtype for one in ids)


def test_a_failure_leads_to_its_case(browser: Any, report: Path) -> None:
    with Opened(browser, report / "index.html") as page:
        failure = page.query_selector(".failure")
        assert failure is not None
        case = failure.query_selector("a.case").inner_text()
        marked = failure.query_selector("tr.marked").inner_text().split("\t")
        summaries = [one.inner_text() for one in failure.query_selector_all("summary")]
        assert summaries[:2] == ["The pass beside the rule's", "The smallest case"]
        failure.query_selector("summary").click()
        assert "first step that departs" in failure.query_selector("pre").inner_text()
        failure.query_selector("a.case").click()
        page.wait_for_selector("#case:visible")
        assert page.inner_text("#case-title") == f"{case} on numpy"
        rows = [
            one.inner_text().split("\t") for one in page.query_selector_all("#case-body table:last-of-type tr.marked")
        ]
        assert any(row[0] == marked[0] and marked[3] in row for row in rows)
        address = page.url
    with Opened(browser, report / "index.html", anchor="#" + address.partition("#")[2]) as page:
        page.wait_for_selector("#case:visible")
        assert page.inner_text("#case-title") == f"{case} on numpy"


def test_the_keyboard_alone_is_enough(browser: Any, report: Path) -> None:
    with Opened(browser, report / "index.html") as page:
        press, focused = page.keyboard.press, "document.activeElement"
        press("Tab")
        assert page.evaluate(f"{focused}.className") == "skip"
        press("Enter")
        press("t")
        assert page.get_attribute("html", "data-theme") == "dark"
        press("f")
        assert page.evaluate(f"{focused}.className") == "failure"
        press("/")
        assert page.evaluate(f"{focused}.id") == "search"
        page.keyboard.type("converged")
        press("Escape")
        press("j")
        press("j")
        press("k")
        first = page.evaluate(f"{focused}.textContent")
        assert "converged" in first
        press("Enter")
        page.wait_for_selector("#case:visible")
        assert page.inner_text("#case-title").startswith(first)
        assert page.evaluate(f"{focused}.id") == "case"
        press("Escape")
        page.wait_for_selector("#case", state="hidden")
        # Every control can be reached, and none keeps the focus.
        seen: list[str] = []
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        for _ in range(400):
            press("Tab")
            seen.append(page.evaluate(f"{focused}.id || {focused}.name || {focused}.tagName"))
        for wanted in ("theme", "search", "status", "dtype", "regime", "order", "mutants-choice"):
            assert wanted in seen


def test_the_theme_stays_and_charts_follow_it(browser: Any, report: Path) -> None:
    opened = Opened(browser, report / "index.html")
    with opened as page:
        opened.draw_all()
        light = page.eval_on_selector(".plot svg", "one => one.outerHTML")
        page.click("#theme")
        page.wait_for_timeout(400)
        assert page.get_attribute("html", "data-theme") == "dark"
        assert page.eval_on_selector(".plot svg", "one => one.outerHTML") != light
        page.reload()
        page.wait_for_selector("html[data-ready]")
        assert page.get_attribute("html", "data-theme") == "dark"
    assert opened.troubles == []


def test_a_choice_changes_the_chart(browser: Any, report: Path) -> None:
    opened = Opened(browser, report / "index.html")
    with opened as page:
        opened.draw_all()
        marks = page.locator("#mutants .plot svg [role=graphics-symbol], #mutants .plot svg .mark-rect path")
        assert marks.count() > 2


def test_a_page_prints(browser: Any, report: Path) -> None:
    with Opened(browser, report / "index.html") as page:
        page.emulate_media(media="print")
        assert not page.is_visible("header")
        assert not page.is_visible("#cases")
        assert page.is_visible("#overview")
        assert page.is_visible(".failure")
        assert len(page.pdf()) > 10_000


def test_without_scripts_the_results_are_there(browser: Any, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((report / "index.html").as_uri())
    assert "FAIL numpy" in page.inner_text(".verdicts")
    assert page.query_selector(".failure") is not None
    assert "needs JavaScript" in page.content()
    context.close()
