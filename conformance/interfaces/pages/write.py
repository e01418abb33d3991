"""The folder of a report."""

import os
from collections.abc import Mapping
from pathlib import Path

from ...cases.plan import OptionError
from .page import Page, render


def write_pages(pages: Mapping[str, Page], folder: Path) -> list[Path]:
    """Write pages, given by the names of their files, and give their paths. Raises OptionError where they cannot be
    written.
    """
    texts = {name: render(page) for name, page in pages.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            scratch = folder / f".{name}.{os.getpid()}"
            scratch.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
            scratch.replace(folder / name)
    except OSError as error:
        raise OptionError(f"-o {folder}: {error.strerror or error}; name a folder that can be written") from None
    return [folder / name for name in texts]
