"""An honest framework in plain Python, with identity layers in float64. The hostile programs change it."""

import base64
import json
import struct
import sys
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Matrix = list[list[float]]

DECLARED: Message = {
    "protocol": 1,
    "name": "plain",
    "version": "1.0",
    "layout": "in_out",
    "dtypes": ["f64"],
    "activations": ["identity"],
    "biases": ["none", "pre", "post"],
    "limits": {"max_structures": 4},
}


class Honest:
    """Answers requests. A hostile program replaces one of these methods, or what is written."""

    def __init__(self) -> None:
        self.declared = dict(DECLARED)
        self.structures: list[Message] = []
        self.change: Callable[[Message], Any] = lambda result: result
        """What is done to the result of `backprop`."""
        self.act: dict[str, Callable[[bytes], bytes | None]] = {}
        """By method: what is done with the line of a reply. It returns what is to be written."""

    def run(self) -> None:
        """Answer until the input ends, or after shutdown."""
        for line in sys.stdin.buffer:
            request = json.loads(line)
            method = request["method"]
            reply = {"jsonrpc": "2.0", "id": request["id"], "result": self.answer(method, request["params"])}
            written: bytes | None = json.dumps(reply).encode() + b"\n"
            if method in self.act:
                written = self.act[method](written)
            write(written or b"")
            if method == "shutdown":
                return

    def answer(self, method: str, params: Message) -> Any:
        if method == "initialize":
            return self.declared
        if method == "build":
            self.structures.append(params["structure"])
            return {"program": len(self.structures) - 1}
        if method == "backprop":
            return self.change(backpropagate(self.structures[params["program"]], params))
        return {}


def write(data: bytes) -> None:
    """Write bytes to standard output at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def backpropagate(structure: Message, given: Message) -> Message:
    """The whole rule for identity layers: z = x W, and the same numbers as x unless biases come after."""
    widths, batch, bias = structure["widths"], structure["batch"], structure["bias"]
    weights, biases = [*map(_matrix, given["weights"])], [*map(numbers, given["biases"])]
    xs, zs = [_matrix(given["x"])], []
    for i, weight in enumerate(weights):
        z = _product(xs[-1], weight, widths[i + 1])
        x = z if bias == "none" else [[a + b for a, b in zip(row, biases[i], strict=True)] for row in z]
        zs.append(x if bias == "pre" else z)
        xs.append(x)
    k = [[a - b for a, b in zip(*rows, strict=True)] for rows in zip(xs[-1], _matrix(given["y"]), strict=True)]
    error = sum(a * a for row in k for a in row) / 2
    ks, by_weight = [k], []
    for i in reversed(range(len(weights))):
        by_weight.insert(0, _product(_transposed(xs[i], widths[i]), ks[0], widths[i + 1]))
        if i:
            ks.insert(0, _product(ks[0], _transposed(weights[i], widths[i + 1]), widths[i]))
    sums = [[sum(row[j] for row in k) for j in range(widths[i + 1])] for i, k in enumerate(ks)]
    rows = {"z": zs, "x": xs[1:], "k": ks}
    shown = {
        name: [tensor(flat(a), [batch, widths[i + 1]]) for i, a in enumerate(arrays)] for name, arrays in rows.items()
    }
    return {
        "outputs": tensor(flat(xs[-1]), [batch, widths[-1]]),
        "error": tensor([error], []),
        "weight_gradients": [tensor(flat(a), widths[i : i + 2]) for i, a in enumerate(by_weight)],
        "bias_gradients": [tensor(a, [len(a)]) for a in sums] if bias != "none" else [],
        **shown,
    }


def tensor(values: list[float], shape: list[int]) -> Message:
    """Numbers as a tensor of the protocol."""
    return {"dtype": "f64", "shape": shape, "data": base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()}


def numbers(given: Message) -> list[float]:
    """The numbers of a tensor, by rows."""
    data = base64.b64decode(given["data"])
    return [*struct.unpack(f"<{len(data) // 8}d", data)]


def flat(matrix: Matrix) -> list[float]:
    """The numbers of a matrix, by rows."""
    return [a for row in matrix for a in row]


def _matrix(given: Message) -> Matrix:
    values, (rows, columns) = numbers(given), given["shape"]
    return [values[i * columns : (i + 1) * columns] for i in range(rows)]


def _transposed(matrix: Matrix, columns: int) -> Matrix:
    return [[row[j] for row in matrix] for j in range(columns)]


def _product(a: Matrix, b: Matrix, columns: int) -> Matrix:
    return [[sum(x * row[j] for x, row in zip(line, b, strict=True)) for j in range(columns)] for line in a]
