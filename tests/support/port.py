"""A client that says exactly what a test gives it to a program that speaks the suite's protocol."""

import base64
import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kterm.reference import ACTIVATIONS, Array, Bias, Network, Parameters, backpropagate

_FORMATS = {"f64": "<f8", "f32": "<f4"}


class Port:
    """A running program. Every message is one line in each direction."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process, self._id = process, 0

    def exchange(self, line: bytes) -> dict[str, Any]:
        """Send a line as it is, and return the reply to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a request, and return the whole reply, whose id is checked."""
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": parameters}
        reply = self.exchange(json.dumps(request).encode())
        assert (reply["jsonrpc"], reply["id"]) == ("2.0", self._id)
        return reply

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a request that must succeed."""
        reply = self.send(method, **parameters)
        assert "error" not in reply, reply["error"]
        return reply["result"]

    def refusal(self, method: str, **parameters: Any) -> tuple[int, str]:
        """The code and the message of a request that must fail."""
        error = self.send(method, **parameters)["error"]
        return error["code"], error["message"]

    def finish(self) -> int:
        """Close the program's input, and return its exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(timeout=20)


@contextmanager
def start_port(command: Sequence[str], folder: Path) -> Iterator[Port]:
    """Start a program in a folder, and end it with the block."""
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Port(process)
        finally:
            process.kill()


def write_structure(network: Network, batch: int, dtype: str) -> dict[str, Any]:
    """A structure as the protocol writes it."""
    activations = [{"name": name, "parameters": dict(ACTIVATIONS[name].parameters)} for name in network.activations]
    return {
        "widths": list(network.widths),
        "activations": activations,
        "bias": network.bias,
        "dtype": dtype,
        "batch": batch,
    }


def write_tensor(array: Array) -> dict[str, Any]:
    """An array of float64 or float32 as a tensor of the protocol."""
    dtype = "f64" if array.dtype == np.float64 else "f32"
    data = np.ascontiguousarray(array, _FORMATS[dtype]).tobytes()
    return {"dtype": dtype, "shape": list(array.shape), "data": base64.b64encode(data).decode()}


def read_tensor(tensor: dict[str, Any]) -> Array:
    """The array that a tensor holds."""
    data = base64.b64decode(tensor["data"], validate=True)
    return np.frombuffer(data, _FORMATS[tensor["dtype"]]).reshape(tensor["shape"])


def assert_follows_the_rule(
    port: Port, names: Iterable[str], bias: Bias, dtype: type, relative: float, absolute: float
) -> None:
    """That a program gives what the rule gives, for each activation at layer 2 of 3, so that its value and its slope
    reach everything. The suite judges digits; this finds a wrong formula, order or shape without it.
    """
    rng = np.random.default_rng(0)
    widths, batch = (3, 4, 2, 3), 5
    for name in names:
        network = Network(widths, ("tanh", name, "sigmoid"), bias)
        weights = tuple(rng.normal(size=pair).astype(dtype) for pair in pairwise(widths))
        biases = tuple(rng.normal(size=n).astype(dtype) for n in widths[1:]) if bias != "none" else ()
        x, y = rng.normal(size=(batch, 3)).astype(dtype), rng.normal(size=(batch, 3)).astype(dtype)
        due = backpropagate(network, Parameters(weights, biases), x, y)
        number = port.ask("build", structure=write_structure(network, batch, f"f{8 * x.itemsize}"))["program"]
        lists = {"weights": [*map(write_tensor, weights)], "biases": [*map(write_tensor, biases)]}
        answer = port.ask("backprop", program=number, x=write_tensor(x), y=write_tensor(y), **lists)
        assert port.ask("release", program=number) == {}
        for quantity, expected in (
            ("z", due.z),
            ("x", due.x[1:]),
            ("k", due.k),
            ("weight_gradients", due.weight_gradients),
            ("bias_gradients", due.bias_gradients),
        ):
            assert len(answer[quantity]) == len(expected)
            for tensor, array in zip(answer[quantity], expected, strict=True):
                np.testing.assert_allclose(read_tensor(tensor), array, relative, absolute, err_msg=f"{name} {quantity}")
                assert read_tensor(tensor).dtype == dtype
        np.testing.assert_allclose(read_tensor(answer["error"]), due.error, relative, absolute)
        assert answer["outputs"] == answer["x"][-1]
