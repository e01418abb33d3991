"""What a page of `kterm report` costs: its bytes, the seconds that it takes to write, and when a reader sees it.

    kterm check --report run.jsonl
    python -m benchmarks.cost.pages run.jsonl

Needs `kterm[report]`, Playwright and Chromium. The first view is Chromium's first contentful paint; after "ready", the
cases can be searched. Both are medians of several loads in new contexts, each with nothing in its caches.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from kterm.conformance.interfaces.pages.make import INDEX, make_pages
from kterm.conformance.interfaces.pages.write import write_pages
from kterm.conformance.records.record import read

OPTIONS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
"""Chromium starts without a network, and as root."""


def measure_loads(page: Path, loads: int, width: int) -> Iterator[tuple[float, float]]:
    """For each load, the milliseconds until the first contentful paint and until the cases can be searched."""
    with import_module("playwright.sync_api").sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=list(OPTIONS))
        for _ in range(loads):
            context = browser.new_context(viewport={"width": width, "height": 900})
            tab = context.new_page()
            tab.goto(page.as_uri())
            tab.wait_for_selector("html[data-ready]")
            ready = tab.evaluate("performance.now()")
            paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            yield tab.evaluate(paint), ready
            context.close()
        browser.close()


def main() -> None:
    """Measure the page of a record, and print a line for each width."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", type=Path)
    parser.add_argument("--loads", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        write_pages(make_pages([(options.record.name, read(options.record))]), Path(folder))
        page = Path(folder) / INDEX
        print(f"{page.stat().st_size / 1e6:.2f} MB, written in {time.process_time() - started:.1f} s of CPU time")
        for width in (400, 1000, 1800):
            paints, readies = zip(*measure_loads(page, options.loads, width), strict=True)
            print(
                f"{width} pixels: first view {statistics.median(paints):.0f} ms (at most {max(paints):.0f}), "
                f"cases to search after {statistics.median(readies):.0f} ms"
            )


if __name__ == "__main__":
    main()
