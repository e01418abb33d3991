"""Frameworks that flush to zero: with sums in two orders, with fused multiply-adds, and with gradients alone."""

from dataclasses import replace
from typing import ClassVar

import numpy as np

from kterm.adapters import Observation, Program
from kterm.adapters.numpy_adapter import Numpy
from kterm.reference import ACTIVATIONS, DTYPES, Array, Parameters, Structure


class Flushing(Numpy):
    """Every result below the normal range is 0, and so is every operand."""

    name = "flushing"
    dtypes: tuple[str, ...] = ("f64", "f32", "bf16")
    shows = True
    backwards: ClassVar[bool] = False
    """Whether sums start at their last term."""
    fused: ClassVar[bool] = False
    """Whether sums are fused multiply-adds: no term is flushed by itself."""

    def flush(self, a: Array) -> Array:
        tiny = DTYPES["f64" if a.dtype.itemsize == 8 else "f32"].tiny  # bfloat16 has the range of float32
        return np.where(np.abs(a) < tiny, np.zeros((), a.dtype), a)

    def product(self, a: Array, b: Array) -> Array:
        # A narrow format is accumulated in float32, as compilers do. longdouble makes fused terms exact enough.
        inside = np.dtype(np.float32) if a.dtype.itemsize == 2 else a.dtype
        a, b = (self.flush(x.astype(inside)) for x in (a, b))
        total = np.zeros((a.shape[0], b.shape[1]), inside)
        order = range(a.shape[1])
        for j in reversed(order) if self.backwards else order:
            if self.fused:
                term = a[:, j, None].astype(np.longdouble) * b[j].astype(np.longdouble)
                total = self.flush((total + term).astype(inside))
            else:
                total = self.flush(total + self.flush(a[:, j, None] * b[j]))
        return total

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        network, dtype = structure.network, structure.format.numpy
        rows = [ACTIVATIONS[name] for name in network.activations]

        def stored(a: Array) -> Array:
            return self.flush(a.astype(dtype))

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with np.errstate(all="ignore"):
                zs, xs = [], [x]
                for i, (row, weight) in enumerate(zip(rows, parameters.weights, strict=True)):
                    z = stored(self.product(xs[-1], weight))
                    if network.bias == "pre":
                        z = stored(z + self.flush(parameters.biases[i]))
                    out = stored(row.f(z))
                    if network.bias == "post":
                        out = stored(out + self.flush(parameters.biases[i]))
                    zs.append(z)
                    xs.append(out)
                r = stored(self.flush(xs[-1]) - self.flush(y))
                s, ks, sides = r, [], []
                for i in reversed(range(network.depth)):
                    ks.insert(0, stored(s * rows[i].derivative(zs[i])))
                    sides.insert(0, s)
                    s = stored(self.product(ks[0], parameters.weights[i].T))
                gradients = tuple(stored(self.product(a.T, k)) for a, k in zip(xs, ks, strict=False))
                ones = np.ones((1, len(x)), dtype)
                summed = {"none": [], "pre": ks, "post": sides}[network.bias]
                biases = tuple(stored(self.product(ones, rows_))[0] for rows_ in summed)
                flat = r.reshape(1, -1)
                error = stored(stored(self.product(flat, flat.T)) / 2)[0, 0]
            observed = Observation(xs[-1], np.asarray(error, dtype), gradients, biases)
            return replace(observed, z=tuple(zs), x=tuple(xs[1:]), k=tuple(ks)) if self.shows else observed

        return program


class Backwards(Flushing):
    """Sums from the last term to the first."""

    backwards = True


class Fused(Flushing):
    """Sums of fused multiply-adds."""

    fused = True


class SilentFlushing(Flushing):
    """Shows gradients alone."""

    shows = False
