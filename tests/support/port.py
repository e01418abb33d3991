"""A client that says exactly what a test gives it to a program that speaks the suite's protocol."""

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kterm.reference import ACTIVATIONS, Array, Network

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
