"""Text that would change what a terminal shows, and an adapter and a record that are full of it."""

import json
import unicodedata
from pathlib import Path

HOSTILE = (
    "[bold red]x[/] [/] :smile: \x1b[2J\x1b]0;title\x07\x9b1m\u202e\u2066\u200b\u3164a" + "\u0301" * 60
    + "\r\nPASS everything: 9 cases, 0 failures\nconforms (componentwise) \u2028{0} %s `\\"
)  # fmt: skip
"""Markup, an emoji code, escapes, characters that turn the order round or show nothing, and lines of a report."""

_ADAPTERS = """
from dataclasses import replace
from kterm.adapters.numpy_adapter import Numpy

TEXT = {text!r}

class Sound(Numpy):
    name = "".join(c for c in TEXT if c.isprintable())
    version = TEXT + "v" * 10**6
    dtypes = ("f64",)
    activations = {{name: Numpy.activations[name] for name in ("identity", "tanh")}}
    max_structures = 8

class Wrong(Sound):
    max_structures = None

    def build(self, structure):
        program = super().build(structure)
        def doubled(*given):
            observed = program(*given)
            return replace(observed, weight_gradients=tuple(2 * g for g in observed.weight_gradients))
        return doubled

class Raises(Wrong):
    def build(self, structure):
        raise RuntimeError(TEXT + "y" * 10**6)

class Misnamed(Wrong):
    name = TEXT

class Unloadable(Wrong):
    def __init__(self, *given):
        raise RuntimeError(TEXT)
"""


def write_adapters(folder: Path) -> None:
    """The file hostile.py with the classes Sound, Wrong, Raises, Misnamed (whose name is no line) and Unloadable."""
    (folder / "hostile.py").write_text(_ADAPTERS.format(text=HOSTILE), encoding="utf-8")


def make_hostile(source: Path, target: Path, name: str) -> None:
    """A copy of a plain record whose adapter `name`, version, device, messages, reasons and environment are hostile, at
    any length.
    """
    lines = []
    for line in source.read_text(encoding="utf-8").replace(json.dumps(name), json.dumps(HOSTILE)).splitlines():
        one = json.loads(line)
        if one["kind"] == "header":
            for adapter in one["adapters"]:
                adapter["version"] = HOSTILE + "v" * 10**6
                adapter["framework_version"] = HOSTILE
            for entry in one["expectations"]:
                entry["reason"] = HOSTILE
            one["environment"]["cpu"] = HOSTILE + "c" * 10**6
        if one.get("message"):
            one["message"] = HOSTILE
        lines.append(json.dumps(one))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def trouble_in(said: str) -> list[str]:
    """The lines of an output that show what they should not: that control a terminal, replace what was written, stand
    there as if the suite had said them, hide characters, or have no end.
    """
    bad = []
    for line in said.split("\n"):
        marks = longest = 0
        for c in line:
            marks = marks + 1 if unicodedata.combining(c) else 0
            longest = max(longest, marks)
        forged = line.startswith(("PASS everything", "conforms (componentwise) \u2028"))
        if not line.isprintable() or longest > 4 or forged or "\U0001f604" in line or len(line) > 30_000:
            bad.append(line[:300])
    return bad
