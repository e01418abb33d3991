"""The JSON Schema of a certificate, made from the types in `form`.

python -m kterm.conformance.evaluation.certificate.schema > docs/certificate.schema.json
"""

import json
from typing import Any

import msgspec

from .form import SCHEMA, Certificate


def make_schema() -> dict[str, Any]:
    """The schema that a certificate satisfies."""
    (found,), definitions = msgspec.json.schema_components([Certificate], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"a certificate of kterm, version {SCHEMA}",
        **found,
        "$defs": definitions,
    }


def format_schema() -> str:
    """The schema as the text of its file."""
    return json.dumps(make_schema(), indent=1) + "\n"


if __name__ == "__main__":
    print(format_schema(), end="")
