"""The lines on docs/found.md that show what a framework computes are Python, and run where the framework is installed
in the version of the page.
"""

import ast
import builtins
import re
import shutil
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pytest

from .. import page

PACKAGES = {
    "MLX": "mlx", "PaddlePaddle": "paddlepaddle", "TensorFlow": "tensorflow-cpu", "PyTensor": "pytensor",
    "thinc": "thinc", "Keras": "keras", "tinygrad": "tinygrad", "MindSpore": "mindspore", "PyTorch": "torch",
}  # fmt: skip
"""What is installed for a framework, by the first word of its section."""
_SHOWN = re.compile(r"#\s*(-?\d[\d.]*(?:e-?\d+)?|nan)\b")


def _sections() -> Iterator[tuple[str, str]]:
    """The heading of each section, and its indented lines as one program."""
    for section in re.split(r"^## ", page("docs/found.md"), flags=re.M)[1:]:
        heading, _, text = section.partition("\n")
        blocks = re.findall(r"(?:^ {4}.*\n)+", text, re.M)
        if blocks:
            yield heading, "".join(map(textwrap.dedent, blocks))


SECTIONS = dict(_sections())
_TEXTS = {one.partition("\n")[0]: one for one in re.split(r"^## ", page("docs/found.md"), flags=re.M)[1:]}


def run(code: str, names: dict[str, Any]) -> int:
    """Run a program, and compare the value of each expression with the first number in its comment. Returns how many
    were compared.
    """
    compared, lines = 0, code.splitlines()
    for node in ast.parse(code).body:
        rest = lines[(node.end_lineno or 1) - 1].encode()[node.end_col_offset :].decode()
        shown = None if rest.startswith(";") else _SHOWN.search(rest)
        if isinstance(node, ast.Expr) and shown is not None:
            value = eval(compile(ast.Expression(node.value), "<found>", "eval"), names)
            assert same(value, shown[1]), f"{ast.unparse(node)} gives {value}, and the page says {shown[1]}"
            compared += 1
        else:
            exec(compile(ast.Module([node], []), "<found>", "exec"), names)
    return compared


def same(value: Any, shown: str) -> bool:
    """Whether the first number of a value, rounded to as many digits, is the one that is shown."""
    value = value[0] if isinstance(value, list | tuple) else value
    value = value.detach() if hasattr(value, "detach") else value
    value = value.numpy() if hasattr(value, "numpy") else value
    first = float(np.asarray(value, dtype=np.float64).ravel()[0])
    if shown == "nan":
        return bool(np.isnan(first))
    digits = max(len(re.sub(r"e.*|\D", "", shown).lstrip("0")), 1)
    return float(f"{first:.{digits - 1}e}") == float(shown)


def test_there_are_sections() -> None:
    assert len(SECTIONS) >= 8
    assert {heading.split()[0].rstrip(":,") for heading in SECTIONS} <= set(PACKAGES)


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_is_shown_is_python_and_uses_no_name_that_it_does_not_make(heading: str) -> None:
    assert unknown_names(SECTIONS[heading]) == set()


def unknown_names(code: str) -> set[str]:
    """The names that a program uses and neither imports nor assigns."""
    nodes = list(ast.walk(ast.parse(code)))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    made = {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}
    made |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - made - set(dir(builtins))


def test_a_name_that_is_not_made_is_found() -> None:
    assert unknown_names("import a.b, c as d\nx = a.b(d)\nf(lambda z: z + x)\n") == {"f"}


@pytest.mark.parametrize("heading", SECTIONS)
def test_what_is_shown_is_what_the_framework_gives(heading: str) -> None:
    installed = ""
    with suppress(PackageNotFoundError):
        installed = version(PACKAGES[heading.split()[0].rstrip(":,")]).partition("+")[0]
    if not installed or installed not in heading:
        pytest.skip(f"{heading} is not installed")
    if "cuda" in SECTIONS[heading] and not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("no GPU")
    if "with clang" in _TEXTS[heading] and shutil.which("clang") is None:
        pytest.skip("no clang")
    names: dict[str, Any] = {}
    run(SECTIONS[heading], names)


@pytest.mark.parametrize(
    ("value", "shown", "due"),
    [
        (1.0507, "1.0507", True),
        (1.05070098, "1.0507", True),
        ([0.0], "0", True),
        (np.nan, "nan", True),
        (1.0508, "1.0507", False),
        (1e-9, "0", False),
        (0.0, "nan", False),
    ],
)
def test_another_value_is_found(value: Any, shown: str, due: bool) -> None:
    assert same(value, shown) is due
    if not due:
        with pytest.raises(AssertionError, match="the page says"):
            run(f"x  # {shown} where it is something else", {"x": value})
