"""The site in a browser: nothing is asked of another host, the search finds, and no page is wider than the window."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .built import build

pytest.importorskip("material", reason="the extra docs is not installed")
sync_api: Any = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)

SOME = ("index", "api", "tolerances")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a server of the built site, and its folder."""
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", folder
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=OPTIONS)
        yield opened
        opened.close()


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1000, "dark"), (1800, "light")])
def test_no_page_is_wider_than_the_window_or_asks_another_host(
    address: tuple[str, Path], browser: Any, width: int, scheme: str
) -> None:
    base, folder = address
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path in sorted(folder.glob("*.html")):
        # On a phone every page, since any may have a line that is too long.
        if path.stem != "404" and (width == 400 or path.stem in SOME):
            page.goto(base + path.name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
            assert page.evaluate("document.body.dataset.mdColorScheme") == {"light": "default", "dark": "slate"}[scheme]
    page.close()
    assert asked
    assert [one for one in asked if not one.startswith(base)] == []
    assert errors == []


def test_the_search_finds_a_page_by_the_keyboard_alone(address: tuple[str, Path], browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    page.goto(f"{address[0]}index.html")
    page.keyboard.press("/")
    page.keyboard.type("soak")
    page.locator(".md-search-result__item").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "index.html" not in url)
    assert "soak" in page.locator("article").inner_text().lower()
    page.close()


def test_figures_follow_the_scheme_that_the_reader_chooses(address: tuple[str, Path], browser: Any) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 900}, color_scheme="light")
    page.goto(f"{address[0]}tolerances.html")
    seen: set[tuple[str, str]] = set()
    for _ in range(3):
        scheme = page.evaluate("document.body.dataset.mdColorScheme")
        seen.add((scheme, page.evaluate("getComputedStyle(document.querySelector('article img')).colorScheme")))
        page.locator("label.md-header__button[for^=__palette]:visible").click()
        page.wait_for_timeout(100)
    assert seen == {("default", "light"), ("slate", "dark")}
    page.close()
