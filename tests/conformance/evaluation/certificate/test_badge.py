"""The badge: SVG that any reader of XML takes, in plain elements, whatever the names are."""

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from msgspec.structs import replace

from kterm.conformance.evaluation.certificate.badge import badge_text, to_svg
from kterm.conformance.evaluation.certificate.form import Certificate
from kterm.conformance.evaluation.certificate.make import certify
from kterm.conformance.records.form.text import printable
from kterm.conformance.records.record import read

from ....support.hostile.text import HOSTILE, trouble_in
from .conftest import Recorder

SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {
    "svg": {"width", "height", "role", "aria-label"},
    "title": set[str](),
    "rect": {"x", "width", "height", "fill"},
    "g": {"fill", "font-family", "font-size"},
    "text": {"x", "y", "textLength"},
}
"""All elements that a badge has, with their attributes. None runs a script, or refers to anything."""


@pytest.fixture(scope="module")
def certificate(record: Recorder) -> Certificate:
    """One of a small run."""
    path = record("port.py:Port")
    return certify(read(path), path, "port")


def _parsed(data: bytes) -> Xml.Element:
    root = Xml.fromstring(data)
    for element in root.iter():
        name = element.tag.removeprefix(SVG)
        assert element.tag.startswith(SVG)
        assert {*element.attrib} <= ALLOWED[name], name
    return root


def test_a_badge_says_levels_dtypes_and_cases(certificate: Certificate) -> None:
    cases = certificate.accounting["planned"]
    root = _parsed(to_svg(certificate))
    texts = [one.text for one in root.iter(f"{SVG}text")]
    assert texts == ["kterm", f"partial · f64 f32 · {cases} cases"]
    said = f"kterm: port 1.0: partial · f64 f32 · {cases} cases"
    assert (root.get("role"), root.get("aria-label"), root.findtext(f"{SVG}title")) == ("img", said, said)


def test_dtypes_are_shown_by_level(certificate: Certificate) -> None:
    levels = {"f64": "strict", "f32": "declared", "bf16": "partial", "f16": "declared"}
    one = replace(certificate, levels=levels, level="partial", accounting={"planned": 12345})
    assert badge_text(one) == "strict f64 · declared f32 f16 · partial bf16 · 12,345 cases"
    assert badge_text(replace(one, levels={"f64": "strict", "f32": "strict"})) == "strict · f64 f32 · 12,345 cases"


def test_each_level_has_its_color(certificate: Certificate) -> None:
    found = {to_svg(replace(certificate, level=level)) for level in ("strict", "declared", "partial")}
    assert len(found) == 3


def _contrast(color: str) -> float:
    """That of white text on a color, as WCAG 2 defines it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))]  # fmt: skip
    return 1.05 / (sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True)) + 0.05)


@pytest.mark.parametrize("level", ["strict", "declared", "partial"])
def test_text_can_be_read_on_its_color(certificate: Certificate, level: str) -> None:
    root = _parsed(to_svg(replace(certificate, level=level)))
    for rect in root.iter(f"{SVG}rect"):
        assert _contrast(str(rect.get("fill"))) >= 4.5


def test_texts_lie_within_their_boxes(certificate: Certificate) -> None:
    root = _parsed(to_svg(certificate))
    for rect, text in zip(root.iter(f"{SVG}rect"), root.iter(f"{SVG}text"), strict=True):
        left, width = (int(str(rect.get(name))) for name in ("x", "width"))
        assert (
            left < int(str(text.get("x"))) < int(str(text.get("x"))) + int(str(text.get("textLength"))) < left + width
        )
    assert root.get("width") == str(sum(int(str(rect.get("width"))) for rect in root.iter(f"{SVG}rect")))


HOSTILE_NAMES = (
    HOSTILE,
    '"><script>alert(1)</script>',
    "</title></svg><svg onload='x()'>",
    "]]>&amp;&#x1b;<!--",
    "\ud800\x00\x0b\ufffe",
    "n" * 100_000,
)


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_hostile_names_are_text(certificate: Certificate, name: str) -> None:
    subject = replace(certificate.adapter, name=name, version=name)
    data = to_svg(replace(certificate, adapter=subject))
    root = _parsed(data)
    title = str(root.findtext(f"{SVG}title"))
    assert printable(name)[:100] in title
    assert trouble_in(title) == []
    assert len(data) < 3000


def test_files_of_hostile_adapters_are_json_and_xml(tmp_path: Path) -> None:
    from ....support.here import kterm_here
    from ....support.hostile.text import write_adapters

    write_adapters(tmp_path)
    for command in (
        ("check", "hostile.py:Sound", "--profile", "quick", "-n", "0", "-o", "sound.jsonl"),
        ("certify", "sound.jsonl"),
    ):
        done = kterm_here(*command, folder=tmp_path)
        assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("kterm-*.json")
    assert written.name.isascii()
    assert written.name.isprintable()
    assert json.loads(written.read_bytes())["kind"] == "kterm certificate"
    _parsed(written.with_suffix(".svg").read_bytes())
