"""The badge of a certificate: an SVG of one line, for a page on the web.

It is built as a tree of elements, so all text is escaped, and it has no script, no link and no reference to anything
outside it. Text is as long as `textLength` says, in whatever font is there.
"""

from xml.etree import ElementTree as Xml

from ...records.form.text import count, shorten
from .form import Certificate, CertificateLevel

_SPACE = "http://www.w3.org/2000/svg"
_COLORS: dict[CertificateLevel, str] = {"strict": "#2c7a2c", "declared": "#1b6a91", "partial": "#6b5b00"}
"""On each of them white text has a contrast of at least 4.5."""
_LABEL_COLOR = "#444444"
_HEIGHT, _BASELINE, _PADDING, _PER_CHARACTER = 20, 14, 6, 6.5
_MOST_CHARACTERS = 200


def badge_text(certificate: Certificate) -> str:
    """What the badge says: the level of each dtype, and the number of cases."""
    by_level: dict[CertificateLevel, list[str]] = {}
    for dtype, level in certificate.levels.items():
        by_level.setdefault(level, []).append(dtype)
    between = " · " if len(by_level) == 1 else " "
    parts = [f"{level}{between}{' '.join(by_level[level])}" for level in _COLORS if level in by_level]
    return " · ".join((*parts, count(certificate.accounting["planned"], "case")))


def describe(certificate: Certificate) -> str:
    """The badge in words, for who cannot see it: with the adapter and its version."""
    who = f"{certificate.adapter.name} {certificate.adapter.version}".rstrip()
    return shorten(f"kterm: {who}: {badge_text(certificate)}", _MOST_CHARACTERS)


def to_svg(certificate: Certificate) -> bytes:
    """The badge, in UTF-8."""
    label, text = "kterm", shorten(badge_text(certificate), _MOST_CHARACTERS)
    left, right = (_width(one) + 2 * _PADDING for one in (label, text))
    root = Xml.Element(
        "svg",
        {
            "xmlns": _SPACE,
            "width": f"{left + right}",
            "height": f"{_HEIGHT}",
            "role": "img",
            "aria-label": describe(certificate),
        },
    )
    Xml.SubElement(root, "title").text = describe(certificate)
    for x, width, color in ((0, left, _LABEL_COLOR), (left, right, _COLORS[certificate.level])):
        Xml.SubElement(root, "rect", x=f"{x}", width=f"{width}", height=f"{_HEIGHT}", fill=color)
    font = {"fill": "#ffffff", "font-family": "Verdana,DejaVu Sans,sans-serif", "font-size": "11"}
    group = Xml.SubElement(root, "g", font)
    for x, one in ((_PADDING, label), (left + _PADDING, text)):
        Xml.SubElement(group, "text", x=f"{x}", y=f"{_BASELINE}", textLength=f"{_width(one)}").text = one
    Xml.indent(root, space="")
    return Xml.tostring(root, encoding="utf-8") + b"\n"


def _width(text: str) -> int:
    """About how wide a text is in pixels."""
    return round(len(text) * _PER_CHARACTER)
