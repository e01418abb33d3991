"""The protocol on the side of the suite's Python host, with the standard library and NumPy alone."""

import json
import sys
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from ....adapters import Adapter, Observation
from ....adapters.declarations import check_declarations, clean_version
from ....adapters.layout import IN_OUT, OUT_IN
from ....reference import ACTIVATIONS, BIASES, DTYPES, Array, Network, Parameters, Structure, name_with
from ..form import holds_none

_NAMES = {dtype.numpy: name for name, dtype in DTYPES.items()}
_WIRE_NAMES = {IN_OUT.name: "in_out", OUT_IN.name: "out_in"}
_SWAPS = sys.byteorder == "big"

OPTIONAL = ("converts", "memory", "reread", "script")
"""What this host has beyond the protocol."""


def declare(adapter: Adapter) -> dict[str, Any]:
    """The result of `initialize`. Raises ValueError, in one line, for a declaration that the suite cannot use."""
    check_declarations(adapter)
    return {
        "protocol": 1,
        "name": adapter.name,
        "version": clean_version(adapter),
        "layout": _WIRE_NAMES.get(adapter.weight_layout.name, adapter.weight_layout.name),
        "dtypes": [name for name in DTYPES if name in adapter.dtypes],
        "activations": [name for name in ACTIVATIONS if name in adapter.activations],
        "biases": [name for name in BIASES if name in adapter.biases],
        "framework": adapter.framework,
        "framework_version": adapter.framework_version,
        "device": adapter.device,
        "kinks": [
            [name, float(point), float(slope)]
            for name, slopes in adapter.slopes_at_kinks.items()
            for point, slope in slopes.items()
        ],
        "zero_width": adapter.zero_width,
        "propagates": list(adapter.propagates),
        "arithmetic": {dtype: one.to_json() for dtype, one in adapter.arithmetic.items()},
        "result_dtypes": dict(adapter.result_dtypes),
        "fixed_parameters": {
            name: {key: float(value) for key, value in values.items()}
            for name, values in adapter.fixed_parameters.items()
        },
        "limits": {
            "max_structures": None if adapter.max_structures is None else int(adapter.max_structures),
            **({} if adapter.limits is None else adapter.limits.to_json()),
        },
        "optional": OPTIONAL,
        "has_script": adapter.has_script,
    }


def read_structure(message: Mapping[str, Any]) -> Structure:
    """The structure of a `build` request."""
    names = tuple(name_with(one["name"], one["parameters"]) for one in message["activations"])
    network = Network(tuple(message["widths"]), names, message["bias"])
    return Structure(network, message["batch"], message["dtype"])


def read_call(message: Mapping[str, Any]) -> tuple[Parameters, Array, Array]:
    """The numbers of a `backprop` request."""
    weights, biases = (tuple(map(_read_array, message[key])) for key in ("weights", "biases"))
    return Parameters(weights, biases), _read_array(message["x"]), _read_array(message["y"])


def write_observation(observed: Observation, is_modified: bool) -> bytes:
    """The result of `backprop` as JSON. What is no array becomes the name of its type."""
    fields = (
        ("outputs", _write_value(observed.outputs)),
        ("error", _write_value(observed.error)),
        ("weight_gradients", _write_values(observed.weight_gradients)),
        ("bias_gradients", _write_values(observed.bias_gradients)),
        ("z", _write_values(observed.z)),
        ("x", _write_values(observed.x)),
        ("k", _write_values(observed.k)),
        ("modified", b"true" if is_modified else b"false"),
    )
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields) + b"}"


def write_reply(number: Any, result: bytes) -> bytes:
    """A reply with a result that is JSON already, as a line."""
    return b'{"jsonrpc":"2.0","id":%s,"result":%s}\n' % (to_json(number), result)


def write_error(number: Any, code: int, message: str) -> bytes:
    """A reply with an error, as a line."""
    return b'{"jsonrpc":"2.0","id":%s,"error":%s}\n' % (to_json(number), to_json({"code": code, "message": message}))


def to_json(value: Any) -> bytes:
    """JSON in ASCII, without half characters."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _read_array(message: Mapping[str, Any]) -> Array:
    array = np.frombuffer(a2b_base64(message["data"]), DTYPES[message["dtype"]].numpy).reshape(message["shape"])
    return array.byteswap() if _SWAPS else array


def _write_values(values: Any) -> bytes:
    return b"null" if values is None else b"[" + b",".join(map(_write_value, values)) + b"]"


def _write_value(value: Any) -> bytes:
    if value is None:
        return b"null"
    if not isinstance(value, np.ndarray | np.generic):
        return to_json(f"{type(value).__module__}.{type(value).__name__}")
    # What it says of itself does not count: a subclass may say anything.
    plain = np.array(value, order="C", subok=False)
    if holds_none(plain):
        return b"null"
    name = _NAMES.get(plain.dtype)
    if name is None:
        return to_json({"dtype": str(plain.dtype), "shape": plain.shape, "data": ""})
    data = b2a_base64((plain.byteswap() if _SWAPS else plain).tobytes(), newline=False)
    return b'%s%s"}' % (_begin_tensor(name, plain.shape), data)


@cache
def _begin_tensor(name: str, shape: tuple[int, ...]) -> bytes:
    # Kept, as few shapes come again and again: making JSON of a shape takes longer than all the rest of a small tensor.
    return b'{"dtype":"%s","shape":%s,"data":"' % (name.encode(), to_json(shape))
