"""What makes a site of `docs/`: links to files outside that folder, three pages from the root, and the addresses.

The pages are read in two places, as files of the repository and on the site, with the same text. In a page, a link goes
to a file by its relative path. On the site, a link to a file that is no page of it goes to the repository. README.md is
read on the package index too and has whole addresses; here they become links within the site, which MkDocs checks.
`mkdocs.yml` names this file as a hook; `mkdocs build --strict` ends with an error where it logs a warning.
"""

import logging
import os.path
import re
from pathlib import Path
from urllib.parse import quote, unquote

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from kterm.conformance.records.views.links import DOCUMENTATION, REPOSITORY

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FROM_THE_ROOT = {
    "index.md": ROOT / "README.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "changelog.md": ROOT / "CHANGELOG.md",
}
"""Pages of the site that are files at the root of the repository."""
_PAGE_OF = {path: page for page, path in FROM_THE_ROOT.items()}
_LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))|(?<=\]: )\S+$", re.M)
_FENCED = re.compile(r"(^```.*?^```$)", re.M | re.S)

log = logging.getLogger(f"mkdocs.hooks.{__name__}")


def on_config(config: MkDocsConfig) -> None:
    """Give the site its address, and a link to the repository.

    `repo_url` stays empty: with it, each page would ask the host of the repository for its numbers of stars.
    """
    config.site_url = DOCUMENTATION
    config.extra["homepage"] = "index.html"
    config.extra["social"] = [{"icon": "fontawesome/brands/git-alt", "link": REPOSITORY, "name": "Source"}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that are files at the root of the repository."""
    for name, path in FROM_THE_ROOT.items():
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make each link of a page one that leads somewhere on the site or in the repository; log a warning for others."""
    name = page.file.src_uri
    folder = FROM_THE_ROOT.get(name, DOCS / name).parent
    # The odd parts are fenced blocks.
    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(lambda found: site_link(found[0], folder, name), part) for part in parts[::2]]
    return "".join(parts)


def site_link(target: str, folder: Path, name: str) -> str:
    """What a link to `target` is on the page `name` of the site, if the page is read in `folder` of the repository."""
    target, folder = _as_path(target, folder)
    if re.match(r"[a-z]+:|#", target):
        return target
    where, mark, fragment = target.partition("#")
    path = Path(os.path.normpath(folder / where))
    if not path.exists() or not path.is_relative_to(ROOT):
        log.warning("%s links to %s, which is no file of the repository", name, target)
        return target
    inside = _PAGE_OF.get(path)
    if inside is None and path.is_relative_to(DOCS) and path.is_file():
        inside = path.relative_to(DOCS).as_posix()
    if inside is not None:
        return os.path.relpath(inside, os.path.dirname(name)).replace(os.sep, "/") + mark + fragment
    return repository_link(path) + mark + fragment


def _as_path(target: str, folder: Path) -> tuple[str, Path]:
    """A link to a page of the site or to a file of the repository as a path, and the folder that it starts from."""
    where, mark, fragment = target.partition("#")
    if where.startswith(DOCUMENTATION):
        page = where.removeprefix(DOCUMENTATION)
        if page and not page.endswith(".html"):  # an image
            return (DOCS / page).relative_to(ROOT).as_posix(), ROOT
        page = page.removesuffix(".html") or "index"
        path = FROM_THE_ROOT.get(f"{page}.md", DOCS / f"{page}.md")
        return path.relative_to(ROOT).as_posix() + mark + fragment, ROOT
    if found := re.fullmatch(rf"{re.escape(REPOSITORY)}/(?:blob|tree)/main/(.+)", where):
        return unquote(found[1]) + mark + fragment, ROOT
    return target, folder


def repository_link(path: Path) -> str:
    """The address of a file or a folder of the repository."""
    kind = "tree" if path.is_dir() else "blob"
    return f"{REPOSITORY}/{kind}/main/{quote(path.relative_to(ROOT).as_posix())}"
