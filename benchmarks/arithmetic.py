"""Verify what `kterm arithmetic` says of each framework by an experiment that uses the framework alone.

    python -m benchmarks.arithmetic numpy torch jax

The probes give an order of summation, a width and a direction of partial sums, and which products are fused. From
these, exact rational arithmetic predicts the bits of products of random numbers. The framework computes the same
products by its own functions, without the suite's adapters. A line is verified if all bits agree; numbers below the
normal range are tried by a multiplication of their own.
"""

import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib import import_module
from typing import Any

import numpy as np

from kterm.adapters.registry import load
from kterm.conformance.arithmetic.directions import round_to
from kterm.conformance.arithmetic.fingerprint import measure_product
from kterm.conformance.arithmetic.order import Tree, nodes_of, terms_of
from kterm.conformance.arithmetic.probes import BITS, find_order
from kterm.conformance.arithmetic.products import COLUMNS, INNER, Multiplier, make_multipliers
from kterm.conformance.runners.runner import LocalRunner
from kterm.reference import DTYPES, Array

SAMPLES = 60

Compute = Callable[[str, str, Array, Array], Array]
"""Takes a kind of product, a dtype, and the factors (rows, INNER) and (INNER, COLUMNS) in it; gives their product."""


def by_numpy(kind: str, dtype: str, a: Array, b: Array) -> Array:
    """z = x W; dE/dx = k W^T, whose right factor is a transposed matrix; dE/dW = x^T k, whose left factor is one."""
    if kind == "dE/dx":
        b = np.ascontiguousarray(b.T).T
    return (np.ascontiguousarray(a.T).T if kind == "dE/dW" else a) @ b


