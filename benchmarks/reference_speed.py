"""The time of the reference against torch autograd, jitted jax.grad and its own bare matrix products, on one thread.

    python -m benchmarks.reference_speed [--write]

All four compute with the same numbers. Before anything is timed, the gradients are compared.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks._common import (
    circumstances,
    interleaved,
    one_thread,
    parser,
    publish,
    quartiles,
    ratio_text,
    ratios,
    seconds_text,
    table,
)
from kterm.reference import DTYPES, Array, Bias, Network, Parameters, backpropagate

DEPTH = 3
WIDTHS = (4, 16, 64, 256, 1024)
BATCH = 32
TORCH: dict[str, Callable[..., Any]] = {"tanh": torch.tanh, "relu": torch.relu}
JAX: dict[str, Callable[..., Any]] = {"tanh": jnp.tanh, "relu": jax.nn.relu}


@dataclass(frozen=True)
class Problem:
    """One network with its parameters, inputs and targets."""

    network: Network
    parameters: Parameters
    x: Array
    y: Array


def problem(width: int, batch: int, dtype: str, activation: str, bias: Bias) -> Problem:
    """A network of equal widths whose scale keeps activations and gradients from saturating."""
    rng = np.random.default_rng(width + batch)

    def normal(*shape: int) -> Array:
        return rng.normal(size=shape).astype(DTYPES[dtype].numpy)

    network = Network((width,) * (DEPTH + 1), (activation,) * DEPTH, bias)
    scale = DTYPES[dtype].numpy.type(width**-0.5)
    weights = tuple(normal(width, width) * scale for _ in range(DEPTH))
    biases = () if bias == "none" else tuple(normal(width) for _ in range(DEPTH))
    return Problem(network, Parameters(weights, biases), normal(batch, width), normal(batch, width))


def with_torch(given: Problem) -> Callable[[], tuple[torch.Tensor, ...]]:
    """PyTorch: dense layers as nn.Linear computes them, half the summed squared error, and autograd."""
    activation = TORCH[given.network.activations[0]]
    weights = [torch.tensor(np.ascontiguousarray(w.T), requires_grad=True) for w in given.parameters.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in given.parameters.biases] or [None] * DEPTH
    leaves = [*weights, *(b for b in biases if b is not None)]
    x, y = torch.tensor(given.x), torch.tensor(given.y)

    def gradients() -> tuple[torch.Tensor, ...]:
        out = x
        for w, b in zip(weights, biases, strict=True):
            out = activation(torch.nn.functional.linear(out, w, b))
        return torch.autograd.grad(torch.nn.functional.mse_loss(out, y, reduction="sum") / 2, leaves)

    return gradients


def with_jax(given: Problem) -> Callable[[], Any]:
    """JAX: the same as a pure function, differentiated and compiled."""
    activation = JAX[given.network.activations[0]]
    weights = [jnp.asarray(w) for w in given.parameters.weights]
    biases = [jnp.asarray(b) for b in given.parameters.biases]
    x, y = jnp.asarray(given.x), jnp.asarray(given.y)

    def error(weights: list[jax.Array], biases: list[jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
        out = x
        for i, w in enumerate(weights):
            z = out @ w
            out = activation(z + biases[i] if biases else z)
        return jnp.square(out - y).sum() / 2

    compiled = jax.jit(jax.grad(error, argnums=(0, 1)))
    return lambda: jax.block_until_ready(compiled(weights, biases, x, y))


def bare_products(given: Problem) -> Callable[[], None]:
    """Only the matrix products of the rule, with the same arrays and the same transposes."""
    weights = given.parameters.weights
    done = backpropagate(given.network, given.parameters, given.x, given.y)
    xs, ks = done.x, done.k

    def products() -> None:
        for i in range(DEPTH):
            _ = xs[i] @ weights[i]
        for i in reversed(range(1, DEPTH)):
            _ = ks[i] @ weights[i].mT
        for i in range(DEPTH):
            _ = xs[i].mT @ ks[i]

    return products


def agree(given: Problem) -> None:
    """Assert that the reference, PyTorch and JAX compute the same gradients.

    The comparison is in float64. In float32, a large network has some pre-activation so near to 0 that two sound
    implementations take the slope of relu from different sides.
    """

    def wide(array: Array) -> Array:
        return array.astype(np.float64)

    parameters = Parameters(tuple(map(wide, given.parameters.weights)), tuple(map(wide, given.parameters.biases)))
    given = replace(given, parameters=parameters, x=wide(given.x), y=wide(given.y))
    done = backpropagate(given.network, given.parameters, given.x, given.y)
    by_jax = with_jax(given)()
    due = (*done.weight_gradients, *done.bias_gradients)
    for i, (a, b, c) in enumerate(zip(due, with_torch(given)(), (*by_jax[0], *by_jax[1]), strict=True)):
        other = b.numpy().T if i < DEPTH else b.numpy()
        assert max(np.abs(a - other).max(), np.abs(a - np.asarray(c)).max()) <= 1e-10 * np.abs(a).max()


def measured(given: Problem, rounds: int) -> dict[str, list[float]]:
    """Seconds per call for each of the four, one number for each round."""
    agree(given)
    return interleaved(
        {
            "reference": lambda: backpropagate(given.network, given.parameters, given.x, given.y),
            "torch": with_torch(given),
            "jax": with_jax(given),
            "products": bare_products(given),
        },
        rounds,
    )


def main() -> None:
    """Measure and print; with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=31, help="rounds of timing; a third of that at width 1024")
    options.add_argument("--bias", choices=("none", "pre", "post"), default="none")
    options.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    chosen = options.parse_args()
    one_thread()
    torch.set_num_threads(1)
    jax.config.update("jax_enable_x64", True)

    rows = []
    for width in chosen.widths:
        for batch in sorted({BATCH, width}):
            for dtype in ("f32", "f64"):
                for activation in TORCH:
                    rounds = chosen.rounds if width < 1024 else max(5, chosen.rounds // 3)
                    times = measured(problem(width, batch, dtype, activation, chosen.bias), rounds)
                    rows.append(
                        (
                            f"{width}",
                            f"{batch}",
                            dtype,
                            activation,
                            seconds_text(quartiles(times["reference"])[1]),
                            ratio_text(ratios(times, "torch", "reference")),
                            ratio_text(ratios(times, "jax", "reference")),
                            ratio_text(ratios(times, "reference", "products")),
                        )
                    )
    header = ("width", "batch", "dtype", "activation", "reference")
    header += ("torch ÷ reference", "jax ÷ reference", "reference ÷ products")
    body = f"""How fast is the NumPy reference? The networks have depth {DEPTH} and bias placement
`{chosen.bias}`, and everything runs on one thread. Times are medians of {chosen.rounds} interleaved rounds (a third of
that at width 1024). Ratios are medians with their quartiles in brackets. `torch ÷ reference` above 1 means that the
reference is faster. `reference ÷ products` is the time of the reference divided by the time of the bare matrix products
that it contains. PyTorch computes dense layers, the loss and `torch.autograd.grad`, and JAX a jitted `jax.grad`. The
reference returns z, x, k and E besides the gradients.

{table(header, rows)}

{circumstances("numpy", "scipy", "torch", "jax")}
"""
    publish("reference-speed", "Speed of the reference", body, chosen.write)


if __name__ == "__main__":
    main()
