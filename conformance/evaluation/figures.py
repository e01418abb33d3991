"""Measured figures as plain data."""

import math
from typing import Any


def to_json_types(value: Any) -> Any:
    """Convert tuples to lists, and numbers that JSON lacks (NaN, infinities) to strings that `float` reads."""
    if isinstance(value, dict):
        return {key: to_json_types(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_types(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