def by_torch(kind: str, dtype: str, a: Array, b: Array) -> Array:
    """The product by a linear layer, or by the backward pass of one."""
    torch: Any = import_module("torch")
    torch.set_num_threads(1)
    named = {"f64": torch.float64, "f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[dtype]
    left, right = (torch.tensor(side.astype(np.float64), dtype=named) for side in (a, b))
    linear = torch.nn.functional.linear
    if kind == "z":
        found = linear(left, right.T.contiguous())
    elif kind == "dE/dx":
        # The weight of the layer is (out, in): here (INNER, COLUMNS), and the gradient arrives at its outputs.
        x = torch.zeros(len(left), COLUMNS, dtype=named, requires_grad=True)
        linear(x, right.contiguous()).backward(left)
        found = x.grad
    else:
        weight = torch.zeros(COLUMNS, len(left), dtype=named, requires_grad=True)
        linear(left.T.contiguous(), weight).backward(right)
        found = weight.grad.T
    return found.detach().to(torch.float64).numpy()


def by_jax(kind: str, dtype: str, a: Array, b: Array) -> Array:
    """The product in a compiled function, or the compiled gradient of one."""
    jax: Any = import_module("jax")
    jax.config.update("jax_enable_x64", dtype == "f64")

    def times(x: Any, w: Any) -> Any:
        return x @ w

    if kind == "z":
        return np.asarray(jax.jit(times)(a, b)).astype(np.float64)
    if kind == "dE/dx":
        w, x = np.ascontiguousarray(b.T), np.zeros((len(a), COLUMNS), a.dtype)
        return np.asarray(jax.jit(lambda x, w, k: jax.vjp(times, x, w)[1](k)[0])(x, w, a)).astype(np.float64)
    x, w = np.ascontiguousarray(a.T), np.zeros((len(a), COLUMNS), a.dtype)
    return np.asarray(jax.jit(lambda x, w, k: jax.vjp(times, x, w)[1](k)[1])(x, w, b)).astype(np.float64)


FRAMEWORKS: dict[str, Compute] = {"numpy": by_numpy, "torch": by_torch, "jax": by_jax}


def find_fused(one: Multiplier, tree: Tree, bits: int) -> frozenset[int]:
    """The terms whose product is added without being rounded before, of a tree and partial sums of `bits` bits.

    A term is (1 + h)**2, and the only other one is -(1 + 2 h), in the part that it is added to: h**2 is left of a
    product that is not rounded.
    """
    h = 2.0 ** -(bits // 2 + 3)
    placed = [
        (part, terms_of(other)[0])
        for node in nodes_of(tree)
        if not isinstance(node, int) and len(node) == 2
        for part, other in (node, node[::-1])
        if isinstance(part, int)
    ]
    found = set[int]()
    for term, other in placed:
        a, b = np.ones(INNER), np.zeros((INNER, 1))
        a[term], b[term], b[other] = 1 + h, 1 + h, -(1 + 2 * h)
        if one.multiply(a, b)[0] == h * h:
            found.add(term)
    return frozenset(found)


def predict(tree: Tree, a: Array, b: Array, fused: frozenset[int], bits: int, direction: str) -> Fraction:
    """The sum of a[j] b[j] in the order of a tree, with partial sums of `bits` bits. The products of the terms in
    `fused` are added without being rounded before.
    """

    def value(part: Tree) -> Fraction:
        if isinstance(part, int):
            return exact(part) if part in fused else round_to(exact(part), bits, direction)
        return round_to(sum(map(value, part), Fraction(0)), bits, direction)

    def exact(term: int) -> Fraction:
        return Fraction(float(a[term])) * Fraction(float(b[term]))

    return value(tree)


def verify(one: Multiplier, compute: Compute) -> tuple[int, int] | None:
    """How many of the predicted sums a framework computes, and of how many; None where no order is known."""
    measured, tree = measure_product(one), find_order(one.multiply, one.dtype)
    if tree is None or measured.accumulator is None or measured.accumulation == "unknown":
        return None
    rng, format_ = np.random.default_rng(0), DTYPES[one.dtype].numpy
    rows = one.batch if one.kind != "dE/dW" else INNER
    a = rng.normal(size=(rows, INNER)).astype(format_)
    b = rng.normal(size=(INNER, COLUMNS)).astype(format_)
    seen = compute(one.kind, one.dtype, a, b).astype(np.float64)
    picked = [(int(rng.integers(rows)), int(rng.integers(COLUMNS))) for _ in range(SAMPLES)]

    fused = find_fused(one, tree, measured.accumulator) if measured.products == "fused" else frozenset[int]()
    right = 0
    for row, column in picked:
        due = predict(tree, a[row], b[:, column], fused, measured.accumulator, measured.accumulation)
        right += float(round_to(due, BITS[one.dtype], "nearest")) == seen[row, column]
    return right, SAMPLES


def flushes(one: Multiplier, compute: Compute) -> str:
    """Which numbers below the normal range a framework makes 0, by products with a single term."""
    tiny, format_ = DTYPES[one.dtype].tiny, DTYPES[one.dtype].numpy
    rows = one.batch if one.kind != "dE/dW" else INNER
    low = 2.0 ** (int(np.log2(tiny)) // 2)
    found = []
    for left, right in ((low / 2, tiny / low / 2), (tiny / 2, 4.0), (4.0, tiny / 2)):
        a, b = np.zeros((rows, INNER)), np.zeros((INNER, COLUMNS))
        a[:, 0], b[0] = left, right
        found.append(not compute(one.kind, one.dtype, a.astype(format_), b.astype(format_)).any())
    known = {(False,) * 3: "none", (True,) * 3: "all", (True, False, False): "outputs", (False, True, True): "inputs"}
    return known.get((found[0], found[1], found[2]), "mixed")


def lines(name: str) -> Iterator[str]:
    """One line for each product of a framework in each dtype."""
    adapter = load(name)
    for dtype in adapter.dtypes:
        for build in make_multipliers(LocalRunner(adapter, name), dtype):
            for one in build():
                measured, checked = measure_product(one), verify(one, FRAMEWORKS[name])
                bits = "no order to try" if checked is None else f"{checked[0]} of {checked[1]} sums bit for bit"
                own = flushes(one, FRAMEWORKS[name])
                agrees = "agrees" if own == measured.flushing else f"the framework alone: {own}"
                yield f"{name} {dtype} {one.kind} batch {one.batch}: {bits}; flushing {measured.flushing}: {agrees}"


if __name__ == "__main__":
    for framework in sys.argv[1:] or FRAMEWORKS:
        for line in lines(framework):
            print(line, flush=True)
