"""The JSON Schema of a record's lines, made from the types in `lines`.

python -m kterm.conformance.records.form.schema > docs/record.schema.json
"""

import json
from typing import Any

import msgspec

from .lines import SCHEMA, CaseLine, Footer, GroupLine, Header, VerdictLine


def make_schema() -> dict[str, Any]:
    """One schema, which each line of a record satisfies."""
    types = [Header, GroupLine, CaseLine, VerdictLine, Footer]
    found, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"a line of a kterm record, version {SCHEMA}",
        "anyOf": list(found),
        "$defs": definitions,
    }


def format_schema() -> str:
    """The schema as the text of its file."""
    return json.dumps(make_schema(), indent=1) + "\n"


if __name__ == "__main__":
    print(format_schema(), end="")
