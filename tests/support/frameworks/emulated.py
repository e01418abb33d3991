"""NumPy adapters whose f32 products are computed as other hardware computes them: the operands, the accumulator, and
what happens below the normal range.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from kterm.adapters import Adapter, Observation, Program
from kterm.reference import ACTIVATIONS, Array, Parameters, Structure
from kterm.reference.arithmetic import Arithmetic

Product = Callable[[Array, Array], Array]
"""A matrix product of (m, n) and (n, k) in float32."""

SINGLE = np.float32


def round_operand(a: Array, name: str, chops: bool = False) -> Array:
    """Float32 numbers rounded to bf16 or tf32, by their bits: to nearest, ties to even, or toward zero."""
    dropped = {"tf32": 13, "bf16": 16}[name]
    bits = np.ascontiguousarray(a, SINGLE).view(np.uint32).astype(np.uint64)
    half = 0 if chops else (1 << (dropped - 1)) - 1 + ((bits >> dropped) & 1)
    rounded = ((bits + half) >> dropped) << dropped
    return rounded.astype(np.uint32).view(SINGLE)


def split(a: Array, name: str, terms: int) -> list[Array]:
    """Float32 numbers as a sum of numbers of a format, the largest first."""
    parts = [round_operand(a, name)]
    for _ in range(terms - 1):
        parts.append(round_operand(a - np.sum(parts, axis=0, dtype=SINGLE), name))
    return parts


def cut_operands(name: str, a: Array, b: Array, chops: bool = False) -> Array:
    """A product of operands that are rounded to a format, with a float32 accumulator."""
    return round_operand(a, name, chops) @ round_operand(b, name, chops)


def split_operands(name: str, terms: int, a: Array, b: Array) -> Array:
    """A product of operands that are split into terms. Products of terms of high order are added first."""
    parts_a, parts_b = split(a, name, terms), split(b, name, terms)
    total = np.zeros((a.shape[0], b.shape[1]), SINGLE)
    for order in range(terms - 1, -1, -1):
        for i in range(order + 1):
            total = total + parts_a[i] @ parts_b[order - i]
    return total


def chop(a: Array, bits: int = 24) -> Array:
    """Float64 numbers rounded toward zero to a significand of `bits`."""
    significand, exponent = np.frexp(a)
    return np.ldexp(np.trunc(np.ldexp(significand, bits)), exponent - bits)


def add_chopped(block: int, extra: int, operands: str | None, a: Array, b: Array) -> Array:
    """A product in blocks of terms, as a tensor core computes it: the terms of a block and the sum before it are cut to
    the last place of the largest and `extra` bits more, added exactly, and cut to 24 bits.
    """
    if operands is not None:
        a, b = round_operand(a, operands), round_operand(b, operands)
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    total = np.zeros((a.shape[0], b.shape[1]))
    for start in range(0, a.shape[1], block):
        terms = wide_a[:, start : start + block, None] * wide_b[None, start : start + block]
        terms = np.concatenate([total[:, None], terms], 1)
        largest = np.abs(terms).max(1, keepdims=True)
        last = np.ldexp(1.0, np.frexp(np.where(largest > 0, largest, 1.0))[1] - 24 - extra)
        total = chop((np.trunc(terms / last) * last).sum(1))
    return total.astype(SINGLE)


def chop_each(a: Array, b: Array) -> Array:
    """A product of one term after another, each product and each sum rounded toward zero."""
    total = np.zeros((a.shape[0], b.shape[1]))
    for j in range(a.shape[1]):
        total = chop(total + chop(a[:, j : j + 1].astype(np.float64) * b[j].astype(np.float64)))
    return total.astype(SINGLE)


def flush(a: Array) -> Array:
    """Numbers with those below the normal range made 0."""
    return np.where(np.abs(a) < np.finfo(SINGLE).tiny, SINGLE(0), a)


def flush_outputs(a: Array, b: Array) -> Array:
    """A product whose results below the normal range become 0."""
    return flush(a @ b)


def flush_all(a: Array, b: Array) -> Array:
    """A product whose factors and results below the normal range become 0."""
    return flush(flush(a) @ flush(b))


class Emulated(Adapter):
    """The rule in float32 with its own matrix products; `single` are those of batches of one row, where they differ."""

    name = "emulated"
    version = "1"
    dtypes = ("f32",)
    activations = {name: lambda z, row=row, **_: row.f(z) for name, row in ACTIVATIONS.items()}  # noqa: RUF012
    product: Product = staticmethod(np.matmul)
    single: Product | None = None

    def build(self, structure: Structure) -> Program:
        self.require(structure)
        network = structure.network
        rows = [ACTIVATIONS[name] for name in network.activations]
        times = self.single if structure.batch == 1 and self.single is not None else self.product

        def program(parameters: Parameters, x: Array, y: Array) -> Observation:
            with np.errstate(all="ignore"):
                zs, xs = [], [np.array(x)]
                for i, row in enumerate(rows):
                    z = times(xs[-1], np.array(parameters.weights[i]))
                    z = z + parameters.biases[i] if network.bias == "pre" else z
                    out = row.f(z)
                    zs.append(z)
                    xs.append(out + parameters.biases[i] if network.bias == "post" else out)
                side, ks, by_bias = xs[-1] - y, [], []
                error = (np.square(side).sum() / 2).astype(SINGLE)
                for i in reversed(range(len(rows))):
                    k = side * rows[i].derivative(zs[i])
                    ks.insert(0, k)
                    by_bias.insert(0, (k if network.bias == "pre" else side).sum(0))
                    side = times(k, np.array(parameters.weights[i]).T)
                by_weight = [times(np.array(xs[i].T), k) for i, k in enumerate(ks)]
            by_bias = [] if network.bias == "none" else by_bias
            return Observation(
                xs[-1], np.asarray(error), tuple(by_weight), tuple(by_bias), tuple(zs), tuple(xs[1:]), tuple(ks)
            )

        return program


class Tf32(Emulated):
    product = staticmethod(partial(cut_operands, "tf32"))
    arithmetic = {"f32": Arithmetic(operands="tf32")}  # noqa: RUF012


class ChoppedTf32(Emulated):
    product = staticmethod(partial(cut_operands, "tf32", chops=True))
    arithmetic = {"f32": Arithmetic(operands="tf32", operand_rounding="toward zero")}  # noqa: RUF012


class Bf16(Emulated):
    product = staticmethod(partial(cut_operands, "bf16"))
    arithmetic = {"f32": Arithmetic(operands="bf16")}  # noqa: RUF012


class Bf16x2(Emulated):
    product = staticmethod(partial(split_operands, "bf16", 2))
    arithmetic = {"f32": Arithmetic(operands="bf16", terms=2)}  # noqa: RUF012


class Bf16x3(Emulated):
    product = staticmethod(partial(split_operands, "bf16", 3))
    arithmetic = {"f32": Arithmetic(operands="bf16", terms=3)}  # noqa: RUF012


class TensorCore(Emulated):
    """Blocks of four, cut to the last place of the largest term, as on a Volta GPU, with tf32 operands."""

    product = staticmethod(partial(add_chopped, 4, 0, "tf32"))
    arithmetic = {"f32": Arithmetic(operands="tf32", rounding="toward zero")}  # noqa: RUF012


class WideTensorCore(Emulated):
    """Blocks of eight with two more bits inside, and operands that are not cut."""

    product = staticmethod(partial(add_chopped, 8, 2, None))
    arithmetic = {"f32": Arithmetic(rounding="toward zero")}  # noqa: RUF012


class Chopped(Emulated):
    product = staticmethod(chop_each)
    arithmetic = {"f32": Arithmetic(rounding="toward zero")}  # noqa: RUF012


class FlushesOutputs(Emulated):
    product = staticmethod(flush_outputs)
    arithmetic = {"f32": Arithmetic(flushing="always")}  # noqa: RUF012


class FlushesAll(Emulated):
    product = staticmethod(flush_all)
    arithmetic = {"f32": Arithmetic(flushing="always")}  # noqa: RUF012


class Tf32InBatches(Emulated):
    """tf32 operands in batches; a single row is computed in float32, as by a vector unit."""

    product = staticmethod(partial(cut_operands, "tf32"))
    single = staticmethod(np.matmul)
    arithmetic = {"f32": Arithmetic(operands="tf32")}  # noqa: RUF012


EMULATED: tuple[type[Emulated], ...] = (
    Tf32,
    ChoppedTf32,
    Bf16,
    Bf16x2,
    Bf16x3,
    TensorCore,
    WideTensorCore,
    Chopped,
    FlushesOutputs,
    FlushesAll,
    Tf32InBatches,
)


def undeclared(adapter: type[Emulated]) -> Emulated:
    """An adapter that computes as `adapter` does and declares nothing."""
    made = adapter()
    made.arithmetic = {}
    return made


class Misdeclared(FlushesAll):
    """It flushes, and declares that it does not."""

    arithmetic = {"f32": Arithmetic(flushing="never")}  # noqa: RUF012
