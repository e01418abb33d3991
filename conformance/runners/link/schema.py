"""The JSON Schema of every message, made from the types in `messages`.

python -m kterm.conformance.runners.link.schema > conformance/runners/link/protocol.schema.json
"""

import json
from typing import Any

import msgspec

from .messages import METHODS, Reply, Request


def make_schema() -> dict[str, Any]:
    """One schema: `$defs` holds the types, and `methods` says which a request and a reply of each method have."""
    request: Any = Request
    reply: Any = Reply
    types = [one for params, result in METHODS.values() for one in (request[params], reply[result])]
    found, definitions = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    pairs = list(zip(found[::2], found[1::2], strict=True))
    methods = {name: {"request": a, "reply": b} for name, (a, b) in zip(METHODS, pairs, strict=True)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kterm adapter protocol, version 1",
        "methods": methods,
        "$defs": definitions,
    }


def format_schema() -> str:
    """The schema as the text of its file."""
    return json.dumps(make_schema(), indent=2) + "\n"


if __name__ == "__main__":
    print(format_schema(), end="")
