"""The schema in the package is the one that the types give."""

from pathlib import Path

from kterm.conformance.runners.link import schema


def test_the_schema_of_the_package_is_up_to_date() -> None:
    assert Path(schema.__file__).with_name("protocol.schema.json").read_text(encoding="utf-8") == schema.format_schema()
