"""A program with holes that speaks the protocol, in Python with its standard library alone. It can be translated."""

PROCESS = '''"""@NAME@ as a program, checked with: kterm check @SPEC@ --profile smoke

It reads requests and writes replies, one line of JSON each. Translate it if the framework is in another language.
"""

import base64
import json
import sys
from typing import Any

# HOLE 1: import the framework, and list the activations that it has, by the names that kterm has for them.
ACTIVATIONS: list[str] = []
STRUCTURES: list[Any] = []


def read_tensor(tensor: Any) -> Any:
    data = base64.b64decode(tensor["data"], validate=True)
    # HOLE 2: make an array of the framework of these little-endian bytes. tensor["dtype"] is f64 or f32, and
    # tensor["shape"] the shape, by rows.
    raise RuntimeError(f"fill in hole 2 of adapter.py ({len(data)} bytes)")


def write_tensor(array: Any) -> dict[str, Any]:
    # HOLE 3: the dtype, the shape and the little-endian bytes of an array of the framework, by rows.
    dtype, shape, data = "f64", [0], b""
    return {"dtype": dtype, "shape": shape, "data": base64.b64encode(data).decode()}


def initialize(params: Any) -> dict[str, Any]:
    return {
        "protocol": 1,
        "name": "@NAME@",
        "version": "0",  # HOLE 4: the framework's own
        "layout": "in_out",  # HOLE 5: how a dense layer stores its matrix: in_out for x W, out_in for its transpose
        "dtypes": ["f64", "f32"],  # HOLE 6: what it computes in
        "activations": ACTIVATIONS,
        "biases": ["none", "pre", "post"],
    }


def build(params: Any) -> dict[str, Any]:
    # The structure holds widths, activations (each with name and parameters), bias, dtype and batch. Make layers of it
    # here if the framework has such.
    STRUCTURES.append(params["structure"])
    return {"program": len(STRUCTURES) - 1}


def backprop(params: Any) -> dict[str, Any]:
    structure = STRUCTURES[params["program"]]
    weights, biases = [*map(read_tensor, params["weights"])], [*map(read_tensor, params["biases"])]
    x, y = read_tensor(params["x"]), read_tensor(params["y"])
    outputs, error, weight_gradients, bias_gradients = run(structure, weights, biases, x, y)
    return {
        "outputs": write_tensor(outputs),
        "error": write_tensor(error),
        "weight_gradients": [*map(write_tensor, weight_gradients)],
        "bias_gradients": [*map(write_tensor, bias_gradients)],
    }


def run(structure: Any, weights: Any, biases: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
    # HOLE 7: run the framework forward and backward. The error is the sum of (outputs - y)**2, over 2.
    raise RuntimeError("fill in hole 7 of adapter.py")


def release(params: Any) -> dict[str, Any]:
    STRUCTURES[params["program"]] = None
    return {}


def shutdown(params: Any) -> dict[str, Any]:
    return {}


METHODS = {
    "initialize": initialize,
    "build": build,
    "backprop": backprop,
    "release": release,
    "shutdown": shutdown,
}


def main() -> None:
    # Nothing else may write to standard output: what the framework prints goes to standard error.
    replies, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            reply["result"] = METHODS[request["method"]](request["params"])
        except NotImplementedError as error:
            # What the framework cannot run. Any other exception is its failure.
            reply["error"] = {"code": -32001, "message": str(error)}
        except Exception as error:
            reply["error"] = {"code": -32002, "message": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\\n")
        replies.flush()
        if request["method"] == "shutdown":
            return


if __name__ == "__main__":
    main()
'''
